"""The command line: the contract of its options, exit statuses and files."""

import gzip
import json
import sys
from pathlib import Path

import pytest
from helpers.command import run
from helpers.paths import ROOT

from stixbridge.cli import main
from stixbridge.ledger import MEANING, Reason

INDICATOR = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": "indicator--00000000-0000-4000-8000-000000000001",
    "created": "2026-01-05T08:00:00.000Z",
    "modified": "2026-01-05T08:00:00.000Z",
    "pattern": "[ipv4-addr:value = '198.51.100.1']",
    "pattern_type": "stix",
    "valid_from": "2026-01-05T08:00:00Z",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"objects": [INDICATOR]}))
    return path


def test_convert_writes_one_file_an_event(file: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "convert",
                str(file),
                "-o",
                str(tmp_path / "out"),
                "--ledger",
                str(tmp_path / "ledger.json"),
            ]
        )
        == 0
    )
    (made,) = (tmp_path / "out").iterdir()
    event = json.loads(made.read_bytes())["Event"]
    assert made.name == f"{event['uuid']}.json"
    ledger = json.loads((tmp_path / "ledger.json").read_bytes())
    assert ledger["objects"] == 1
    assert set(ledger) == {"objects", "outcomes", "properties", "reference_time", "entries"}
    assert sum(ledger["outcomes"].values()) == ledger["objects"]
    assert sum(ledger["properties"].values()) == len(INDICATOR)


def test_convert_joins_its_inputs_and_writes_lines(file: Path, tmp_path: Path) -> None:
    (tmp_path / "two.json.gz").write_bytes(gzip.compress(json.dumps(INDICATOR).encode()))
    done = run(
        "convert",
        file,
        tmp_path / "two.json.gz",
        "-",
        "-o",
        "-",
        cwd=tmp_path,
        input=json.dumps([INDICATOR]),
    )
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert len(json.loads(line)["Event"]["Attribute"]) == 1
    assert "3 objects: 1 mapped, 2 dropped (2 duplicate)" in done.stderr


def test_convert_to_a_feed(file: Path, tmp_path: Path) -> None:
    assert main(["convert", str(file), "-o", str(tmp_path / "feed"), "--format", "feed"]) == 0
    assert {"manifest.json", "hashes.csv"} <= {path.name for path in (tmp_path / "feed").iterdir()}


def test_set_enriches(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert (
        main(["convert", str(file), "--set", "info=Title", "threat_level=1", "tags=tlp:green,a:b"])
        == 0
    )
    event = json.loads(capfdbinary.readouterr().out)["Event"]
    assert (event["info"], event["threat_level_id"]) == ("Title", "1")
    assert [tag["name"] for tag in event["Tag"]] == ["a:b", "tlp:green"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--fail-on", "dropped"], 0),
        (["--fail-on", "lifecycle"], 1),
        (["--fail-on", "marking", "lifecycle"], 1),
        (["--fail-on", "nonsense"], 2),
        (["--now", "noon"], 2),
        (["--group", "week"], 2),
        (["--set", "nonsense"], 2),
        (["--set", "threat_level=high"], 2),
        (["--set", "threat_level=5"], 2),
        (["--set", "publish=maybe"], 2),
        (["--set", "publish=TRUE"], 0),
        (["--set", 'tags=["a"]'], 2),
        (["--set", "default_tlp=pink"], 2),
        (["--engine", "steam"], 2),
        (["--format", "feed"], 2),
        (["--no-such-option"], 2),
    ],
)
def test_exit_status(file: Path, arguments: list[str], status: int) -> None:
    assert main(["convert", str(file), *arguments]) == status


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 1, "1 invalid (1 invalid-json)"),
        (b"{", 1, "1 invalid (1 invalid-json)"),
        (b'{"objects": [{"type": "indicator", "id": "indi', 1, "1 invalid (1 invalid-json)"),
        (b"<html>", 1, "1 invalid (1 invalid-json)"),
        (b"42", 1, "1 invalid (1 not-stix)"),
        (b'{"hello": "world"}', 1, "1 invalid (1 not-stix)"),
        (b'{"objects": []}', 0, "0 objects"),
        (b"[]", 0, "0 objects"),
    ],
)
def test_bad_input_is_one_entry(tmp_path: Path, content: bytes, status: int, message: str) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    done = run("convert", "bad.json", "--ledger", "ledger.json", cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "ledger.json").exists()


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "absent.json"), str(tmp_path / "*.none")]) == 2
    error = capsys.readouterr().err
    assert "no such file" in error
    assert "matches no file" in error


