"""What MISP does to a value before it stores it, and which values it refuses.

Tables first; code only for what a table cannot say.
"""

import base64
import binascii
import datetime as dt
import ipaddress
import re
import socket
import string
from collections.abc import Callable

from .knowledge import knowledge

TRIMMED = " \t\n\r\0\x0b"
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ASCII_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)

HASH_LENGTHS = {
    "authentihash": 64, "md5": 32, "imphash": 32, "sha1": 40, "git-commit-id": 40,
    "x509-fingerprint-md5": 32, "x509-fingerprint-sha1": 40, "x509-fingerprint-sha256": 64,
    "ja3-fingerprint-md5": 32, "jarm-fingerprint": 62, "hassh-md5": 32, "hasshserver-md5": 32,
    "pehash": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128,
    "sha512/224": 56, "sha512/256": 64, "sha3-224": 56, "sha3-256": 64, "sha3-384": 96,
    "sha3-512": 128, "dom-hash": 32,
}  # fmt: skip
"""Hexadecimal digits of each checksum type."""

EMAILS = frozenset(
    {
        "email", "email-src", "email-dst", "target-email", "whois-registrant-email", "eppn",
        "dns-soa-email", "jabber-id",
    }
)  # fmt: skip
LOWERED = (
    frozenset(HASH_LENGTHS) - {"git-commit-id"}
    | {"hostname", "vhash", "telfhash", "tlsh", "anonymised", "cdhash"}
    | {"email", "email-src", "email-dst", "target-email", "whois-registrant-email"}
)
UPPERED = frozenset({"http-method", "hex", "vulnerability", "weakness", "iban", "bic"})

_REFANG: list[tuple[str, str, frozenset[str]]] = [
    (r"(?i)^(hxxp|hxtp|htxp|meow|h\[tt\]p)", "http", frozenset({"link", "url"})),
    (
        r"\[\.\]|\[dot\]|\(dot\)", ".",
        frozenset(
            {"link", "url", "ip-dst", "ip-src", "domain|ip", "domain", "hostname", "email",
             "email-src", "email-dst"}
        ),
    ),
    (r"\[hxxp://\]", "http://", frozenset({"link", "url"})),
    (r"\[@\]|\[at\]", "@", frozenset({"email", "email-src", "email-dst"})),
    (r"\[:\]", ":", frozenset({"link", "url"})),
]  # fmt: skip

NO_NEWLINE = frozenset(
    {
        "url", "uri", "user-agent", "regkey", "regkey|value", "filename", "pdb", "campaign-name",
        "campaign-id", "threat-actor", "target-user", "target-machine", "target-org",
        "target-location", "target-external", "email-subject", "malware-type",
        "whois-registrant-name", "whois-registrant-org", "whois-registrar",
        "whois-creation-date", "email-dst-display-name", "email-src-display-name", "email-reply-to",
        "email-x-mailer", "email-message-id", "github-username", "github-repository", "dkim",
        "dkim-signature", "favicon-mmh3", "chrome-extension-id", "mobile-application-id",
        "windows-scheduled-task", "named pipe",
    }
)  # fmt: skip

BAD_IP = "IP address has an invalid format."
BAD_PORT = "Port numbers have to be integers between 1 and 65535."
BAD_VALUE = (
    'Value not in the right type/format. Please double check the value or select type "other".'
)
BAD_COMPOSITE = "Composite type found but the value not in the composite (value1|value2) format."
CONTROL_ONLY = (
    "Value provided consists purely of control characters and is therefore considered to be empty."
)
TOO_LONG = (
    "The entered string is too long and would get truncated. Please consider adding the "
    "data as an attachment instead"
)


def lower(value: str) -> str:
    """PHP's `strtolower`: ASCII only."""
    return value.translate(_ASCII_LOWER)


def has_four_byte(text: str) -> bool:
    """Whether a utf8mb3 column cannot hold the text."""
    return any(ord(char) > 0xFFFF for char in text)


