"""Misbehaving on command."""

import dataclasses
from collections.abc import Callable, Mapping

from .model import Answer, Request

LOGIN_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Users - MISP</title></head><body>Please log "
    "in.</body></html>\n"
)


@dataclasses.dataclass
class Fault:
    """What to do to the next matching requests instead of answering as usual.

    `answer` None cuts the connection; `store` runs the request first, so that it takes effect
    unseen.
    """

    answer: Answer | None
    store: bool
    path: str | None
    times: int
    when: Callable[[Request], bool] = lambda _: True

    def matches(self, request: Request) -> bool:
        """Whether this fault is meant for the request: by path, else any write."""
        if self.path is None:
            return request.is_write
        return request.path.strip("/").startswith(self.path.strip("/")) and self.when(request)


class Faults:
    """The faults that wait for their request, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let a fault wait."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Forget the faults that still wait."""
        self._waiting.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault for this request, used up once."""
        for fault in self._waiting:
            if fault.matches(request):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None


def page(
    status: int = 200, body: str = LOGIN_PAGE, headers: Mapping[str, str] | None = None
) -> Answer:
    """An HTML page."""
    return Answer(body, status, {"Content-Type": "text/html; charset=UTF-8", **(headers or {})})
