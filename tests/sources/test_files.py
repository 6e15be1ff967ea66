"""Files, folders, globs and standard input as a source: every shape, and one bad thing never takes
its neighbours.
"""

import gzip
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.pull import NOW
from servers.reading import EVERYTHING, Stix, ids

import stixbridge.sources.files
import stixbridge.stix.reader
from stixbridge import times
from stixbridge.cli import main
from stixbridge.errors import InputError
from stixbridge.ledger import Reason
from stixbridge.pipeline.make import Maker
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.summary import Summary
from stixbridge.sources import files
from stixbridge.sources.files import Files, Input, expand, read
from stixbridge.stix.reader import Document
from stixbridge.store import Store

OBJECTS = EVERYTHING[:4]
IDS = ids(OBJECTS)
BUNDLE = {
    "type": "bundle",
    "id": "bundle--00000000-0000-4000-8000-000000000001",
    "objects": OBJECTS,
}


def packed(value: Any) -> bytes:
    return json.dumps(value).encode()


def lines(values: list[Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(value) + end for value in values).encode()


def good(document: Document) -> list[str]:
    return [entry.obj["id"] for entry in document.entries if entry.obj]


def bad(document: Document) -> list[tuple[str, str | None]]:
    return [(entry.path, entry.reason) for entry in document.entries if not entry.obj]


SHAPES: dict[str, bytes] = {
    "bundle": packed(BUNDLE),
    "indented": json.dumps(BUNDLE, indent=2).encode(),
    "bundle of 2.0": packed({**BUNDLE, "spec_version": "2.0"}),
    "envelope": packed({"more": False, "objects": OBJECTS}),
    "envelope with next": packed({"objects": OBJECTS, "more": True, "next": "x"}),
    "list": packed(OBJECTS),
    "list of bundles": packed(
        [{**BUNDLE, "objects": OBJECTS[:2]}, {**BUNDLE, "objects": OBJECTS[2:]}]
    ),
    "bundle and object": packed([{**BUNDLE, "objects": OBJECTS[:3]}, OBJECTS[3]]),
    "lines": lines(OBJECTS),
    "lines with returns": lines(OBJECTS, "\r\n"),
    "lines with gaps": b"\n\n" + lines(OBJECTS, "\n \n"),
    "lines of bundles": lines(
        [{**BUNDLE, "objects": OBJECTS[:2]}, {**BUNDLE, "objects": OBJECTS[2:]}]
    ),
    "lines of envelopes": lines([{"objects": OBJECTS[:2], "more": True}, {"objects": OBJECTS[2:]}]),
    "byte order mark": b"\xef\xbb\xbf" + packed(BUNDLE),
    "UTF-16": json.dumps(BUNDLE).encode("utf-16"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(tmp_path: Path, shape: str, zipped: bool) -> None:
    """Gzip is known by its content, so a name without `.gz` is good too."""
    path = tmp_path / "input.json"
    path.write_bytes(gzip.compress(SHAPES[shape]) if zipped else SHAPES[shape])
    document = read(path)
    assert (good(document), bad(document)) == (IDS, [])


def test_a_single_object_and_one_on_a_line(tmp_path: Path) -> None:
    for content in (
        packed(OBJECTS[0]),
        lines(OBJECTS[:1]),
        json.dumps(OBJECTS[0], indent=1).encode(),
    ):
        (tmp_path / "one.json").write_bytes(content)
        assert good(read(tmp_path / "one.json")) == IDS[:1]


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b'{"objects": null}', b'{"objects": [], "more": false}']
)
def test_nothing_in_it_is_no_mistake(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.json").write_bytes(content)
    assert read(tmp_path / "empty.json").entries == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.INVALID_JSON),
        (b"  \n ", Reason.INVALID_JSON),
        (b"<html>", Reason.INVALID_JSON),
        (b"{'type': 'bundle'}", Reason.INVALID_JSON),
        (b"\xff\xff\x00", Reason.INVALID_JSON),
        (b"[" * 100_000, Reason.INVALID_JSON),
        (json.dumps(BUNDLE, indent=2).encode()[:-40], Reason.INVALID_JSON),
        (packed(BUNDLE)[:-40], Reason.INVALID_JSON),
        (gzip.compress(packed(BUNDLE))[:-40], Reason.INVALID_JSON),
        (b"\x1f\x8b but no gzip", Reason.INVALID_JSON),
        (b"5", Reason.NOT_STIX),
        (b'"text"', Reason.NOT_STIX),
        (b"null", Reason.NOT_STIX),
        (b'{"name": "no type"}', Reason.NOT_STIX),
        (b'{"type": "bundle", "objects": 5}', Reason.NOT_STIX),
        (b'{"type": "indicator"}', Reason.INVALID_OBJECT),
    ],
)
def test_what_is_broken_is_one_entry_with_a_reason(
    tmp_path: Path, content: bytes, reason: Reason
) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    document = read(tmp_path / "broken.json")
    assert [(entry.obj, entry.reason) for entry in document.entries] == [(None, reason)]


