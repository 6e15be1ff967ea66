"""The statements of the store: named, and the same for every database."""

LAST_SEQ = """
SELECT max(
  (SELECT coalesce(max(seq), 0) FROM objects WHERE source = :source),
  (SELECT coalesce(max(seq), 0) FROM rejects WHERE source = :source))
"""
# Those with ? are run for many rows at once, by position: naming each value costs more than writing
# it.
UPSERT_OBJECT = """
INSERT INTO objects (source, id, type, version, digest, body, date_added, valid_until, seq,
  collection, copy_added)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source, id) DO UPDATE SET
  type = excluded.type, version = excluded.version, digest = excluded.digest, body = excluded.body,
  date_added = coalesce(objects.date_added, excluded.date_added),
  valid_until = excluded.valid_until,
  seq = excluded.seq, collection = excluded.collection, copy_added = excluded.copy_added,
  brought = NULL, vanished = NULL
"""
INSERT_COPY = """
INSERT INTO copies (source, id, version, digest, collection, added)
  VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
INSERT_REF = "INSERT INTO refs (source, target, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_LINK = (
    "INSERT INTO links (source, source_ref, target_ref, id) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
KEEP_PREVIOUS = """
INSERT INTO previous (source, id, body, seq)
SELECT source, id, body, coalesce(brought, seq) FROM objects WHERE source = ? AND id = ?
ON CONFLICT (source, id) DO UPDATE SET body = excluded.body, seq = excluded.seq
"""
BROUGHT = """
SELECT id, version, digest, vanished FROM objects
WHERE source = :source AND coalesce(brought, seq) > :before AND coalesce(brought, seq) <= :after
"""
FORGET_OVERTAKEN = """
DELETE FROM previous WHERE source = :source AND seq > :before AND seq <= :after
AND id IN (SELECT id FROM objects WHERE source = :source AND coalesce(brought, seq) > :after)
"""
PUT_BACK = "UPDATE objects SET brought = nullif(?, 0) WHERE source = ? AND id = ?"
FORGET_PREVIOUS = "DELETE FROM previous WHERE source = ? AND id = ?"
INSERT_UNDONE = """
INSERT INTO undone (source, id, version, digest, run) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
SET_ASIDE = """
SELECT o.id, 'dead-letter' AS reason FROM dead d CROSS JOIN objects o ON o.source = :source
  AND o.id = d.id
  AND o.seq = d.seq WHERE d.pipeline = :pipeline
UNION ALL SELECT o.id, 'undone' FROM undone u CROSS JOIN objects o ON o.source = u.source
  AND o.id = u.id
  AND o.version = u.version AND o.digest = u.digest WHERE u.source = :source
"""
DELETE_REFS = "DELETE FROM refs WHERE source = ? AND id = ?"
DELETE_LINKS = "DELETE FROM links WHERE source = ? AND id = ?"
UPSERT_ANSWER = """
INSERT INTO answers (question, asked, body) VALUES (:question, :asked, :body)
ON CONFLICT (question) DO UPDATE SET asked = excluded.asked, body = excluded.body
"""
INSERT_REJECT = """
INSERT INTO rejects (source, digest, id, path, reason, collection, properties, seq)
VALUES (:source, :digest, :id, :path, :reason, :collection, :properties, :seq)
ON CONFLICT (source, digest) DO UPDATE SET seq = excluded.seq, settled = 0 WHERE rejects.settled = 2
"""
INSERT_PAGE = """
INSERT INTO pages (source, collection, received, entries, changed, last_added)
VALUES (:source, :collection, :received, :entries, :changed, :last_added)
"""
UPSERT_CURSOR = """
INSERT INTO cursors (source, collection, title, watermark, polled, error)
VALUES (:source, :collection, :title, :watermark, :polled, NULL)
ON CONFLICT (source, collection) DO UPDATE SET
  watermark = coalesce(excluded.watermark, cursors.watermark), polled = excluded.polled,
  error = NULL,
  title = excluded.title
"""
UPSERT_POLL = """
INSERT INTO cursors (source, collection, title, watermark, polled, error)
VALUES (:source, :collection, :title, NULL, :polled, :error)
ON CONFLICT (source, collection) DO UPDATE SET polled = excluded.polled, error = excluded.error
"""
UPSERT_OFFER = """
INSERT INTO offers (source, settings, asked, collections)
  VALUES (:source, :settings, :asked, :collections)
ON CONFLICT (source) DO UPDATE SET
  settings = excluded.settings, asked = excluded.asked, collections = excluded.collections
"""
SUPPRESS = """
INSERT INTO suppressed (value, why, since, seq)
VALUES (:value, :why, :since, (SELECT coalesce(max(seq), 0) + 1 FROM suppressed))
ON CONFLICT (value) DO UPDATE SET why = excluded.why, since = excluded.since, removed = NULL,
  seq = excluded.seq
WHERE removed < :marked
"""
UNSUPPRESS = """
UPDATE suppressed SET removed = :moment, seq = (SELECT max(seq) + 1 FROM suppressed)
WHERE value = :value AND removed IS NULL
"""
SUPPRESSED = "SELECT value FROM suppressed WHERE removed IS NULL AND value IN"
RESUPPRESSED = """
SELECT e.id FROM suppressed s JOIN elements e ON e.value = s.value AND e.pipeline = :pipeline
WHERE s.seq > :applied AND s.seq <= :seq
UNION
SELECT e.id FROM suppressed s JOIN elements e ON e.pipeline = :pipeline AND e.type LIKE '%|%'
AND (substr(e.value, 1, length(s.value) + 1) = s.value || '|'
  OR substr(e.value, -length(s.value) - 1) = '|' || s.value)
WHERE s.seq > :applied AND s.seq <= :seq
"""
UPSERT_HEARD = """
INSERT INTO progress (pipeline, seq, expiry, heard) VALUES (:pipeline, 0, 0, :applied)
ON CONFLICT (pipeline) DO UPDATE SET heard = excluded.heard
"""
UPSERT_LOOK = """
INSERT INTO looks (sink, asked) VALUES (:sink, :asked) ON CONFLICT (sink)
  DO UPDATE SET asked = excluded.asked
"""
UPSERT_CHECKED = """
INSERT INTO checks (source, checked) VALUES (:source, :checked)
ON CONFLICT (source) DO UPDATE SET checked = excluded.checked
"""
UPSERT_ASKED = """
INSERT INTO checks (source, asked) VALUES (:source, :asked) ON CONFLICT (source)
  DO UPDATE SET asked = excluded.asked
"""
VANISHED = """
SELECT id FROM objects o WHERE source = :source AND vanished IS NULL
AND NOT EXISTS (SELECT 1 FROM listed l WHERE l.source = o.source AND l.id = o.id) ORDER BY id
"""
MISSING_IN_MANIFEST = """
SELECT count(*) AS stored, count(*) - count(l.id) AS missing FROM objects o
LEFT JOIN listed l ON l.source = o.source AND l.id = o.id
WHERE o.source = :source AND o.vanished IS NULL
"""
OUTDATED = """
SELECT o.id FROM listed l CROSS JOIN objects o ON o.source = l.source AND o.id = l.id
WHERE l.source = :source AND l.version > o.version AND o.version > 0 ORDER BY o.id
"""
BACK = """
SELECT o.id FROM listed l CROSS JOIN objects o ON o.source = l.source AND o.id = l.id
WHERE l.source = :source AND o.vanished IS NOT NULL ORDER BY o.id
"""
RETURN = "UPDATE objects SET vanished = NULL, seq = ? WHERE source = ? AND id = ?"
INSERT_LISTED = """
INSERT INTO listed (source, id, version) VALUES (:source, :id, :version)
ON CONFLICT (source, id) DO UPDATE SET version = max(listed.version, excluded.version)
"""
# CROSS JOIN keeps the order: the new objects first
WANTING = """
SELECT DISTINCT r.target FROM objects o CROSS JOIN refs r ON r.source = o.source AND r.id = o.id
WHERE o.source = :source AND o.seq > :after
AND NOT EXISTS (SELECT 1 FROM objects x WHERE x.source = r.source AND x.id = r.target)
AND NOT EXISTS (SELECT 1 FROM absent a WHERE a.source = r.source AND a.id = r.target)
ORDER BY r.target
"""
UPSERT_PROGRESS = """
INSERT INTO progress (pipeline, seq, expiry) VALUES (:pipeline, :seq, :expiry)
ON CONFLICT (pipeline) DO UPDATE SET seq = excluded.seq, expiry = excluded.expiry
"""
INSERT_PLACEMENT = """
INSERT INTO placements (pipeline, event, id, collecting, day) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO NOTHING
"""
INSERT_ELEMENT = """
INSERT INTO elements (pipeline, event, uuid, id, kind, type, value)
  VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
PLACEMENTS_IN = (
    "SELECT event, id, collecting, day FROM placements WHERE pipeline = :pipeline AND event IN"
)
ELEMENTS_IN = (
    "SELECT event, uuid, id, kind, type, value FROM elements WHERE pipeline = :pipeline "
    "AND event IN"
)
DELETE_PLACEMENT = "DELETE FROM placements WHERE pipeline = ? AND event = ? AND id = ?"
DELETE_ELEMENT = "DELETE FROM elements WHERE pipeline = ? AND event = ? AND uuid = ? AND id = ?"
UPSERT_WANTED = """
INSERT INTO wanted (sink, event, pipeline, body) VALUES (:sink, :event, :pipeline, :body)
ON CONFLICT (sink, event, pipeline) DO UPDATE SET body = excluded.body
"""
UPSERT_DELIVERY = """
INSERT INTO deliveries (sink, event, state, digest, body, info, published, updated)
VALUES (:sink, :event, :state, :digest, :body, :info, :published, :updated)
ON CONFLICT (sink, event) DO UPDATE SET
  state = excluded.state, digest = excluded.digest, body = excluded.body, info = excluded.info,
  published = excluded.published, updated = excluded.updated, intent = NULL,
  settled = CASE WHEN deliveries.state = excluded.state AND deliveries.digest = excluded.digest
    THEN deliveries.settled ELSE 0 END
