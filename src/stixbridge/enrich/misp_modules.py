"""misp-modules: expansion and hover modules of a running server, asked for chosen attribute types.

Answers become attributes, objects or tags, marked with a comment of ours; they are kept, so that the same value is
asked for once in a while only. A module that fails or is too slow is a line in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from stixbridge import tlp
from stixbridge.config.model import ModuleSettings
from stixbridge.enrich.marking_guard import put_tag
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
        settings: see there.
        cache: (module, type, value) as text -> (second it was asked, answer); kept in the store by a pipeline.

    Raises:
        ConfigError: when the server has no such module.
    """

    def __init__(
        self, settings: ModuleSettings, cache: MutableMapping[str, tuple[int, Any]] | None = None
    ) -> None:
        self.settings = settings
        self._cache: MutableMapping[str, tuple[int, Any]] = cache if cache is not None else {}
        self._http = Http(settings.url, accept="application/json", timeout=settings.timeout)
        self._about: dict[str, Any] | None = None
        level = tlp.level_of_name(settings.max_tlp)
        if level is None:
            raise ConfigError(
                f"modules.{settings.name}: max_tlp {settings.max_tlp!r} is no TLP level"
            )
        self._most = tlp.RANK[level]
        self._left = settings.budget

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def apply(self, row: Converted, ledger: Ledger, knowledge: Knowledge, now: int) -> None:
        """Ask for the attributes of one event, and add what comes back.

        Args:
            row: the event.
            ledger: takes lines for failures.
            knowledge: MISP's types.
            now: seconds.
        """
        try:
            types = frozenset(self.settings.types or self._module()["mispattributes"]["input"])
        except StixbridgeError as error:
            self._failed(row, ledger, str(error))
            return
        except _NONSENSE:
            self._failed(row, ledger, "the server does not say which types it takes; set types")
            return
        asked = [
            attribute
            for attribute in row.event["Attribute"]
            if attribute["type"] in types
            and (attribute["to_ids"] or not self.settings.only_to_ids)
            and self._may_ask(row, attribute)
        ]
        answers: dict[str, Any] = {}
        waiting = []
        for attribute in asked:
            key = self._key(attribute)
            kept = self._cache.get(key)
            if kept is not None:
                answers[key] = kept[1]
            if kept is None or kept[0] + self.settings.keep < now:
                waiting.append(attribute)
        over = waiting[self._left :]
        waiting = waiting[: self._left]
        self._left -= len(waiting)
        if over:
            self._failed(
                row,
                ledger,
                f"over the budget of {self.settings.budget} questions a run: {len(over)} not asked",
            )
        with ThreadPoolExecutor(max(1, self.settings.concurrency)) as pool:
            for attribute, answer in zip(waiting, pool.map(self._ask, waiting), strict=True):
                if isinstance(answer, str):
                    self._failed(row, ledger, f"{attribute['value']}: {answer}"[:300])
                else:
                    self._cache[self._key(attribute)] = (now, answer)
                    answers[self._key(attribute)] = answer
        for attribute in asked:
            found = answers.get(self._key(attribute))
            if found is not None:
                try:
                    self._add(row, attribute, found, knowledge)
                except _NONSENSE as error:
                    self._failed(
                        row, ledger, f"{attribute['value']}: its answer is nonsense ({error})"
                    )

    def _may_ask(self, row: Converted, attribute: dict[str, Any]) -> bool:
        """Whether an attribute's marking lets the module know of it."""
        level = level_of(attribute)
        if level is None and (row.closed or attribute.get("distribution") == "0"):
            return False  # a marking that is no TLP level
        return tlp.RANK[level or level_of(row.event) or "green"] <= self._most

    def _key(self, attribute: Mapping[str, Any]) -> str:
        return f"{self.settings.url} {self.settings.name} {attribute['type']} {attribute['value']}"

    def _module(self) -> dict[str, Any]:
        """What the server says of the module.

        Raises:
            ConfigError: when it has none of that name.
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
        """The answer, or what went wrong."""
        body: dict[str, Any] = {"module": self.settings.name}
        if self.settings.config:
            body["config"] = dict(self.settings.config)
        try:
            about = self._module()
            if (
                isinstance(about.get("mispattributes"), dict)
                and about["mispattributes"].get("format") == "misp_standard"
            ):
                body["attribute"] = {
                    "uuid": attribute["uuid"], "type": attribute["type"], "value": attribute["value"],
                }  # fmt: skip
            else:
                body[attribute["type"]] = attribute["value"]
            answer = _parsed(
                self._http.post(f"{self.settings.url.rstrip('/')}/query", json.dumps(body).encode())
            )
        except StixbridgeError as error:
            return str(error)
        if not isinstance(answer, dict):
            return "it answers with no object"
        if answer.get("error"):
            return str(answer["error"])
        return answer

    def _failed(self, row: Converted, ledger: Ledger, text: str) -> None:
        place = f"module {self.settings.name}"
        ledger.note(
            str(row.event["uuid"]), place, Outcome.DROPPED, Reason.MODULE, one_line(storable(text))
        )

    # what comes back

    def _add(
        self, row: Converted, asked: dict[str, Any], answer: Mapping[str, Any], knowledge: Knowledge
    ) -> None:
        results = answer.get("results")
        if isinstance(results, dict):
            for found in _rows(results.get("Attribute")):
                self._attribute(row, asked, found.get("type"), found.get("value"), knowledge)
            for found in _rows(results.get("Object")):
                self._object(row, asked, found, knowledge)
            for tag in _rows(results.get("Tag")):
                put_tag(asked, str(tag.get("name", "")))
        else:
            for found in _rows(results):
                types, values = found.get("types"), found.get("values")
                for value in values if isinstance(values, list) else [values]:
                    type_ = types[0] if isinstance(types, list) and types else types
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
            held["uuid"] != made["uuid"] for held in row.event["Attribute"]
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
            "comment": f"from the module {self.settings.name}, of {asked['value']}"[:255],
            "timestamp": row.event["timestamp"],
        }
        level = level_of(dict(asked))
        if level is not None:
            set_level(made, level)
        put_tag(made, self.settings.tag or machine_tag("stixbridge", "module", self.settings.name))
        return made

    def _object(
        self, row: Converted, asked: Mapping[str, Any], found: dict[str, Any], knowledge: Knowledge
    ) -> None:
        name = found.get("name")
        relations = knowledge.relations(name) if isinstance(name, str) else {}
        if not relations or not isinstance(name, str):
            return
        uuid = derived_uuid(
            row.event["uuid"],
            "module",
            self.settings.name,
            name,
            str(asked["uuid"]),
            _digest(found),
        )
        if any(obj["uuid"] == uuid for obj in row.event["Object"]):
            return
        attributes = []
        for inner in _rows(found.get("Attribute")):
            relation, value = inner.get("object_relation"), inner.get("value")
            if (
                not isinstance(relation, str)
                or relation not in relations
                or not isinstance(value, str)
            ):
                continue
            made = self._made(row, asked, relations[relation][0], value, knowledge, f"{uuid}")
            if made is not None:
                attributes.append(
                    {
                        **made,
                        "object_relation": relation,
                        "uuid": derived_uuid(uuid, relation, value),
                    }
                )
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
                "comment": f"from the module {self.settings.name}, of {asked['value']}"[:255],
                "timestamp": row.event["timestamp"],
                "Attribute": attributes,
                "ObjectReference": [
                    {
                        "uuid": derived_uuid(uuid, "reference", str(asked["uuid"])),
                        "object_uuid": uuid,
                        "referenced_uuid": asked["uuid"],
                        "relationship_type": "related-to",
                        "comment": "",
                    }
                ],
            }
        )
        row.elements.setdefault(uuid, list(row.elements.get(str(asked["uuid"]), ())))
        row.touched.append((f"module {self.settings.name}", uuid, "add_object"))


def _parsed(answer: Answer) -> Any:
    """The JSON of an answer.

    Raises:
        ServerError: when it is none, or says that something went wrong.
    """
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise ServerError(
            f"{answer.url}: the answer is no JSON; is this a misp-modules server?"
        ) from None
    if answer.status >= 400:
        raise ServerError(
            f"{answer.url}: the server answered {answer.status}", status=answer.status
        )
    return value


def _rows(value: Any) -> Sequence[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)][:_MAX_RESULTS]


def _digest(found: Mapping[str, Any]) -> str:
    rows = sorted(
        (str(row.get("object_relation")), str(row.get("value")))
        for row in _rows(found.get("Attribute"))
    )
    return json.dumps(rows)
