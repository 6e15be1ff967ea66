"""`POST /events/upload_stix/2`: the direct way, as far as simple indicators go."""

import base64
import json
import re
from typing import Any

from .checks import content_uuid
from .events import add_event
from .knowledge import knowledge
from .model import Actor, Json, NotSaved, Refusal
from .store import Store

SIMPLE = re.compile(r"\[\s*([\w-]+):([\w.'\-]+)\s*=\s*'((?:[^'\\]|\\.)*)'\s*\]")
TYPES = {
    "ipv4-addr:value": "ip-dst", "ipv6-addr:value": "ip-dst", "domain-name:value": "domain",
    "url:value": "url", "email-addr:value": "email", "file:name": "filename",
    "file:hashes.MD5": "md5", "file:hashes.'SHA-1'": "sha1", "file:hashes.'SHA-256'": "sha256",
    "mutex:name": "mutex",
}  # fmt: skip
ORIGINAL_FILE_TEMPLATE = "4cd560e9-2cfe-40a1-9964-7b2e797ecac5"


def _attribute(indicator: Json) -> Json | None:
    match = SIMPLE.fullmatch(str(indicator.get("pattern", "")).strip())
    kind = TYPES.get(f"{match[1]}:{match[2]}") if match else None
    if not match or not kind:
        return None
    return {
        # misp-stix gives the attribute the indicator's UUID, so a known indicator collides and
        # vanishes.
        "uuid": str(indicator["id"]).partition("--")[2],
        "type": kind,
        "category": knowledge().types[kind].category,
        "value": re.sub(r"\\(.)", r"\1", match[3]),
        "to_ids": True,
    }


def upload(store: Store, actor: Actor, body: Any, base_url: str) -> Json:
    """Store one event for a bundle; all its reports are merged into it.

    Raises:
        Refusal: no bundle came, or the report is known.
    """
    if not isinstance(body, dict) or body.get("type") != "bundle":
        raise Refusal(405, "Could not find the uploaded file.")
    objects = body.get("objects") or []
    report = next(
        (stored for stored in objects if stored.get("type") in ("report", "grouping")), None
    )
    uuid = str((report or body)["id"]).partition("--")[2]
    if uuid in store.events:
        raise NotSaved("Stix", "Event with the same UUID already exists.")
    attributes = [_attribute(stored) for stored in objects if stored.get("type") == "indicator"]
    original: Json = {
        "name": "original-imported-file",
        "meta-category": "file",
        "description": "Object describing the original file used to import data in MISP.",
        "template_uuid": ORIGINAL_FILE_TEMPLATE,
        "template_version": "2",
        "uuid": content_uuid("original-imported-file", uuid),
        "Attribute": [
            {
                "object_relation": "imported-sample", "type": "attachment",
                "category": "External analysis", "value": "uploaded_stix_file.json",
                "to_ids": False, "data": base64.b64encode(json.dumps(body).encode()).decode(),
            },
            {"object_relation": "format", "type": "text", "category": "Other", "value": "STIX 2.1",
             "to_ids": False},
        ],
    }  # fmt: skip
    event = add_event(
        store,
        actor,
        {
            "uuid": uuid,
            "info": str((report or {}).get("name") or "STIX import"),
            "distribution": "0",
            "Attribute": [stored for stored in attributes if stored],
            "Object": [original],
        },
        base_url,
    )
    shown = store.show_event(event)
    beside = (
        "Attribute",
        "Object",
        "Org",
        "Orgc",
        "Galaxy",
        "EventReport",
        "ShadowAttribute",
        "RelatedEvent",
    )
    return {"Event": {name: value for name, value in shown.items() if name not in beside}} | {
        name: shown[name] for name in beside if name in shown
    }
