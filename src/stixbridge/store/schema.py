"""The tables of the store, one schema for every database SQLAlchemy Core knows.

SQLite is what is run today.

Times are microseconds since 1970, UTC. Bodies are JSON under zlib.

An index that leads to an id also has what is asked for with it: else SQLite takes the primary key,
which has all of that, by its first column alone, and reads half of the table.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

VERSION = 8

metadata = MetaData()

meta = Table(
    "meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)

# The newest version of each object of each source. `seq` grows with every change; the progress of a
# pipeline is a seq.
objects = Table(
    "objects",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("date_added", BigInteger),
    Column("valid_until", BigInteger),
    Column("seq", BigInteger, nullable=False),
    # the seq of this version before an undo restored it
    Column("brought", BigInteger),
    # when a manifest first lacked it
    Column("vanished", BigInteger),
    # the answer with this content: its collection, and the latest time at which the server got it
    Column("collection", Text),
    Column("copy_added", BigInteger),
    Index("objects_seq", "source", "seq"),
    Index(
        "objects_valid_until", "source", "valid_until", sqlite_where=text("valid_until IS NOT NULL")
    ),
)

# Contents of one version that were compared, so that an earlier content does not return.
copies = Table(
    "copies",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("collection", Text, nullable=False),
    Column("added", BigInteger),
)

# Facts about the server of a source, as JSON: requested waits, page sizes, accepted formats.
source_facts = Table(
    "source_facts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# References: `id` refers to `target`. Finds the reports, relationships and sightings of an object.
refs = Table(
    "refs",
    metadata,
    Column("source", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Index("refs_id", "source", "id", "target"),
    sqlite_with_rowid=False,
)

# The ends of each relationship. Finds the relationship between two objects with many others.
links = Table(
    "links",
    metadata,
    Column("source", Text, primary_key=True),
    Column("source_ref", Text, primary_key=True),
    Column("target_ref", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Index("links_id", "source", "id"),
    sqlite_with_rowid=False,
)

# Entries that are no usable object, each once. `settled`: 1 by a person, 2 to be told anew when it
# comes again; no row is ever removed, since `seq` must only grow.
rejects = Table(
    "rejects",
    metadata,
    Column("source", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("id", Text),
    Column("path", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("properties", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("settled", Integer, nullable=False, server_default="0"),
    Index("rejects_seq", "source", "seq"),
)

# Received pages. The watermark moves in the transaction that stores the page.
pages = Table(
    "pages",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("last_added", Text),
)

# The version before the stored one, and undone versions, which are not stored again.
previous = Table(
    "previous",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    # its seq; 0 if that is unknown
    Column("seq", BigInteger, nullable=False, server_default="0"),
)
undone = Table(
    "undone",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("run", Integer, nullable=False),
)

# Values that analysts found to be harmless, for all feeds.
suppressed = Table(
    "suppressed",
    metadata,
    Column("value", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    # removed from the list; the row stays, so that the pipelines notice it
    Column("removed", BigInteger),
    # grows with every change of the list
    Column("seq", BigInteger, nullable=False, server_default="0"),
)

# The time of the last request for false positives to each sink.
looks = Table(
    "looks",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
)

# The collections of a server, so that not every poll requests them.
offers = Table(
    "offers",
    metadata,
    Column("source", Text, primary_key=True),
    Column("settings", Text, nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("collections", LargeBinary, nullable=False),
)

# For each source: the last comparison with manifests, and the seq of the last reference request.
checks = Table(
    "checks",
    metadata,
    Column("source", Text, primary_key=True),
    Column("checked", BigInteger, nullable=False, server_default="0"),
    Column("asked", BigInteger, nullable=False, server_default="0"),
)

# Referenced ids that the server did not have.
absent = Table(
    "absent",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
)

# The entries of a manifest, during a comparison.
listed = Table(
    "listed",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    Column("collection", Text, primary_key=True),
    Column("title", Text, nullable=False, default=""),
    Column("watermark", Text),
    Column("polled", BigInteger),
    Column("error", Text),
)

progress = Table(
    "progress",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    # the seq of the suppression list that was applied last
    Column("heard", BigInteger, nullable=False, server_default="0"),
)

# The objects in each event of a pipeline.
placements = Table(
    "placements",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("collecting", Integer, nullable=False),
    Column("day", Text, nullable=False, default=""),
    Index("placements_id", "pipeline", "id", "event"),
)

# The values in the events, for `find` and to merge equal values of different polls.
elements = Table(
    "elements",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("uuid", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("value", Text, nullable=False),
    Index("elements_value", "value", "pipeline", "kind", "event", "id"),
    Index("elements_uuid", "uuid"),
    Index("elements_id", "id"),
)

# Events as pipelines want them (`envelopes.Wanted`); several pipelines may want one event.
wanted = Table(
    "wanted",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("pipeline", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

# Delivered events (`envelopes.Delivered`). `state` is one of `stixbridge.sinks.base.State`.
deliveries = Table(
    "deliveries",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("info", Text, nullable=False),
    Column("published", Integer, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("settled", Integer, nullable=False, server_default="0"),
    # edits that were begun since then (`envelopes.Edit`); parts of them may have arrived
    Column("intent", LargeBinary),
    Index("deliveries_state", "sink", "state", "event"),
    Index("deliveries_event", "event", "state"),
)

# Other events in a sink that carry an event: adopted or extending events, and parts of split ones.
aliases = Table(
    "aliases",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("uuid", Text, primary_key=True),
    Column("event", Text, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("sink", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("id", Text),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("target", Text),
    Index("notes_event", "sink", "event"),
)

# Answers of modules, so that they are not queried again for the same value.
answers = Table(
    "answers",
    metadata,
    Column("question", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Objects that the conversion fails on because of a fault; excluded until a person decides.
dead = Table(
    "dead",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("error", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    # the version of the object that was excluded; a newer one is tried
    Column("seq", BigInteger, nullable=False),
    Column("settled", Integer, nullable=False, server_default="0"),
)

runs = Table(
    "runs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("summary", Text),
    Column("source", Text),
    # the objects of its poll: seqs above the first, up to the second (empty during the poll)
    Column("seq_before", BigInteger),
    Column("seq_after", BigInteger),
)
