"""The file to read first: one pipeline, from its source to its sinks.

A run does four things, each of which can be cut at any moment and done again:

1. `_pull`: pages from the source into the store; the watermark moves in the transaction that stores the page
   (`pulling`).
2. `_work`: what the changed objects affect is made again as MISP events, in memory, some at a time (`making`).
3. `_deliver`: each event to each sink, when it is not what was delivered before; recorded once the sink has confirmed.
4. `_finish`: only now are the changed objects done.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import stopping, times
from .affected import placements
from .errors import ServerError, StixbridgeError
from .ledger import Ledger, Outcome, Reason
from .making import Batch, Made, Maker
from .misp.model import Converted, MispEvent, all_attributes, tag_names
from .pulling import Progress, Puller, Reach
from .sinks.changes import told
from .sinks.delivery import SETTLED, UNFINISHED, Delivery, Job, Last, Sink, State, merge, parts
from .sources.page import Source
from .stix.read import Entry
from .stix.versions import digest_of
from .store.store import Delivered

_WITHDRAWN = "[withdrawn] "
# States that no later run changes by itself: waiting for them would be for ever.
_FINAL = frozenset({State.FOREIGN, State.BLOCKED, State.REFUSED})


@dataclass(slots=True)
class Summary:
    """What one run did.

    Attributes:
        pipeline: its name.
        pages: pages that came.
        entries: entries in them.
        changed: objects that were new or newer.
        events: events by what became of them, over all sinks: created, updated, unchanged, withdrawn, held, …
        ledger: of the changed objects, and notes about events.
        errors: what failed; empty after a good run.
        status: the exit status that this asks for.
        deliveries: (sink, what became of one event), in order; of the body only the title.
        waiting: something was left for the next run.
        volume: in a dry run, what would be sent: attributes, objects, tags, clusters.
    """

    pipeline: str
    pages: int = 0
    entries: int = 0
    changed: int = 0
    events: dict[str, int] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    errors: list[str] = field(default_factory=list)
    status: int = 0
    deliveries: list[tuple[str, Delivery]] = field(default_factory=list)
    waiting: bool = False
    volume: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON data."""
        return {
            "pipeline": self.pipeline,
            "pages": self.pages,
            "entries": self.entries,
            "changed": self.changed,
            "events": self.events,
            "changes": {delivery.event: delivery.changes for _, delivery in self.deliveries if delivery.changes},
            "volume": self.volume,
            "ledger": self.ledger.to_dict(),
            "errors": self.errors,
        }