def test_init_status_find(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stixbridge.toml"
    assert main(["init", str(path)]) == 0
    assert main(["init", str(path)]) == 2
    path.write_text(f"""
[store]
path = "{tmp_path}/s.db"
[sources.inbox]
type = "files"
paths = ["{file}"]
[sinks.out]
type = "files"
path = "{tmp_path}/out"
[pipelines.p]
source = "inbox"
sinks = ["out"]
""")
    assert main(["run", "-c", str(path), "--dry-run"]) == 0
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert main(["run", "-c", str(path)]) == 0
    assert main(["run", "-c", str(path), "no-such"]) == 2
    capsys.readouterr()
    assert main(["status", "-c", str(path)]) == 0
    assert "sink out: 1 event delivered" in capsys.readouterr().out
    for what in (INDICATOR["id"], "198.51.100.1"):
        assert main(["find", "-c", str(path), what]) == 0
        assert "ip-dst = 198.51.100.1" in capsys.readouterr().out
    assert main(["find", "-c", str(path), "203.0.113.1"]) == 1
    capsys.readouterr()
    # created and valid_from are kept in the store; an object that lacks nothing shows no line
    assert main(["find", "-c", str(path), INDICATOR["id"]]) == 0
    assert "missing" not in capsys.readouterr().out
    assert main(["find", "-c", str(path), INDICATOR["id"], "--json"]) == 0
    assert "lifecycle" in capsys.readouterr().out


def test_hostile_names_don_t_reach_the_terminal(tmp_path: Path) -> None:
    report = {**INDICATOR, "type": "report", "id": "report--00000000-0000-4000-8000-000000000001"}
    report.update(
        name="\x1b]0;owned\x07 title",
        published="2026-01-05T08:00:00Z",
        object_refs=[INDICATOR["id"]],
    )
    (tmp_path / "in.json").write_text(json.dumps([INDICATOR, report]))
    (tmp_path / "c.toml").write_text("""
[sources.inbox]
type = "files"
paths = ["in.json"]
[sinks.out]
type = "files"
path = "out"
[pipelines.p]
source = "inbox"
sinks = ["out"]
""")
    done = run("run", "-c", "c.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def imported(code: str, tmp_path: Path) -> set[str]:
    done = run_python(code, tmp_path)
    return {
        line.split("|")[-1].strip() for line in done.splitlines() if line.startswith("import time:")
    }


def run_python(code: str, cwd: Path) -> str:
    import subprocess

    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stderr


HEAVY = {"pymisp", "misp_stix_converter", "stix2"}


def test_nothing_heavy_on_the_way_of_convert(file: Path, tmp_path: Path) -> None:
    seen = imported(
        f"from stixbridge.cli import main; assert main(['convert', {str(file)!r}, '-o', 'out']) "
        "== 0",
        tmp_path,
    )
    assert "stixbridge.conversion.to_misp.engine" in seen
    assert not seen & {*HEAVY, "sqlalchemy", "httpx"}


def test_nothing_heavy_on_the_way_of_run(file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"""
[sources.inbox]
type = "files"
paths = ["{file}"]
[sinks.out]
type = "feed"
path = "out"
[pipelines.p]
source = "inbox"
sinks = ["out"]
""")
    seen = imported(
        "from stixbridge.cli import main; assert main(['run', '-c', 'c.toml']) == 0", tmp_path
    )
    assert "stixbridge.pipeline.pipeline" in seen
    assert not seen & HEAVY


def test_nothing_heavy_for_help(tmp_path: Path) -> None:
    seen = imported("from stixbridge.cli import main; assert main(['--help']) == 0", tmp_path)
    assert not seen & {
        *HEAVY,
        "sqlalchemy",
        "httpx",
        "orjson",
        "stixbridge.config.reader",
        "stixbridge.conversion.to_misp.engine",
    }


def test_every_reason_has_a_meaning_and_is_documented() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text()
    for reason in Reason:
        assert f"| `{reason.value}` | {MEANING[reason]} |" in text
