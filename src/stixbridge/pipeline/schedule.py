"""Runs: pipelines side by side, once or by schedule until the process is asked to end."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from stixbridge import stopping, times
from stixbridge.concurrency import side_by_side
from stixbridge.errors import StixbridgeError
from stixbridge.pipeline.pipeline import Pipeline
from stixbridge.pipeline.summary import Summary
from stixbridge.stopping import Stopped

_AT_ONCE = 8
"""Pipelines that run at a time."""
_GRACE = 8.0
"""Seconds that work under way has to end when the process is asked to."""
_LOOK = 0.5

Report = Callable[[Summary], None]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A pipeline and its schedule.

    Attributes:
        pipeline: what is run.
        every: seconds from the start of one run to that of the next.
        jitter: up to so many seconds are added, at random, so that servers are not asked by all at
            once.
    """

    pipeline: Pipeline
    every: float
    jitter: float


def run_once(
    pipelines: Sequence[Pipeline],
    now: int | None = None,
    *,
    replay: bool = False,
    full: bool = False,
    confirmed: bool = False,
) -> list[Summary]:
    """Run each pipeline once, side by side; closes them.

    Args:
        pipelines: from `wiring.make_pipelines`.
        now: the reference time, microseconds.
        replay: as for `Pipeline.run`.
        full: the same.
        confirmed: the same.

    Returns:
        The summaries in order; a pipeline that could not run at all has its error in one.

    Raises:
        StixbridgeError: when there is only one pipeline, and it could not run at all.
        Stopped: when the process has been asked to end.
    """
    summaries: dict[int, Summary] = {}

    def run(number: int) -> None:
        pipeline = pipelines[number]
        try:
            summaries[number] = pipeline.run(now, replay=replay, full=full, confirmed=confirmed)
        finally:
            pipeline.close()

    errors = side_by_side([partial(run, number) for number in range(len(pipelines))], _AT_ONCE)
    for number, error in enumerate(errors):
        if error is None:
            continue
        if (
            len(pipelines) == 1
            or isinstance(error, Stopped)
            or not isinstance(error, StixbridgeError)
        ):
            raise error
        name = pipelines[number].name
        summaries[number] = Summary(name, errors=[str(error)], status=error.exit_status)
    return [summaries[number] for number in range(len(pipelines))]


class Watch:
    """Runs pipelines by their schedules until the process is asked to end.

    Args (of the constructor):
        load: makes the pipelines from the configuration as it is now.
        report: takes the summary of each run.
        complain: takes a line about what went wrong.
    """

    def __init__(
        self, load: Callable[[], list[Scheduled]], report: Report, complain: Callable[[str], None]
    ) -> None:
        self._load = load
        self._report = report
        self._complain = complain
        self._reload = threading.Event()

    def reload(self) -> None:
        """Read the configuration again, as soon as that is possible.

        What runs is finished first.
        """
        self._reload.set()

    def run(self) -> bool:
        """Run until the process is asked to end.

        Returns:
            Whether all work under way came to its end; what did not is rolled back by the end of
            the process.
        """
        scheduled = self._load()
        while True:
            over = threading.Event()
            workers = [
                threading.Thread(
                    target=self._work, args=(job, over), name=job.pipeline.name, daemon=True
                )
                for job in scheduled
            ]
            for worker in workers:
                worker.start()
            fresh = self._fresh()
            over.set()
            if fresh is not None and self._ended(workers):
                scheduled = fresh
                continue
            until = time.monotonic() + _GRACE
            for worker in workers:
                worker.join(max(0.0, until - time.monotonic()))
            return not any(worker.is_alive() for worker in workers)

    @staticmethod
    def _ended(workers: list[threading.Thread]) -> bool:
        """Wait until the runs under way have ended.

        Whether they did before the process was asked to end.
        """
        while any(worker.is_alive() for worker in workers):
            try:
                stopping.wait(_LOOK)
            except Stopped:
                return False
        return True

    @staticmethod
    def _tell(say: Callable[[str], None], text: str) -> None:
        """Say something; that nobody reads it any more is no reason to end."""
        with contextlib.suppress(Exception):
            say(text)

    def _fresh(self) -> list[Scheduled] | None:
        """Wait for another configuration; None when the process is asked to end before."""
        while True:
            try:
                stopping.wait(_LOOK)
            except Stopped:
                return None
            if not self._reload.is_set():
                continue
            self._reload.clear()
            try:
                fresh = self._load()
            except Exception as error:  # a mistake of ours in reading it ends nothing either
                self._tell(self._complain, f"{error}\nthe configuration stays as it was")
                continue
            self._tell(self._complain, "configuration read again")
            return fresh

    def _work(self, job: Scheduled, over: threading.Event) -> None:
        """Run one pipeline by its schedule.

        This ends when the process is asked to end or there is another configuration.
        """
        name = job.pipeline.name
        try:
            while not over.is_set():
                started = times.now()
                try:
                    summary = job.pipeline.run()
                    with contextlib.suppress(Exception):  # nobody may read it any more
                        self._report(summary)
                except Stopped:
                    return
                except StixbridgeError as error:
                    self._tell(self._complain, f"{name}: {error}")
                except Exception as error:
                    # a mistake of ours must not end the runs of the others, nor the next one of
                    # this
                    what = f"{type(error).__name__}: {error}"
                    self._tell(
                        self._complain, f"{name}: a mistake in stixbridge, please report it: {what}"
                    )
                passed = (times.now() - started) / 1_000_000
                over.wait(max(0.0, job.every - passed) + random.uniform(0, job.jitter))  # noqa: S311
        finally:
            job.pipeline.close()