"""
BEGIN_EDITS = """
UPDATE deliveries SET state = CASE state WHEN 'adding' THEN state ELSE 'waiting' END,
  digest = :none, intent = :intent
WHERE sink = :sink AND event = :event
"""
INSERT_ALIAS = """
INSERT INTO aliases (sink, uuid, event) VALUES (:sink, :uuid, :event) ON CONFLICT DO NOTHING
"""
INSERT_NOTE = """
INSERT INTO notes (sink, event, id, outcome, reason, target)
VALUES (:sink, :event, :id, :outcome, :reason, :target)
"""
JOINING = """
SELECT id FROM links WHERE source = :source
AND source_ref IN (SELECT value FROM json_each(:ends)) AND target_ref IN"""
REFERRERS = """
SELECT r.id, o.type, r.target FROM refs r JOIN objects o ON o.source = r.source AND o.id = r.id
WHERE r.source = :source AND """
FORGET_RUNS = """
DELETE FROM runs WHERE started < :before AND number NOT IN (SELECT max(number) FROM runs
  GROUP BY pipeline)
"""
REFERRERS_OF_SOME = """
SELECT r.id, o.type FROM refs r JOIN objects o ON o.source = r.source AND o.id = r.id
WHERE r.source = :source AND r.target IN (SELECT value FROM json_each(:targets))
  AND r.id NOT LIKE :without LIMIT :most
