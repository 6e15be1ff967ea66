"""Reading ahead: the next pages are fetched and parsed while the caller works on an earlier one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import Full, Queue

from stixbridge.sources.base import Page

_ROOM = 2
_LOOK = 0.2
"""Seconds after which a reader whose pages nobody takes looks whether it shall stop."""


def ahead(pages: Iterator[Page], room: int = _ROOM) -> Generator[Page, None, None]:
    """The same pages in the same order, up to `room` of them read before they are asked for.

    What the source raises is raised here, after the pages that came before it. A caller that stops
    early stops the reader too: it fetches nothing more once the request under way has ended.

    Args:
        pages: of a source.
        room: how many may wait.
    """
    waiting: Queue[Page | BaseException | None] = Queue(maxsize=room)
    stopped = threading.Event()

    def put(item: Page | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_LOOK)
            except Full:  # the caller is busy, or gone
                continue
            return True
        return False

    def read() -> None:
        try:
            for page in pages:
                if not put(page):
                    return
        except BaseException as error:
            put(error)
            return
        put(None)

    reader = threading.Thread(target=read, name="pages", daemon=True)
    reader.start()
    try:
        while True:
            item = waiting.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
