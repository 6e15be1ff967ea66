"""Several jobs in flight at a time, as many as the server bears."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import ServerError
from ..net import pause
from .delivery import Delivery, Job

_TRIES = 4
_LONGEST = 30.0
"""Seconds that a 429 is waited for between two tries."""


@dataclass(slots=True)
class _Slot:
    """One job under way."""

    delivery: Delivery | None = None
    error: BaseException | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)


class Flight:
    """Runs jobs side by side.

    Args (of the constructor):
        act: does one job.
        most: jobs at a time; halved when the server is busy, slow or fails, and raised again by and by.
    """

    def __init__(self, act: Callable[[Job], Delivery], most: int) -> None:
        self._act = act
        self._most = most
        self._limit = float(most)

    def run(self, jobs: Iterable[Job]) -> Iterator[Delivery]:
        """Do jobs; the deliveries in their order.

        Raises:
            ServerError: the first failure, after the deliveries of all that was under way.
        """
        if self._most == 1:
            for job in jobs:
                yield self._tried(job)
            return
        waiting: deque[_Slot] = deque()
        failed: BaseException | None = None
        for job in jobs:
            slot = _Slot()
            slot.thread = threading.Thread(target=self._work, args=(slot, job), name="delivery", daemon=True)
            slot.thread.start()
            waiting.append(slot)
            while len(waiting) >= int(self._limit) and failed is None:
                failed = yield from self._landed(waiting)
            if failed is not None:
                break
        while waiting:
            failed = (yield from self._landed(waiting)) or failed
        if failed is not None:
            raise failed

    def ease(self) -> None:
        """Have fewer jobs at a time: the server is busy, or slow."""
        self._limit = max(1.0, self._limit / 2)

    @staticmethod
    def _landed(waiting: deque[_Slot]) -> Generator[Delivery, None, BaseException | None]:
        slot = waiting.popleft()
        slot.thread.join()
        if slot.delivery is not None:
            yield slot.delivery
        return slot.error

    def _work(self, slot: _Slot, job: Job) -> None:
        try:
            slot.delivery = self._tried(job)
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
