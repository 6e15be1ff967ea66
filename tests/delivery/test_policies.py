"""Whose word counts, what stays published, what a key may not do, harmless values, overlaps, and
serving a feed.
"""

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import Bridge, bridge_to, reasons
from helpers.command import run
from helpers.delivering import Delivering, attribute, event, noted, sink_of

from stixbridge import times
from stixbridge.config.build import make_pipelines
from stixbridge.errors import ConfigError
from stixbridge.queries.overlaps import overlaps, shares, suppressed
from stixbridge.sinks.feed.server import FeedServer

A, B = "198.51.100.1", "198.51.100.2"
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
NOW = times.microseconds("2026-01-10T00:00:00Z") or 0


def row(misp: MispDouble, value: str) -> dict[str, Any]:
    (found,) = [
        row for event in misp.events.values() for row in event["Attribute"] if row["value"] == value
    ]
    return dict(found)


# Whose word counts


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_conflict_by_field(misp: MispDouble, tmp_path: Path, whose: str) -> None:
    bridge = bridge_to(misp, tmp_path, conflicts={"comment": whose})
    bridge.poll(stix.indicator(A, name="first"))
    misp.analyst_edit(row(misp, A)["uuid"], comment="an analyst's")
    summary = bridge.poll(stix.indicator(A, name="second", modified=stix.LATER))
    assert row(misp, A)["comment"] == ("second" if whose == "ours" else "an analyst's")
    assert ("conflict" in reasons(summary)) is (whose == "theirs")
    bridge.close()


@pytest.mark.parametrize("policy", ["respect", "restore"])
def test_what_an_analyst_deleted(misp: MispDouble, tmp_path: Path, policy: str) -> None:
    bridge = bridge_to(misp, tmp_path, deleted=policy)
    bridge.poll(stix.indicator(A), stix.indicator(B))
    misp.analyst_delete(row(misp, A)["uuid"])
    bridge.poll(stix.indicator(B, modified=stix.LATER, name="another"))
    assert row(misp, A)["deleted"]  # until the source changes it
    bridge.poll(stix.indicator(A, modified=stix.LATER, name="changed"))
    assert row(misp, A)["deleted"] is (policy == "respect")
    bridge.close()


