"""What MISP does to a value before it stores it, and which values it refuses.

`normalise` gives the value as MISP will hold it, so that a UUID derived from it is the UUID of what
is stored, and so that MISP has nothing to drop. Rules are those of a MISP 2.5 server, observed;
each type names its checker in a table.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv6Address, ip_address, ip_network

MAX_LENGTH = 65_535
"""Bytes of a value or comment that MISP's columns hold."""
MAX_TAG = 255
"""Bytes of the name of a tag; MISP cuts longer ones, and fails where that is inside a character."""
MAX_REPORT = 16_000_000
"""Bytes of an event report that they hold."""


# Control characters and the separators of lines and paragraphs (Unicode categories).
_BREAKS = frozenset({"Cc", "Zl", "Zp"})


class BadValue(ValueError):
    """MISP would refuse the value; the text says why."""


_HEX_LENGTH = {
    "md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128,
    "sha512/224": 56, "sha512/256": 64, "sha3-224": 56, "sha3-256": 64, "sha3-384": 96,
    "sha3-512": 128,
    "imphash": 32, "authentihash": 64, "pehash": 40,
    "x509-fingerprint-md5": 32, "x509-fingerprint-sha1": 40, "x509-fingerprint-sha256": 64,
}  # fmt: skip
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}", re.ASCII)
_EMAIL = re.compile(r"[^\s@<>\"(),:;\[\]\\]{1,64}@[^\s@]+")
_CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{12}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TLSH = re.compile(r"(?:t1)?[0-9a-f]{70}", re.ASCII)
_TELFHASH = re.compile(r"[0-9a-z]{70,72}", re.ASCII)
_SSDEEP = re.compile(r"\d+:[A-Za-z0-9/+]*:[A-Za-z0-9/+]*", re.ASCII)
_SCHEME = re.compile(r"hxxp|h\*\*p|hxtp|htxp|meow", re.IGNORECASE)


def refang(text: str) -> str:
    """Undo defanging as MISP does: `hxxp`, `[.]`, `(.)`, `[at]`."""
    if "[" not in text and "(" not in text and "hxxp" not in text.lower() and "\\." not in text:
        return text
    text = re.sub(r"\[\.\]|\(\.\)|\[dot\]|\(dot\)|\\\.", ".", text, flags=re.IGNORECASE)
    text = re.sub(r"\[at\]|\[@\]", "@", text, flags=re.IGNORECASE)
    text = text.replace("[:]", ":").replace("[://]", "://")
    return (
        _SCHEME.sub("http", text, count=1)
        if text[:4].lower() in ("hxxp", "h**p", "hxtp", "htxp", "meow")
        else text
    )


def kind(value: str) -> str:
    """Which kind of network name a value is: `ip`, `mac`, `domain`, or `other`."""
    try:
        _ip(value)
    except BadValue:
        pass
    else:
        return "ip"
    if _MAC.fullmatch(re.sub(r"[:.\-]", "", value.lower())) and ("-" in value or ":" in value):
        return "mac"
    try:
        _domain(value)
    except BadValue:
        return "other"
    return "domain"


_BITCOIN = re.compile(r"(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{6,87})", re.ASCII)
_MONERO = re.compile(r"[48][1-9A-HJ-NP-Za-km-z]{94,105}", re.ASCII)


def coin(value: str) -> str:
    """Which currency an address is of, as far as MISP has a type for it.

    `btc`, `xmr` or `other`.
    """
    if _BITCOIN.fullmatch(value):
        return "btc"
    return "xmr" if _MONERO.fullmatch(value) else "other"


def base64_of(text: str) -> str | None:
    """Content in base64, without white space; None where it is none."""
    text = "".join(text.split())
    try:
        b64decode(text, validate=True)
    except ValueError:
        return None
    return text or None


def _hex(length: int | None) -> Callable[[str], str]:
    def check(value: str) -> str:
        value = value.lower()
        if not _HEX.fullmatch(value) or (length is not None and len(value) != length):
            raise BadValue(f"not {length or 'any'} hexadecimal digits")
        return value

    return check