"""
REFERRERS_OF_ONE = """
SELECT r.id, o.type FROM refs r JOIN objects o ON o.source = r.source AND o.id = r.id
WHERE r.source = :source AND r.target = :target AND r.id > :after
  AND r.id NOT LIKE :without ORDER BY r.id LIMIT :most
"""
TARGETS = (
    "SELECT id, target FROM refs WHERE source = :source AND target > :low AND "
    "target < :high AND id IN"
)
LINK_ENDS = "SELECT id, source_ref, target_ref FROM links WHERE source = :source AND id IN"
# packed bytes count as well: a thousand as one object
SIZES = """
SELECT o.id, (SELECT count(*) + coalesce(sum(length(m.body)), 0) / 1000 FROM refs r LEFT
  JOIN objects m
  ON m.source = r.source AND m.id = r.target WHERE r.source = o.source AND r.id = o.id)
FROM objects o WHERE o.source = :source AND o.id IN"""
BURY = """
INSERT INTO dead (pipeline, id, error, since, seq)
SELECT :pipeline, id, :error, :since, seq FROM objects WHERE source = :source AND id = :id
ON CONFLICT (pipeline, id) DO UPDATE
  SET error = excluded.error, since = excluded.since, seq = excluded.seq, settled = 0
"""
DEAD_ENTRIES = """
SELECT source, digest, path, reason, collection FROM rejects WHERE settled <= :settled
  ORDER BY source, seq, digest
