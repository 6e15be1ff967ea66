"""What no galaxy knows: plain tags, private clusters, or a line in the ledger."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, actions, reasons
from helpers.delivering import Delivering, attribute, changed, event, tagged, tags
from helpers.misp import Misp

from stixbridge import times
from stixbridge.rehearsal import rehearse
from stixbridge.sinks.delivery import CLUSTERS
from stixbridge.sinks.misp import MispSink
from stixbridge.wiring import make_pipelines

pytest_plugins = ("helpers.misp_fixtures",)

Json = dict[str, Any]
A, B = "198.51.100.1", "198.51.100.2"
BEAR = 'stix:intrusion-set="Rusty Bear"'
KNOWN = 'misp-galaxy:threat-actor="APT28"'


def bear(**more: Any) -> Json:
    return {
        "type": "intrusion-set",
        "spec_version": "2.1",
        "id": stix.stix_id("intrusion-set", "bear"),
        "created": stix.EARLY,
        "modified": stix.EARLY,
        "name": "Rusty Bear",
        "aliases": ["RB"],
        "description": "Digs.",
        "goals": ["money"],
        "external_references": [{"source_name": "acme", "url": "https://acme.example/bear"}],
        **more,
    }


def paw(**more: Any) -> Json:
    return {
        "type": "malware",
        "spec_version": "2.1",
        "id": stix.stix_id("malware", "paw"),
        "created": stix.EARLY,
        "modified": stix.EARLY,
        "name": "PawLoader-9",
        "is_family": True,
        **more,
    }


@pytest.fixture
def double() -> Iterator[MispDouble]:
    known = {f'misp-galaxy:{kind}="known"': {} for kind in ("threat-actor", "tool")}
    with MispDouble(clusters=known) as misp:
        yield misp


def bridge_to(misp: MispDouble, folder: Path, policy: str = "private", **more: Any) -> Bridge:
    sink = {"type": "misp", "url": misp.url, "key": misp.key, "clusters": policy}
    return Bridge(folder, {"misp": sink}, **more)


def made(misp: MispDouble) -> dict[str, Json]:
    return {row["value"]: row for row in misp.store.clusters.values() if row.get("custom")}


def elements(cluster: Json) -> set[tuple[str, str]]:
    return {(row["key"], row["value"]) for row in cluster["GalaxyElement"]}


def wave(*more: Json, **how: Any) -> list[Json]:
    one = stix.indicator(A)
    objects = [
        one,
        bear(),
        paw(),
        stix.relationship(one, "indicates", bear()),
        stix.relationship(bear(), "uses", paw()),
    ]
    return [*objects, stix.report("wave", [*objects, *more], **how), *more]


def test_a_cluster_is_created_once_with_what_is_known_of_it(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path)
    assert actions(bridge.poll(*wave())) == {"created": 1}
    clusters = made(double)
    assert set(clusters) == {"Rusty Bear", "PawLoader-9"}
    rusty, loader = clusters["Rusty Bear"], clusters["PawLoader-9"]
    assert (rusty["type"], loader["type"]) == ("threat-actor", "tool")
    assert (rusty["description"], rusty["distribution"], rusty["published"]) == ("Digs.", "0", False)
    assert elements(rusty) == {
        ("synonyms", "RB"), ("goals", "money"), ("refs", "https://acme.example/bear"), ("stix-id", bear()["id"]),
    }  # fmt: skip
    (relation,) = rusty["GalaxyClusterRelation"]
    assert (relation["referenced_galaxy_cluster_uuid"], relation["referenced_galaxy_cluster_type"]) == (
        loader["uuid"], "uses",
    )  # fmt: skip
    (held,) = double.events.values()
    names = {rusty["tag_name"], loader["tag_name"]}
    assert names <= set(tagged(held))
    assert rusty["tag_name"] in tagged(held["Attribute"][0])
    assert not [name for name in tagged(held) if name.startswith("stix:")]
    assert actions(bridge.run()) == {}
    other = stix.indicator(B)
    bridge.poll(other, stix.report("other", [other, bear(), paw()]))
    assert len(double.writes()) == 5  # two clusters, a relation, two events
    assert set(made(double)) == set(clusters)
    bridge.close()


def test_what_the_source_changes_is_changed_and_what_an_analyst_changed_stays(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    bridge.poll(*wave())
    rusty = made(double)["Rusty Bear"]
    rusty["GalaxyElement"] = [*rusty["GalaxyElement"], {"key": "country", "value": "XX"}]
    newer = bear(modified=stix.LATER, aliases=["RB2"], description="Digs deep.")
    assert bridge.poll(newer).errors == []
    rusty = made(double)["Rusty Bear"]
    assert rusty["description"] == "Digs deep."
    assert {("synonyms", "RB2"), ("country", "XX")} <= elements(rusty)
    assert ("synonyms", "RB") not in elements(rusty)
    rusty["description"] = "An analyst's words."
    bridge.poll(bear(modified=stix.LAST, description="Again."))
    assert made(double)["Rusty Bear"]["description"] == "An analyst's words."
    bridge.close()


@pytest.mark.parametrize(
    "marked",
    [{"object_marking_refs": [stix.MARKINGS["red"]]}, {"object_marking_refs": ["marking-definition--nowhere"]}],
    ids=["red", "unknown marking"],
)
def test_what_is_marked_for_few_makes_no_cluster(double: MispDouble, tmp_path: Path, marked: Json) -> None:
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A)
    bridge.poll(one, bear(**marked), stix.relationship(one, "indicates", bear()))
    assert made(double) == {}
    bridge.close()


def test_an_event_that_is_red_makes_no_cluster(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path)
    bridge.poll(*wave(tlp="red"))
    assert made(double) == {}
    bridge.close()


@pytest.mark.parametrize("policy", ["tags", "none"])
def test_the_other_policies(double: MispDouble, tmp_path: Path, policy: str) -> None:
    bridge = bridge_to(double, tmp_path, policy)
    summary = bridge.poll(*wave())
    (held,) = double.events.values()
    assert (BEAR in tagged(held)) is (policy == "tags")
    assert made(double) == {}
    told = [text for text in reasons(summary).get("filtered", []) if "no galaxy knows it" in text]
    assert len(told) == (2 if policy == "none" else 0)
    bridge.close()


def test_a_change_of_policy_comes_with_a_replay(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path, "tags")
    bridge.poll(*wave())
    bridge.close()
    bridge = bridge_to(double, tmp_path, "private")
    assert actions(bridge.run(replay=True)) == {"updated": 1}
    (held,) = double.events.values()
    assert made(double)["Rusty Bear"]["tag_name"] in tagged(held)
    assert BEAR not in tagged(held)
    (pipeline,) = make_pipelines(bridge.config, bridge.store)
    summary = rehearse(pipeline, times.microseconds(NOW), replay=True)
    assert [delivery.changes for _, delivery in summary.deliveries if delivery.changes] == []
    pipeline.close()
    bridge.close()


def test_a_key_that_may_not_make_clusters_leaves_plain_tags_and_says_so(tmp_path: Path) -> None:
    with MispDouble(role="writer", clusters={'misp-galaxy:threat-actor="known"': {}}) as misp:
        said: list[str] = []
        bridge = bridge_to(misp, tmp_path)
        (pipeline,) = make_pipelines(bridge.config, bridge.store, progress=said.append)
        pipeline.close()
        summary = bridge.poll(*wave())
        assert summary.errors == []
        (held,) = misp.events.values()
        assert BEAR in tagged(held)
        sink = MispSink(misp.url, misp.key, clusters="private")
        assert "this key may not make galaxy clusters" in "\n".join(sink.limits())
        sink.close()
        bridge.close()


def test_a_galaxy_that_a_misp_does_not_have_leaves_a_plain_tag(tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = bridge_to(misp, tmp_path)
        summary = bridge.poll(*wave())
        (held,) = misp.events.values()
        assert BEAR in tagged(held)
        assert "this MISP has no galaxy 'threat-actor'" in "\n".join(reasons(summary)["misp-dropped"])
        bridge.close()


# on a real MISP too


def cluster(name: str, galaxy: str = "threat-actor", **more: Any) -> Json:
    tag = f'stix:intrusion-set="{name}"'
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, tag)), "tag": tag, "galaxy": galaxy, "value": name,
        "description": "Digs.", "source": "acme", "elements": [["refs", "https://acme.example/"], ["synonyms", "RB"]],
        "relations": [], "level": None, "withheld": False, **more,
    }  # fmt: skip


def test_clusters_are_made_updated_and_related(misp: Misp) -> None:
    name = f"Rusty Bear {uuid.uuid4().hex[:8]}"
    own = misp.fresh()
    second = cluster(f"{name} B", "tool")
    first = cluster(name, relations=[["uses", second["uuid"]]])
    wanted = event(own, attribute(own, A, Tag=tags(first["tag"])), Tag=tags(first["tag"], second["tag"], "tlp:green"))
    wanted[CLUSTERS] = [first, second]
    sink = MispSink(misp.url, misp.key, clusters="private")
    deliver = Delivering(sink)
    try:
        delivery = deliver(wanted)
        assert delivery.notes == []
        held = misp.event(own)
        assert held is not None
        expected = {f'misp-galaxy:{row["galaxy"]}="{row["uuid"]}"' for row in (first, second)}
        assert set(tagged(held)) == expected | {"tlp:green"}
        assert {row["name"] for row in misp.part(own, wanted["Attribute"][0]["uuid"])["Tag"]} <= expected
        assert len(held["Galaxy"]) == 2
        newer = changed(first, description="Digs deep.", elements=[["synonyms", "RB2"]])
        assert deliver(changed(wanted, info="changed", **{CLUSTERS: [newer, second]})).notes == []
        misp.forget()
        (found,) = misp.post("/galaxy_clusters/restSearch", {"uuid": [first["uuid"]]})["response"]
        found = found["GalaxyCluster"]
        assert (found["description"], str(found["distribution"])) == ("Digs deep.", "0")
        assert [(row["key"], row["value"]) for row in found["GalaxyElement"]] == [("synonyms", "RB2")]
        assert [row["referenced_galaxy_cluster_type"] for row in found["GalaxyClusterRelation"]] == ["uses"]
        again = Delivering(MispSink(misp.url, misp.key, clusters="private"))
        again.last = deliver.last
        assert again(changed(wanted, info="once more", **{CLUSTERS: [newer, second]})).notes == []
        assert [request.path for request in misp.writes()] == [f"/events/edit/{own}"]
    finally:
        for row in (first, second) if misp.real else ():
            misp.http.post(f"/galaxy_clusters/delete/{row['uuid']}/1")
        sink.close()
