"""`find`: where an object, a value or an event is, from the store alone."""

from __future__ import annotations

from typing import Any

from stixbridge import times
from stixbridge.config.build import make_maker
from stixbridge.config.reader import Config
from stixbridge.envelopes import Delivered
from stixbridge.pipeline.run_ledger import RunLedger
from stixbridge.sinks.places import place_of
from stixbridge.store import Store


def find(config: Config, store: Store, what: str) -> list[dict[str, Any]]:
    """Everything known about a STIX id, a value, or a MISP UUID.

    Args:
        config: for the pipelines' settings.
        store: from `wiring.open_store`.
        what: the id, value or UUID.

    Returns:
        A row for each STIX object found: `id`, `source`, `object`, `events` (each with its sinks
        and elements), `missing` (what was not carried over, and why) and `touched` (rules that
        changed it or its event).
    """
    rows: list[dict[str, Any]] = []
    for id_ in sorted(store.placements.ids_matching(what)):
        for source in store.objects.sources_of(id_):
            obj, _ = store.objects.load(source, [id_])[id_]
            pipelines = [
                name for name, settings in config.pipelines.items() if settings.source == source
            ]
            made = [_made(config, store, name, id_) for name in pipelines]
            rows.append(
                {
                    "id": id_,
                    "source": source,
                    "type": obj["type"],
                    "name": obj.get("name") or obj.get("value") or "",
                    "revoked": obj.get("revoked") is True,
                    "modified": obj.get("modified") or obj.get("created") or "",
                    "events": [event for name in pipelines for event in _events(store, name, id_)],
                    "missing": [entry for missing, _ in made for entry in missing],
                    "touched": [entry for _, touched in made for entry in touched],
                }
            )
    return rows


def _events(store: Store, pipeline: str, id_: str) -> list[dict[str, Any]]:
    events = []
    for event in store.placements.events_of(pipeline, id_):
        elements = store.placements.elements_of_object(pipeline, event, id_)
        sinks = store.deliveries.of_event(event)
        uuids = {element["uuid"] for element in elements}
        for sink in sinks:
            # an event that is split has its parts in several, and one that was taken over has its
            # own UUIDs
            delivery = store.deliveries.delivered(sink["sink"], event)
            delivered = delivery.delivered if delivery is not None else Delivered({"uuid": event})
            places = {uuid: place_of(delivered, uuid) for uuid in sorted(uuids)}
            sink["event"] = next((uuid for uuid, _ in places.values()), event)
            sink["elements"] = {
                uuid: remote_uuid
                for uuid, (_, remote_uuid) in places.items()
                if remote_uuid != uuid
            }
        notes = [
            note
            for note in store.deliveries.notes_of_event(event)
            if note["id"] is None or note["id"] in uuids
        ]
        events.append(
            {
                "pipeline": pipeline,
                "event": event,
                "elements": elements,
                "sinks": sinks,
                "notes": notes,
            }
        )
    return events


def _made(
    config: Config, store: Store, pipeline: str, id_: str
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """What a conversion of today does not carry over of an object, and which rules touch it.

    Nothing is kept of it.
    """
    maker = make_maker(config, store, pipeline, offline=True)
    plan = maker.plan({id_}, times.now())
    ledger, touched = RunLedger(), list[dict[str, str]]()
    for batch in plan.batches:
        made = maker.make(plan, batch)
        ledger.merge(made.ledger, lambda ref, _: ref == id_)
        touched.extend(
            {"pipeline": pipeline, "event": event, "rule": rule, "uuid": uuid, "action": action}
            for event, row in made.wanted.items()
            if row is not None and id_ in row.stix_ids
            for rule, uuid, action in row.touched
            if uuid == event or id_ in row.elements.get(uuid, ())
        )
    ledger.merge(maker.account(plan, ledger.unaccounted({id_})))
    missing = [{"pipeline": pipeline, **entry} for entry in ledger.entries if entry["id"] == id_]
    return missing, touched