def _ip(value: str) -> str:
    value = refang(value)
    address, slash, bits = value.partition("/")
    try:
        parsed = ip_address(address)
    except ValueError:
        raise BadValue("IP address has an invalid format") from None
    if "%" in address:
        raise BadValue("IP address has a zone, which MISP refuses")
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    # one spelling on every Python, that of PHP's inet_ntop
    compressed = f"::ffff:{mapped}" if mapped is not None else str(parsed)
    if not slash:
        return compressed
    if not _DIGITS.fullmatch(bits):
        raise BadValue("invalid CIDR range")
    try:
        network = ip_network(f"{compressed}/{bits}", strict=False)
    except ValueError:
        raise BadValue("invalid CIDR range") from None
    # a range of one address is the address
    return (
        compressed
        if network.prefixlen == network.max_prefixlen
        else f"{compressed}/{network.prefixlen}"
    )


def _domain(value: str) -> str:
    value = refang(value).lower().rstrip(".")
    if not value.isascii():
        try:
            value = value.encode("idna").decode("ascii")
        except UnicodeError:
            raise BadValue("domain name has an invalid format") from None
    if len(value) > 255 or not _DOMAIN.fullmatch(value) or value.rsplit(".", 1)[1].isdigit():
        raise BadValue("domain name has an invalid format")
    return value


def _url(value: str) -> str:
    """MISP checks no format of URLs.

    A character that its columns can't hold is written as the same URL has it.
    """
    value = refang(value)
    if any(unicodedata.category(char) in _BREAKS for char in value):
        raise BadValue("a URL is one line")
    if value.isascii():
        return value
    return "".join(
        "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
        if char > "\uffff"
        else char
        for char in value
    )


def _email(value: str) -> str:
    value = refang(value).lower().strip("<>")
    if not _EMAIL.fullmatch(value):
        raise BadValue("email address has an invalid format")
    return value


def _port(value: str) -> str:
    if not _DIGITS.fullmatch(value) or not 1 <= int(value) <= 65_535:
        raise BadValue("port numbers are 1 to 65535")
    return str(int(value))


def _as(value: str) -> str:
    digits = value.upper().removeprefix("AS").strip()
    if not _DIGITS.fullmatch(digits) or int(digits) > 4_294_967_295:
        raise BadValue("AS numbers are 0 to 4294967295")
    return str(int(digits))


def _mac(value: str) -> str:
    digits = re.sub(r"[:.\-\s]", "", value.lower())
    if not _MAC.fullmatch(digits):
        raise BadValue("MAC address has an invalid format")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _cve(value: str) -> str:
    text = value.upper().replace("_", "-").replace("–", "-")
    if not _CVE.fullmatch(text):
        raise BadValue("vulnerability ids look like CVE-2024-12345")
    return text


def _integer(value: str) -> str:
    if not _DIGITS.fullmatch(value.removeprefix("-")):
        raise BadValue("not a whole number")
    return str(int(value))


def _size(value: str) -> str:
    if not _DIGITS.fullmatch(value):
        raise BadValue("not a size in bytes")
    return value


def _float(value: str) -> str:
    try:
        float(value)
    except ValueError:
        raise BadValue("not a number") from None
    return value


def _boolean(value: str) -> str:
    if value.lower() in ("true", "1"):
        return "1"
    if value.lower() in ("false", "0"):
        return "0"
    raise BadValue("not a boolean")


