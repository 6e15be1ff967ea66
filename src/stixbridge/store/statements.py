"""The statements of the store: named, and the same for every database."""

OBJECT_COLUMNS = ("source", "id", "type", "version", "digest", "body", "date_added", "valid_until", "seq")
LAST_SEQ = """
SELECT max(
  (SELECT coalesce(max(seq), 0) FROM objects WHERE source = :source),
  (SELECT coalesce(max(seq), 0) FROM rejects WHERE source = :source))
"""
UPSERT_OBJECT = """
INSERT INTO objects (source, id, type, version, digest, body, date_added, valid_until, seq)
VALUES (:source, :id, :type, :version, :digest, :body, :date_added, :valid_until, :seq)
ON CONFLICT (source, id) DO UPDATE SET
  type = excluded.type, version = excluded.version, digest = excluded.digest, body = excluded.body,
  date_added = coalesce(objects.date_added, excluded.date_added), valid_until = excluded.valid_until, seq = excluded.seq
"""
INSERT_REF = "INSERT INTO refs (source, target, id) VALUES (:source, :target, :id) ON CONFLICT DO NOTHING"
INSERT_LINK = """
INSERT INTO links (source, source_ref, target_ref, id) VALUES (:source, :source_ref, :target_ref, :id)
ON CONFLICT DO NOTHING
"""
UPSERT_ANSWER = """
INSERT INTO answers (question, asked, body) VALUES (:question, :asked, :body)
ON CONFLICT (question) DO UPDATE SET asked = excluded.asked, body = excluded.body
"""
INSERT_REJECT = """
INSERT INTO rejects (source, digest, id, path, reason, collection, properties, seq)
VALUES (:source, :digest, :id, :path, :reason, :collection, :properties, :seq) ON CONFLICT DO NOTHING
"""
INSERT_PAGE = """
INSERT INTO pages (source, collection, received, entries, changed, last_added)
VALUES (:source, :collection, :received, :entries, :changed, :last_added)
"""
UPSERT_CURSOR = """
INSERT INTO cursors (source, collection, title, watermark, polled, error)
VALUES (:source, :collection, :title, :watermark, :polled, NULL)
ON CONFLICT (source, collection) DO UPDATE SET
  watermark = coalesce(excluded.watermark, cursors.watermark), polled = excluded.polled, error = NULL,
  title = excluded.title
"""
UPSERT_POLL = """
INSERT INTO cursors (source, collection, title, watermark, polled, error)
VALUES (:source, :collection, :title, NULL, :polled, :error)
ON CONFLICT (source, collection) DO UPDATE SET polled = excluded.polled, error = excluded.error
"""
UPSERT_PROGRESS = """
INSERT INTO progress (pipeline, seq, expiry) VALUES (:pipeline, :seq, :expiry)
ON CONFLICT (pipeline) DO UPDATE SET seq = excluded.seq, expiry = excluded.expiry
"""
INSERT_PLACEMENT = """
INSERT INTO placements (pipeline, event, id, collecting, day) VALUES (:pipeline, :event, :id, :collecting, :day)
"""
INSERT_ELEMENT = """
INSERT INTO elements (pipeline, event, uuid, id, kind, type, value)
VALUES (:pipeline, :event, :uuid, :id, :kind, :type, :value) ON CONFLICT DO NOTHING
"""
UPSERT_WANTED = """
INSERT INTO wanted (sink, event, pipeline, body) VALUES (:sink, :event, :pipeline, :body)
ON CONFLICT (sink, event, pipeline) DO UPDATE SET body = excluded.body
"""
UPSERT_DELIVERY = """
INSERT INTO deliveries (sink, event, state, digest, body, info, published, updated)
VALUES (:sink, :event, :state, :digest, :body, :info, :published, :updated)
ON CONFLICT (sink, event) DO UPDATE SET
  state = excluded.state, digest = excluded.digest, body = excluded.body, info = excluded.info,
  published = excluded.published, updated = excluded.updated
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
