"""The store: a page and its watermark are one transaction, the newest version wins, and a store
that can't be used.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from helpers.bridge import Bridge, actions
from helpers.delivering import derived, event
from helpers.paths import TESTS
from helpers.pull import NOW
from servers.reading import ADDRESS, INDICATORS, Stix, ids, indicator

import stixbridge.store.database
from stixbridge import times
from stixbridge.cli import main
from stixbridge.envelopes import (
    Adoption,
    AnalystDataChange,
    Delivered,
    Edit,
    Split,
    Wanted,
)
from stixbridge.errors import StoreError
from stixbridge.ledger import Reason
from stixbridge.stix.reader import Entry
from stixbridge.store import Store
from stixbridge.store.codec import unpack
from stixbridge.store.deliveries import DeliveryRow
from stixbridge.store.inbox import PageCount
from stixbridge.store.schema import VERSION, metadata

MOMENT = times.microseconds(NOW) or 0
OLD, NEW, NEWEST = (f"2026-01-0{day}T00:00:00.000Z" for day in (1, 2, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stixbridge.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store(path)
    yield made
    made.close()


def entries(objects: list[Stix]) -> list[Entry]:
    return [
        Entry(f"$.objects[{number}]", item, id=item["id"]) for number, item in enumerate(objects)
    ]


def add(
    store: Store, *objects: Stix | Entry, source: str = "acme", collection: str = "c", **more: Any
) -> PageCount:
    given = [item if isinstance(item, Entry) else entries([item])[0] for item in objects]
    settings = {"watermark": None, "date_added": None, "received": MOMENT, **more}
    return store.inbox.add_page(source, collection, given, **settings)


def held(store: Store, id: str) -> Stix:
    return store.objects.load("acme", [id])[id][0]


def count(store: Store, table: str) -> int:
    return int(store.database.rows(f"SELECT count(*) AS number FROM {table}")[0]["number"])


# Pages


def test_a_page_is_stored_with_its_watermark(store: Store) -> None:
    brought = add(store, *INDICATORS, watermark="w1", date_added=5, title="Title")
    assert (brought.entries, brought.changed, brought.known) == (25, ids(INDICATORS), 0)
    assert store.sources.watermark("acme", "c") == "w1"
    assert store.objects.load("acme", ids(INDICATORS)) == {
        item["id"]: (item, 5) for item in INDICATORS
    }
    (page,) = store.database.rows(
        "SELECT source, collection, received, entries, changed, last_added FROM pages"
    )
    assert list(page.values()) == ["acme", "c", MOMENT, 25, 25, "w1"]
    (cursor,) = store.database.rows("SELECT title, polled, error FROM cursors")
    assert list(cursor.values()) == ["Title", MOMENT, None]


def test_a_page_without_a_watermark_leaves_the_old_one(store: Store) -> None:
    add(store, watermark="w1")
    add(store, indicator(1))
    assert store.sources.watermark("acme", "c") == "w1"
    assert store.sources.watermark("acme", "other") is store.sources.watermark("other", "c") is None


@pytest.mark.parametrize("table", ["objects", "refs", "rejects", "pages", "cursors"])
def test_what_fails_half_way_leaves_nothing(store: Store, path: Path, table: str) -> None:
    """Wherever in the transaction: an insert that the database refuses stands for a crash at that
    point.
    """
    add(store, indicator(1, OLD), watermark="w1")
    before = {
        name: count(store, name) for name in ("objects", "refs", "rejects", "pages", "cursors")
    }
    with closing(sqlite3.connect(path)) as other:
        for kind in ("INSERT", "UPDATE"):
            other.execute(
                f"CREATE TRIGGER no{kind} BEFORE {kind} ON {table} BEGIN SELECT RAISE(ABORT, 'no "
                "room'); END"
            )
    page = [
        indicator(1, NEW),
        {**indicator(2), "created_by_ref": "identity--x"},
        Entry("$", None, Reason.NOT_STIX),
    ]
    with pytest.raises(StoreError, match="no room"):
        add(store, *page, watermark="w2")
    assert {name: count(store, name) for name in before} == before
    assert held(store, indicator(1)["id"])["modified"] == OLD
    assert store.sources.watermark("acme", "c") == "w1"
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TRIGGER noINSERT")
        other.execute("DROP TRIGGER noUPDATE")
    assert len(add(store, *page, watermark="w2").changed) == 2
    assert store.sources.watermark("acme", "c") == "w2"


def test_a_page_whose_reading_fails_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[Entry]:
        yield from entries(INDICATORS[:2])
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.inbox.add_page(
            "acme", "c", broken(), watermark="w1", date_added=None, received=MOMENT
        )
    assert (
        count(store, "objects"),
        count(store, "pages"),
        store.sources.watermark("acme", "c"),
    ) == (
        0,
        0,
        None,
    )


def test_another_connection_sees_the_page_and_the_watermark_together(
    store: Store, path: Path
) -> None:
    """What is committed is in the file, for the next process."""
    add(store, *INDICATORS, watermark="w1")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM objects").fetchone() == (25,)
        assert other.execute("SELECT watermark FROM cursors").fetchone() == ("w1",)


# Versions


def test_known_objects_change_nothing(store: Store) -> None:
    add(store, *INDICATORS, ADDRESS, watermark="w1", date_added=5)
    seq, before = (
        store.objects.last_seq("acme"),
        store.database.rows("SELECT * FROM objects ORDER BY id"),
    )
    again = add(store, *INDICATORS, ADDRESS, watermark="w1", date_added=9)
    assert (again.entries, again.changed, again.known, again.superseded) == (26, [], 26, [])
    assert store.objects.last_seq("acme") == seq
    assert store.database.rows("SELECT * FROM objects ORDER BY id") == before
    assert store.objects.changed("acme", seq) == []


@pytest.mark.parametrize("together", [True, False], ids=["one page", "a page each"])
@pytest.mark.parametrize("order", [(OLD, NEW, NEWEST), (NEWEST, NEW, OLD), (NEW, NEWEST, OLD)])
def test_the_newest_version_wins_in_whatever_order(
    store: Store, order: tuple[str, ...], together: bool
) -> None:
    versions = [indicator(1, moment) for moment in order]
    pages = [versions] if together else [[version] for version in versions]
    brought = [add(store, *page) for page in pages]
    assert held(store, indicator(1)["id"]) == indicator(1, NEWEST)
    assert (count(store, "objects"), sum(page.entries for page in brought)) == (1, 3)
    for page in brought:
        assert page.entries == len(page.changed) + page.known + len(page.superseded) + page.rejected


def test_an_older_version_is_ignored_and_said(store: Store) -> None:
    add(store, indicator(1, NEW))
    seq = store.objects.last_seq("acme")
    older = add(store, indicator(1, OLD))
    assert (older.changed, older.known) == ([], 0)
    assert older.superseded == [(indicator(1)["id"], len(indicator(1)))]
    assert (store.objects.last_seq("acme"), held(store, indicator(1)["id"])["modified"]) == (
        seq,
        NEW,
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z"),
        ("2026-01-01T00:00:00.9Z", "2026-01-01T00:00:00.91Z"),
        ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:01Z"),
        ("9999-12-30T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ("never", "1970-01-01T00:00:01Z"),
    ],
)
def test_versions_are_compared_as_times(store: Store, older: str, newer: str) -> None:
    one = {key: value for key, value in indicator(1).items() if key != "created"}
    for order in ((older, newer), (newer, older)):
        for moment in order:
            add(store, {**one, "modified": moment}, source="-".join(order))
        assert store.objects.load("-".join(order), [one["id"]])[one["id"]][0]["modified"] == newer


def test_one_version_with_two_contents_of_two_collections_ends_the_same_in_whatever_order(
    store: Store,
) -> None:
    contents = {"x": {**indicator(1), "name": "one"}, "y": {**indicator(1), "name": "other"}}
    for source, order in (("a", "xy"), ("b", "yx")):
        for collection in order:
            add(store, contents[collection], source=source, collection=collection)
    id_ = indicator(1)["id"]
    assert store.objects.load("a", [id_])[id_] == store.objects.load("b", [id_])[id_]


def test_the_same_object_twice_on_a_page_is_no_older_version(store: Store) -> None:
    twice = add(store, indicator(1), indicator(1))
    assert (twice.entries, len(twice.changed), twice.known, twice.superseded) == (2, 1, 1, [])


def test_the_order_of_properties_is_no_difference(store: Store) -> None:
    add(store, indicator(1))
    assert add(store, dict(reversed(indicator(1).items()))).known == 1


def test_sources_do_not_mix(store: Store) -> None:
    add(store, indicator(1, NEW), source="a")
    assert add(store, indicator(1, OLD), source="b").changed == [indicator(1)["id"]]
    assert (store.objects.last_seq("a"), store.objects.last_seq("b")) == (1, 1)
    add(store, indicator(2), source="b")
    assert (store.objects.last_seq("a"), store.objects.last_seq("b")) == (1, 2)


def test_more_objects_than_a_statement_takes(store: Store) -> None:
    many = [indicator(number) for number in range(2300)]
    assert len(add(store, *many).changed) == 2300
    assert add(store, *many).known == 2300
    assert len(store.objects.load("acme", [*ids(many), "indicator--none"])) == 2300


def test_references_follow_the_newest_version(store: Store) -> None:
    one, two = (
        {**indicator(1, moment), "created_by_ref": f"identity--{moment}"} for moment in (OLD, NEW)
    )
    add(store, one)
    add(store, two)
    assert store.objects.referrers("acme", [f"identity--{OLD}"]) == []
    assert store.objects.referrers("acme", [f"identity--{NEW}"]) == [
        (one["id"], "indicator", f"identity--{NEW}")
    ]


# Bad entries


def test_bad_entries_are_kept_once(store: Store) -> None:
    wrong = [
        Entry("$.objects[0]", None, Reason.NOT_STIX, None, 3),
        Entry("$.objects[1]", None, Reason.INVALID_OBJECT, "indicator--x y", 4),
    ]
    assert add(store, *wrong, indicator(1)).rejected == 2
    seq = store.objects.last_seq("acme")
    assert {entry.id for entry in store.objects.rejected("acme", 0)} == {None, "indicator--x y"}
    assert add(store, *wrong, indicator(1)).rejected == 0
    assert (store.objects.last_seq("acme"), store.objects.rejected("acme", seq)) == (seq, [])


def test_bad_entries_at_one_place_of_two_pages_are_two(store: Store) -> None:
    """Nothing is dropped in silence: another page's third entry is another entry."""
    first = add(store, Entry("$.objects[2]", None, Reason.NOT_STIX, None, 3), watermark="w1")
    second = add(store, Entry("$.objects[2]", None, Reason.NOT_STIX, None, 7), watermark="w2")
    assert (first.rejected, second.rejected, len(store.objects.rejected("acme", 0))) == (1, 1, 2)


