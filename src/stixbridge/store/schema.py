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

# The newest version of each object of each source. `seq` grows with every change: a pipeline has
# done all up to a seq.
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
    # the seq that this version had before an undo put it back
    Column("brought", BigInteger),
    # when a manifest no longer had it
    Column("vanished", BigInteger),
    # the answer that this content came in: the collection, and when the server got the object at
    # the latest
    Column("collection", Text),
    Column("copy_added", BigInteger),
    Index("objects_seq", "source", "seq"),
    Index(
        "objects_valid_until", "source", "valid_until", sqlite_where=text("valid_until IS NOT NULL")
    ),
)

# Contents of one version that were compared: one that was answered before does not come back by
# itself.
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

# What was learned of a source's server, as JSON: waits that it asked for, page sizes and forms that
# it takes.
source_facts = Table(
    "source_facts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Who refers to whom: `id` refers to `target`. Finds the reports, relationships and sightings of an
# object.
refs = Table(
    "refs",
    metadata,
    Column("source", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Index("refs_id", "source", "id", "target"),
    sqlite_with_rowid=False,
)

# The ends of each relationship: finds what joins two objects that many others are joined to.
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

# Pages as they came; the watermark moves in the transaction that stores the page.
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

# The version before the stored one; and versions that were taken back, which do not come in again.
previous = Table(
    "previous",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    # the seq that it had; 0 where that is not known
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

# Values that analysts found to be harmless, whichever feed says them.
suppressed = Table(
    "suppressed",
    metadata,
    Column("value", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    # taken off the list again; the row stays, so that the pipelines see it
    Column("removed", BigInteger),
    # grows with every change of the list
    Column("seq", BigInteger, nullable=False, server_default="0"),
)

# When a sink was asked last for what analysts there marked as false positives.
looks = Table(
    "looks",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
)

# What a server offers, so that not every poll asks for it.
offers = Table(
    "offers",
    metadata,
    Column("source", Text, primary_key=True),
    Column("settings", Text, nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("collections", LargeBinary, nullable=False),
)

# Of each source: when its manifests were compared last, and up to which seq missing references were
# asked for.
checks = Table(
    "checks",
    metadata,
    Column("source", Text, primary_key=True),
    Column("checked", BigInteger, nullable=False, server_default="0"),
    Column("asked", BigInteger, nullable=False, server_default="0"),
)

# Ids that something refers to and the server did not have when it was asked.
absent = Table(
    "absent",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
)

# What a manifest lists, while it is compared.
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
    # seq of the suppression list up to which it has been applied
    Column("heard", BigInteger, nullable=False, server_default="0"),
)

# Which object is in which event of a pipeline.
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

# The values in the events: for `find`, and to bring equal values of different polls together.
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

# How each pipeline wants an event to be (`envelopes.Wanted`); several may want parts of one event.
wanted = Table(
    "wanted",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("pipeline", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

# Events as they were delivered (`envelopes.Delivered`). `state` is one of
# `stixbridge.sinks.base.State`.
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
    # edits that were begun since (`envelopes.Edit`): the parts of them that arrived are ours too
    Column("intent", LargeBinary),
    Index("deliveries_state", "sink", "state", "event"),
    Index("deliveries_event", "event", "state"),
)

# Further events of a sink that carry one: of somebody else and taken over, extending that, or its
# other parts.
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

# What modules answered, so that they are not asked again for the same.
answers = Table(
    "answers",
    metadata,
    Column("question", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Objects that no conversion gets through, by an error of ours; left out until a person decides.
dead = Table(
    "dead",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("error", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    # of the object when it was put aside: a newer version is tried
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
    # what its poll brought: the objects with a seq above the first, up to the second; no second
    # while it polls
    Column("seq_before", BigInteger),
    Column("seq_after", BigInteger),
)
