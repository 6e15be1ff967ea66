"""STIX 2.1, section 6.12. One end with an address only is an attribute; anything more is a network-connection."""

from ..ledger import Reason
from .tables import ByKind, Composite, Field, Role, Table


def _end(side: str) -> ByKind:
    return ByKind(
        "network",
        {
            "ip": Field(f"ip-{side}", f"ip-{side}", selects=True),
            "domain": Field("domain", f"hostname-{side}", selects=True),
            "mac": Field("mac-address", f"mac-{side}", selects=True),
        },
    )


TABLE = Table(
    "network-traffic",
    Role.OBSERVABLE,
    template="network-connection",
    fields={
        "src_ref.value": _end("src"),
        "dst_ref.value": _end("dst"),
        "src_port": Field(None, "src-port"),
        "dst_port": Field(None, "dst-port"),
        "protocols[*]": ByKind(
            "protocol",
            {
                "layer3": Field(None, "layer3-protocol"),
                "layer4": Field(None, "layer4-protocol"),
                "layer7": Field(None, "layer7-protocol"),
            },
        ),
        "start": Field(None, "first-packet-seen"),
        "end": Field(None, "last-packet-seen"),
        "src_byte_count": Field(None, "src-bytes-count"),
        "dst_byte_count": Field(None, "dst-bytes-count"),
        "src_packets": Field(None, "src-packets-count"),
        "dst_packets": Field(None, "dst-packets-count"),
    },
    composites=(
        Composite("ip-dst|port", "dst_ref.value", "dst_port"),
        Composite("ip-src|port", "src_ref.value", "src_port"),
    ),
    guards=frozenset({"src_ref.type", "dst_ref.type"}),
    properties={
        "is_active": Reason.NO_PLACE,
        "ipfix": Reason.NO_PLACE,
        "src_payload_ref": Reason.NO_PLACE,
        "dst_payload_ref": Reason.NO_PLACE,
        "encapsulated_by_ref": Reason.REDUNDANT,  # the other end says encapsulates_refs
    },
    links={"encapsulates_refs": "encapsulates"},
)