def test_wrong_policies_are_told(misp: MispDouble, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bridge_to(misp, tmp_path, conflicts={"colour": "mine"}, deleted="gone", foreign="adapt")
    assert len(caught.value.problems) == 4
    assert "did you mean 'adopt'" in str(caught.value)


@pytest.mark.parametrize("keep", [False, True])
def test_a_published_event_stays_so_where_asked(
    misp: MispDouble, tmp_path: Path, keep: bool
) -> None:
    bridge = bridge_to(misp, tmp_path, keep_published=keep, more={"enrich": {"publish": True}})
    bridge.poll(stix.indicator(A))
    bridge.close()
    again = bridge_to(misp, tmp_path, keep_published=keep)
    (stored,) = misp.events.values()
    assert stored["published"]
    again.poll(stix.indicator(A, modified=stix.LATER, name="changed"))
    (stored,) = misp.events.values()
    assert stored["published"] is keep
    again.close()


def test_what_a_key_may_not_do_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with MispDouble(role="user") as misp:
        bridge = bridge_to(misp, tmp_path)
        said: list[str] = []
        (pipeline,) = make_pipelines(bridge.config, bridge.store, ("acme",), said.append)
        (tmp_path / "acme" / "a.json").write_text(json.dumps(stix.bundle([stix.indicator(A)])))
        pipeline.run(NOW)
        pipeline.close()
        bridge.close()
        limits = [line for line in said if line.startswith("misp: this key")]
        assert [line.split(":")[1].strip() for line in limits] == [
            "this key may not create tags",
            "this key may not publish",
        ]


@pytest.mark.parametrize("only_complete", [False, True])
def test_an_event_that_is_not_complete(misp: MispDouble, only_complete: bool) -> None:
    made = event(OWN, attribute(OWN, A), attribute(OWN, "no address"))
    sink = sink_of(misp, only_complete=only_complete)
    delivery = Delivering(sink)(made, publish=True)
    assert "misp-dropped" in [reason for _, reason in noted(delivery)]
    assert delivery.published is not only_complete
    assert misp.events[OWN]["published"] is not only_complete


def test_events_carry_another_organisation_and_can_be_edited(
    misp: MispDouble, tmp_path: Path
) -> None:
    vendor = {"name": "Vendor", "uuid": "0b0ad1b5-5d2c-4a53-9b38-91a6b6e0c6a1"}
    bridge = bridge_to(misp, tmp_path, orgc=vendor)
    bridge.poll(stix.indicator(A))
    assert bridge.poll(stix.indicator(A, modified=stix.LATER, name="changed")).errors == []
    (stored,) = misp.events.values()
    assert (stored["Orgc"]["uuid"], stored["locked"]) == (vendor["uuid"], True)
    assert row(misp, A)["comment"] == "changed"
    bridge.close()


def test_what_expired_long_ago_goes(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path, more={"expired_after": "30d"})
    bridge.poll(
        stix.indicator(A, valid_until="2026-02-01T00:00:00Z"),
        stix.indicator(B),
        now="2026-01-10T00:00:00Z",
    )
    bridge.run(now="2026-02-10T00:00:00Z")
    assert (row(misp, A)["to_ids"], row(misp, A)["deleted"]) == (False, False)
    bridge.run(now="2026-03-10T00:00:00Z")
    assert row(misp, A)["deleted"]
    assert not row(misp, B)["deleted"]
    writes = len(misp.writes())
    assert bridge.run(now="2026-03-11T00:00:00Z").errors == []
    assert len(misp.writes()) == writes
    bridge.close()


def test_an_upload_of_a_known_report_is_an_update_where_allowed(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, mode="upload_stix", foreign="adopt")
    one = stix.indicator(A)
    assert bridge.poll(one, stix.report("wave", [one])).events == {"created": 1}
    two = stix.indicator(B)
    summary = bridge.poll(two, stix.report("wave", [one, two], modified=stix.LATER))
    assert (summary.events, summary.errors) == ({"updated": 1}, [])
    assert not row(misp, B)["deleted"]
    bridge.close()


# What is marked too strictly for one of several MISPs


def test_each_misp_has_its_own_ceiling(misp: MispDouble, tmp_path: Path) -> None:
    with MispDouble() as partner:
        sinks = {
            "own": {"type": "misp", "url": misp.url, "key": misp.key},
            "partner": {
                "type": "misp",
                "url": partner.url,
                "key": partner.key,
                "max_tlp": "tlp:green",
            },
        }
        bridge = Bridge(tmp_path, sinks)
        one, two = stix.indicator(A, tlp="green"), stix.indicator(B, tlp="amber")
        summary = bridge.poll(one, two, stix.report("wave", [one, two], tlp="green"))
        assert live(misp) == {(A, True), (B, True)}
        assert live(partner) == {(A, True)}
        assert "tlp:amber stays out of partner (max_tlp)" in reasons(summary)["marking"]
        # the report becomes too strict: what the partner has is withdrawn, under the old title
        stricter = stix.report("wave", [one, two], tlp="amber", modified=stix.LATER)
        summary = bridge.poll({**stricter, "name": "not for everybody"})
        assert summary.errors == []
        (event,) = partner.events.values()
        assert event["info"] == "[withdrawn] wave"
        assert all(row["deleted"] for row in event["Attribute"])
        assert live(misp) == {(A, True), (B, True)}
        assert bridge.run().events == {}
        # and comes back
        bridge.poll(stix.report("wave", [one, two], tlp="green", modified=stix.LAST))
        assert [
            (row["value"], row["deleted"]) for row in partner.events[event["uuid"]]["Attribute"]
        ] == [(A, False)]
        assert partner.events[event["uuid"]]["info"] == "wave"
        bridge.close()


def test_what_was_never_there_is_not_created_to_be_withdrawn(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, max_tlp="tlp:green")
    assert bridge.poll(stix.indicator(A, tlp="red")).events == {"left out": 1}
    assert misp.events == {}
    assert bridge.run().events == {}
    bridge.poll(stix.indicator(A, tlp="green", modified=stix.LATER))
    assert live(misp) == {(A, True)}
    bridge.close()


@pytest.mark.parametrize("level", ["amber", "red"])
def test_a_note_that_is_marked_more_strictly_stays_out(
    misp: MispDouble, tmp_path: Path, level: str
) -> None:
    sinks = {
        "misp": {"type": "misp", "url": misp.url, "key": misp.key, "max_tlp": "tlp:green"},
        "feed": {"type": "feed", "path": str(tmp_path / "feed"), "max_tlp": "tlp:green"},
    }
    bridge = Bridge(tmp_path, sinks)
    one = stix.indicator(A, tlp="green")
    report = stix.report("wave", [one], tlp="green")
    notes = [
        {"type": "note", "spec_version": "2.1", "id": stix.stix_id("note", str(about)),
         "created": stix.EARLY,
         "modified": stix.EARLY, "content": f"SECRET {about}", "object_refs": [target["id"]],
         "object_marking_refs": [stix.MARKINGS[level]]}
        for about, target in enumerate([report, one])
    ]  # fmt: skip
    summary = bridge.poll(one, report, *notes)
    assert summary.events == {"created": 2}
    shown = json.dumps(list(misp.events.values())) + "".join(
        path.read_text() for path in (tmp_path / "feed").glob("*.json")
    )
    assert A in shown
    assert "SECRET" not in shown
    assert any(
        text.startswith("Note: its marking is stricter") for text in reasons(summary)["marking"]
    )
    bridge.close()


def test_a_marking_without_a_level_holds_for_a_report_of_two_sources(
    misp: MispDouble, tmp_path: Path
) -> None:
    """The newer copy does not carry it."""
    sinks = {
        "misp": {"type": "misp", "url": misp.url, "key": misp.key, "max_tlp": "tlp:green"},
        "feed": {"type": "feed", "path": str(tmp_path / "feed")},
    }
    bridge = Bridge(tmp_path, sinks, sources={"other": {"type": "files"}})
    one = stix.indicator(A)
    bridge.poll(
        one, {**stix.report("wave", [one]), "object_marking_refs": [f"marking-definition--{OWN}"]}
    )
    bridge.poll(one, stix.report("wave", [one], modified=stix.LATER), source="other")
    assert misp.events == {}
    assert not list((tmp_path / "feed").glob("*-*.json"))
    bridge.close()


def test_a_cut_add_of_what_is_too_strict_by_now_is_withdrawn(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, max_tlp="tlp:green")
    one = stix.indicator(A)
    misp.hang_up_next(path="/events/add")
    misp.html_next(status=502, path="/events/restSearch", times=9)
    assert bridge.poll(one, stix.report("wave", [one], tlp="green")).errors
    misp.calm_down()
    assert live(misp) == {(A, True)}
    assert bridge.poll(stix.report("wave", [one], tlp="red", modified=stix.LATER)).errors == []
    assert all(row["deleted"] for event in misp.events.values() for row in event["Attribute"])
    bridge.close()


def test_a_ceiling_and_raw_stix_do_not_go_together(misp: MispDouble) -> None:
    with pytest.raises(ConfigError, match="max_tlp: not with mode"):
        sink_of(misp, mode="upload_stix", max_tlp="tlp:green")


# Harmless values


def live(misp: MispDouble) -> set[tuple[str, bool]]:
    return {
        (row["value"], row["to_ids"])
        for event in misp.events.values()
        for row in event["Attribute"]
    }


def test_a_value_on_the_list_detects_nothing_in_any_feed_from_the_next_run_on(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, more={"sources": {"other": {"type": "files"}}})
    bridge.poll(stix.indicator(A), stix.indicator(B))
    bridge.poll(stix.indicator(A, modified=stix.LATER), source="other")
    bridge.store.suppression.add(A, "our own resolver", NOW)
    assert suppressed(bridge.store)[0]["why"] == "our own resolver"
    summary = bridge.run()
    assert "suppressed" in reasons(summary)
    assert bridge.run(source="other").errors == []
    assert live(misp) == {(A, False), (B, True)}
    assert bridge.store.suppression.remove(A, NOW)
    assert not bridge.store.suppression.remove(A, NOW)
    assert suppressed(bridge.store) == []
    bridge.run()
    bridge.run(source="other")
    assert live(misp) == {(A, True), (B, True)}
    bridge.close()


def test_a_false_positive_of_an_analyst_counts_for_all_feeds(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path, more={"sources": {"other": {"type": "files"}}})
    one = stix.indicator(A)
    bridge.poll(one, stix.report("wave", [one]))
    bridge.poll(stix.indicator(B, f"[ipv4-addr:value = '{A}']", name="of another"), source="other")
    first = next(row for row in misp.find(A))["uuid"]
    misp.analyst_sighting(first, type=0)
    assert bridge.run().events == {}
    misp.analyst_sighting(first, type=1, source="SOC")
    assert bridge.run().events == {"updated": 1}  # though nothing new came
    assert suppressed(bridge.store)[0]["why"] == "marked as a false positive in misp"
    assert bridge.run(source="other").events == {"updated": 1}
    assert live(misp) == {(A, False)}
    assert bridge.store.suppression.remove(A, times.now() + 1_000_000)
    bridge.run()
    bridge.run(source="other")
    assert live(misp) == {(A, True)}  # what a person took off the list stays off it
    bridge.close()


@pytest.mark.parametrize(("trust", "counts"), [("own", False), ("any", True), ("none", False)])
def test_whose_false_positives_count(
    misp: MispDouble, tmp_path: Path, trust: str, counts: bool
) -> None:
    bridge = bridge_to(misp, tmp_path, false_positives=trust)
    bridge.poll(stix.indicator(A))
    misp.analyst_sighting(row(misp, A)["uuid"], type=1)
    row(misp, A)["Sighting"][0]["Organisation"] = {
        "id": "9",
        "uuid": str(uuid.uuid4()),
        "name": "a partner",
    }
    bridge.run()
    assert live(misp) == {(A, not counts)}
    bridge.close()


def test_a_source_that_calls_a_value_harmless_does_not_speak_for_the_others(
    misp: MispDouble, tmp_path: Path
) -> None:
    """A sighting of STIX with a count of 0 is a false positive in MISP, and ours."""
    bridge = bridge_to(misp, tmp_path)
    one, now = stix.indicator(A), times.to_text(times.now())
    bridge.poll(one, {**stix.sighting(one), "count": 0, "first_seen": now, "last_seen": now})
    assert {said["type"] for said in row(misp, A)["Sighting"]} == {"1"}
    bridge.run()
    assert suppressed(bridge.store) == []
    bridge.close()


def test_a_misp_that_is_down_is_said_and_the_other_sink_gets_its_events(
    misp: MispDouble, tmp_path: Path
) -> None:
    misp_ = {"type": "misp", "url": misp.url, "key": misp.key}
    bridge = Bridge(
        tmp_path, {"misp": misp_, "feed": {"type": "feed", "path": str(tmp_path / "feed")}}
    )
    misp.html_next(status=502, path="/sightings/restSearch", times=9)
    summary = bridge.poll(stix.indicator(A))
    assert "sightings/restSearch answered" in summary.errors[0]
    assert summary.status == 3
    assert summary.events == {"created": 2}
    misp.calm_down()
    assert bridge.run().errors == []
    bridge.close()


def test_overlaps(misp: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(misp, tmp_path, more={"sources": {"other": {"type": "files"}}})
    bridge.poll(stix.indicator(A), stix.indicator(B))
    bridge.poll(
        stix.indicator(A),
        stix.indicator("198.51.100.3"),
        stix.indicator("198.51.100.4"),
        source="other",
    )
    (found,) = overlaps(bridge.store)
    assert (found["value"], found["types"], found["pipelines"]) == (
        A,
        ["ip-dst"],
        ["acme", "other"],
    )
    assert shares(bridge.store) == [
        {"one": "acme", "other": "other", "common": 1, "of_one": 2, "of_other": 3}
    ]
    bridge.close()


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(json.dumps(stix.bundle([stix.indicator(A)])))
    (tmp_path / "stixbridge.toml").write_text("""
[sources.acme]
type = "files"
paths = ["in"]
[sinks.feed]
type = "feed"
path = "feed"
[pipelines.acme]
source = "acme"
sinks = ["feed"]
""")
    assert run("run", cwd=tmp_path).returncode == 0
    assert run("overlaps", cwd=tmp_path).stdout == "no value is in more than one pipeline\n"
    assert run("suppress", A, "--why", "ours", cwd=tmp_path).stdout == f"{A}: suppressed\n"
    assert f"{A}  ours (since 20" in run("suppress", cwd=tmp_path).stdout
    assert run("run", cwd=tmp_path).returncode == 0
    (event,) = [json.loads(path.read_text()) for path in (tmp_path / "feed").glob("*-*.json")]
    assert [row["to_ids"] for row in event["Event"]["Attribute"]] == [False]
    assert run("suppress", A, "--remove", cwd=tmp_path).returncode == 0
    assert run("suppress", A, "--remove", cwd=tmp_path).returncode == 1
    wrong = run("serve", "in", cwd=tmp_path)
    assert (wrong.returncode, "no manifest.json" in wrong.stderr) == (2, True)


# Serving


def test_a_feed_folder_is_served_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "feed"
    folder.mkdir()
    uuid = "0b0ad1b5-5d2c-4a53-9b38-91a6b6e0c6a1"
    (folder / "manifest.json").write_text('{"a": 1}')
    (folder / "hashes.csv").write_text("x,y\n")
    (folder / f"{uuid}.json").write_text("{}")
    (folder / ".manifest.json.part").write_text("half")
    (folder / "notes.txt").write_text("private")
    (tmp_path / "secret.json").write_text("private")
    with FeedServer(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.get("/manifest.json").json() == {"a": 1}
            assert client.get("/manifest.json").headers["content-type"] == "application/json"
            assert client.get("/hashes.csv").text == "x,y\n"
            assert client.get(f"/{uuid}.json").json() == {}
            assert client.head("/manifest.json").content == b""
            for path in (
                "/",
                "/notes.txt",
                "/.manifest.json.part",
                "/..%2fsecret.json",
                f"/{uuid[:-1]}2.json",
                "//x",
            ):
                assert client.get(path).status_code == 404, path
            assert client.post("/manifest.json").status_code == 501
        server.shutdown()


def test_a_harmless_half_of_a_value_is_harmless(misp: MispDouble, tmp_path: Path) -> None:
    patterns = {
        "traffic": f"[network-traffic:dst_ref.value = '{A}' AND network-traffic:dst_port = 443]",
        "file": f"[file:name = 'a.exe' AND file:hashes.'SHA-256' = '{'a' * 64}']",
    }
    bridge = bridge_to(misp, tmp_path)
    bridge.poll(
        *[stix.indicator(name, pattern) for name, pattern in patterns.items()], stix.indicator(B)
    )
    for value in (A, "a.exe"):
        bridge.store.suppression.add(value, "ours", NOW)
    bridge.run()
    (stored,) = misp.events.values()
    on = {row["value"]: row["to_ids"] for row in stored["Attribute"] if not row["deleted"]}
    assert on == {f"{A}|443": False, f"a.exe|{'a' * 64}": True, B: True}
    bridge.close()


def test_a_sink_that_is_added_is_told_how_to_get_what_came_before(
    misp: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(misp, tmp_path)
    bridge.poll(stix.indicator(A))
    bridge.close()
    sinks = {
        name: {"type": "misp", "url": misp.url, "key": misp.key} for name in ("misp", "second")
    }
    bridge = Bridge(tmp_path, sinks)
    said: list[str] = []
    (pipeline,) = make_pipelines(bridge.config, bridge.store, ("acme",), said.append)
    pipeline.run(NOW)
    assert [line for line in said if "stixbridge replay delivers them" in line] == [
        "second: earlier events are not there yet; stixbridge replay delivers them"
    ]
    pipeline.close()
    bridge.close()
