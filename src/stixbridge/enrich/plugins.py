"""Python plug-ins: `module:function`, or an entry point of the group `stixbridge.plugins`, given each event.

A function that takes a `pymisp.MISPEvent` (by its annotation) gets one, and changes it or returns another; any other
gets the plain event, which is faster. What fails is undone for that event, and is a line in the ledger.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from ..errors import ConfigError
from ..ledger import Ledger, Outcome, Reason
from ..misp.model import Converted, all_attributes, level_of, set_level
from .limits import WIDEST

GROUP = "stixbridge.plugins"
_LISTS = ("Attribute", "Object", "EventReport", "Tag")


class Plugin:
    """One plug-in.

    Args (of the constructor):
        name: `module:function`, or the name of an entry point.

    Raises:
        ConfigError: when there is none of that name, or it can't be imported.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._function = _function(name)
        self._wants_pymisp = _wants_pymisp(self._function)

    def apply(self, row: Converted, ledger: Ledger) -> None:
        """Run it on one event."""
        before = copy.deepcopy(row.event)
        try:
            row.event.update(self._run(row.event))
            _check(row.event, before)
        except Exception as error:
            # somebody else's code: whatever it raises is a line in the ledger, and the event is as it was
            row.event.clear()
            row.event.update(before)
            text = f"{type(error).__name__}: {error}"[:300]
            ledger.note(str(before["uuid"]), f"plug-in {self.name}", Outcome.DROPPED, Reason.PLUGIN, text)
            return
        if row.event != before:
            row.touched.append((f"plug-in {self.name}", str(before["uuid"]), "run"))

    def _run(self, event: dict[str, Any]) -> dict[str, Any]:
        if not self._wants_pymisp:
            made = self._function(event)
            return event if made is None else dict(made)
        from pymisp import MISPEvent

        held = MISPEvent()
        held.from_dict(**copy.deepcopy(event))
        made = self._function(held)
        import orjson

        plain: dict[str, Any] = orjson.loads((held if made is None else made).to_json())
        # PyMISP leaves empty lists out, and adds what MISP computes
        for name in ("Attribute", "Object"):
            plain.setdefault(name, [])
        for gone in [name for name in event if name in _LISTS and name not in plain]:
            del event[gone]
        return {key: value for key, value in plain.items() if key in event or key in _LISTS}


def _check(event: dict[str, Any], before: dict[str, Any]) -> None:
    """Hold what came back against what no enrichment may do (law 2, and identities).

    Raises:
        ValueError: saying what is wrong.
    """
    if event.get("uuid") != before["uuid"]:
        raise ValueError("it changed the UUID of the event")
    for attribute in all_attributes(event):
        if not attribute.get("uuid") or not attribute.get("type") or "value" not in attribute:
            raise ValueError("an attribute has no uuid, type or value")
        attribute.setdefault("to_ids", False)
        attribute.setdefault("distribution", "5")
        attribute.setdefault("comment", "")
        attribute.setdefault("timestamp", event["timestamp"])
    level, held = level_of(event), level_of(before)
    if held is not None and (level is None or WIDEST[level] > WIDEST[held]):
        set_level(event, held)
    if held is not None and int(event.get("distribution") or 0) in range(WIDEST[held] + 1, 4):
        event["distribution"] = str(WIDEST[held])
    kept = {row["uuid"]: row for row in all_attributes(before)}
    for attribute in all_attributes(event):
        old = kept.get(attribute["uuid"])
        if old is None:
            continue
        own = level_of(old)
        now = level_of(attribute)
        if own is not None and (now is None or WIDEST[now] > WIDEST[own]):
            set_level(attribute, own)
        if old.get("distribution") == "0":
            attribute["distribution"] = "0"


def _function(name: str) -> Callable[[Any], Any]:
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            found = getattr(import_module(module), attribute)
        else:
            (entry,) = metadata.entry_points(group=GROUP, name=name)
            found = entry.load()
    except ValueError:
        raise ConfigError(f"plugins: no entry point {name!r} in {GROUP}; write module:function") from None
    except Exception as error:
        raise ConfigError(f"plugins: {name}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ConfigError(f"plugins: {name} is no function")
    return found  # type: ignore[no-any-return]


def _wants_pymisp(function: Callable[..., Any]) -> bool:
    try:
        (first, *_) = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False
    return "MISPEvent" in str(first.annotation)