"""
DEAD_OBJECTS = """
SELECT pipeline, id, error, since FROM dead d WHERE settled <= :settled
AND EXISTS (SELECT 1 FROM objects o WHERE o.id = d.id AND o.seq = d.seq) ORDER BY pipeline, id
"""
DEAD_EVENTS = """
SELECT d.sink, d.event, d.state, d.info, d.updated,
  (SELECT n.target FROM notes n WHERE n.sink = d.sink AND n.event = d.event
  ORDER BY n.number LIMIT 1) AS note
FROM deliveries d WHERE settled <= :settled AND d.state IN (SELECT value FROM json_each(:states))
ORDER BY d.sink, d.event
"""
IDS_MATCHING = r"""
SELECT id FROM objects WHERE id = :text
UNION SELECT id FROM elements WHERE value IN (:text, :lower) OR uuid = :lower
UNION SELECT id FROM elements WHERE type LIKE '%|%' AND (value LIKE :first ESCAPE '\'
  OR value LIKE :second ESCAPE '\')
UNION SELECT id FROM placements WHERE event = :lower
UNION SELECT p.id FROM aliases a JOIN placements p ON p.event = a.event WHERE a.uuid = :lower
"""
ELEMENTS_OF_OBJECT = """
SELECT uuid, kind, type, value FROM elements
  WHERE pipeline = :pipeline AND event = :event AND id = :id ORDER BY uuid
"""
SHARED_VALUES = """
SELECT value, group_concat(DISTINCT type) AS types, group_concat(DISTINCT pipeline) AS pipelines,
  count(DISTINCT event) AS events
FROM elements GROUP BY value HAVING count(DISTINCT pipeline) >= :least
ORDER BY count(DISTINCT pipeline) DESC, value
"""
COMMON_COUNTS = """
WITH pairs AS (SELECT DISTINCT pipeline, value FROM elements),
  sizes AS (SELECT pipeline, count(*) AS size FROM pairs GROUP BY pipeline)
SELECT a.pipeline AS one, b.pipeline AS other, count(*) AS common, s.size AS of_one,
  t.size AS of_other
FROM pairs a JOIN pairs b ON a.value = b.value AND a.pipeline < b.pipeline
JOIN sizes s ON s.pipeline = a.pipeline JOIN sizes t ON t.pipeline = b.pipeline
GROUP BY a.pipeline, b.pipeline ORDER BY common DESC
"""
RUNS_THAT_BROUGHT = """
SELECT number, started, seq_after - seq_before AS objects,
  EXISTS (SELECT 1 FROM undone u WHERE u.run = runs.number) AS undone
FROM runs
WHERE pipeline = :pipeline AND seq_after > seq_before ORDER BY number DESC LIMIT 10
"""
