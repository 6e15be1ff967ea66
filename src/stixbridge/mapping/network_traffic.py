"""STIX 2.1, section 6.12 with its four extensions.

A single address at one end becomes an attribute; everything else becomes a `network-connection`.
"""

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import ByKind, Composite, Field, Part, Role, Table


def _end(side: str) -> ByKind:
    return ByKind(
        "network",
        {
            "ip": Field(f"ip-{side}", f"ip-{side}", selects=True),
            "domain": Field("domain", f"hostname-{side}", selects=True),
            "mac": Field("mac-address", f"mac-{side}", selects=True),
        },
    )


_HTTP = "extensions.http-request-ext"
_SOCKET = "extensions.socket-ext"

TABLE = Table(
    "network-traffic",
    Role.OBSERVABLE,
    template="network-connection",
    fields={
        "src_ref.value": _end("src"),
        "dst_ref.value": _end("dst"),
        "src_port": Field(None, "src-port"),
        "dst_port": Field("port", "dst-port"),
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
        "is_active": Field(None, comment="active"),
        "ipfix.*": Field(None, comment="IPFIX"),
        "extensions.tcp-ext.src_flags_hex": Field(None, comment="TCP flags of the source"),
        "extensions.tcp-ext.dst_flags_hex": Field(None, comment="TCP flags of the destination"),
        "extensions.icmp-ext.icmp_type_hex": Field(None, comment="ICMP type"),
        "extensions.icmp-ext.icmp_code_hex": Field(None, comment="ICMP code"),
    },
    parts={
        _HTTP: Part(
            "http-request",
            "contains",
            {
                "request_method": Field("http-method", "method"),
                "request_value": Field("uri", "uri", selects=True),
                "request_header.Host[*]": Field(None, "host", selects=True),
                "request_header.Host": Field(None, "host", selects=True),
                "request_header.User-Agent[*]": Field("user-agent", "user-agent", selects=True),
                "request_header.User-Agent": Field("user-agent", "user-agent", selects=True),
                "request_header.Cookie[*]": Field("cookie", "cookie"),
                "request_header.Cookie": Field("cookie", "cookie"),
                "request_header.Content-Type[*]": Field(None, "content-type"),
                "request_header.Content-Type": Field(None, "content-type"),
                "request_header.Referer[*]": Field(None, "referer"),
                "request_header.Referer": Field(None, "referer"),
                "request_header.*": Field(None, "header"),
                "request_version": Field(None, "text"),
                "message_body_length": Field(None, "text"),
            },
        ),
        _SOCKET: Part(
            "network-socket",
            "contains",
            {
                "address_family": Field(None, "address-family"),
                "protocol_family": Field(None, "domain-family"),
                "socket_type": Field(None, "socket-type"),
                "is_blocking": Field(None, comment="blocking socket"),
                "is_listening": Field(None, comment="listening socket"),
                "options.*": Field(None, "option"),
            },
        ),
    },
    composites=(
        Composite("ip-dst|port", "dst_ref.value", "dst_port"),
        Composite("ip-src|port", "src_ref.value", "src_port"),
    ),
    guards=frozenset({"src_ref.type", "dst_ref.type"}),
    properties={"encapsulated_by_ref": Reason.REDUNDANT},  # the other object has encapsulates_refs
    links={
        "encapsulates_refs": "encapsulates",
        "src_payload_ref": "sends",
        "dst_payload_ref": "receives",
        f"{_HTTP}.message_body_data_ref": "contains",
    },
    unmapped={
        f"{_SOCKET}.socket_descriptor": Reason.NO_PLACE,
        f"{_SOCKET}.socket_handle": Reason.NO_PLACE,
    },
)