class Pipeline:
    """Joins a source, the conversion, enrichment and sinks.

    Args (of the constructor):
        maker: makes its events; names the pipeline and has its store.
        source: where objects come from.
        sinks: where events go.
        reach: what the source is asked for besides what is new.
        progress: called with a line of text now and then.
    """

    def __init__(
        self,
        maker: Maker,
        source: Source,
        sinks: Sequence[Sink],
        *,
        reach: Reach | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.maker = maker
        self.name = maker.pipeline
        self.store = maker.store
        self.source = source
        self.sinks = list(sinks)
        self.reach = reach
        self._say = progress or (lambda _: None)
        self._puller = Puller(source, maker.store, reach, progress=progress)

    def close(self) -> None:
        """Let go of all connections."""
        self.source.close()
        self.maker.enrich.close()
        for sink in self.sinks:
            sink.close()

    def run(self, now: int | None = None, *, replay: bool = False, full: bool = False) -> Summary:
        """One pass. Servers that fail are in the summary's `errors`; what they did not take is done at the next run.

        Args:
            now: the reference time, microseconds.
            replay: ask no source; make everything that is in the store again, as after a change of rules or version.
            full: ask the source for everything, not for what is new.

        Raises:
            StoreError: when the store can't be used.
            ConfigError: when the source or a sink can't be used as configured.
        """
        moment = times.now() if now is None else now
        summary = Summary(self.name, ledger=Ledger(times.to_text(moment)))
        number = self.store.begin_run(self.name, moment)
        if not replay:
            self._pull(summary, moment, full)
        done, expiry = self.store.progress(self.name)
        seq = self.store.last_seq(self.source.name)
        changed = set(self.store.changed(self.source.name, 0 if replay else done))
        changed.update(self.store.expired(self.source.name, expiry, moment))
        rejected = self.store.rejected(self.source.name, done)
        batches = self.maker.batches(changed, whole=replay or done == 0)
        complete = self._work(summary, batches, rejected, moment)
        if complete and (changed or rejected or seq != done or moment > expiry):
            self.store.set_progress(self.name, seq, max(moment, expiry))
        self._finish(summary, number, moment)
        return summary

    # 1. pull

    def _pull(self, summary: Summary, moment: int, full: bool) -> None:
        # two pipelines of one source don't ask it at the same time
        with self.store.lock(f"source {self.source.name}"):
            pulled = self._puller.pull(moment, full=full)
        summary.pages, summary.entries, summary.changed = pulled.pages, pulled.entries, pulled.changed
        summary.ledger.merge(pulled.ledger)
        for error in pulled.errors:
            self._failed(summary, error)

    # 2. make

    def _work(self, summary: Summary, batches: list[Batch], rejected: list[Entry], moment: int) -> bool:
        """Make and deliver what changed, and what was cut or held before; True when nothing is left to do."""
        complete = True
        batches = batches or [Batch()]
        for at, batch in enumerate(batches, 1):
            stopping.check()
            made = Made()
            if at == len(batches):
                # what no event named after all is looked at by itself
                named: set[str] = set().union(*(one.named for one in batches))
                batch.changed |= named - summary.ledger.accounts.keys()
            if batch.changed or (rejected and at == 1):
                made = self.maker.make(batch.changed, rejected if at == 1 else [], moment, batch.named)
                summary.ledger.merge(made.ledger)
            if len(batches) > 1:
                self._say(f"{self.name}: part {at} of {len(batches)}, {len(made.wanted)} events")
            complete &= self._work_on(summary, made.wanted, moment, last=at == len(batches))
        return complete and not summary.waiting

    def _work_on(self, summary: Summary, wanted: dict[str, Converted | None], moment: int, *, last: bool) -> bool:
        """Deliver some events to every sink, and record where things are; True when every sink took them."""
        # on record before any sink has it: after a cut, or while one of the sinks fails, it is known where things are
        for uuid, row in wanted.items():
            if row is not None:
                self.store.place_also(self.name, uuid, placements(row))
        self._staying: dict[str, set[str]] = {}
        complete = True
        delivered: dict[str, int] = dict.fromkeys(wanted, 0)
        for sink in self.sinks:
            try:
                # two pipelines don't deliver to one sink at the same time: they may share an event
                with self.store.lock(f"sink {sink.name}"):
                    for delivery in self._deliver(sink, wanted, moment, summary, last=last):
                        if delivery.event in delivered:
                            delivered[delivery.event] += 1
            except ServerError as error:
                complete = False
                self._failed(summary, error)
        for uuid, count in delivered.items():
            if count == len(self.sinks):
                self._place(uuid, wanted[uuid])
        return complete

    # 3. deliver

    def _deliver(
        self, sink: Sink, wanted: dict[str, Converted | None], moment: int, summary: Summary, *, last: bool
    ) -> Iterator[Delivery]:
        """Deliver to one sink: what adds first, what only withdraws last, so that nothing is ever missing between."""
        jobs: list[Job] = []
        stranded: dict[str, State] = {}
        for uuid, row in wanted.items():
            if row is not None and row.held:
                summary.ledger.note(uuid, sink.name, Outcome.DROPPED, Reason.RULE, f"held: {row.held}")
                self._count(sink, Delivery(uuid, State.HELD, {}, "held by a rule"), summary)
                # what was elsewhere stays there, and the next run asks the rule again
                stranded.update(dict.fromkeys(row.stix_ids, State.HELD))
                summary.waiting = True
                continue
            if row is not None and row.sinks is not None and sink.name not in row.sinks:
                row = None  # routed elsewhere: what was delivered here before is withdrawn
            job = self._job(sink, uuid, row, moment)
            if job is None:
                held = self.store.delivered(sink.name, uuid)
                if held is not None and row is not None and held.state in _FINAL:
                    stranded.update(dict.fromkeys(row.stix_ids, State(held.state)))
                yield self._unchanged(sink, uuid, summary)
            else:
                jobs.append(job)
        for uuid in self.store.unfinished(sink.name, self.name) if last else ():
            if uuid not in wanted:
                held = self.store.delivered(sink.name, uuid)
                jobs.append(self._made(sink, merge(self.store.wanted(sink.name, uuid)), held, moment, None))
        jobs.sort(key=lambda job: (_takes_away(job), str(job.event["uuid"])))
        by_uuid = {str(job.event["uuid"]): job for job in jobs}
        for delivery in sink.deliver(self._in_order(jobs, wanted, stranded, summary)):
            self._acknowledge(sink, by_uuid[delivery.event], delivery, moment, summary)
            row = wanted.get(delivery.event)
            if delivery.state not in SETTLED and row is not None:
                stranded.update(dict.fromkeys(row.stix_ids, delivery.state))
            yield delivery

    def _in_order(
        self, jobs: list[Job], wanted: dict[str, Converted | None], stranded: dict[str, State], summary: Summary
    ) -> Iterator[Job]:
        """Hand out jobs; what did not arrive in its new event is put back into the one that it would leave."""
        for job in jobs:
            stopping.check()
            uuid = str(job.event["uuid"])
            if stranded and job.last is not None and _takes_away(job) and uuid in wanted:
                row = wanted[uuid]
                there = {id_ for id_, _, _, _ in self.store.members(self.name, [uuid])}
                staying = (there - set(row.stix_ids if row is not None else ())) & stranded.keys()
                if staying:
                    summary.waiting |= not all(stranded[id_] in _FINAL for id_ in staying)
                    self._staying.setdefault(uuid, set()).update(staying)
                    _put_back(job, self.store.elements_of(self.name, uuid, staying))
            yield job

    def _job(self, sink: Sink, uuid: str, row: Converted | None, moment: int) -> Job | None:
        """The job of one event; None where it is delivered as it is wanted."""
        held = self.store.delivered(sink.name, uuid)
        if row is None or row.dropped:
            if held is None:
                return None
            body = _emptied(held.body)
        else:
            body = row.event
        event = merge(self.store.want(sink.name, uuid, self.name, body))
        if held is not None and held.digest == digest_of(event):
            waiting = held.state in UNFINISHED
            unpublished = self._publish(row) and not held.published and held.state == State.DELIVERED
            if not waiting and not unpublished:
                return None
        return self._made(sink, event, held, moment, row)

    def _made(self, sink: Sink, event: MispEvent, held: Delivered | None, moment: int, row: Converted | None) -> Job:
        uuid = str(event["uuid"])
        last = Last(State(held.state), held.body, held.published) if held is not None else None

        def begin() -> None:
            self.store.set_delivered(sink.name, uuid, State.ADDING, event, moment=moment)

        def stix() -> list[dict[str, Any]]:
            return self.maker.behind(row.stix_ids) if row is not None else []

        return Job(event, last, begin, self._publish(row), stix, moment // 1_000_000)

    def _publish(self, row: Converted | None) -> bool:
        """Whether an event shall be published: what a rule says goes before what the pipeline says."""
        return row.publish if row is not None and row.publish is not None else self.maker.enrich.publish

    def _unchanged(self, sink: Sink, uuid: str, summary: Summary) -> Delivery:
        delivery = Delivery(uuid, State.DELIVERED, {}, "unchanged")
        self._count(sink, delivery, summary)
        return delivery

    def _acknowledge(self, sink: Sink, job: Job, delivery: Delivery, moment: int, summary: Summary) -> None:
        self.store.set_delivered(
            sink.name,
            delivery.event,
            delivery.state,
            delivery.body,
            moment=moment,
            digest=digest_of(job.event),
            published=delivery.published,
            notes=delivery.notes,
        )
        if delivery.action == "updated" and str(job.event.get("info", "")).startswith(_WITHDRAWN):
            delivery.action = "withdrawn"
        for id_, outcome, reason, target in delivery.notes:
            where = f"{sink.name}: {job.event.get('info', '')}"
            summary.ledger.note(id_ or delivery.event, where, outcome, reason, target)
        self._count(sink, delivery, summary)
        self._say(f"{sink.name}: {delivery.action} {delivery.event} {job.event.get('info', '')}")

    @staticmethod
    def _count(sink: Sink, delivery: Delivery, summary: Summary) -> None:
        summary.events[delivery.action] = summary.events.get(delivery.action, 0) + 1
        slim = replace(delivery, body={"info": delivery.body.get("info", "")})
        summary.deliveries.append((sink.name, slim))

    def _place(self, uuid: str, row: Converted | None) -> None:
        """Record what is in an event, once every sink has it; and what had to stay there."""
        staying = self._staying.get(uuid, set())
        held = [] if row is None else placements(row)
        held += [
            {"id": id_, "collecting": int(collecting), "day": day}
            for id_, _, collecting, day in self.store.members(self.name, [uuid])
            if id_ in staying
        ]
        kept = self.store.elements_of(self.name, uuid, staying)
        self.store.place(
            self.name, uuid, held, [*(_elements(row) if row is not None and not row.dropped else ()), *kept]
        )

    # 4. finish

    def _failed(self, summary: Summary, error: StixbridgeError) -> None:
        summary.errors.append(str(error))
        summary.status = max(summary.status, error.exit_status)

    def _finish(self, summary: Summary, number: int, moment: int) -> None:
        if not summary.status and summary.ledger.alarming:
            summary.status = 1
        plain = summary.to_dict()
        del plain["changes"], plain["volume"]
        plain["ledger"] = {key: plain["ledger"][key] for key in ("objects", "outcomes", "properties")}
        plain["reasons"] = summary.ledger.reasons
        self.store.end_run(number, max(moment, times.now()), plain)
        self.store.forget_history(moment)


def _put_back(job: Job, elements: list[dict[str, Any]]) -> None:
    """Let some elements stay in an event that they would leave."""
    if job.last is None:
        return
    uuids = {str(element["uuid"]) for element in elements}
    event = dict(job.event)
    for name in ("Attribute", "Object"):
        wanted = {str(part["uuid"]) for part in event.get(name) or []}
        back = [
            part
            for part in job.last.body.get(name) or []
            if str(part["uuid"]) not in wanted
            and (str(part["uuid"]) in uuids or any(str(row["uuid"]) in uuids for row in part.get("Attribute") or []))
        ]
        if back:
            event[name] = [*(event.get(name) or []), *back]
            event["info"] = str(event["info"]).removeprefix(_WITHDRAWN)
    job.event = event


def _takes_away(job: Job) -> int:
    """0 for a job that only adds or changes, 1 for one that takes parts away too, 2 for one that only does that."""
    if job.last is None:
        return 0
    now, before = parts(job.event), parts(job.last.body)
    return bool(before - now) + (bool(before - now) and not now - before)


def _emptied(body: MispEvent) -> MispEvent:
    """What a collecting event becomes when all that was in it has moved or gone."""
    emptied: MispEvent = {key: value for key, value in body.items() if not isinstance(value, list) or key == "Tag"}
    info = str(body.get("info", ""))
    emptied["info"] = info if info.startswith(_WITHDRAWN) else _WITHDRAWN + info
    return {**emptied, "Attribute": [], "Object": [], "EventReport": []}


def _elements(row: Converted) -> Iterator[dict[str, Any]]:
    for attribute in row.event["Attribute"]:
        for id_ in row.elements.get(str(attribute["uuid"]), ()):
            yield _element(attribute, id_, "Attribute")
    for obj in row.event["Object"]:
        for attribute in obj.get("Attribute") or []:
            for id_ in row.elements.get(str(obj["uuid"]), ()):
                yield _element(attribute, id_, f"Object {obj['name']}")


def _element(attribute: dict[str, Any], id_: str, kind: str) -> dict[str, Any]:
    return {
        "uuid": attribute["uuid"],
        "id": id_,
        "kind": kind,
        "type": attribute["type"],
        "value": attribute["value"],
    }


def rehearse(pipeline: Pipeline, now: int | None = None, *, replay: bool = False, full: bool = False) -> Summary:
    """A dry run: everything but writing. Works on a copy of the store, with sinks that only say what they would do.

    Args:
        pipeline: as configured; neither its store nor its sinks are touched.
        now: the reference time, microseconds.
        replay: as for `Pipeline.run`.
        full: the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = pipeline.store.copy_to(Path(folder) / "dry.db")
        try:
            sinks = [_Rehearsal(sink.name) for sink in pipeline.sinks]
            dry = Pipeline(
                pipeline.maker.on(copy), pipeline.source, sinks, reach=pipeline.reach, progress=pipeline._say
            )
            summary = dry.run(now, replay=replay, full=full)
            for sink in sinks:
                summary.volume = dict(Counter(summary.volume) + Counter(sink.volume))
            return summary
        finally:
            copy.close()


class _Rehearsal:
    """A sink that writes nothing and says what a real one would be asked to do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.volume: Counter[str] = Counter()
        self._tags: set[str] = set()

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for job in jobs:
            action = "created" if job.last is None else "updated"
            before = job.last.body if job.last is not None else {}
            self._measure(job.event, before)
            yield Delivery(str(job.event["uuid"]), State.DELIVERED, job.event, action, changes=told(before, job.event))

    def _measure(self, event: MispEvent, before: MispEvent) -> None:
        """Count what is new in an event."""
        there = parts(before)
        attributes = all_attributes(event)
        self.volume["attributes"] += sum(str(row["uuid"]) not in there for row in attributes)
        self.volume["objects"] += sum(str(row["uuid"]) not in there for row in event.get("Object") or ())
        tags = {name for part in (event, *attributes) for name in tag_names(part)} - self._tags
        self._tags |= tags
        clusters = sum(name.startswith("misp-galaxy:") for name in tags)
        self.volume["tags"] += len(tags) - clusters
        self.volume["clusters"] += clusters

    def close(self) -> None:
        """Nothing to close."""
