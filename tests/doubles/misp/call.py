"""One call on its way through the routes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from .fields import require
from .model import Actor, Answer, Json, Place, Refusal
from .store import Store

NO_RIGHT = "You do not have permission to use this functionality."
NOT_YOURS = "You do not have permission to do that."


@dataclasses.dataclass
class Call:
    """What a handler needs to answer.

    `args` are the positional parts of the path, `named` CakePHP's `key:value` parts.
    """

    store: Store
    actor: Actor
    base_url: str
    path: str
    args: list[str]
    named: dict[str, str]
    body: Any

    def named_flag(self, name: str) -> bool:
        """Whether a named parameter is switched on."""
        return self.named.get(name, "0") not in ("", "0", "false")

    def unwrapped(self, name: str) -> Any:
        """The body, out of its wrapper if it has one.

        Raises:
            Unknown: something stands beside the wrapper.
        """
        if (
            isinstance(self.body, Mapping)
            and name in self.body
            and isinstance(self.body[name], (Mapping, list))
        ):
            require(self.body, {name}, "body")
            return self.body[name]
        return self.body if self.body is not None else {}

    def event(self, ident: str, *, modify: bool = False) -> Json:
        """The event of the path.

        Raises:
            Refusal: it is not there, not visible, or not the actor's to change.
        """
        event = self.store.event(ident)
        if event is None or not self.store.visible(event, self.actor):
            raise Refusal(404, "Invalid event")
        if modify and not self.store.may_modify(event, self.actor):
            raise Refusal(403, NOT_YOURS)
        return event

    def place(self, ident: str) -> Place:
        """The attribute of the path, which the actor may change.

        Raises:
            Refusal: it is not there, or not the actor's to change.
        """
        place = self.store.place(ident)
        if place is None or not self.store.visible(place.event, self.actor):
            raise Refusal(404, "Invalid attribute")
        if not self.store.may_modify(place.event, self.actor):
            raise Refusal(403, NOT_YOURS)
        return place

    def need(self, right: bool) -> None:
        """Refuse an actor without the right."""
        if not right:
            raise Refusal(403, NO_RIGHT)

    def saved(self, message: str, ident: str = "") -> Answer:
        """MISP's `saveSuccessResponse`."""
        body: Json = {
            "saved": True,
            "success": True,
            "name": message,
            "message": message,
            "url": self.path,
        }
        return Answer(body | ({"id": ident} if ident else {}))


Handler = Callable[[Call], Answer]


@dataclasses.dataclass(frozen=True)
class Route:
    """A route: how many positional parts it takes, which named ones, who answers."""

    method: str
    controller: str
    action: str
    handler: Handler
    args: tuple[int, int] = (0, 0)
    named: frozenset[str] = frozenset()