def normalise_ip(value: str) -> str:
    """Compress IPv6 and drop a prefix length that names a single address."""
    address, slash, prefix = value.partition("/")
    if ":" in address:
        try:
            address = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
        except OSError:
            return value
    if slash and not (prefix == "32" and "." in value) and not (prefix == "128" and ":" in value):
        return f"{address}/{prefix}"
    return address


def _domain(value: str) -> str:
    value = lower(value).strip(".")
    if not is_domain(value):
        try:
            return value.encode("idna").decode("ascii")
        except UnicodeError:
            return value
    return value


def _ip_port(value: str) -> str:
    if value.count(":") >= 2:
        if "|" in value:
            ip, _, port = value.partition("|")
        elif match := re.match(r"\[([^\]]*)\]:(.*)$", value):
            ip, port = match[1], match[2]
        else:
            ip, _, port = value.rpartition(":")
    elif ":" in value:
        ip, port = value.split(":")[:2]
    elif "|" in value:
        ip, port = value.split("|")[:2]
    else:
        return value
    return f"{normalise_ip(ip)}|{port}"


def _domain_ip(value: str) -> str:
    name, bar, ip = value.partition("|")
    return f"{_domain(name)}|{normalise_ip(lower(ip))}" if bar else lower(value)


def _mac(value: str) -> str:
    digits = re.sub(r"[.: -]", "", lower(value))
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def _as_number(value: str) -> str:
    value = value[2:] if value[:2].upper() == "AS" else value
    high, dot, low = value.partition(".")
    return str(int(high) * 65536 + int(low)) if dot and high.isdigit() and low.isdigit() else value


def _phone(value: str) -> str:
    value = "+" + value[2:] if value.startswith("00") else value
    return re.sub(r"[^+0-9]+", "", value.replace("(0)", ""))


def _boolean(value: str) -> str:
    return "0" if lower(value) in ("false", "0", "") else "1"