def test_a_bad_entry_does_not_take_its_neighbours(tmp_path: Path) -> None:
    odd: list[Any] = [
        5,
        None,
        "text",
        [],
        {"id": "x"},
        {"type": "indicator", "id": "nothing"},
        {"type": 5, "id": "a--b"},
    ]
    for shape in (
        {**BUNDLE, "objects": [*OBJECTS[:2], *odd, *OBJECTS[2:]]},
        [*OBJECTS[:2], *odd, *OBJECTS[2:]],
    ):
        (tmp_path / "mixed.json").write_bytes(packed(shape))
        document = read(tmp_path / "mixed.json")
        assert good(document) == IDS
        assert [reason for _, reason in bad(document)] == [
            *[Reason.NOT_STIX] * 4, *[Reason.INVALID_OBJECT] * 3,
        ]  # fmt: skip
        assert bad(document)[0][0].endswith("[2]")


@pytest.mark.parametrize("at", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize("broken", ["{", '{"type": "indicator", "id"', "nonsense", "[1, 2", "\x00"])
def test_a_broken_line_does_not_take_its_neighbours(tmp_path: Path, broken: str, at: int) -> None:
    written = [json.dumps(item) for item in OBJECTS]
    written.insert(at, broken)
    (tmp_path / "lines.jsonl").write_text("\n".join(written))
    document = read(tmp_path / "lines.jsonl")
    assert good(document) == IDS
    assert bad(document) == [(f"$[{at}]", Reason.INVALID_JSON)]


@pytest.mark.parametrize("cut", range(30, len(lines(OBJECTS)), 97))
def test_lines_that_were_cut_give_what_came_whole(tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.jsonl").write_bytes(lines(OBJECTS)[:cut])
    whole = lines(OBJECTS)[:cut].count(b"\n")
    document = read(tmp_path / "cut.jsonl")
    assert good(document) == IDS[:whole]
    assert len(bad(document)) <= 1
    assert good(document) or bad(document)


def test_gzip_in_several_members(tmp_path: Path) -> None:
    path = tmp_path / "members.jsonl.gz"
    path.write_bytes(b"".join(gzip.compress(lines([item])) for item in OBJECTS))
    assert good(read(path)) == IDS


@pytest.mark.parametrize("members", [1, 2])
def test_a_gzip_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    monkeypatch.setattr(stixbridge.stix.reader, "MAX_BYTES", 10_000)
    bomb = gzip.compress(b" " * 100_000)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(bomb if members == 1 else gzip.compress(b"{}") + bomb)
    with pytest.raises(InputError, match=r"bomb\.json\.gz: unpacks to over 10,000 bytes"):
        read(path)


def test_a_file_over_the_limit_is_refused_by_the_reader_and_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stixbridge.sources.files, "MAX_BYTES", 1000)
    path = tmp_path / "large.jsonl"
    path.write_bytes(lines(OBJECTS))
    with pytest.raises(InputError, match=r"large\.jsonl: over 1,000 bytes"):
        read(path)
    source = Files([path])
    with pytest.raises(InputError, match=r"large\.jsonl: over 1,000 bytes"):
        list(source.pages(source.collections()[0], None))


# Names


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SHAPES["bundle"])
    return path


