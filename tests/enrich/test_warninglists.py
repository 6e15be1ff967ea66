"""Warninglists: the same hits as the package gives, the actions, and their settings."""

import random
from ipaddress import ip_network
from typing import Any

import pytest
from helpers.stix import Stix, indicator
from pymispwarninglists import WarningLists as Official

from stixbridge import ConfigError, Enrich, convert
from stixbridge.enrich.settings import WarninglistSettings
from stixbridge.enrich.warninglist_policies import policies
from stixbridge.enrich.warninglists import load
from stixbridge.misp.model import tag_names

NOW = "2026-02-01T00:00:00Z"
VALUES = (
    "8.8.8.8", "10.1.2.3", "198.51.100.7", "2001:db8::1", "2606:4700:4700::1111", "google.com",
    "www.google.com", "mail.example.com", "bad.example", "https://www.google.com/x",
    "http://198.51.100.7/", "https://bit.ly/abc", "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "", ".",
    "a@gmail.com", "C:\\Windows\\system32\\svchost.exe", "CVE-2026-10001", "0.0.0.0",
    "255.255.255.255", "::", "::1", "299.1.2.3", "xn--80ak6aa92e.com", "дом.рф", "fe80::1%eth0",
)  # fmt: skip


@pytest.fixture(scope="module")
def official() -> Official:
    return Official(slow_search=True)


def near(values: list[str], chance: random.Random) -> list[str]:
    """Some values of a list, and what is near them: addresses inside and beside networks, hosts
    below names.
    """
    found: list[str] = []
    for value in chance.sample(values, min(4, len(values))):
        found += [value, f"sub.{value}", f"x{value}", value.upper()]
        try:
            network = ip_network(value, strict=False)
        except ValueError:
            continue
        found += [
            str(network[0]),
            str(network[-1]),
            str(network[0] - 1) if int(network[0]) else "0.0.0.0",
        ]
    return found


@pytest.mark.long
def test_every_list_gives_the_hits_of_the_package(official: Official) -> None:
    ours = load()
    chance = random.Random(7)
    for name, held in official.items():
        if held.type != "regex":  # the package does not search those
            for value in [*VALUES, *near(held.list, chance)]:
                assert (name in {hit.name for hit in ours.search(value)}) == (value in held), (
                    name,
                    value,
                )


def test_lists_are_for_some_types() -> None:
    lists = load()
    everything = {held.slug for held in lists.hits("ip-dst", "8.8.8.8")}
    assert everything
    assert {held.slug for held in lists.hits("domain|ip", "bad.example|8.8.8.8")} >= everything
    assert not lists.hits("filename", "8.8.8.8")


def event_with(*values: str, lists: list[dict[str, Any]]) -> tuple[dict[str, Any], Any]:
    objects: list[Stix] = [indicator(value) for value in values]
    result = convert(objects, NOW, enrich=Enrich(warninglists=lists))
    return (result.events[0] if result.events else {}), result.ledger


@pytest.mark.parametrize("action", ["drop", "to_ids_off", "tag", "report"])
def test_actions(action: str) -> None:
    event, ledger = event_with(
        "8.8.8.8", "93.184.216.34", lists=[{"lists": ["public-dns-v4"], "action": action}]
    )
    rows = {row["value"]: row for row in event["Attribute"]}
    assert rows["93.184.216.34"]["to_ids"]
    if action == "drop":
        assert "8.8.8.8" not in rows
    else:
        assert rows["8.8.8.8"]["to_ids"] == (action != "to_ids_off")
        assert tag_names(rows["8.8.8.8"]) == (
            ['false-positive:risk="medium"'] if action == "tag" else []
        )
    (entry,) = [
        row for row in ledger.entries if row.get("reason") == "warninglist" and "target" in row
    ]
    assert entry["target"].startswith("8.8.8.8: ")


def test_the_first_policy_that_fits_counts() -> None:
    lists = [{"lists": ["public-dns-v4"], "action": "report"}, {"lists": ["*"], "action": "drop"}]
    event, _ = event_with("8.8.8.8", "10.1.2.3", "93.184.216.34", lists=lists)
    assert {row["value"] for row in event["Attribute"]} == {"8.8.8.8", "93.184.216.34"}


def test_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match="2 mistakes") as raised:
        Enrich(warninglists=[{"action": "delete"}, {"tags": 1}])
    assert "warninglists[0].action: 'delete' is not one of drop" in str(raised.value)
    assert "warninglists[1].tags: unknown setting 'tags'; did you mean 'tag'?" in str(raised.value)
    with pytest.raises(ConfigError, match="2 mistakes") as raised:
        policies([WarninglistSettings(("no-such",)), WarninglistSettings(category="nice")])
    assert "warninglists[0]: there is no list 'no-such'" in str(raised.value)
    assert "warninglists[1]: there is no category 'nice'" in str(raised.value)
