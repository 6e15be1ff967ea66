"""Credentials: headers, client certificates, and the texts that no message may repeat."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stixbridge.errors import ConfigError

_SHOWN_SECRET = 4
"""Shorter secrets are not cut from messages: every message has such a text by chance."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_LOCKED = re.compile("bad decrypt|password", re.IGNORECASE)
_PKCS12_NAMES = (".p12", ".pfx")


@dataclass(frozen=True)
class Auth:
    """Credentials of one server; `repr` never shows them.

    Attributes:
        user: with `password`: Basic (RFC 7617).
        password: the other half.
        token: with `scheme`: `Authorization: SCHEME TOKEN`.
        scheme: `Bearer` (RFC 6750) or `Token`.
        header: any other header, with `value`.
        value: of the header.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    scheme: str = "Bearer"
    header: str | None = None
    value: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """The headers that carry the credentials; Basic is left to the HTTP library."""
        if self.token is not None:
            # people paste the whole header
            token = self.token.removeprefix(f"{self.scheme} ").strip()
            return {"Authorization": f"{self.scheme} {token}"}
        if self.header is not None and self.value is not None:
            return {self.header: self.value}
        return {}

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password, where there are."""
        return (self.user, self.password or "") if self.user is not None else None

    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may repeat, the longest first.

        Raises:
            ConfigError: when a header can't carry them.
        """
        for name, value in self.headers().items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ConfigError(
                    "a secret or header name in auth has characters that a header can't carry;"
                    " is there a line break in it?"
                )
        secrets = {self.password, self.token, self.value}
        if self.basic is not None:
            secrets.add(base64.b64encode(":".join(self.basic).encode()).decode())
        known = {text for text in secrets if text and len(text) >= _SHOWN_SECRET}
        # as a server may repeat them in JSON
        known |= {form for text in known for form in _in_json(text)}
        return tuple(sorted(known, key=len, reverse=True))


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """A text with `***` in place of secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _in_json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        form = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (form, form.replace("/", "\\/"))


@dataclass(frozen=True)
class Certificate:
    """A client certificate; `repr` never shows the password.

    Attributes:
        cert: a PEM file with the certificate, and its key where `key` names no other file.
        key: a PEM file with the key.
        password: of the key.
    """

    cert: Path
    key: Path | None = None
    password: str | None = field(default=None, repr=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Put it into a TLS context.

        Raises:
            ConfigError: when it can't be read.
        """
        try:
            # without a password the library would ask for one at the terminal
            context.load_cert_chain(self.cert, self.key, self.password or (lambda: b""))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"cert {self.cert}: {self._explained(error)}") from None

    def _explained(self, error: Exception) -> str:
        """What is wrong with the files, and what to do."""
        paths = [self.cert] if self.key is None else [self.cert, self.key]
        for path in paths:
            if not path.is_file():
                return f"{path} is not a file; give PEM files of the certificate and its key"
            form = _binary_form(path)
            if form is not None:
                return form
        text = str(error)
        if "KEY_VALUES_MISMATCH" in text:
            return f"the key in {paths[-1]} belongs to another certificate"
        if _LOCKED.search(text) or not text.strip("[] "):
            what = "cert_password does not open the key" if self.password else "the key is locked"
            return f"{what}; set cert_password to the password of the key"
        return (
            f"{text}; give PEM files of the certificate and its key, and cert_password where the"
            " key has one"
        )


def _binary_form(path: Path) -> str | None:
    """What to do with a file that is not PEM; None for one that may be."""
    try:
        head = path.read_bytes()[:64]
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    if head[:1] != b"\x30":
        return None
    if path.suffix.lower() in _PKCS12_NAMES:
        return (
            f"{path} is PKCS#12, and PEM is needed; convert it:"
            f" openssl pkcs12 -in {path.name} -out client.pem"
        )
    return (
        f"{path} is DER, and PEM is needed; convert it:"
        f" openssl x509 -inform der -in {path.name} -out client.pem"
    )