def test_a_folder_gives_its_stix_files_at_any_depth(tmp_path: Path) -> None:
    names = ["a.json", "b/c.JSON", "b/d.jsonl.gz", "b/e/f.stix2", "z.ndjson", "y.stix"]
    wanted = [touch(tmp_path / name) for name in names]
    for other in ("readme.txt", "b/notes.md", "gz", "a.json.bak"):
        touch(tmp_path / other)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert expand([tmp_path]) == sorted(wanted)


def test_globs_files_and_standard_input_each_once_and_in_order(tmp_path: Path) -> None:
    one, two, deep = (touch(tmp_path / name) for name in ("1.json", "2.json", "x/y/3.json"))
    odd = touch(tmp_path / "[brackets]*.txt")
    assert expand([tmp_path / "*.json"]) == [one, two]
    assert expand([f"{tmp_path}/**/*.json"]) == [one, two, deep]
    assert expand([two, "-", tmp_path / "*.json", "-", odd]) == [two, None, one, odd]


def test_a_relative_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in" / "a.json")
    monkeypatch.chdir(tmp_path)
    assert expand(["in/*.json"]) == expand(["in"]) == [Path("in/a.json")]


def test_all_names_that_mean_nothing_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        expand([tmp_path / "none.json", tmp_path / "empty", tmp_path / "*.none"])
    assert "none.json: no such file" in str(caught.value)
    assert "empty: the folder holds no STIX file" in str(caught.value)
    assert "*.none: matches no file" in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 500, "a\x00b"], ids=["long", "null"])
def test_a_name_that_no_file_can_have_is_a_clear_error(name: str) -> None:
    with pytest.raises(InputError):
        expand([name])


