"""STIX objects to fill servers with, and the simplest client that can read them back."""

from collections.abc import Iterator
from typing import Any

import httpx

from .taxii import TAXII21, TaxiiServer

Stix = dict[str, Any]
EARLY, LATE = "2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z"
TLP_RED: Stix = {
    "type": "marking-definition",
    "spec_version": "2.1",
    "id": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
    "created": "2017-01-20T00:00:00.000Z",
    "definition_type": "tlp",
    "name": "TLP:RED",
    "definition": {"tlp": "red"},
}
ADDRESS: Stix = {
    "type": "ipv4-addr",
    "spec_version": "2.1",
    "id": "ipv4-addr--ff26c055-6336-5bc5-b98d-13d6226742dd",
    "value": "198.51.100.3",
}


def indicator(number: int, modified: str = "2026-01-01T00:00:00.000Z") -> Stix:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": modified,
        "name": f"indicator {number}",
        "pattern": f"[ipv4-addr:value = '198.51.100.{number}']",
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
    }


def ids(objects: list[Stix]) -> list[str]:
    return [item["id"] for item in objects]


INDICATORS = [indicator(number) for number in range(25)]
EVERYTHING = [*INDICATORS, TLP_RED, ADDRESS]


class Reader:
    """Sends exactly what it is told to, and nothing of the machine's proxy settings."""

    def __init__(self, server: TaxiiServer | None = None, **headers: str) -> None:
        """Take headers to send, and a real server to authenticate to."""
        self._headers = {"Accept": TAXII21.taxii, **headers}
        if server:
            self._headers["Authorization"] = server.authorization

    def __call__(self, url: str, **parameters: str | int) -> httpx.Response:
        with httpx.Client(trust_env=False, headers=self._headers, timeout=30) as client:
            return client.get(url, params=parameters or None)

    def pages(self, url: str, **parameters: str | int) -> Iterator[Stix]:
        """Follow `next` as the specification wants it followed."""
        more: Stix = {}
        while True:
            answer = self(url, **parameters, **more)
            answer.raise_for_status()
            page = answer.json()
            yield page
            if not page.get("more"):
                return
            more = {"next": page["next"]}
