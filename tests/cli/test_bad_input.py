"""What goes wrong in a run: one clear message, the right exit status, and the store's content as it
was.
"""

import json
import sqlite3
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers.command import run

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
SECRETS = {"TAXII_PASSWORD": "taxii-s3cret", "THE_KEY": "d" * 40}


@pytest.fixture
def taxii() -> Iterator[TaxiiDouble]:
    with TaxiiDouble(auth=("me", SECRETS["TAXII_PASSWORD"])) as double:
        double.add_collection("Feed")
        double.add("Feed", [INDICATOR])
        yield double


def configure(folder: Path, taxii_url: str, misp_url: str, more: str = "") -> None:
    (folder / "stixbridge.toml").write_text(f"""
[sources.feed]
type = "taxii21"
url = "{taxii_url}"
timeout = 10
auth = {{ type = "basic", user = "me", password = {{ env = "TAXII_PASSWORD" }} }}
{more}
[sinks.misp]
type = "misp"
url = "{misp_url}"
key = {{ env = "THE_KEY" }}
[pipelines.feed]
source = "feed"
sinks = ["misp"]
""")


def content(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """What a store holds, but for the diary of runs and polls."""
    path = folder / "stixbridge.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as database:
        tables = (
            "objects",
            "refs",
            "rejects",
            "progress",
            "placements",
            "elements",
            "wanted",
            "deliveries",
            "notes",
        )
        found = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
        found["watermarks"] = database.execute(
            "SELECT source, collection, watermark FROM cursors"
        ).fetchall()
    return {name: rows for name, rows in found.items() if rows}


def failing(folder: Path, status: int, message: str, **env: str) -> str:
    """Run twice over what is there; check that it fails as it should."""
    before = content(folder)
    done = run("run", cwd=folder, env={**SECRETS, **env})
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert message in said
    assert "Traceback" not in said
    for secret in SECRETS.values():
        assert secret not in said
    after = content(folder)
    for tables in (before, after):
        tables.pop("watermarks", None)
        tables.pop("progress", None)
    assert after == before
    return said


def test_unreachable_source(tmp_path: Path, misp: MispDouble) -> None:
    configure(tmp_path, "http://127.0.0.1:9/taxii2/", misp.url)
    failing(tmp_path, 3, "can't connect")


def test_wrong_password(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    failing(tmp_path, 3, "the credentials were not accepted (401)", TAXII_PASSWORD="wrong")


def test_wrong_certificate(tmp_path: Path, misp: MispDouble) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert ssl.create_default_context(cafile=tmp_path / "ca.pem")
    pair = (str(tmp_path / "server.pem"), str(tmp_path / "server.key"))
    with TaxiiDouble(auth=("me", SECRETS["TAXII_PASSWORD"]), tls=pair) as double:
        double.add_collection("Feed")
        double.add("Feed", [INDICATOR])
        configure(tmp_path, double.url, misp.url)
        failing(tmp_path, 3, "is not trusted")
        configure(tmp_path, double.url, misp.url, f'ca = "{tmp_path}/ca.pem"')
        assert run("run", cwd=tmp_path, env=SECRETS).returncode == 0
        assert len(misp.find("198.51.100.1")) == 1


def test_html_in_place_of_json(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    taxii.fail_next(200, "<html>log in</html>")
    failing(tmp_path, 3, "a web page, not TAXII")


def test_broken_json(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    taxii.fail_next(200, '{"title": ')
    failing(tmp_path, 3, "broken JSON")


def test_wrong_key_of_misp(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    done = run("run", cwd=tmp_path, env={**SECRETS, "THE_KEY": "wrong"})
    assert done.returncode == 3
    assert "is the key right?" in done.stdout
    assert misp.events == {}
    # what was pulled is not lost: the next run delivers it
    assert run("run", cwd=tmp_path, env=SECRETS).returncode == 0
    assert len(misp.find("198.51.100.1")) == 1


def test_misp_that_is_no_misp(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    misp.html_next()
    done = run("run", cwd=tmp_path, env=SECRETS)
    assert done.returncode == 3
    assert "a web page, not MISP's API" in done.stdout


def test_three_mistakes_in_the_configuration(
    tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble
) -> None:
    configure(tmp_path, taxii.url, misp.url)
    text = (tmp_path / "stixbridge.toml").read_text()
    text = text.replace("timeout = 10", "timeot = 10").replace(
        '{ env = "THE_KEY" }', f'"{SECRETS["THE_KEY"]}"'
    )
    (tmp_path / "stixbridge.toml").write_text(text.replace('sinks = ["misp"]', 'sinks = ["mips"]'))
    said = failing(tmp_path, 2, "3 mistakes")
    assert said.count("@ $.") == 3
    assert not (tmp_path / "stixbridge.db").exists()


def test_a_secret_that_is_not_there(tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble) -> None:
    configure(tmp_path, taxii.url, misp.url)
    done = run("run", cwd=tmp_path, env={"THE_KEY": SECRETS["THE_KEY"]})
    assert done.returncode == 2
    assert "TAXII_PASSWORD is not set" in done.stderr


def test_a_bundle_cut_in_the_middle(tmp_path: Path, misp: MispDouble) -> None:
    configure(tmp_path, "http://127.0.0.1:9/", misp.url)
    text = (tmp_path / "stixbridge.toml").read_text()
    head, _, tail = text.partition("[sinks.misp]")
    (tmp_path / "stixbridge.toml").write_text(
        '[sources.feed]\ntype = "files"\npaths = ["*.json"]\n[sinks.misp]' + tail
    )
    whole = json.dumps({"type": "bundle", "objects": [INDICATOR]})
    (tmp_path / "cut.json").write_text(whole[: len(whole) // 2])
    done = run("run", cwd=tmp_path, env=SECRETS)
    assert done.returncode == 1
    assert "1 invalid" in done.stdout
    assert misp.events == {}
    del head


def test_the_store_is_held_by_someone_else(
    tmp_path: Path, taxii: TaxiiDouble, misp: MispDouble
) -> None:
    configure(tmp_path, taxii.url, misp.url)
    (tmp_path / "no").write_text("")
    text = (tmp_path / "stixbridge.toml").read_text()
    (tmp_path / "stixbridge.toml").write_text('[store]\npath = "no/where.db"\n' + text)
    done = run("run", cwd=tmp_path, env=SECRETS)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    (tmp_path / "junk.db").write_bytes(
        b"this is no database, but it is long enough to be read as one" * 20
    )
    (tmp_path / "stixbridge.toml").write_text('[store]\npath = "junk.db"\n' + text)
    done = run("run", cwd=tmp_path, env=SECRETS)
    assert done.returncode == 2
    assert "is it a stixbridge store?" in done.stderr