def test_a_file_that_goes_between_is_a_clear_error(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.json")
    source = Files([path])
    (collection,) = source.collections()
    path.unlink()
    for attempt in (lambda: list(source.pages(collection, None)), lambda: read(path)):
        with pytest.raises(InputError, match=r"a\.json: No such file"):
            attempt()


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize("shape", ["bundle", "lines", "list"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    for content in (SHAPES[shape], gzip.compress(SHAPES[shape])):
        stdin(monkeypatch, content)
        (path,) = expand(["-"])
        document = Input(path).document()
        assert (path, good(document), bad(document)) == (None, IDS, [])


def test_standard_input_over_the_limit_is_refused_and_not_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stixbridge.sources.files, "MAX_BYTES", 1000)
    stdin(monkeypatch, lines(OBJECTS))
    with pytest.raises(InputError, match="standard input: over 1,000 bytes"):
        read(None)


# Through the pipeline


class Bridge:
    """A pipeline without sinks that reads names into a store."""

    def __init__(self, folder: Path, *names: str | Path) -> None:
        self.store = Store(folder / "stixbridge.db")
        self._names = names

    def run(self) -> Summary:
        pipeline = Pipeline(
            Maker("pipeline", "acme", self.store), Files(self._names, name="acme"), []
        )
        return pipeline.run(times.microseconds(NOW))

    @property
    def ids(self) -> list[str]:
        return sorted(row["id"] for row in self.store.database.rows("SELECT id FROM objects"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def bridge(tmp_path: Path, folder: Path) -> Iterator[Bridge]:
    made = Bridge(tmp_path, folder)
    yield made
    made.store.close()


def test_a_file_is_read_again_when_its_content_changes_only(bridge: Bridge, folder: Path) -> None:
    path = folder / "a.json"
    path.write_bytes(packed(OBJECTS[:2]))
    assert (bridge.run().changed, bridge.ids) == (2, sorted(IDS[:2]))
    os.utime(path, (0, 0))
    assert bridge.run().pages == 0
    path.write_bytes(packed(OBJECTS[1:]))
    again = bridge.run()
    assert (again.pages, again.entries, again.changed) == (1, 3, 2)
    (folder / "b.json").write_bytes(packed(OBJECTS))
    other = bridge.run()
    assert (other.pages, other.changed, bridge.ids) == (1, 0, sorted(IDS))


def test_a_broken_file_is_accounted_for_and_others_go_on(bridge: Bridge, folder: Path) -> None:
    (folder / "a.json").write_bytes(packed(BUNDLE)[:-50])
    (folder / "b.json").write_bytes(packed(OBJECTS))
    summary = bridge.run()
    assert (bridge.ids, summary.errors) == (sorted(IDS), [])
    assert summary.ledger.reasons[Reason.INVALID_JSON] == 1
    assert summary.status == 1
    (folder / "a.json").write_bytes(packed(BUNDLE))
    assert bridge.run().status == 0


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """As `<(command)` of a shell makes it: what was read from it is gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = Files([pipe])
    pages: list[Any] = []

    def take() -> None:
        pages.extend(source.pages(source.collections()[0], None))

    threads = [threading.Thread(target=work, args=args, daemon=True) for work, args in (
        (take, ()), (pipe.write_bytes, (SHAPES["bundle"],)),
    )]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    if threads[0].is_alive():
        os.close(os.open(pipe, os.O_RDWR))  # an end of file for the second reading
        threads[0].join(5)
        pages.clear()
    assert [entry.id for page in pages for entry in page.entries] == IDS


def test_the_command_reads_standard_input_and_ends_with_2_for_a_name_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, SHAPES["lines"])
    assert main(["convert", "-", "--now", NOW]) == 0
    assert capsys.readouterr().out.startswith('{"Event":')
    assert main(["convert", str(tmp_path / "none.json")]) == 2
    shown = capsys.readouterr()
    assert "none.json: no such file" in shown.err
    assert "Traceback" not in shown.err


def test_objects_come_as_they_are(tmp_path: Path) -> None:
    odd: Stix = {**OBJECTS[0], "x_list": [1, 2.5, None, {"ü": "\u2028\x00"}], "name": "name\u202e"}
    (tmp_path / "a.json").write_bytes(packed(odd))
    assert [entry.obj for entry in read(tmp_path / "a.json").entries] == [odd]


@pytest.mark.parametrize("broken", [False, True])
def test_a_large_file_is_read_page_by_page(
    bridge: Bridge, folder: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    (folder / "a.json").write_bytes(packed(BUNDLE)[:-50] if broken else packed(BUNDLE))
    whole = bridge.run()
    rows = bridge.store.database.rows("SELECT id, digest FROM objects ORDER BY id")
    monkeypatch.setattr(files, "SMALL", -1)
    monkeypatch.setattr(files, "_PAGE", 2)
    (folder.parent / "pages").mkdir()
    pages = Bridge(folder.parent / "pages", folder)
    in_pages = pages.run()
    assert pages.store.database.rows("SELECT id, digest FROM objects ORDER BY id") == rows
    assert in_pages.entries == whole.entries
    assert in_pages.ledger.outcomes == whole.ledger.outcomes
    assert (in_pages.status, in_pages.pages > 1) == (whole.status, not broken)
    assert pages.run().pages == 0
    pages.store.close()


def test_a_large_file_of_lines_is_read_page_by_page(
    bridge: Bridge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.jsonl").write_bytes(b"\n".join(packed(obj) for obj in OBJECTS))
    monkeypatch.setattr(files, "SMALL", -1)
    monkeypatch.setattr(files, "_PAGE", 2)
    summary = bridge.run()
    assert (bridge.ids, summary.pages, summary.errors) == (sorted(IDS), 2, [])
