"""misp-modules: a real server, and one that misbehaves."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.bridge import Bridge
from helpers.stix import indicator, report
from servers.modules import misp_modules

from stixbridge import Enrich, Result, convert
from stixbridge.enrich.enrichment import Enrichment
from stixbridge.enrich.settings import ModuleSettings
from stixbridge.misp.model import all_attributes, tag_names
from stixbridge.store import Store

NOW = "2026-02-01T00:00:00Z"


@pytest.mark.servers
def test_a_real_server(tmp_path: Path) -> None:
    url_of_bad = {**indicator("x"), "pattern": "[url:value = 'https://www.bad.example:8080/a?x=1']"}
    with misp_modules(tmp_path) as url:
        modules = (
            ModuleSettings("extract_url_components", url=url),
            ModuleSettings("eql", types=("ip-dst",), url=url),
        )
        result = convert(
            [url_of_bad, indicator("198.51.100.1")], NOW, enrich=Enrich(modules=modules)
        )
        missing = convert(
            [indicator("198.51.100.1")],
            NOW,
            enrich=Enrich(modules=[ModuleSettings("absent", url=url)]),
        )
    (event,) = result.events
    (obj,) = event["Object"]
    assert obj["name"] == "url"
    assert {(row["object_relation"], row["value"]) for row in obj["Attribute"]} >= {
        ("tld", "example"),
        ("port", "8080"),
    }
    assert obj["ObjectReference"][0]["referenced_uuid"] in {
        row["uuid"] for row in event["Attribute"]
    }
    (query,) = [row for row in event["Attribute"] if row["type"] == "comment"]
    assert "198.51.100.1" in query["value"]
    assert not query["to_ids"]
    assert tag_names(query) == ['stixbridge:module="eql"']
    assert query["comment"] == "from the module eql, of 198.51.100.1"
    assert [row["target"] for row in missing.ledger.entries if row.get("reason") == "module"] == [
        f"{url} has no module 'absent'"
    ]


class Double:
    """A server whose one module answers as it is told."""

    def __init__(self) -> None:
        self.answer: Any = {"results": [{"types": ["text"], "values": ["found"]}]}
        self.raw: bytes | None = None
        self.asked: list[dict[str, Any]] = []
        self.release = threading.Event()
        self.hang = False
        self.url = ""


@contextmanager
def server() -> Iterator[Double]:
    double = Double()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = [
                {
                    "name": "m",
                    "type": "expansion",
                    "mispattributes": {"input": ["ip-dst", "domain"]},
                }
            ]
            self._say(json.dumps(listed).encode())

        def do_POST(self) -> None:
            double.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if double.hang:
                double.release.wait(30)
            self._say(double.raw if double.raw is not None else json.dumps(double.answer).encode())

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    double.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield double
    finally:
        double.release.set()
        http.shutdown()
        thread.join()
        http.server_close()


def ask(double: Double, *values: str, **settings: Any) -> Result:
    red = indicator(values[0], tlp="red")
    objects = [red, *(indicator(value) for value in values[1:])]
    settings = {"url": double.url, **settings}
    return convert(
        [*objects, report("R", objects, tlp="green")],
        NOW,
        enrich=Enrich(modules=[ModuleSettings("m", **settings)]),
    )


def told(result: Result) -> list[str]:
    return [row["target"] for row in result.ledger.entries if row.get("reason") == "module"]


def test_what_comes_of_something_red_is_red() -> None:
    with server() as double:
        (event,) = ask(double, "198.51.100.1", max_tlp="tlp:red").events
    (made,) = [row for row in event["Attribute"] if row["value"] == "found"]
    assert (made["distribution"], "tlp:red" in tag_names(made)) == ("0", True)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"error": "no key"}, "198.51.100.1: no key"),
        ([1], "it answers with something else than an object"),
        (b"<html>", "the answer is not JSON"),
        ({"results": "x"}, None),
        ({"results": [{"types": 3, "values": {"a": 1}}]}, None),
        ({"results": [{"types": [["a"]], "values": ["v"]}]}, None),
        ({"results": {"Tag": [{"name": "tlp:clear"}]}}, None),
        (
            {
                "results": {
                    "Object": [
                        {"name": "url", "Attribute": [{"object_relation": ["x"], "value": "y"}]}
                    ]
                }
            },
            None,
        ),
        (
            {
                "results": {
                    "Attribute": [{"type": "ip-dst", "value": "no address"}],
                    "Object": [{"name": "nope"}],
                }
            },
            None,
        ),
    ],
)
def test_nonsense_is_a_line_and_takes_nothing_with_it(answer: Any, text: str | None) -> None:
    with server() as double:
        if isinstance(answer, bytes):
            double.raw = answer
        double.answer = answer
        result = ask(double, "198.51.100.1", max_tlp="tlp:red")
    found = {row["value"] for row in all_attributes(result.events[0])}
    assert found - {"v"} == {"198.51.100.1"}
    assert not any("tlp:clear" in tag_names(row) for row in all_attributes(result.events[0]))
    assert (text is None and told(result) == []) or (text is not None and text in told(result)[0])


def test_a_slow_module_and_one_that_is_not_there() -> None:
    with server() as double:
        double.hang = True
        result = ask(double, "198.51.100.1", timeout=0.3, max_tlp="tlp:red")
        assert "no answer in time" in told(result)[0]
    gone = ask(double, "198.51.100.1", max_tlp="tlp:red")
    assert "can't connect" in told(gone)[0]


def test_nobody_is_asked_about_what_is_too_strict() -> None:
    with server() as double:
        ask(double, "198.51.100.1", "198.51.100.2")
        assert [row["ip-dst"] for row in double.asked] == ["198.51.100.2"]
        double.asked.clear()
        unknown = indicator(
            "198.51.100.3",
            object_marking_refs=["marking-definition--5ac1bd7c-8b3a-4c5e-9a53-7f0e2c0a1b11"],
        )
        convert([unknown], NOW, enrich=Enrich(modules=[ModuleSettings("m", url=double.url)]))
        assert double.asked == []


def test_the_budget_and_the_types() -> None:
    with server() as double:
        result = ask(
            double,
            *(f"198.51.100.{at}" for at in range(1, 6)),
            budget=2,
            concurrency=1,
            max_tlp="tlp:red",
        )
        assert len(double.asked) == 2
        assert told(result) == ["over the budget of 2 queries a run: 3 not sent"]
        double.asked.clear()
        ask(double, "198.51.100.1", types=("domain",), max_tlp="tlp:red")
        assert double.asked == []


def test_answers_are_kept_in_the_store(tmp_path: Path) -> None:
    with server() as double:
        store = Store(tmp_path / "s.db")
        settings = Enrich(modules=[ModuleSettings("m", url=double.url, keep=60)])
        for now, asked in ((NOW, 1), ("2026-02-01T00:00:30Z", 1), ("2026-02-01T00:02:00Z", 2)):
            enrichment = Enrichment(settings, answers=store.answers)
            result = convert([indicator("198.51.100.1")], now, enrich=enrichment)
            enrichment.close()
            assert len(double.asked) == asked
            assert any(row["value"] == "found" for row in result.events[0]["Attribute"])
        assert len(store.answers) == 1
        store.close()


def test_a_pipeline_asks_with_its_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    with server() as double:
        modules = [{"name": "m", "url": double.url, "config": {"apikey": {"file": str(key)}}}]
        bridge = Bridge(
            tmp_path,
            {"out": {"type": "files", "path": str(tmp_path / "out")}},
            enrich={"modules": modules},
        )
        bridge.poll(indicator("198.51.100.1"))
        bridge.poll(indicator("198.51.100.2"))
        bridge.close()
        assert [row["config"] for row in double.asked] == [
            {"apikey": "s3cret"}
        ] * 2  # the first value is not asked again
    assert (
        b"s3cret" not in (tmp_path / "s.db").read_bytes() if (tmp_path / "s.db").exists() else True
    )