def _datetime(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise BadValue("not a date and time") from None
    return value


def _pattern(regex: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not regex.fullmatch(value.lower() if regex is _TLSH else value):
            raise BadValue(f"not a {what}")
        return value.lower() if regex is _TLSH else value

    return check


def _link(value: str) -> str:
    value = refang(value)
    if not re.match(r"[a-z][a-z0-9+.-]*://\S+$", value, re.IGNORECASE):
        raise BadValue("links begin with a scheme, as https://")
    return value


def _filename(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise BadValue("a file name is one line")
    return "".join(char for char in value if unicodedata.category(char) not in _BREAKS)


def _text(value: str) -> str:
    return value


_CHECK: dict[str, Callable[[str], str]] = {
    **{name: _hex(length) for name, length in _HEX_LENGTH.items()},
    "ip-src": _ip,
    "ip-dst": _ip,
    "domain": _domain,
    "hostname": _domain,
    "url": _url,
    "uri": _url,
    "link": _link,
    "email": _email,
    "email-src": _email,
    "email-dst": _email,
    "port": _port,
    "AS": _as,
    "mac-address": _mac,
    "vulnerability": _cve,
    "counter": _integer,
    "size-in-bytes": _size,
    "float": _float,
    "boolean": _boolean,
    "datetime": _datetime,
    "ssdeep": _pattern(_SSDEEP, "ssdeep hash"),
    "tlsh": _pattern(_TLSH, "TLSH hash"),
    "telfhash": _pattern(_TELFHASH, "telfhash"),
    "filename": _filename,
}


def normalise(type_: str, value: str) -> str:
    """The value as MISP will hold it.

    Args:
        type_: a MISP attribute type; composites (`ip-dst|port`) take `left|right`.
        value: as the document has it.

    Raises:
        BadValue: where MISP would refuse it.
    """
    value = value.strip()
    if not value.isprintable():
        value = _CONTROL.sub("", value)
    if not value:
        raise BadValue("empty")
    if not value.isascii():
        value = _url(value) if type_ in ("url", "uri", "link") else storable(value)
        if len(value.encode()) > MAX_LENGTH:
            raise BadValue(f"over {MAX_LENGTH:,} bytes")
    elif len(value) > MAX_LENGTH:
        raise BadValue(f"over {MAX_LENGTH:,} bytes")
    if "|" in type_:
        left, _, right = value.partition("|")
        left_type, right_type = COMPOSITES[type_]
        return f"{normalise(left_type, left)}|{normalise(right_type, right)}"
    check = _CHECK.get(type_)
    return check(value) if check else value


COMPOSITES = {
    "ip-dst|port": ("ip-dst", "port"),
    "ip-src|port": ("ip-src", "port"),
    "hostname|port": ("hostname", "port"),
    "domain|ip": ("domain", "ip-dst"),
    "regkey|value": ("regkey", "text"),
    **{
        f"filename|{name}": ("filename", name)
        for name in (*_HEX_LENGTH, "ssdeep", "tlsh", "vhash")
        if "x509" not in name
    },
}
"""Composite types and the types of their halves."""


def storable(text: str) -> str:
    r"""A text without characters that MISP's columns can't hold.

    `\u{1F642}` stands for one of four bytes in UTF-8.

    Two different texts stay different.
    """
    if text.isascii():
        return text
    return "".join(
        char
        if ord(char) < 0x10000 and not 0xD800 <= ord(char) < 0xE000
        else f"\\u{{{ord(char):X}}}"
        for char in text
    )


def reclassified(type_: str, value: str) -> tuple[str, str] | None:
    """(type, value) of a network value that came under the name of another.

    An address in a domain name, a URL in one, `host:port`, `ip:port`, a name in place of an
    address.

    Args:
        type_: the attribute type that refused it.
        value: as the document has it.
    """
    if type_ not in _NETWORK:
        return None
    text = refang(value.strip())
    if re.match(r"[a-z][a-z0-9+.-]{1,20}://", text, re.IGNORECASE):
        return "url", normalise("url", value)
    found = kind(text)
    if found == "ip":
        return ("ip-src" if type_ == "ip-src" else "ip-dst"), normalise("ip-dst", text)
    if found == "domain" and not _MASKED.match(text):
        return "domain", normalise("domain", text)
    host, colon, port = text.strip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if colon and _DIGITS.fullmatch(port) and kind(host) in ("ip", "domain"):
        pair = "hostname|port" if kind(host) == "domain" else "ip-dst|port"
        if type_ == "ip-src" and pair == "ip-dst|port":
            pair = "ip-src|port"
        try:
            return pair, normalise(pair, f"{host}|{port}")
        except BadValue:
            return None
    return None


# An address with letters in place of its last parts is no name.
_MASKED = re.compile(r"\d{1,3}\.\d{1,3}\.", re.ASCII)
_NETWORK = frozenset({"domain", "hostname", "ip-dst", "ip-src"})

EVERYTHING = frozenset({"0.0.0.0/0", "::/0"})
"""Ranges that hold every address, and so detect nothing."""


def cut(text: str, limit: int = MAX_LENGTH, *, mark: str = "…") -> str:
    """Cut a text to a number of bytes in UTF-8, at a whole character.

    Args:
        text: of any length.
        limit: bytes.
        mark: stands at the end of what was cut.
    """
    raw = text.encode("utf-8", "replace")
    return (
        text
        if len(raw) <= limit
        else raw[: limit - len(mark.encode())].decode("utf-8", "ignore") + mark
    )
