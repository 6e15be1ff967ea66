"""A MISP feed folder, to which any MISP can subscribe: by a web server, or as a local folder.

MISP merges what it fetches and never removes what is left out, so a withdrawn part stays in the
folder as a tombstone: `deleted: true` with a newer timestamp. MISP reads an event again only when
its timestamp in `manifest.json` is newer, and overwrites a part only when the part's own timestamp
is.

`form` makes the content of the files of events, `index` that of the manifest and the hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stixbridge.envelopes import Delivered
from stixbridge.misp.model import MispEvent
from stixbridge.settings.registry import sink
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.event_diff import event_diff
from stixbridge.sinks.feed.form import FeedForm, same_content
from stixbridge.sinks.feed.index import (
    HASHES,
    MANIFEST,
    hashes_with,
    manifest_entry,
    read_manifest,
)
from stixbridge.sinks.feed.settings import FeedSettings
from stixbridge.sinks.feed.signing import Signer, unsign
from stixbridge.sinks.folder import event_in, make_folder, write_atomically
from stixbridge.sinks.misp.answers import number, table
from stixbridge.sinks.storable import as_storable
from stixbridge.sinks.withdrawal import emptied

ORGC = {"name": "stixbridge", "uuid": "0b6f2f3e-7d0c-5b52-8c1b-4d3f0a9c2e11"}
"""The organisation that events in a feed carry where the configuration names none."""


@sink("feed", FeedSettings)
class FeedSink(Sink):
    """A feed folder.

    Args (of the constructor):
        path: the folder; made when absent.
        name: of the sink.
        settings: any other setting of `FeedSettings`, as in the configuration.

    Raises:
        ConfigError: naming every setting that is wrong; when there is no GnuPG, or no such key.
    """

    def __init__(self, path: str | Path, *, name: str = "feed", **settings: Any) -> None:
        checked = FeedSettings(path=Path(path), **settings)
        super().__init__(
            name,
            max_tlp=checked.max_tlp,
            settings=f"{checked.max_tlp} {checked.sign or ''}",
            place="the feed",
        )
        self._path = checked.path.expanduser()
        self._orgc = checked.orgc.to_dict() if checked.orgc is not None else ORGC
        self._signer = (
            Signer(checked.sign, checked.gnupg_home) if checked.sign is not None else None
        )

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Write the events, then `hashes.csv`, `manifest.json` and the signature; see `Sink`.

        Nothing counts as delivered before the last of them is written.
        """
        if self.dry:
            yield from (self._event(job)[0] for job in jobs)
            return
        make_folder(self._path)
        manifest = read_manifest(self._path)
        deliveries: list[Delivery] = []
        events: dict[str, MispEvent] = {}
        for job in jobs:
            listed = number(table(manifest, job.uuid).get("timestamp"))
            delivery, event = self._event(job, listed)
            deliveries.append(delivery)
            if event is not None:
                events[delivery.event] = event
        self._write_index(manifest, events)
        if self._signer is not None:
            self._signer.sign(self._path, [f"{uuid}.json" for uuid in events])
        elif events:
            unsign(self._path)
        yield from deliveries

    def _event(self, job: Job, listed: int = 0) -> tuple[Delivery, MispEvent | None]:
        """Write one event; the event as the folder holds it then, where it holds it."""
        path = self._path / f"{job.uuid}.json"
        stored = event_in(path)
        notes: list[Note] = []
        allowed = self.allowed(job.wanted, notes)
        delivery = Delivery(job.uuid, State.OUT, Delivered.of(job.wanted), "left out", notes=notes)
        if allowed is not None:
            delivery.state = State.DELIVERED
            delivery.action = "created" if stored is None else "updated"
            wanted = allowed.event
        elif stored is not None:
            # under its old title: the new one may be what is too strict
            wanted = emptied(stored, keep=())
        else:
            return delivery, None
        delivery.published = True
        form = FeedForm(stored or {}, job.now, listed)
        event = form.of(as_storable(wanted, notes, job.now), self._orgc)
        if stored is not None and same_content(event, stored):
            event = stored
            if delivery.state is State.DELIVERED:
                delivery.action = "unchanged"
        elif self.dry:
            delivery.changes = event_diff(stored or {}, event)
        else:
            write_atomically(path, orjson.dumps({"Event": event}))
        return delivery, event

    def _write_index(self, manifest: dict[str, Any], events: dict[str, MispEvent]) -> None:
        entries = {uuid: manifest_entry(event) for uuid, event in events.items()}
        if all(manifest.get(uuid) == entry for uuid, entry in entries.items()):
            return
        write_atomically(self._path / HASHES, hashes_with(self._path, events))
        write_atomically(self._path / MANIFEST, orjson.dumps({**manifest, **entries}))