# A store that can't be used


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long stores would wait for a lock; here they wait for a moment only."""
    asked: list[float] = []
    make = sqlalchemy.create_engine

    def hasty(url: Any, **settings: Any) -> sqlalchemy.Engine:
        asked.append(settings["connect_args"]["timeout"])
        return make(
            url, **{**settings, "connect_args": {**settings["connect_args"], "timeout": 0.05}}
        )

    monkeypatch.setattr(stixbridge.store.database, "create_engine", hasty)
    return asked


def locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_locked_store_is_a_clear_error_and_soon(path: Path, patient: list[float]) -> None:
    store = Store(path)
    add(store, indicator(1), watermark="w1")
    with closing(locked(path)):
        for attempt in (
            lambda: add(store, indicator(2), watermark="w2"),
            lambda: store.sources.watermark("acme", "c"),
            lambda: Store(path),
        ):
            with pytest.raises(
                StoreError, match=r"stixbridge\.db: database is locked; another process holds it"
            ):
                attempt()
    assert add(store, indicator(2), watermark="w2").changed == [indicator(2)["id"]]
    assert all(0 < wait <= 10 for wait in patient)
    store.close()


def test_a_new_file_that_is_locked(path: Path, patient: list[float]) -> None:
    with closing(locked(path)), pytest.raises(StoreError, match="locked"):
        Store(path)


def test_the_command_ends_with_2_on_a_locked_store(
    path: Path, patient: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "a.json").write_text("{}")
    (path.parent / "stixbridge.toml").write_text(
        f"""
        store.path = "{path}"
        sources.acme = {{type = "files", paths = ["{path.parent}/a.json"]}}
        sinks.out = {{type = "files", path = "{path.parent}/out"}}
        pipelines.acme = {{source = "acme", sinks = ["out"]}}
        """
    )
    Store(path).close()
    with closing(locked(path)):
        for command in ("run", "status"):
            assert main([command, "-c", str(path.parent / "stixbridge.toml")]) == 2
            shown = capsys.readouterr().err
            assert "database is locked" in shown
            assert "Traceback" not in shown


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_every_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """As that version left it: a report of two indicators, a third, a relationship, and a bad
    entry, delivered.
    """
    path = tmp_path / "stixbridge.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript((TESTS / "schemas" / f"{version}.sql").read_text())
    store = Store(path)
    for name, table in metadata.tables.items():
        found = [
            row["name"]
            for row in store.database.rows(f"SELECT name FROM pragma_table_info('{name}')")
        ]
        assert sorted(found) == sorted(column.name for column in table.columns), name
    one, two = (f"indicator--00000000-0000-4000-8000-{number:012d}" for number in (1, 2))
    assert store.objects.joining("acme", [one, two]) == {
        "relationship--00000000-0000-4000-8000-000000000001"
    }
    assert store.database.rows("SELECT value FROM meta")[0]["value"] == str(VERSION)
    store.close()
    bridge = Bridge(tmp_path, {"out": {"type": "files", "path": str(tmp_path / "out")}})
    held = bridge.store.objects.load("acme", [one])[one][0]
    summary = bridge.poll({**held, "modified": "2026-01-06T00:00:00.000Z", "name": "renamed"})
    assert (summary.changed, sum(actions(summary).values())) == (1, 1)
    assert actions(bridge.run()) == {}
    bridge.close()


def test_fields_that_version_6_had_in_events_are_beside_them(tmp_path: Path) -> None:
    """It delivered events: left out, split, adopted, extended, edited, cut and clustered ones."""
    path = tmp_path / "stixbridge.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript((TESTS / "schemas" / "6.sql").read_text())
        fields = ("uuid", "info", "Attribute", "distribution")
        events = {
            row[0]: {name: unpack(row[1])[name] for name in fields}
            for row in old.execute("SELECT event, body FROM deliveries WHERE sink = 'misp'")
        }
    store = Store(path)
    rows = [store.deliveries.delivered("misp", uuid) for uuid in sorted(events)]
    wanted = [store.deliveries.wanted("misp", uuid)[0] for uuid in sorted(events)]
    store.close()
    of_misp = {*event("u"), "EventReport", "Tag"}
    for row, offer in zip(rows, wanted, strict=True):
        assert row is not None
        body = row.delivered.body
        assert {name: body[name] for name in fields} == events[str(body["uuid"])]
        assert body.keys() | offer.event.keys() <= of_misp
    left_out, split, adopted, extended, edited, cut, clustered = (
        row.delivered for row in rows if row is not None
    )
    own, theirs = (f"00000000-0000-4000-9000-{number:012d}" for number in (3, 30))
    assert (left_out.restricted, left_out.publish, left_out.sharing_group) == (
        True,
        False,
        "Partners",
    )
    assert (wanted[0].restricted, wanted[0].publish) == (True, False)
    assert wanted[0].sharing_group == "Partners"
    assert split.split is not None
    assert (sorted(split.split.numbers.values()), split.split.deleted) == ([1, 2], {1})
    assert adopted.adopted is not None
    assert (adopted.adopted.policy, adopted.adopted.event) == ("adopt", theirs)
    assert (adopted.adopted.distribution, adopted.adopted.published) == ("1", False)
    assert adopted.adopted.uuids == {
        derived(own, "ip-dst", "198.51.100.1"): derived(theirs, "ip-dst", "198.51.100.1")
    }
    assert extended.adopted == Adoption("extend")
    assert list(edited.analyst_kept.values()) == [{"comment": ""}]
    assert len(edited.deleted_by_analyst) == 1
    assert list(edited.stored_values.values()) == ["evil.example"]
    (edit,) = rows[5].edits if rows[5] is not None else ()
    (change,) = edit.analyst_data
    assert (edit.publish_pending, change.kind, change.fields) == (True, "Note", {"note": "second"})
    assert edit.body == {
        "Attribute": [{"uuid": cut.body["Attribute"][0]["uuid"], "comment": "new"}]
    }
    assert [row["value"] for row in clustered.clusters] == ["Rusty Bear"]
    assert wanted[6].clusters == clustered.clusters


def test_an_event_in_a_form_of_a_newer_version_is_an_error(store: Store) -> None:
    store.deliveries.want("out", "u", "acme", Wanted({"uuid": "u"}))
    store.database.execute("UPDATE wanted SET body = :body", body=b'{"envelope": 2, "event": {}}')
    with pytest.raises(StoreError, match="form 2, and this stixbridge reads 1; update stixbridge"):
        store.deliveries.wanted("out", "u")


def test_envelopes_come_back_as_they_were_stored(store: Store) -> None:
    event = {"uuid": "u", "info": "i", "Attribute": []}
    offers = [
        Wanted(event),
        Wanted(event, True, [{"uuid": "c"}], publish=False, sharing_group="g"),
        Wanted(event, publish=True),
    ]
    for wanted in offers:
        (found,) = store.deliveries.want("out", "u", "acme", wanted)
        assert (found.event, list(found.clusters)) == (wanted.event, list(wanted.clusters))
        assert (found.restricted, found.publish) == (wanted.restricted, wanted.publish)
        assert (found.sharing_group, found.fields()) == (wanted.sharing_group, wanted.fields())
    adoption = Adoption("adopt", "t", {"a": "b"}, True, "4", "7", True)
    split = Split({"a": 1}, {1: {"Tag": None}}, frozenset({2}))
    for delivered in (
        Delivered({}),
        Delivered(event, adopted=Adoption("extend"), split=Split()),
        Delivered(
            event, True, [{"uuid": "c"}], False, "g", adoption, split,
            {"a": {"comment": ""}}, frozenset({"x"}), {"a": "v"},
        ),
    ):  # fmt: skip
        store.deliveries.set_delivered("out", "u", DeliveryRow("delivered", delivered), moment=1)
        row = store.deliveries.delivered("out", "u")
        assert row is not None
        assert (row.delivered.body, row.delivered.split) == (delivered.body, delivered.split)
        assert row.delivered.as_wanted().fields() == delivered.as_wanted().fields()
        assert row.delivered.adopted == delivered.adopted
        assert row.delivered.analyst_kept == delivered.analyst_kept
        assert row.delivered.deleted_by_analyst == delivered.deleted_by_analyst
        assert row.delivered.stored_values == delivered.stored_values
    edits = (
        Edit(publish_pending=True),
        Edit({"info": "x"}, False, (AnalystDataChange("Note", "n", None),)),
    )
    store.deliveries.begin_edits("out", "u", edits)
    row = store.deliveries.delivered("out", "u")
    assert row is not None and (row.edits, row.state) == (edits, "waiting")


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        other.execute("INSERT INTO meta VALUES ('version', '99')")
        other.commit()
    with pytest.raises(
        StoreError, match=r"made by a newer stixbridge \(schema 99, .*update stixbridge"
    ):
        Store(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [
            ("meta",)
        ]


@pytest.mark.parametrize("version", ["", "one", "1.5"])
def test_a_version_that_is_none_is_a_clear_error(path: Path, version: str) -> None:
    Store(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
        other.commit()
    with pytest.raises(StoreError, match=r"stixbridge\.db"):
        Store(path)


@pytest.mark.parametrize(
    "content",
    [b"not a database, but text of some length " * 200, b"SQLite format 3\x00" + b"\xff" * 4096],
)
def test_a_file_that_is_no_store(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"stixbridge\.db"):
        Store(path)
    assert path.read_bytes() == content


def test_paths_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist; make it"):
        Store(tmp_path / "none" / "x.db")
    with pytest.raises(StoreError):
        Store(tmp_path)
    with pytest.raises(StoreError, match="PostgreSQL is not supported yet"):
        Store("postgresql://host/x")


@pytest.mark.parametrize(
    "name", ["a b.db", "what?.db", "100%.db", "%41.db", "a#b.db", "ü.db", "a:b@c.db"]
)
def test_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    add(store, indicator(1), watermark="w1")
    assert (tmp_path / name).is_file()
    copy = store.copy_to(tmp_path / f"copy {name}")
    assert copy.sources.watermark("acme", "c") == "w1"
    copy.close()
    store.close()
    assert all(name in file.name for file in tmp_path.iterdir())


def test_a_copy_is_whole_and_apart(store: Store, tmp_path: Path) -> None:
    add(store, *INDICATORS, watermark="w1")
    copy = store.copy_to(tmp_path / "copy.db")
    add(copy, indicator(99), watermark="w2")
    assert (
        count(copy, "objects"),
        count(store, "objects"),
        store.sources.watermark("acme", "c"),
    ) == (
        26,
        25,
        "w1",
    )
    copy.close()


def test_a_store_opened_again_goes_on(path: Path) -> None:
    first = Store(path)
    add(first, indicator(1), watermark="w1")
    first.close()
    second = Store(path)
    assert (second.sources.watermark("acme", "c"), second.objects.last_seq("acme")) == ("w1", 1)
    add(second, indicator(2))
    assert second.objects.changed("acme", 1) == [indicator(2)["id"]]
    second.close()
