"""The contract of sinks, run over every sink that is registered."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from doubles.misp import MispDouble

import stixbridge.sinks.folder
from stixbridge.envelopes import Delivered, Wanted
from stixbridge.errors import ServerError
from stixbridge.misp.model import MispEvent, all_attributes
from stixbridge.settings.registry import SINKS
from stixbridge.sinks.base import Sink
from stixbridge.sinks.delivery import Delivery, Job, Note, State
from stixbridge.sinks.feed.sink import FeedSink
from stixbridge.sinks.files import FilesSink
from stixbridge.sinks.folder import event_in
from stixbridge.sinks.misp.sink import MispSink
from stixbridge.store import Store
from stixbridge.testing import SinkContract, Target


class FolderTarget(Target):
    """A folder; a write that fails leaves the old file, or the new one."""

    def __init__(
        self, folder: Path, kind: type[FilesSink | FeedSink], patch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder / "out"
        self.kind = kind
        self.failing, self.stored = 0, False
        patch.setattr(f"{kind.__module__}.write_atomically", self.write)

    def write(self, path: Path, data: bytes) -> None:
        self.writes += 1
        failing = self.writes == self.failing
        if not failing or self.stored:
            stixbridge.sinks.folder.write_atomically(path, data)
        if failing:
            raise ServerError(f"{path}: the disk is full")

    def sink(self, max_tlp: str | None = None) -> Sink:
        return self.kind(self.folder, **({} if max_tlp is None else {"max_tlp": max_tlp}))

    def values(self) -> Mapping[str, list[str]]:
        events = [event_in(path) for path in self.folder.glob("*-*.json")]
        return {str(event["uuid"]): live(event) for event in events if event is not None}

    def fail(self, write: int, *, stored: bool) -> None:
        self.failing, self.stored = self.writes + write, stored


class MispTarget(Target):
    """The MISP double; a write that fails is a cut connection."""

    def __init__(self) -> None:
        self.double = MispDouble()

    @property
    def writes(self) -> int:  # type: ignore[override]
        return len(self.double.writes())

    def sink(self, max_tlp: str | None = None) -> Sink:
        return MispSink(self.double.url, self.double.key, max_tlp=max_tlp)

    def values(self) -> Mapping[str, list[str]]:
        return {uuid: live(event) for uuid, event in self.double.events.items()}

    def fail(self, write: int, *, stored: bool) -> None:
        first = self.writes + write

        def due(request: Any) -> bool:
            return bool(request.is_write) and self.writes == first

        self.double.hang_up_next(path="", after_storing=stored, when=due)

    def close(self) -> None:
        self.double.close()


def live(event: MispEvent) -> list[str]:
    return [row["value"] for row in all_attributes(event) if not row.get("deleted")]


Make = Callable[[Path, pytest.MonkeyPatch], Target]

TARGETS: dict[str, Make] = {
    "feed": lambda folder, patch: FolderTarget(folder, FeedSink, patch),
    "files": lambda folder, patch: FolderTarget(folder, FilesSink, patch),
    "misp": lambda _, __: MispTarget(),
}


@pytest.mark.usefixtures("no_waiting")
class TestEverySink(SinkContract):
    """A sink that registers itself is tested here; it needs a double in TARGETS."""

    @pytest.fixture(params=sorted(SINKS.all()))
    def target(  # type: ignore[override]
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Target]:
        assert request.param in TARGETS, f"sink {request.param!r} has no double: add it to TARGETS"
        with TARGETS[request.param](tmp_path, monkeypatch) as target:
            yield target


# What the contract notices


class Forgetful(FilesSink):
    """Leaves out the last event."""

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        yield from super().deliver(list(jobs)[:-1])


class Diligent(FilesSink):
    """Writes what is there already."""

    def stored(self, job: Job) -> MispEvent | None:
        return None


class Additive(FilesSink):
    """Never takes a value away."""

    def write(self, event: MispEvent) -> None:
        old = event_in(self._file(event["uuid"])) or {"Attribute": []}
        known = {row["uuid"]: row for row in (*old["Attribute"], *event["Attribute"])}
        super().write({**event, "Attribute": list(known.values())})


class Optimistic(FilesSink):
    """Takes a write that failed for one that did not."""

    def write(self, event: MispEvent) -> None:
        with contextlib.suppress(ServerError):
            super().write(event)


class Open(FilesSink):
    """Has no ceiling."""

    def allowed(self, wanted: Wanted, notes: list[Note]) -> Wanted:
        return wanted


class Eager(FilesSink):
    """Writes in a dry run."""

    def for_dry_run(self) -> Self:
        return self


class Silent(FilesSink):
    """Tells no changes in a dry run."""

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for delivery in super().deliver(jobs):
            yield replace(delivery, changes=[])


Law = Callable[[SinkContract, Target, Store], None]


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Forgetful, SinkContract.test_every_event_arrives_once),
        (Diligent, SinkContract.test_an_unchanged_event_is_not_written),
        (Additive, SinkContract.test_a_change_arrives),
        (Additive, SinkContract.test_a_withdrawn_event_has_no_values),
        (Optimistic, SinkContract.test_a_failed_write_is_told),
        (Open, SinkContract.test_nothing_above_the_ceiling_goes_in),
        (Open, SinkContract.test_an_event_that_gets_too_strict_is_withdrawn),
        (Eager, SinkContract.test_a_dry_run_tells_what_a_run_then_does),
        (Silent, SinkContract.test_a_dry_run_tells_what_a_run_then_does),
    ],
)
def test_the_contract_notices_a_sink_that_is_wrong(
    kind: type[FilesSink], law: Law, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "contract.db")
    monkeypatch.setattr(kind, "__module__", FilesSink.__module__)
    with (
        FolderTarget(tmp_path, kind, monkeypatch) as target,
        pytest.raises((AssertionError, KeyError)),
    ):
        law(SinkContract(), target, store)
    store.close()


class Careless(FilesSink):
    """Says `delivered` before it writes, and never looks again."""

    def deliver(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        for job in jobs:
            action = "unchanged" if job.last is not None else "created"
            yield Delivery(job.uuid, State.DELIVERED, Delivered.of(job.wanted), action)
            if job.last is None:
                self.write(job.event)


def test_the_contract_notices_a_sink_that_loses_an_event_when_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "contract.db")
    monkeypatch.setattr(Careless, "__module__", FilesSink.__module__)
    with (
        FolderTarget(tmp_path, Careless, monkeypatch) as target,
        pytest.raises(AssertionError, match="write 1 failed"),
    ):
        SinkContract().test_a_delivery_can_be_cut_at_any_write(target, store, stored=False)
    store.close()


class Lines(Sink):
    """A sink of somebody else: one method."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__("lines", **settings)
        self.folder = folder

    def write(self, event: MispEvent) -> None:
        lines = "".join(f"{row['value']}\n" for row in event["Attribute"])
        (self.folder / f"{event['uuid']}.txt").write_text(lines)


class LinesTarget(Target):
    """A folder of text files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failing, self.stored = 0, False

    def sink(self, max_tlp: str | None = None) -> Sink:
        target = self

        class Failing(Lines):
            def write(self, event: MispEvent) -> None:
                target.writes += 1
                failing = target.writes == target.failing
                if not failing or target.stored:
                    super().write(event)
                if failing:
                    raise ServerError("the disk is full")

        return Failing(self.folder, **({} if max_tlp is None else {"max_tlp": max_tlp}))

    def values(self) -> Mapping[str, list[str]]:
        return {path.stem: path.read_text().split() for path in self.folder.glob("*.txt")}

    def fail(self, write: int, *, stored: bool) -> None:
        self.failing, self.stored = self.writes + write, stored


class TestASinkOfOneMethod(SinkContract):
    """What a sink gets from its base class is enough for the contract."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        folder = tmp_path / "lines"
        folder.mkdir()
        return LinesTarget(folder)