def _datetime(value: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return value
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z")


_MASSAGE: dict[str, Callable[[str], str]] = {
    "ip-src": normalise_ip, "ip-dst": normalise_ip, "domain": _domain, "domain|ip": _domain_ip,
    "ip-src|port": _ip_port, "ip-dst|port": _ip_port, "mac-address": _mac, "mac-eui-64": _mac,
    "AS": _as_number, "hostname|port": lambda value: lower(value).replace(":", "|"),
    "boolean": _boolean, "datetime": _datetime, "phone-number": _phone, "prtn": _phone,
    "whois-registrant-phone": _phone, "cc-number": lambda value: re.sub(r"[^0-9]+", "", value),
    "bin": lambda value: re.sub(r"[^0-9]+", "", value),
}  # fmt: skip


def normalise(kind: str, value: str) -> str:
    """The value as MISP stores it."""
    value = value.strip(TRIMMED)
    for pattern, replacement, kinds in _REFANG:
        if kind in kinds:
            value = re.sub(pattern, replacement, value)
    # The value columns are three-byte UTF-8; MISP replaces what does not fit instead of failing.
    value = "".join("?" if ord(char) > 0xFFFF else char for char in value)
    if kind in _MASSAGE:
        return _MASSAGE[kind](value)
    if kind in UPPERED:
        value = value.replace("\N{EN DASH}", "-").translate(_ASCII_UPPER)
        return re.sub(r"[^0-9A-Z]+", "", value) if kind in ("iban", "bic") else value
    if kind in LOWERED:
        return lower(value.replace(":", "")) if kind.startswith("x509") else lower(value)
    if kind.startswith("filename|") and kind not in ("filename|ssdeep",):
        name, bar, checksum = value.partition("|")
        return f"{name}{bar}{lower(checksum)}"
    return value


def is_ip(value: str) -> bool:
    """PHP's `FILTER_VALIDATE_IP`."""
    try:
        return "%" not in value and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def is_domain(value: str) -> bool:
    """MISP's loose idea of a domain: anything with a dot and no odd character."""
    return re.fullmatch(r"[A-Za-z0-9.\-_]+\.[A-Za-z0-9\-]{2,}", value) is not None


def _number(value: str, low: int, high: int) -> bool:
    return re.fullmatch(r"[0-9]+", value) is not None and low <= int(value) <= high


def _is_hex(value: str, length: int) -> bool:
    return re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", value) is not None


def _check_ip(value: str) -> str | None:
    address, slash, prefix = value.partition("/")
    if not slash:
        return None if is_ip(value) else BAD_IP
    if not re.fullmatch(r"[0-9]+", prefix):
        return "Invalid CIDR notation value found."
    if not is_ip(address):
        return BAD_IP
    family, limit = ("IPv6", 128) if ":" in address else ("IPv4", 32)
    if int(prefix) > limit:
        return f"Invalid CIDR notation value found, for {family} must be lower or equal {limit}."
    return None


def _check_pair(first: Callable[[str], bool], message: str) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        left, _, right = value.partition("|")
        if not first(left):
            return message
        return None if _number(right, 1, 65535) else BAD_PORT

    return check


def _check_domain_ip(value: str) -> str | None:
    name, _, ip = value.partition("|")
    if not is_domain(name):
        return "Domain has an invalid format."
    return None if is_ip(ip) else BAD_IP


def _matches(pattern: str, message: str = BAD_VALUE, flags: int = 0) -> Callable[[str], str | None]:
    compiled = re.compile(pattern, flags)
    return lambda value: None if compiled.fullmatch(value) else message


def _check_ssh(value: str) -> str | None:
    if value.startswith("SHA256:"):
        try:
            ok = len(base64.b64decode(value[7:] + "=" * (-len(value[7:]) % 4), validate=True)) == 32
        except binascii.Error:
            ok = False
    else:
        ok = _is_hex(value.removeprefix("MD5:").replace(":", ""), 32)
    return None if ok else "SSH fingerprint must be in MD5 or SHA256 format."


def _check_datetime(value: str) -> str | None:
    try:
        dt.datetime.fromisoformat(value)
    except ValueError:
        return "Datetime has to be in the ISO 8601 format."
    return None


def _check_name(kind: str) -> Callable[[str], str | None]:
    message = (
        f"{kind.capitalize()} has an invalid format. Please double check the value or "
        'select type "other".'
    )
    return lambda value: None if is_domain(value) else message


_WHOLE = "The value has to be a whole number greater or equal 0."
_NUMERIC = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
_SSDEEP = r"[0-9]+:[0-9a-zA-Z/+]*:[0-9a-zA-Z/+]*"
_SERVICE = (
    "Invalid format. Only values shorter than 256 characters that don't include any forward or "
    "backward slashes are allowed."
)

_CHECKS: dict[str, Callable[[str], str | None]] = {
    "ip-src": _check_ip, "ip-dst": _check_ip,
    "ip-src|port": _check_pair(is_ip, BAD_IP), "ip-dst|port": _check_pair(is_ip, BAD_IP),
    "hostname|port": _check_pair(is_domain, "Hostname has an invalid format."),
    "domain|ip": _check_domain_ip, "domain": _check_name("domain"),
    "hostname": _check_name("hostname"), "port": lambda value: None if _number(value, 1, 65535)
    else BAD_PORT, "mac-address": _matches(r"([a-fA-F0-9]{2}:?){6}"),
    "mac-eui-64": _matches(r"([a-fA-F0-9]{2}:?){8}"),
    "vulnerability": _matches(r"CVE-[0-9]{4}-[0-9]{4,}",
                              "Invalid format. Expected: CVE-xxxx-xxxx..."),
    "weakness": _matches(r"CWE-[0-9]+", "Invalid format. Expected: CWE-x..."),
    "AS": lambda value: (
        None if _number(value, 0, 4294967295)
        else "AS number have to be integer between 1 and 4294967295"
    ),
    "ssdeep": _matches(_SSDEEP, "Invalid SSDeep hash. The format has to be blocksize:hash:hash"),
    "filename|ssdeep": _matches(rf"[^\n|]*\|{_SSDEEP}",
                                "Invalid ssdeep hash (expected: blocksize:hash:hash)."),
    "tlsh": _matches(r"t?[0-9a-f]{36,}", "Checksum has an invalid length or format."),
    "filename|tlsh": _matches(r"[^\n|]*\|t?[0-9a-f]{36,}",
                              "TLSH hash has an invalid length or format."),
    "telfhash": _matches(r".{70}|.{72}", "Checksum has an invalid length or format."),
    "impfuzzy": _matches(r"[0-9]+:[^:]*:[^:]*",
                         "Invalid impfuzzy format. The format has to be imports:hash:hash"),
    "cdhash": _matches(r"[0-9a-f]{40,}", "The input doesn't match the expected format."),
    "filename|vhash": _matches(r".+\|.+"), "vhash": _matches(r".+"),
    "hex": _matches(r"[0-9a-fA-F]+"), "link": _matches(r"[a-zA-Z][a-zA-Z0-9+.\-]*://[\x21-\x7e]+"),
    "ssh-fingerprint": _check_ssh, "size-in-bytes": _matches(r"[0-9]+", _WHOLE),
    "counter": _matches(r"[0-9]+", _WHOLE),
    "integer": _matches(r"-?[0-9]+", "The value has to be an integer value."),
    "datetime": _check_datetime, "windows-service-name": _matches(r"[^\\/]{0,256}", _SERVICE,
                                                                  re.DOTALL),
    "windows-service-displayname": _matches(r"[^\\/]{0,256}", _SERVICE, re.DOTALL),
    **{kind: _matches(r"[a-zA-Z0-9]+") for kind in ("iban", "bic", "btc", "dash", "xmr")},
    **{
        kind: _matches(_NUMERIC)
        for kind in ("bin", "cc-number", "bank-account-nr", "aba-rtn", "prtn", "phone-number",
                     "float")
    },
    **{
        kind: _matches(
            r".[^\s]*@.*\..*",
            ('Email address has an invalid format. Please double check the value or select type '
             '"other".'),
        )
        for kind in EMAILS
    },
    **{
        kind: _matches(
            rf"[0-9a-fA-F]{{{length}}}",
            f"Checksum has an invalid length or format (expected: {length} hexadecimal "
            "characters). "
            'Please double check the value or select type "other".',
        )
        for kind, length in HASH_LENGTHS.items()
    },
    **{
        f"filename|{kind}": _matches(
            rf".+\|[0-9a-f]{{{length}}}",
            f"Checksum has an invalid length or format (expected: filename|{length} hexadecimal "
            "characters). "
            'Please double check the value or select type "other".',
        )
        for kind, length in HASH_LENGTHS.items()
    },
}  # fmt: skip


def refusal(kind: str, value: str) -> str | None:
    """Why MISP refuses a normalised value, or None."""
    if not value:
        return "Value cannot be empty."
    parts = value.split("|") if knowledge().composite(kind) else [value]
    if any(
        part and all(ord(char) < 32 or ord(char) == 127 for char in part)
        for part in (value, *parts)
    ):
        return CONTROL_ONLY
    if knowledge().composite(kind) and value.count("|") != 1:
        return BAD_COMPOSITE
    check = _CHECKS.get(kind)
    if check and (message := check(value)):
        return message
    if kind in NO_NEWLINE and "\n" in value:
        return "Value must not contain new line character."
    return TOO_LONG if len(value.encode()) > 65_535 else None


_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?)?\s*(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)


def seen(value: object) -> str | None:
    """A `first_seen` or `last_seen` as MISP gives it back: UTC, cut to microseconds.

    Raises:
        ValueError: it is no ISO 8601 time.
    """
    match = _MOMENT.fullmatch(str(value).strip())
    if not match:
        raise ValueError("Invalid ISO 8601 format")
    day, minutes, seconds, fraction, zone = match.groups()
    text = f"{day}T{minutes or '00:00'}{seconds or ':00'}.{(fraction or '0')[:6].ljust(6, '0')}"
    moment = dt.datetime.fromisoformat(text + ("+00:00" if not zone or zone in "Zz" else zone))
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
