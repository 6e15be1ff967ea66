"""An input larger than memory comes out as one in memory: the same events, the same ledger."""

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from helpers.command import run as command
from helpers.generated import bundles
from helpers.rich import NOW, rich
from helpers.stix import EARLY, LATER, Stix, indicator, relationship, report, stix_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stixbridge.pipeline.chunked
import stixbridge.stix.stream
from stixbridge.api import convert_documents, options
from stixbridge.enrich import Enrich
from stixbridge.ledger import written
from stixbridge.pipeline.chunked import LargeConversion
from stixbridge.sources.files import Input

FEW = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
ENRICH = Enrich(info="{report.name} from {source.name}", tags=("tlp:green",), distribution=1)

Outcome = tuple[dict[str, Any], dict[str, Any]]


def in_memory(paths: list[Path], **more: Any) -> Outcome:
    documents = [Input(path).document() for path in paths]
    result = convert_documents(documents, options(now=NOW, **more), enrich=ENRICH)
    return {event["uuid"]: event for event in result.events}, result.ledger.to_dict()


def streamed(paths: list[Path], at_a_time: int = 1, **more: Any) -> Outcome:
    with LargeConversion(options(now=NOW, **more), ENRICH, group=at_a_time) as large:
        large.read([Input(path) for path in paths])
        events = [row.event for rows in large.converted() for row in rows]
        ledger = orjson.loads(b"".join(written(large.ledger)))
    assert len({event["uuid"] for event in events}) == len(events)
    return {event["uuid"]: event for event in events}, ledger


def same(paths: list[Path], **more: Any) -> None:
    at_a_time = more.pop("at_a_time", 1)
    large, small = streamed(paths, at_a_time, **more), in_memory(paths, **more)
    assert large[0].keys() == small[0].keys()
    for uuid, event in small[0].items():
        assert large[0][uuid] == event
    assert large[1]["entries"] == small[1]["entries"]
    assert large[1] == small[1]


def file(folder: Path, objects: list[Stix], name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(
        json.dumps({"type": "bundle", "id": stix_id("bundle", name), "objects": objects})
    )
    return path


GROUPS = st.sampled_from(["report", "day", "creator"])


@pytest.mark.long
@FEW
@given(bundles(), GROUPS)
def test_a_large_input_is_as_a_small_one(objects: list[Stix], group: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        same([file(Path(folder), objects)], group=group)


@pytest.mark.parametrize("preserve", ["none", "source"])
def test_every_type(preserve: str, tmp_path: Path) -> None:
    same([file(tmp_path, rich())], preserve=preserve)


def sample() -> list[Stix]:
    """Two reports that share an indicator, are linked to each other, and something in neither."""
    one, two, three, four = (indicator(f"198.51.100.{at}") for at in range(1, 5))
    return [
        one, two, three, four, report("A", [one, two]), report("B", [two, three]),
        relationship(one, "related-to", three), relationship(four, "related-to", one),
        {**one, "modified": LATER, "description": "newer"}, one,
        {**one, "modified": LATER, "description": "newer"},
        {"type": "indicator", "id": "none"}, "text",
        {"type": "report", "id": stix_id("report", "C"), "revoked": True,
        "created": EARLY, "modified": EARLY, "name": "C", "object_refs": [four["id"]]},
    ]  # fmt: skip


SHAPES: dict[str, Callable[[list[Stix]], bytes]] = {
    "bundle": lambda objects: json.dumps(
        {"objects": objects, "type": "bundle", "id": stix_id("bundle", "b")}
    ).encode(),
    "indented": lambda objects: json.dumps(
        {"type": "bundle", "objects": objects}, indent=4
    ).encode(),
    "envelope": lambda objects: json.dumps({"more": False, "objects": objects}).encode(),
    "list": lambda objects: json.dumps(objects).encode(),
    "list of bundles": lambda objects: json.dumps(
        [{"type": "bundle", "objects": objects[:4]}, *objects[4:]]
    ).encode(),
    "lines": lambda objects: b"".join(json.dumps(obj).encode() + b"\n" for obj in objects),
    "lines without an end": lambda objects: b"\n".join(json.dumps(obj).encode() for obj in objects),
    "lines after a broken one": lambda objects: (
        b"{\n" + b"".join(json.dumps(obj).encode() + b"\n" for obj in objects)
    ),
    "lines of bundles": lambda objects: b"".join(
        json.dumps({"type": "bundle", "objects": [obj]}).encode() + b"\n" for obj in objects
    ),
    "UTF-16": lambda objects: json.dumps({"objects": objects}).encode("utf-16"),
    "two lists": lambda objects: (
        b'{"objects": [], ' + json.dumps({"objects": objects}).encode()[1:]
    ),
    "no bundle": lambda objects: json.dumps(
        {"type": "x-thing", "id": stix_id("x-thing", "t"), "objects": [1]}
    ).encode(),
    "byte order mark": lambda objects: b"\xef\xbb\xbf" + json.dumps({"objects": objects}).encode(),
    "empty": lambda objects: b'{"type": "bundle", "objects": []}',
    "cut": lambda objects: json.dumps({"type": "bundle", "objects": objects}).encode()[:-1],
    "cut in an object": lambda objects: json.dumps({"type": "bundle", "objects": objects}).encode()[
        :-40
    ],
    "two values": lambda objects: json.dumps({"objects": objects}).encode() + b"{}",
    "a comma too many": lambda objects: json.dumps({"objects": objects}).encode()[:-2] + b",]}",
    "no JSON": lambda objects: b"hello",
    "nothing": lambda objects: b"",
    "one object": lambda objects: json.dumps(objects[0]).encode(),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunk", [7, 4_000_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(
    shape: str, chunk: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stixbridge.stix.stream, "_CHUNK", chunk)
    if shape not in ("two lists", "no bundle"):
        monkeypatch.setattr(stixbridge.pipeline.chunked, "SMALL", -1)
    content = SHAPES[shape](sample())
    path = tmp_path / ("a.json.gz" if packed else "a.json")
    path.write_bytes(gzip.compress(content) if packed else content)
    same([path])


def test_a_broken_file_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stixbridge.pipeline.chunked, "SMALL", -1)
    good = file(tmp_path, sample())
    broken = tmp_path / "b.json"
    broken.write_bytes(good.read_bytes()[:-2])
    cut = tmp_path / "c.json.gz"
    cut.write_bytes(gzip.compress(good.read_bytes())[:-20])
    other = file(tmp_path, [report("D", [indicator("198.51.100.1")])], "d.json")
    same([broken, good, cut, other])


def test_a_hostile_object_ends_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stixbridge.pipeline.chunked, "SMALL", -1)
    one = {**indicator("198.51.100.1"), "external_references": [{"source_name": "}, {"}] * 20_000}
    same([file(tmp_path, [one, indicator("198.51.100.2")])])


