"""Runs tasks in daemon threads, so that a process can end without waiting for a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from stixbridge import stopping


def side_by_side(tasks: Sequence[Callable[[], None]], at_once: int) -> list[Exception | None]:
    """Run tasks in parallel. A task that fails does not stop the others.

    Args:
        tasks: each stores its own result.
        at_once: the number of parallel tasks; a single task runs in the caller's thread.

    Returns:
        The exception of each task or None, in the order of the tasks.
    """
    errors: list[Exception | None] = [None] * len(tasks)

    def run(number: int) -> None:
        try:
            tasks[number]()
        except Exception as error:
            errors[number] = error

    if len(tasks) == 1:
        run(0)
        return errors
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(tasks)):
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            run(number)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(tasks)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException:
        stopping.request()
        raise
    return errors
