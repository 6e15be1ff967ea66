"""Queries the expansion and hover modules of a misp-modules server.

Answers become attributes, objects or tags with a comment that names the module. They are cached,
so that the same value is queried only once in a while. A module that fails or is too slow becomes
a line in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from stixbridge import tlp
from stixbridge.enrich.marking_guard import put_tag
from stixbridge.enrich.settings import ModuleSettings
from stixbridge.errors import ConfigError, ServerError, StixbridgeError
from stixbridge.http import Answer, Http
from stixbridge.ledger import Ledger, Outcome, Reason
from stixbridge.misp.knowledge import Knowledge
from stixbridge.misp.model import (
    Converted,
    derived_uuid,
    level_of,
    machine_tag,
    one_line,
    set_level,
)
from stixbridge.misp.values import BadValue, normalise, storable

_MAX_RESULTS = 200
_NONSENSE = (LookupError, TypeError, ValueError, AttributeError)


class Module:
    """One module of a server.

    Args (of the constructor):
        settings: see `ModuleSettings`.
        cache: (module, type, value) as text -> (second of the query, answer). A pipeline keeps it
            in the store.

    Raises:
        ConfigError: the server does not have this module.
    """

    def __init__(
        self, settings: ModuleSettings, cache: MutableMapping[str, tuple[int, Any]] | None = None
    ) -> None:
        self.settings = settings
        self._cache: MutableMapping[str, tuple[int, Any]] = cache if cache is not None else {}
        self._http = Http(settings.url, accept="application/json", timeout=settings.timeout)
        self._about: dict[str, Any] | None = None
        self._most = tlp.RANK[str(tlp.level_of_name(settings.max_tlp))]
        self._left = settings.budget

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def apply(self, row: Converted, ledger: Ledger, knowledge: Knowledge, now: int) -> None:
        """Query the attributes of one event, and add the answers.

        Args:
            row: the event.
            ledger: receives lines for failures.
            knowledge: MISP's types.
            now: seconds.
        """
        try:
            types = frozenset(self.settings.types or self._module()["mispattributes"]["input"])
        except StixbridgeError as error:
            self._failed(row, ledger, str(error))
            return
        except _NONSENSE:
            self._failed(
                row, ledger, "the server does not list the attribute types of the module; set types"
            )
            return
        attributes = [
            attribute
            for attribute in row.event["Attribute"]
            if self._may_ask(row, attribute, types)
        ]
        answers = self._answers(row, attributes, ledger, now)
        for attribute in attributes:
            answer = answers.get(self._key(attribute))
            if answer is None:
                continue
            try:
                self._add(row, attribute, answer, knowledge)
            except _NONSENSE as error:
                self._failed(
                    row, ledger, f"{attribute['value']}: the answer can't be read ({error})"
                )

    def _answers(
        self, row: Converted, attributes: list[dict[str, Any]], ledger: Ledger, now: int
    ) -> dict[str, Any]:
        """The answer for each attribute, by its key: cached, or asked for within the budget."""
        answers: dict[str, Any] = {}
        waiting = []
        for attribute in attributes:
            key = self._key(attribute)
            cached = self._cache.get(key)
            if cached is not None:
                answers[key] = cached[1]
            if cached is None or cached[0] + self.settings.keep < now:
                waiting.append(attribute)
        waiting = self._within_budget(row, waiting, ledger)
        with ThreadPoolExecutor(max(1, self.settings.concurrency)) as pool:
            for attribute, answer in zip(waiting, pool.map(self._ask, waiting), strict=True):
                if isinstance(answer, str):
                    self._failed(row, ledger, f"{attribute['value']}: {answer}"[:300])
                else:
                    answers[self._key(attribute)] = answer
                    self._cache[self._key(attribute)] = (now, answer)
        return answers

    def _within_budget(
        self, row: Converted, waiting: list[dict[str, Any]], ledger: Ledger
    ) -> list[dict[str, Any]]:
        left_out = len(waiting) - self._left
        if left_out > 0:
            budget = self.settings.budget
            self._failed(
                row, ledger, f"over the budget of {budget} queries a run: {left_out} not sent"
            )
        allowed = waiting[: self._left]
        self._left -= len(allowed)
        return allowed

    def _may_ask(self, row: Converted, attribute: dict[str, Any], types: frozenset[str]) -> bool:
        """Whether the settings and the attribute's marking let the module know of it."""
        if attribute["type"] not in types or (
            self.settings.only_to_ids and not attribute["to_ids"]
        ):
            return False
        level = level_of(attribute)
        if level is None and (row.closed or attribute.get("distribution") == "0"):
            return False  # a marking that is not a TLP level
        return tlp.RANK[level or level_of(row.event) or "green"] <= self._most

    def _key(self, attribute: Mapping[str, Any]) -> str:
        return f"{self.settings.url} {self.settings.name} {attribute['type']} {attribute['value']}"

    def _module(self) -> dict[str, Any]:
        """Return the server's description of the module.

        Raises:
            ConfigError: the server does not have this module.
        """
        if self._about is None:
            listed = _parsed(self._http.get(f"{self.settings.url.rstrip('/')}/modules"))
            for row in listed if isinstance(listed, list) else ():
                if isinstance(row, dict) and row.get("name") == self.settings.name:
                    self._about = row
                    break
            else:
                raise ConfigError(f"{self.settings.url} has no module {self.settings.name!r}")
        return self._about

    def _ask(self, attribute: Mapping[str, Any]) -> dict[str, Any] | str:
        """Query one value; return the answer, or a text about the failure."""
        body: dict[str, Any] = {"module": self.settings.name}
        if self.settings.config:
            body["config"] = dict(self.settings.config)
        try:
            takes = self._module().get("mispattributes")
            if isinstance(takes, dict) and takes.get("format") == "misp_standard":
                body["attribute"] = {name: attribute[name] for name in ("uuid", "type", "value")}
            else:
                body[attribute["type"]] = attribute["value"]
            url = f"{self.settings.url.rstrip('/')}/query"
            answer = _parsed(self._http.post(url, json.dumps(body).encode()))
        except StixbridgeError as error:
            return str(error)
        if not isinstance(answer, dict):
            return "it answers with something else than an object"
        return str(answer["error"]) if answer.get("error") else answer

    def _failed(self, row: Converted, ledger: Ledger, text: str) -> None:
        place = f"module {self.settings.name}"
        ledger.note(
            str(row.event["uuid"]), place, Outcome.DROPPED, Reason.MODULE, one_line(storable(text))
        )

    # answers

    def _add(
        self, row: Converted, asked: dict[str, Any], answer: Mapping[str, Any], knowledge: Knowledge
    ) -> None:
        results = answer.get("results")
        if isinstance(results, dict):
            for part in _rows(results.get("Attribute")):
                self._attribute(row, asked, part.get("type"), part.get("value"), knowledge)
            for part in _rows(results.get("Object")):
                self._object(row, asked, part, knowledge)
            for tag in _rows(results.get("Tag")):
                put_tag(asked, str(tag.get("name", "")))
        else:
            for type_, value in _values(results):
                self._attribute(row, asked, type_, value, knowledge)
        if self.settings.tag and results:
            put_tag(asked, self.settings.tag)

    def _attribute(
        self, row: Converted, asked: Mapping[str, Any], type_: Any, value: Any, knowledge: Knowledge
    ) -> None:
        if not isinstance(value, str) or not value.strip() or value == asked["value"]:
            return
        if not isinstance(type_, str) or type_ not in knowledge.allowed:
            type_ = "text"
        made = self._made(row, asked, str(type_), value, knowledge, row.event["uuid"])
        if made is not None and all(
            attribute["uuid"] != made["uuid"] for attribute in row.event["Attribute"]
        ):
            row.event["Attribute"].append(made)
            row.elements.setdefault(made["uuid"], list(row.elements.get(str(asked["uuid"]), ())))
            row.touched.append((f"module {self.settings.name}", made["uuid"], "add_attribute"))

    def _made(
        self,
        row: Converted,
        asked: Mapping[str, Any],
        type_: str,
        value: str,
        knowledge: Knowledge,
        space: str,
    ) -> dict[str, Any] | None:
        try:
            value = normalise(type_, value)
        except BadValue:
            return None
        made: dict[str, Any] = {
            "uuid": derived_uuid(space, type_, value),
            "type": type_,
            "category": knowledge.categories[type_],
            "value": value,
            "to_ids": False,
            "disable_correlation": True,
            "distribution": "0" if asked.get("distribution") == "0" else "5",
            "comment": self._comment(asked),
            "timestamp": row.event["timestamp"],
        }
        level = level_of(dict(asked))
        if level is not None:
            set_level(made, level)
        put_tag(made, self.settings.tag or machine_tag("stixbridge", "module", self.settings.name))
        return made

    def _object(
        self, row: Converted, asked: Mapping[str, Any], answer: dict[str, Any], knowledge: Knowledge
    ) -> None:
        name = answer.get("name")
        if not isinstance(name, str) or not knowledge.relations(name):
            return
        asked_uuid = str(asked["uuid"])
        uuid = derived_uuid(
            row.event["uuid"], "module", self.settings.name, name, asked_uuid, _digest(answer)
        )
        if any(obj["uuid"] == uuid for obj in row.event["Object"]):
            return
        attributes = self._object_attributes(row, asked, answer, knowledge, uuid)
        if not attributes:
            return
        template = knowledge.template(name)
        row.event["Object"].append(
            {
                "uuid": uuid,
                "name": name,
                "meta-category": template.category,
                "template_uuid": template.uuid,
                "template_version": template.version,
                "distribution": "0" if asked.get("distribution") == "0" else "5",
                "comment": self._comment(asked),
                "timestamp": row.event["timestamp"],
                "Attribute": attributes,
                "ObjectReference": [
                    {
                        "uuid": derived_uuid(uuid, "reference", asked_uuid),
                        "object_uuid": uuid,
                        "referenced_uuid": asked["uuid"],
                        "relationship_type": "related-to",
                        "comment": "",
                    }
                ],
            }
        )
        row.elements.setdefault(uuid, list(row.elements.get(asked_uuid, ())))
        row.touched.append((f"module {self.settings.name}", uuid, "add_object"))

    def _object_attributes(
        self,
        row: Converted,
        asked: Mapping[str, Any],
        answer: dict[str, Any],
        knowledge: Knowledge,
        uuid: str,
    ) -> list[dict[str, Any]]:
        """The attributes of an answered object whose relations its template has."""
        relations = knowledge.relations(str(answer["name"]))
        attributes = []
        for part in _rows(answer.get("Attribute")):
            relation, value = part.get("object_relation"), part.get("value")
            if not isinstance(relation, str) or not isinstance(value, str):
                continue
            if relation not in relations:
                continue
            made = self._made(row, asked, relations[relation][0], value, knowledge, uuid)
            if made is not None:
                made |= {
                    "object_relation": relation,
                    "uuid": derived_uuid(uuid, str(relation), value),
                }
                attributes.append(made)
        return attributes

    def _comment(self, asked: Mapping[str, Any]) -> str:
        return f"from the module {self.settings.name}, of {asked['value']}"[:255]


def _parsed(answer: Answer) -> Any:
    """Return the JSON of an answer.

    Raises:
        ServerError: the answer is not JSON, or it reports an error.
    """
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise ServerError(
            f"{answer.url}: the answer is not JSON; is this a misp-modules server?"
        ) from None
    if answer.status >= 400:
        raise ServerError(
            f"{answer.url}: the server answered {answer.status}", status=answer.status
        )
    return value


def _rows(value: Any) -> Sequence[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)][:_MAX_RESULTS]


def _values(results: Any) -> Iterator[tuple[Any, Any]]:
    """The types and values of an answer in the older form; of several types, the first."""
    for row in _rows(results):
        types, values = row.get("types"), row.get("values")
        type_ = types[0] if isinstance(types, list) and types else types
        for value in values if isinstance(values, list) else [values]:
            yield type_, value


def _digest(found: Mapping[str, Any]) -> str:
    rows = sorted(
        (str(row.get("object_relation")), str(row.get("value")))
        for row in _rows(found.get("Attribute"))
    )
    return json.dumps(rows)