def test_a_value_that_nests_too_deep_is_one_line(tmp_path: Path) -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    text = json.dumps({"objects": [indicator("198.51.100.1"), indicator("198.51.100.2")]})
    again = json.dumps({**indicator("198.51.100.1"), "modified": LATER, "x": "@"}).replace(
        '"@"', json.dumps(deep)
    )
    path = tmp_path / "deep.json"
    path.write_text(text[:-2] + ", " + again + "]}")
    events, ledger = streamed([path])
    assert ledger["objects"] == 3
    assert len(next(iter(events.values()))["Attribute"]) == 2
    in_memory([path], preserve="source")


def test_a_pipe_under_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(json.dumps({"objects": sample()}).encode())
    for at_most in (10, 10_000_000):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(packed)))
        monkeypatch.setattr(stixbridge.pipeline.chunked, "SMALL", -1)
        with LargeConversion(options(now=NOW, source="s")) as large:
            large.read([Input(None, at_most)])
            assert sum(len(rows) for rows in large.converted()) == 3


def test_the_command_goes_this_way_by_itself(tmp_path: Path) -> None:
    path = file(tmp_path, sample())
    spaces = tmp_path / "large.json.gz"
    with gzip.open(spaces, "wb") as out:
        out.write(path.read_bytes()[:-2] + b", " + b" " * 52_000_000)
        out.write(json.dumps(indicator("198.51.100.9")).encode() + b"]}")
    small = command("convert", path, "-o", tmp_path / "small", "--now", NOW, cwd=tmp_path)
    (tmp_path / "scratch").mkdir()
    scratch = {"TMPDIR": str(tmp_path / "scratch")}
    wanted = ("-o", tmp_path / "large", "--now", NOW, "--ledger", tmp_path / "l.json")
    large = command("convert", spaces, *wanted, cwd=tmp_path, env=scratch)
    assert small.returncode == large.returncode == 1
    names = {event.name for event in (tmp_path / "small").iterdir()}
    assert names <= {event.name for event in (tmp_path / "large").iterdir()}
    assert json.loads((tmp_path / "l.json").read_text())["objects"] == len(sample()) + 1
    assert not list((tmp_path / "scratch").iterdir())


def test_files_of_the_corpora(corpora: Path) -> None:
    paths = [
        path for path in sorted(corpora.rglob("*.json")) if 20_000 < path.stat().st_size < 400_000
    ][::9]
    for path in paths:
        same([path], at_a_time=50)
