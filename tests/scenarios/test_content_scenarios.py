"""What an analyst tries with the content of events: validity, clusters, markings, titles (end to
end).
"""

from pathlib import Path

import httpx
import orjson
from doubles.misp import MispDouble
from helpers.bridge import Bridge, actions
from helpers.scenarios import live, only, sink_of
from helpers.stix import LAST, Stix, indicator, relationship, report, stix_id

from stixbridge.misp.knowledge import load

APT28 = 'misp-galaxy:mitre-intrusion-set="APT28 - G0007"'


def context(kind: str, name: str, **more: object) -> Stix:
    """A context object."""
    return {"type": kind, "spec_version": "2.1", "id": stix_id(kind, name), "created": LAST,
            "modified": LAST,
            "name": name, **more}  # fmt: skip


def tags(element: dict[str, object]) -> set[str]:
    return {tag["name"] for tag in element.get("Tag", [])}  # type: ignore[attr-defined]


def test_2_what_is_valid_is_not_hidden_as_decayed(misp: MispDouble, bridge: Bridge) -> None:
    ahead, past = "2026-06-01T00:00:00Z", "2026-01-08T00:00:00Z"
    bridge.poll(
        indicator("198.51.100.1", valid_until=ahead),
        indicator("198.51.100.2", valid_until=ahead),
        indicator("198.51.100.3"),
        indicator("198.51.100.4", valid_until=past),
    )
    headers = {"Authorization": misp.key, "Accept": "application/json"}
    body = {"excludeDecayed": 1, "returnFormat": "json"}
    answer = httpx.post(f"{misp.url}/attributes/restSearch", json=body, headers=headers)
    shown = answer.json()["response"]["Attribute"]
    assert {row["value"] for row in shown} == {"198.51.100.1", "198.51.100.2", "198.51.100.3"}


def test_7_only_what_is_linked_to_a_group_has_its_tag(misp: MispDouble, bridge: Bridge) -> None:
    group = context("intrusion-set", "Fancy Bear")
    linked, other = indicator("198.51.100.1"), indicator("198.51.100.2")
    bridge.poll(linked, other, group, relationship(linked, "indicates", group))
    assert APT28 in tags(only(misp, "198.51.100.1"))
    assert [row["value"] for row in live(misp) if APT28 in tags(row)] == ["198.51.100.1"]
    assert all(APT28 not in tags(event) for event in misp.events.values())


def test_8_clusters_are_those_that_the_server_has(misp: MispDouble, bridge: Bridge) -> None:
    knowledge = load()
    emotet = knowledge.cluster_tag("malware", "", [], ["Emotet"])
    technique = knowledge.cluster_tag("attack-pattern", "", ["T1566"], ["Phishing"])
    assert emotet is not None and technique is not None
    # an older server: the same cluster under another name
    renamed = emotet.replace('"Emotet', '"Emotet of old')
    misp.store.add_cluster(renamed, {"uuid": knowledge.clusters.uuid_of(emotet)})
    misp.store.add_cluster(technique, {"uuid": knowledge.clusters.uuid_of(technique)})
    malware, phishing = context("malware", "Emotet", is_family=True), context(
        "attack-pattern", "Phishing", external_references=[{"source_name": "mitre-attack",
                                                            "external_id": "T1566"}]
    )  # fmt: skip
    sample = indicator("198.51.100.1")
    link = relationship(sample, "indicates", malware)
    assert actions(
        bridge.poll(
            report("Emotet", [sample, malware, phishing, link]), sample, malware, phishing, link
        )
    )
    (event,) = misp.events.values()
    assert {renamed, technique} <= tags(event)
    assert renamed in tags(only(misp, "198.51.100.1"))
    assert emotet not in tags(event)
    galaxies = {
        cluster["tag_name"] for galaxy in event["Galaxy"] for cluster in galaxy["GalaxyCluster"]
    }
    assert galaxies == {renamed, technique}  # the ATT&CK matrix shows what is a cluster there
    before = misp.writes
    assert actions(bridge.run()) in ({}, {"unchanged": 1})
    assert misp.writes == before


def test_9_nothing_red_leaves_by_sync_or_feed(misp: MispDouble, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    sinks = {**sink_of(misp), "feed": {"type": "feed", "path": str(folder)}}
    bridge = Bridge(tmp_path, sinks, enrich={"distribution": 3})
    red, clear = indicator("198.51.100.66", tlp="red"), indicator("198.51.100.1", tlp="clear")
    actor = context("threat-actor", "Nobody Known", description="a secret", object_marking_refs=[
        "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"])  # fmt: skip
    link = relationship(clear, "indicates", actor, object_marking_refs=actor["object_marking_refs"])
    open_ = indicator("203.0.113.1", tlp="clear")
    bridge.poll(
        report("mixed", [red, clear, open_, actor, link], tlp="clear"),
        red,
        clear,
        open_,
        actor,
        link,
    )
    bridge.close()
    (event,) = misp.events.values()
    assert event["distribution"] == "3"
    closed = only(misp, "198.51.100.66")
    assert closed["distribution"] == "0" and "tlp:red" in tags(closed)
    assert all(
        row["distribution"] == "0" for row in event["EventReport"] if "secret" in row["content"]
    )
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"198.51.100.66" not in written and b"secret" not in written
    assert b"203.0.113.1" in written


def test_13_the_index_shows_a_handful_of_titles_a_day(misp: MispDouble, bridge: Bridge) -> None:
    days = ("2026-01-05", "2026-01-06", "2026-01-07")
    loose = [
        indicator(f"198.51.100.{at}", tlp="green" if at % 2 else "amber") for at in range(1, 200)
    ]
    for at, obj in enumerate(loose):
        obj["created"] = f"{days[at % 3]}T08:00:00.000Z"
    bridge.poll(*loose)
    titles = sorted(event["info"] for event in misp.events.values())
    assert titles == [
        f"acme – indicators {day} (TLP:{level})" for day in days for level in ("AMBER", "GREEN")
    ]
    assert len(live(misp)) == 199


def test_the_feed_folder_keeps_our_names(tmp_path: Path) -> None:
    """A folder has no server to ask: the names of the packages stand."""
    folder = tmp_path / "out"
    bridge = Bridge(tmp_path, {"feed": {"type": "feed", "path": str(folder)}})
    group, linked = context("intrusion-set", "Fancy Bear"), indicator("198.51.100.1")
    bridge.poll(linked, group, relationship(linked, "indicates", group))
    bridge.close()
    (path,) = (path for path in folder.glob("*-*.json"))
    event = orjson.loads(path.read_bytes())["Event"]
    assert APT28 in tags(event["Attribute"][0])
