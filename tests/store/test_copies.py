"""Two contents of one version: the answers decide, each content changes the object once, and
nothing loosens.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from servers.reading import indicator

from stixbridge.stix.reader import read_value
from stixbridge.store import Store
from stixbridge.store.inbox import PageCount

Stix = dict[str, Any]
NOW = 1_768_003_200_000_000  # 2026-01-10
HOUR = 3_600_000_000
RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
GREEN = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
UNKNOWN = "marking-definition--00000000-0000-4000-8000-000000000099"
BASE = indicator(1)
ID = BASE["id"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "stixbridge.db")
    yield made
    made.close()


def named(name: str, **more: Any) -> Stix:
    return {**BASE, "name": name, **more}


def answer(
    store: Store,
    obj: Stix,
    *,
    collection: str = "c",
    added: int | None = None,
    first: int | None = None,
    received: int = NOW,
) -> PageCount:
    return store.inbox.add_page(
        "acme",
        collection,
        read_value({"objects": [obj]}).entries,
        watermark=None,
        date_added=added,
        date_first=first,
        received=received,
    )


def stored(store: Store, id_: str = ID) -> Stix:
    return store.objects.load("acme", [id_])[id_][0]


def test_a_later_answer_of_the_collection_replaces_the_earlier_one(store: Store) -> None:
    for name in ("one", "two", "three"):
        assert answer(store, named(name)).changed == [ID]
        assert stored(store)["name"] == name


def test_an_answer_that_the_server_dates_earlier_changes_nothing(store: Store) -> None:
    answer(store, named("new"), added=NOW)
    assert answer(store, named("old"), added=NOW - HOUR).changed == []
    assert answer(store, named("newer"), added=NOW).changed == [ID]
    assert stored(store)["name"] == "newer"


def test_observables_have_no_version_and_follow_the_answers(store: Store) -> None:
    domain = {"type": "domain-name", "spec_version": "2.1", "value": "a.example"}
    domain["id"] = "domain-name--00000000-0000-4000-8000-000000000001"
    answer(store, domain)
    assert answer(store, {**domain, "resolves_to_refs": ["ipv4-addr--x"]}).changed == [domain["id"]]
    assert "resolves_to_refs" in stored(store, domain["id"])


@pytest.mark.parametrize("dated", [True, False])
def test_two_collections_with_two_contents_change_the_object_once(
    store: Store, dated: bool
) -> None:
    """Whichever is asked first, and however often."""
    changes = 0
    for poll in range(10):
        # the time of a page grows as other objects come
        for collection, name in (("a", "one"), ("b", "two")):
            added = NOW + poll * HOUR if dated else None
            changes += len(answer(store, named(name), collection=collection, added=added).changed)
    assert changes <= 2
    other = Store(str(store.path) + "2")
    for collection, name in (("b", "two"), ("a", "one")):
        answer(other, named(name), collection=collection, added=NOW if dated else None)
    if not dated:
        assert stored(other)["name"] == stored(store)["name"]
    other.close()


def test_two_back_ends_of_one_collection_change_the_object_once(store: Store) -> None:
    changes = [answer(store, named(name)).changed for name in ("one", "two") * 10]
    assert sum(map(len, changes)) == 2


def test_a_server_that_goes_back_to_a_content_is_followed(store: Store) -> None:
    """The page has only objects that were added after the stored one."""
    answer(store, named("one"), added=NOW, first=NOW)
    answer(store, named("two"), added=NOW + HOUR, first=NOW + HOUR)
    assert answer(store, named("one"), added=NOW + 2 * HOUR, first=NOW).changed == []
    assert answer(store, named("one"), added=NOW + 3 * HOUR, first=NOW + 2 * HOUR).changed == [ID]
    assert stored(store)["name"] == "one"


CONTENTS = [
    named("plain"),
    named("revoked", revoked=True),
    named("red", object_marking_refs=[RED]),
    named("green", object_marking_refs=[GREEN]),
]


@pytest.mark.parametrize("order", list(permutations(range(4), 3)))
@pytest.mark.parametrize("together", [True, False], ids=["one page", "a page each"])
def test_revocation_and_the_stricter_marking_stay(
    store: Store, order: tuple[int, ...], together: bool
) -> None:
    contents = [CONTENTS[number] for number in order]
    if together:
        entries = read_value({"objects": contents}).entries
        store.inbox.add_page("acme", "c", entries, watermark=None, date_added=None, received=NOW)
    else:
        for content in contents:
            answer(store, content)
    result = stored(store)
    assert result.get("revoked", False) == (1 in order)
    strictest = RED if 2 in order else GREEN if 3 in order else None
    assert result.get("object_marking_refs") == ([strictest] if strictest else None)
    assert result["name"] == contents[-1]["name"]


def test_a_marking_that_nobody_knows_counts_as_the_strictest(store: Store) -> None:
    answer(store, named("unknown", object_marking_refs=[UNKNOWN]))
    answer(store, named("green", object_marking_refs=[GREEN]))
    assert stored(store)["object_marking_refs"] == [UNKNOWN]


def test_a_newer_version_loosens_and_restores(store: Store) -> None:
    answer(store, named("a", revoked=True, object_marking_refs=[RED]))
    answer(store, named("b", modified="2026-01-02T00:00:00.000Z"))
    assert stored(store) == named("b", modified="2026-01-02T00:00:00.000Z")


def test_what_was_merged_is_quiet_when_it_is_polled_again(store: Store) -> None:
    for content in CONTENTS:
        answer(store, content)
    seq = store.objects.last_seq("acme")
    for content in CONTENTS:
        assert answer(store, content).changed == []
    assert store.objects.last_seq("acme") == seq


def test_a_version_in_the_future_does_not_keep_the_correction_out(store: Store) -> None:
    wrong = named("wrong", modified="2083-01-01T00:00:00.000Z")
    right = named("right", modified="2026-01-09T00:00:00.000Z")
    answer(store, wrong)
    assert answer(store, right).changed == [ID]
    # the server lists the newest version first, and again
    assert answer(store, wrong).changed == []
    assert stored(store)["name"] == "right"
    assert answer(store, named("next", modified="2026-01-10T00:00:00.000Z")).changed == [ID]


def test_an_older_version_stays_out(store: Store) -> None:
    answer(store, named("new", modified="2026-01-09T00:00:00.000Z"))
    assert answer(store, named("old", modified="2026-01-08T00:00:00.000Z")).changed == []


def test_facts_of_a_source_last(tmp_path: Path, store: Store) -> None:
    facts = store.source_facts("acme")
    facts["page_size"] = 100
    facts["forms"] = {"added_after": "milliseconds"}
    facts["page_size"] = 50
    del store.source_facts("acme")["forms"]
    again = Store(tmp_path / "stixbridge.db")
    assert dict(again.source_facts("acme")) == {"page_size": 50}
    assert dict(again.source_facts("other")) == {}
    assert again.source_facts("other").get("page_size", 1000) == 1000
    with pytest.raises(KeyError):
        del again.source_facts("other")["page_size"]
    again.close()
