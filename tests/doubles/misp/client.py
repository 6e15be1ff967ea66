"""What tests of the double itself share: a bare client, a clock to set, and parts to send."""

import uuid
from typing import Any

import httpx

from .server import MispDouble

TEMPLATE = "688c46fb-5edb-40a3-8273-1af7923e2215"
T0 = 1_700_000_000


def uid(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def ip(value: str = "198.51.100.7", **more: Any) -> dict[str, Any]:
    return {"type": "ip-dst", "category": "Network activity", "value": value, **more}


def file_object(number: int = 50, *attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    inner = list(attributes) or [
        {
            "uuid": uid(number + 1),
            "object_relation": "filename",
            "type": "filename",
            "value": "a.exe",
        }
    ]
    return {
        "uuid": uid(number), "name": "file", "meta-category": "file", "description": "A file",
        "template_version": "25", "template_uuid": TEMPLATE, "Attribute": inner, **more,
    }  # fmt: skip


class Api:
    """A bare client: `post` gives the whole response, `event` what the server shows."""

    def __init__(self, misp: MispDouble, **headers: str) -> None:
        self.http = httpx.Client(
            base_url=misp.url,
            headers={"Authorization": misp.key, "Accept": "application/json", **headers},
        )

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path, json=body)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def add(self, number: int = 1, **fields: Any) -> httpx.Response:
        return self.post(
            "/events/add", {"Event": {"uuid": uid(number), "info": "e", "timestamp": T0, **fields}}
        )

    def edit(self, number: int = 1, **fields: Any) -> httpx.Response:
        return self.post(f"/events/edit/{uid(number)}", {"Event": fields})

    def event(self, number: int = 1, **view: Any) -> dict[str, Any]:
        path = f"/events/view/{uid(number)}"
        shown: dict[str, Any] = (self.post(path, view) if view else self.get(path)).json()["Event"]
        return shown

    def values(self, number: int = 1) -> list[str]:
        return [stored["value"] for stored in self.event(number)["Attribute"]]


class Clock:
    now = T0 + 1000

    def __call__(self) -> int:
        return self.now
