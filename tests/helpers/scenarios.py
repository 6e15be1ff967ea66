"""What the scenarios of an analyst share: the sink, and what stands in the MISP double."""

from typing import Any

from doubles.misp import MispDouble

IP = "198.51.100.7"


def sink_of(misp: MispDouble) -> dict[str, dict[str, Any]]:
    return {"misp": {"type": "misp", "url": misp.url, "key": misp.key}}


def live(misp: MispDouble) -> list[dict[str, Any]]:
    """Every attribute that is not deleted, in objects too."""
    found = []
    for event in misp.events.values():
        found += [row for row in event["Attribute"] if not row["deleted"]]
        for obj in event["Object"]:
            if not obj["deleted"]:
                found += [row for row in obj["Attribute"] if not row["deleted"]]
    return found


def only(misp: MispDouble, value: str = IP) -> dict[str, Any]:
    """The one live attribute with a value."""
    (found,) = misp.find(value)
    return found
