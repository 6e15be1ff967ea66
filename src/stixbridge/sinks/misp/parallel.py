"""Several jobs under way at a time, as many as the server bears."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from stixbridge.envelopes import Delivered
from stixbridge.errors import ServerError
from stixbridge.http import pause
from stixbridge.sinks.delivery import Delivery, Job, State

_TRIES = 4
_IN_A_ROW = 3
"""Events that fail one after the other until it counts as the server's failure."""
_FOR_ALL = frozenset({401})
"""Answers that hold for every event."""
_LONGEST = 30.0
"""Seconds that a 429 is waited for between two tries."""


@dataclass(slots=True)
class _Slot:
    """One job under way."""

    job: Job
    delivery: Delivery | None = None
    error: BaseException | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)


class Parallel:
    """Runs jobs side by side.

    Args (of the constructor):
        act: does one job.
        most: jobs at a time; halved when the server is busy, slow or fails, and raised again step
            by step.
    """

    def __init__(self, act: Callable[[Job], Delivery], most: int) -> None:
        self._act = act
        self._most = most
        self._limit = float(most)

    def run(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Do jobs; the deliveries come in their order.

        A job that fails is `State.FAILED`, and the others go on.

        Raises:
            ServerError: when several fail in a row, or the key is wrong; after the deliveries of
                all jobs that were under way.
        """
        pending, waiting = iter(jobs), deque[_Slot]()
        in_a_row = 0
        failed: BaseException | None = None
        try:
            while failed is None:
                self._fill(waiting, pending)
                if not waiting:
                    return
                slot = self._done(waiting)
                in_a_row = in_a_row + 1 if slot.delivery is None else 0
                failed = _fatal(slot, in_a_row)
                if failed is None:
                    yield _failed(slot) if slot.delivery is None else slot.delivery
            while waiting:
                slot = self._done(waiting)
                if slot.delivery is not None:
                    yield slot.delivery
        finally:
            while waiting:
                self._done(waiting)  # nothing is written any more once this has ended
        raise failed

    def _fill(self, waiting: deque[_Slot], pending: Iterator[Job]) -> None:
        """Start as many jobs as may be under way."""
        while len(waiting) < int(self._limit):
            job = next(pending, None)
            if job is None:
                return
            waiting.append(self._started(job))

    def _started(self, job: Job) -> _Slot:
        slot = _Slot(job)
        if self._most == 1:
            self._work(slot)
        else:
            slot.thread = threading.Thread(
                target=self._work, args=(slot,), name="delivery", daemon=True
            )
            slot.thread.start()
        return slot

    def ease(self) -> None:
        """Let fewer jobs be under way: the server is busy, or slow."""
        self._limit = max(1.0, self._limit / 2)

    @staticmethod
    def _done(waiting: deque[_Slot]) -> _Slot:
        if waiting[0].thread.ident is not None:
            waiting[0].thread.join()
        return waiting.popleft()

    def _work(self, slot: _Slot) -> None:
        try:
            slot.delivery = self._tried(slot.job)
        except BaseException as error:
            slot.error = error

    def _tried(self, job: Job) -> Delivery:
        """Do a job; a server that says that it is busy has done nothing, and is asked again."""
        for left in reversed(range(_TRIES)):
            try:
                delivery = self._act(job)
            except ServerError as error:
                self.ease()
                if error.status != 429 or not left:
                    raise
                wait = getattr(error, "wait", None)
                if wait is not None and wait > _LONGEST:
                    raise
                pause(wait if wait is not None else 1.0)
            else:
                self._limit = min(float(self._most), self._limit + 0.5)
                return delivery
        raise AssertionError("the last try raises or returns")


def _fatal(slot: _Slot, in_a_row: int) -> BaseException | None:
    """The error that ends the run; None where a job was done, or failed by itself.

    Args:
        slot: of the job.
        in_a_row: how many jobs failed one after the other, this one counted.
    """
    error = slot.error
    if slot.delivery is not None or not isinstance(error, ServerError):
        return error
    return error if in_a_row == _IN_A_ROW or error.status in _FOR_ALL else None


def _failed(slot: _Slot) -> Delivery:
    error = slot.error if isinstance(slot.error, ServerError) else None
    return Delivery(slot.job.uuid, State.FAILED, Delivered({}), "failed", error=error)
