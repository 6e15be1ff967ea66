"""Python plug-ins: functions that get each event.

A plug-in is named as `module:function`, or by an entry point of the group `stixbridge.plugins`. If
its parameter is annotated with `pymisp.MISPEvent`, the function gets such an object and changes it
or returns another one. Otherwise it gets the plain event, which is faster. If a plug-in fails, its
changes to that event are undone, and the ledger gets a line.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from stixbridge import tlp
from stixbridge.enrich.marking_guard import narrow
from stixbridge.errors import ConfigError
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.model import Converted, all_attributes, derived_uuid, level_of, set_level

GROUP = "stixbridge.plugins"
_LISTS = ("Attribute", "Object", "EventReport", "Tag")


class Plugin:
    """One plug-in.

    Args (of the constructor):
        name: `module:function`, or the name of an entry point.

    Raises:
        ConfigError: the plug-in does not exist, or can't be imported.
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
            _check(row.event, before, closed=row.closed)
        except (Exception, SystemExit) as error:
            # foreign code can raise anything: the event is restored and the ledger gets a line
            row.event.clear()
            row.event.update(before)
            text = f"{type(error).__name__}: {error}"[:300]
            ledger.note(
                str(before["uuid"]), f"plug-in {self.name}", Outcome.DROPPED, Reason.PLUGIN, text
            )
            return
        if row.event != before:
            row.touched.append((f"plug-in {self.name}", str(before["uuid"]), "run"))

    def _run(self, event: dict[str, Any]) -> dict[str, Any]:
        if self._wants_pymisp:
            return self._run_with_pymisp(event)
        made = self._function(event)
        return event if made is None else dict(made)

    def _run_with_pymisp(self, event: dict[str, Any]) -> dict[str, Any]:
        import orjson
        from pymisp import MISPEvent

        misp_event = MISPEvent()
        misp_event.from_dict(**copy.deepcopy(event))
        returned = self._function(misp_event)
        plain: dict[str, Any] = orjson.loads((returned or misp_event).to_json())
        # PyMISP omits empty lists, and adds fields that MISP computes
        plain.setdefault("Attribute", [])
        plain.setdefault("Object", [])
        for name in [name for name in event if name in _LISTS and name not in plain]:
            del event[name]
        return {key: value for key, value in plain.items() if key in event or key in _LISTS}


def _check(event: dict[str, Any], before: dict[str, Any], *, closed: bool) -> None:
    """Refuse what no enrichment may do (law 2), and give each new part the UUID it keeps.

    Raises:
        ValueError, KeyError, TypeError: saying what is wrong; nothing of it is taken.
    """
    _check_shape(event, before)
    known = _parts_by_uuid(before)
    _complete_new_parts(event, before, known)
    if closed:
        _close(event)
    _tighten(event, before)
    level = level_of(event)
    if level is not None:
        narrow(event, level)
    _tighten_parts(event, known)
    reports = {str(row["uuid"]): row for row in before.get("EventReport") or ()}
    for report in event.get("EventReport") or ():
        _keep_restriction(report, reports.get(str(report["uuid"])))


def _check_shape(event: dict[str, Any], before: dict[str, Any]) -> None:
    if event.get("uuid") != before["uuid"]:
        raise ValueError("it changed the UUID of the event")
    if not isinstance(event.get("info"), str) or not event["info"].strip():
        raise ValueError("the event has no title")
    for name in ("Attribute", "Object"):
        if not isinstance(event[name], list) or not all(
            isinstance(part, dict) for part in event[name]
        ):
            raise ValueError(f"{name} is not a list of mappings")


def _parts_by_uuid(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    parts = (*event["Attribute"], *event["Object"], *all_attributes(event))
    return {str(part["uuid"]): part for part in parts}


def _complete_new_parts(
    event: dict[str, Any], before: dict[str, Any], known: dict[str, dict[str, Any]]
) -> None:
    values = {(row["type"], row["value"]) for row in all_attributes(before)}
    timestamp = str(event["timestamp"])
    for attribute in event["Attribute"]:
        _complete(attribute, known, values, str(event["uuid"]), timestamp)
    for obj in event["Object"]:
        if str(obj.get("uuid")) not in known:
            _complete_object(obj, event)
        for attribute in obj["Attribute"]:
            _complete(attribute, known, values, str(obj["uuid"]), timestamp)


def _complete_object(obj: dict[str, Any], event: dict[str, Any]) -> None:
    content = sorted(f"{row['object_relation']} {row['value']}" for row in obj["Attribute"])
    obj["uuid"] = derived_uuid(str(event["uuid"]), "plug-in", str(obj["name"]), *content)
    obj.setdefault("distribution", "5")
    obj.setdefault("comment", "")
    obj.setdefault("timestamp", event["timestamp"])


def _close(event: dict[str, Any]) -> None:
    """Keep an event that a marking other than TLP holds at distribution 0, without a TLP tag."""
    event["distribution"] = "0"
    event.pop("sharing_group", None)
    event["Tag"] = [tag for tag in event.get("Tag") or () if not tlp.is_tlp_tag(str(tag["name"]))]


def _tighten_parts(event: dict[str, Any], known: dict[str, dict[str, Any]]) -> None:
    for part in (*event["Attribute"], *event["Object"], *all_attributes(event)):
        before = known.get(str(part["uuid"]))
        if before is not None:
            _tighten(part, before)
            _keep_restriction(part, before)


def _keep_restriction(part: dict[str, Any], before: dict[str, Any] | None) -> None:
    if before is not None and before.get("distribution") == "0":
        part["distribution"] = "0"


def _complete(
    attribute: dict[str, Any],
    known: dict[str, dict[str, Any]],
    values: set[tuple[str, str]],
    space: str,
    timestamp: str,
) -> None:
    """Check an attribute, and complete a new one."""
    type_, value = attribute["type"], attribute["value"]
    if not isinstance(type_, str) or not isinstance(value, str) or not value:
        raise ValueError("an attribute has no type or value")
    if str(attribute.get("uuid")) in known:
        return
    if (type_, value) in values:
        raise ValueError(f"it changed the UUID of {type_} {value}")
    name = attribute.get("object_relation") or type_
    attribute["uuid"] = derived_uuid(space, name, value)
    attribute.setdefault("to_ids", False)
    attribute.setdefault("distribution", "5")
    attribute.setdefault("comment", "")
    attribute.setdefault("timestamp", timestamp)


def _tighten(part: dict[str, Any], before: dict[str, Any]) -> None:
    """Restore the TLP level of a part that has a looser level now, or none."""
    earlier, level = level_of(before), level_of(part)
    if earlier is not None and (level is None or tlp.RANK[level] < tlp.RANK[earlier]):
        set_level(part, earlier)


def _function(name: str) -> Callable[[Any], Any]:
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            found = getattr(import_module(module), attribute)
        else:
            (entry,) = metadata.entry_points(group=GROUP, name=name)
            found = entry.load()
    except ValueError:
        raise ConfigError(
            f"plugins: no entry point {name!r} in {GROUP}; write module:function"
        ) from None
    except Exception as error:
        raise ConfigError(f"plugins: {name}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ConfigError(f"plugins: {name} is not a function")
    return found  # type: ignore[no-any-return]


def _wants_pymisp(function: Callable[..., Any]) -> bool:
    try:
        (first, *_) = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False
    return "MISPEvent" in str(first.annotation)
