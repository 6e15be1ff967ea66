"""What no galaxy knows: plain tags, private clusters, or a line in the ledger."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from doubles.misp import MispDouble
from helpers import stix
from helpers.bridge import NOW, Bridge, actions, reasons
from helpers.delivering import Delivering, attribute, changed, event, sink_of, tagged, tags
from helpers.misp import Misp

from stixbridge import times
from stixbridge.config.build import make_pipelines
from stixbridge.envelopes import Wanted
from stixbridge.pipeline.dry_run import rehearse

pytestmark = pytest.mark.misp_double(
    clusters={f'misp-galaxy:{kind}="known"': {} for kind in ("threat-actor", "tool")}
)


Json = dict[str, Any]
A, B = "198.51.100.1", "198.51.100.2"
BEAR = 'stix:intrusion-set="Rusty Bear"'
OWN = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"


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


def test_a_cluster_is_created_once_with_what_is_known_of_it(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    assert actions(bridge.poll(*wave())) == {"created": 1}
    clusters = made(double)
    assert set(clusters) == {"Rusty Bear", "PawLoader-9"}
    rusty, loader = clusters["Rusty Bear"], clusters["PawLoader-9"]
    assert (rusty["type"], loader["type"]) == ("threat-actor", "tool")
    assert (rusty["description"], rusty["distribution"], rusty["published"]) == (
        "Digs.",
        "0",
        False,
    )
    assert elements(rusty) == {
        ("synonyms", "RB"), ("goals", "money"), ("refs", "https://acme.example/bear"),
        ("stix-id", bear()["id"]),
    }  # fmt: skip
    (relation,) = rusty["GalaxyClusterRelation"]
    assert (relation["referenced_galaxy_cluster_uuid"],
            relation["referenced_galaxy_cluster_type"]) == (
        loader["uuid"], "uses",
    )  # fmt: skip
    (stored,) = double.events.values()
    names = {rusty["tag_name"], loader["tag_name"]}
    assert names <= set(tagged(stored))
    assert rusty["tag_name"] in tagged(stored["Attribute"][0])
    assert not [name for name in tagged(stored) if name.startswith("stix:")]
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
    [
        {"object_marking_refs": [stix.MARKINGS["red"]]},
        {"object_marking_refs": ["marking-definition--nowhere"]},
    ],
    ids=["red", "unknown marking"],
)
def test_what_is_marked_for_few_makes_no_cluster(
    double: MispDouble, tmp_path: Path, marked: Json
) -> None:
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


RED = {"object_marking_refs": [stix.MARKINGS["red"]]}
MADE_RED: dict[str, Json] = {
    "settings": {"enrich": {"tags": ["tlp:red"]}},
    "a rule": {"enrich": {"rules": [{"name": "r", "then": [{"add_tags": ["tlp:red"]}]}]}},
    "the default": {"source": {"default_tlp": "tlp:red"}},
}


@pytest.mark.parametrize("how", MADE_RED)
def test_an_event_that_was_made_red_makes_no_cluster(
    double: MispDouble, tmp_path: Path, how: str
) -> None:
    bridge = bridge_to(double, tmp_path, **MADE_RED[how])
    assert bridge.poll(*wave()).errors == []
    assert made(double) == {}
    bridge.close()


def emotet(**more: Any) -> Json:
    return {**paw(**more), "id": stix.stix_id("malware", "emotet"), "name": "Emotet"}


def test_a_relation_that_only_a_red_report_has_is_on_no_cluster(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A)
    uses, secret = stix.relationship(bear(), "uses", emotet()), stix.indicator(B)
    green = [one, bear(), stix.relationship(one, "indicates", bear())]
    red = [bear(), emotet(), uses, secret]
    reports = [stix.report("open", green, tlp="green"), stix.report("secret", red, tlp="red")]
    bridge.poll(*green, emotet(), uses, secret, *reports)
    assert made(double)["Rusty Bear"]["GalaxyClusterRelation"] == []
    bridge.close()


def test_a_relation_to_what_is_red_is_on_no_cluster(double: MispDouble, tmp_path: Path) -> None:
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A)
    links = [
        stix.relationship(one, "indicates", bear()),
        stix.relationship(bear(), "uses", emotet()),
    ]
    members = [one, bear(), emotet(**RED), *links]
    bridge.poll(*members, stix.report("open", members, tlp="green"))
    assert made(double)["Rusty Bear"]["GalaxyClusterRelation"] == []
    bridge.close()


def test_a_relation_that_may_be_told_is_on_the_cluster(double: MispDouble, tmp_path: Path) -> None:
    """As the two above without the red."""
    bridge = bridge_to(double, tmp_path)
    one = stix.indicator(A)
    links = [
        stix.relationship(one, "indicates", bear()),
        stix.relationship(bear(), "uses", emotet()),
    ]
    members = [one, bear(), emotet(), *links]
    bridge.poll(*members, stix.report("open", members, tlp="green"))
    assert len(made(double)["Rusty Bear"]["GalaxyClusterRelation"]) == 1
    bridge.close()


def test_of_what_is_marked_for_fewer_by_now_the_cluster_says_no_more(
    double: MispDouble, tmp_path: Path
) -> None:
    bridge = bridge_to(double, tmp_path)
    bridge.poll(*wave())
    assert made(double)["Rusty Bear"]["description"] == "Digs."
    assert bridge.poll(bear(modified=stix.LATER, **RED)).errors == []
    rusty = made(double)["Rusty Bear"]
    assert (rusty["description"], elements(rusty)) == (
        "It is marked for fewer readers by now.",
        set(),
    )
    bridge.close()


def test_what_is_too_strict_for_a_misp_is_in_no_cluster_of_it(
    double: MispDouble, tmp_path: Path
) -> None:
    """Two actors of one name, one of them AMBER: their cluster would tell of both."""
    sink = {
        "type": "misp",
        "url": double.url,
        "key": double.key,
        "clusters": "private",
        "max_tlp": "tlp:green",
    }
    bridge = Bridge(tmp_path, {"misp": sink})
    one = stix.indicator(A)
    amber = {**bear(description="SECRET"), "id": stix.stix_id("intrusion-set", "other")}
    amber["object_marking_refs"] = [stix.MARKINGS["amber"]]
    members = [one, bear(), amber, stix.relationship(one, "indicates", bear())]
    bridge.poll(*members, stix.report("open", members, tlp="green"))
    assert "SECRET" not in str(made(double))
    assert "SECRET" not in str(double.events)
    bridge.close()


def test_a_cluster_that_an_analyst_deleted_is_not_tagged_any_more(double: MispDouble) -> None:
    """Though this process has seen it there before."""
    first = cluster("Rusty Bear")
    wanted = event(OWN, attribute(OWN, A), Tag=tags(first["tag"]))
    deliver = Delivering(sink_of(double, clusters="private"))
    deliver(Wanted(wanted, clusters=[first]))
    made(double)["Rusty Bear"]["deleted"] = True
    newer = changed(first, description="Digs deep.")
    delivery = deliver(Wanted(wanted, clusters=[newer]))
    assert "an analyst deleted it" in str(delivery.notes)
    assert tagged(double.events[OWN]) == [first["tag"]]


@pytest.mark.parametrize("policy", ["tags", "none"])
def test_the_other_policies(double: MispDouble, tmp_path: Path, policy: str) -> None:
    bridge = bridge_to(double, tmp_path, policy)
    summary = bridge.poll(*wave())
    (stored,) = double.events.values()
    assert (BEAR in tagged(stored)) is (policy == "tags")
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
    (stored,) = double.events.values()
    assert made(double)["Rusty Bear"]["tag_name"] in tagged(stored)
    assert BEAR not in tagged(stored)
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
        (stored,) = misp.events.values()
        assert BEAR in tagged(stored)
        sink = sink_of(misp, clusters="private")
        assert "this key may not make galaxy clusters" in "\n".join(sink.limits())
        sink.close()
        bridge.close()


def test_a_galaxy_that_a_misp_does_not_have_leaves_a_plain_tag(tmp_path: Path) -> None:
    with MispDouble() as misp:
        bridge = bridge_to(misp, tmp_path)
        summary = bridge.poll(*wave())
        (stored,) = misp.events.values()
        assert BEAR in tagged(stored)
        assert "this MISP has no galaxy 'threat-actor'" in "\n".join(
            reasons(summary)["misp-dropped"]
        )
        bridge.close()


# on a real MISP too


def cluster(name: str, galaxy: str = "threat-actor", **more: Any) -> Json:
    tag = f'stix:intrusion-set="{name}"'
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, tag)), "tag": tag, "galaxy": galaxy,
        "value": name, "description": "Digs.", "source": "acme",
        "elements": [["refs", "https://acme.example/"], ["synonyms", "RB"]],
        "relations": [], "level": None, "withheld": False, **more,
    }  # fmt: skip


def test_clusters_are_made_updated_and_related(misp: Misp) -> None:
    name = f"Rusty Bear {uuid.uuid4().hex[:8]}"
    event_uuid = misp.fresh()
    second = cluster(f"{name} B", "tool")
    first = cluster(name, relations=[["uses", second["uuid"]]])
    wanted = event(
        event_uuid,
        attribute(event_uuid, A, Tag=tags(first["tag"])),
        Tag=tags(first["tag"], second["tag"], "tlp:green"),
    )
    sink = sink_of(misp, clusters="private")
    deliver = Delivering(sink)
    try:
        delivery = deliver(Wanted(wanted, clusters=[first, second]))
        assert delivery.notes == []
        stored = misp.event(event_uuid)
        assert stored is not None
        expected = {f'misp-galaxy:{row["galaxy"]}="{row["uuid"]}"' for row in (first, second)}
        assert set(tagged(stored)) == expected | {"tlp:green"}
        assert {
            row["name"] for row in misp.part(event_uuid, wanted["Attribute"][0]["uuid"])["Tag"]
        } <= expected
        assert len(stored["Galaxy"]) == 2
        newer = changed(first, description="Digs deep.", elements=[["synonyms", "RB2"]])
        assert (
            deliver(Wanted(changed(wanted, info="changed"), clusters=[newer, second])).notes == []
        )
        misp.forget()
        (found,) = misp.post("/galaxy_clusters/restSearch", {"uuid": [first["uuid"]]})["response"]
        found = found["GalaxyCluster"]
        assert (found["description"], str(found["distribution"])) == ("Digs deep.", "0")
        assert [(row["key"], row["value"]) for row in found["GalaxyElement"]] == [
            ("synonyms", "RB2")
        ]
        assert [
            row["referenced_galaxy_cluster_type"] for row in found["GalaxyClusterRelation"]
        ] == ["uses"]
        again = Delivering(sink_of(misp, clusters="private"))
        again.last = deliver.last
        once_more = Wanted(changed(wanted, info="once more"), clusters=[newer, second])
        assert again(once_more).notes == []
        assert [request.path for request in misp.writes()] == [f"/events/edit/{event_uuid}"]
    finally:
        for row in (first, second) if misp.real else ():
            misp.http.post(f"/galaxy_clusters/delete/{row['uuid']}/1")
        sink.close()
