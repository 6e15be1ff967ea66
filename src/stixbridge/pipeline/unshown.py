"""Changes of context objects that no event shows: half of all reports may name such an object.

Events show the name of an actor or a piece of malware, and where no galaxy knows it more of it. A
new version that differs in the rest only would make all events that name it again, for nothing.
Whether it shows is tried on an example: one event that names and links the object, made of the
version that was delivered and of the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stixbridge.conversion.to_misp.engine import Conversion
from stixbridge.ledger import Account, Outcome
from stixbridge.mapping import table_of
from stixbridge.mapping.context import CLUSTER_GALAXIES
from stixbridge.mapping.tables import Role
from stixbridge.misp.model import NAMESPACE, derived_uuid
from stixbridge.pipeline.affected import CONTAINERS, slices, type_of
from stixbridge.stix.reader import Entry
from stixbridge.stix.references import everything
from stixbridge.store.store import ObjectStore

_AT_ONCE = 500
_TIME = "2026-01-01T00:00:00.000Z"

Convert = Callable[[list[Entry]], Conversion]
Versions = Mapping[str, dict[str, Any]]


class Unshown:
    """Finds them for one pipeline.

    Args (of the constructor):
        store: the store of the objects.
        pipeline: the name of the pipeline.
        source: the name of its source.
        convert: converts objects as the pipeline does.
    """

    def __init__(self, store: ObjectStore, pipeline: str, source: str, convert: Convert) -> None:
        self._objects = store.objects
        self._placements = store.placements
        self._pipeline = pipeline
        self._source = source
        self._convert = convert

    def accounts(self, changed: Iterable[str], done: int) -> dict[str, Account]:
        """Return the context objects whose change no event shows, with what becomes of each.

        Args:
            changed: the ids of changed objects.
            done: the seq up to which the pipeline has delivered everything.
        """
        result: dict[str, Account] = {}
        contexts = (id_ for id_ in changed if type_of(id_) in CLUSTER_GALAXIES)
        for ids in slices(contexts, _AT_ONCE):
            old = self._objects.previous(self._source, ids, done)
            rows = self._objects.load(self._source, old)
            new = {id_: obj for id_, (obj, _) in rows.items() if _is_alike(old[id_], obj)}
            if new:
                result.update(self._alike(old, new))
        return result

    def _alike(self, old: Versions, new: Versions) -> Iterator[tuple[str, Account]]:
        """Compare the events of both versions of some objects."""
        refs = {ref for obj in new.values() for ref in everything(obj)} - new.keys()
        others = [obj for obj, _ in self._objects.load(self._source, refs).values()]
        before = _by_container(self._convert(_entries(others, {id_: old[id_] for id_ in new})))
        conversion = self._convert(_entries(others, new))
        after = _by_container(conversion)
        for id_ in sorted(new):
            report = _id("report", id_)
            account = conversion.ledger.accounts.get(id_)
            if (
                account is not None
                and account[0] is Outcome.MAPPED
                and after.get(report) is not None
                and after[report] == before.get(report)
                and self._is_shown(id_)
            ):
                yield id_, account

    def _is_shown(self, id_: str) -> bool:
        """Whether an event names an object, or something that is linked to it."""
        page = next(self._objects.referrer_pages(self._source, [id_]), [])
        ids = {ref for ref, type_ in page if type_ in CONTAINERS}
        links = [ref for ref, type_ in page if type_ == "relationship"]
        for _, *ends in self._objects.link_ends(self._source, links):
            ids.update(ends)
        return bool(self._placements.placed(self._pipeline, ids))


def _is_alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two versions are contexts that refer to the same objects; not of a MISP export."""
    return (
        all(
            table_of(obj).role is Role.CONTEXT
            and obj.get("is_family") is not False
            and obj.get("revoked") is not True
            and not any(name.startswith("x_misp") for name in obj)
            for obj in (old, new)
        )
        and everything(old) == everything(new)
        and old.get("type") == new.get("type")
    )


def _by_container(conversion: Conversion) -> dict[str | None, Any]:
    """Container -> everything that a sink gets of its event."""
    return {
        row.container: (row.event, row.closed, row.clusters, row.names)
        for row in conversion.converted
    }


def _entries(others: list[dict[str, Any]], contexts: Versions) -> list[Entry]:
    """Objects with an example for each context: a report, and whatever an event shows links of."""
    objects = [*others, *contexts.values()]
    for id_ in contexts:
        objects.extend(_example(id_))
    return [Entry("$", obj, id=obj["id"]) for obj in objects]


def _example(id_: str) -> Iterator[dict[str, Any]]:
    name = derived_uuid(NAMESPACE, "example", id_)
    indicator = _object(
        "indicator",
        id_,
        pattern=f"[domain-name:value = '{name}.example']",
        pattern_type="stix",
        valid_from=_TIME,
    )
    group = _object("intrusion-set", id_, name=name)
    linked = [
        _object("relationship", id_, "1", relationship_type="indicates", source_ref=indicator["id"],
                target_ref=id_),
        _object("relationship", id_, "2", relationship_type="related-to", source_ref=group["id"],
                target_ref=id_),
        _object("relationship", id_, "3", relationship_type="related-to", source_ref=id_,
                target_ref=group["id"]),
        _object("sighting", id_, sighting_of_ref=id_),
        _object("note", id_, content="example", object_refs=[id_]),
    ]  # fmt: skip
    refs = [id_, indicator["id"], group["id"], *(obj["id"] for obj in linked)]
    yield from (indicator, group, *linked)
    yield _object("report", id_, name=name, published=_TIME, object_refs=refs)


def _object(type_: str, about: str, *parts: str, **more: Any) -> dict[str, Any]:
    return {
        "type": type_,
        "spec_version": "2.1",
        "id": _id(type_, about, *parts),
        "created": _TIME,
        "modified": _TIME,
        **more,
    }


def _id(type_: str, *parts: str) -> str:
    return f"{type_}--{derived_uuid(NAMESPACE, 'example', type_, *parts)}"
