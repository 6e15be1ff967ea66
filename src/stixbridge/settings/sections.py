"""Sections that several components share: how a server is reached, credentials, an organisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from stixbridge.settings.base import ByType, Settings
from stixbridge.settings.checks import FilePath, Url, Uuid
from stixbridge.settings.secret import Secret

if TYPE_CHECKING:
    from stixbridge.http import Auth


@dataclass(frozen=True, kw_only=True)
class BasicAuth(Settings):
    """User and password (RFC 7617).

    Attributes:
        user: the name of the account.
        password: its password.
    """

    user: str
    password: Secret

    def auth(self, place: str) -> Auth:
        """Look the credentials up; `place` names the section in the error."""
        from stixbridge.http import Auth

        return Auth(user=self.user, password=self.password.read(f"{place}.password"))


@dataclass(frozen=True, kw_only=True)
class BearerAuth(Settings):
    """The header `Authorization: Bearer …` (RFC 6750).

    Attributes:
        token: the token.
    """

    token: Secret

    def auth(self, place: str) -> Auth:
        """Look the credentials up; `place` names the section in the error."""
        from stixbridge.http import Auth

        return Auth(token=self.token.read(f"{place}.token"), scheme="Bearer")


@dataclass(frozen=True, kw_only=True)
class TokenAuth(Settings):
    """The header `Authorization: Token …`.

    Attributes:
        token: the token.
    """

    token: Secret

    def auth(self, place: str) -> Auth:
        """Look the credentials up; `place` names the section in the error."""
        from stixbridge.http import Auth

        return Auth(token=self.token.read(f"{place}.token"), scheme="Token")


@dataclass(frozen=True, kw_only=True)
class HeaderAuth(Settings):
    """Any other header.

    Attributes:
        name: the name of the header, as `x-api-key`.
        value: its content.
    """

    name: str
    value: Secret

    def auth(self, place: str) -> Auth:
        """Look the credentials up; `place` names the section in the error."""
        from stixbridge.http import Auth

        return Auth(header=self.name, value=self.value.read(f"{place}.value"))


AUTHS: Mapping[str, type[Settings]] = {
    "basic": BasicAuth,
    "bearer": BearerAuth,
    "token": TokenAuth,
    "header": HeaderAuth,
}
"""The sections of `auth`, by their `type`."""

AuthSection = Annotated[
    BasicAuth | BearerAuth | TokenAuth | HeaderAuth, ByType(AUTHS.get, lambda: AUTHS)
]
"""`auth` of a source."""


@dataclass(frozen=True, kw_only=True)
class ProxyAuth(Settings):
    """`proxy_auth` of a source or sink.

    Attributes:
        user: the name of the account at the proxy.
        password: its password.
    """

    user: str
    password: Secret


@dataclass(frozen=True, kw_only=True)
class Connection(Settings):
    """How a server is reached.

    Attributes:
        ca: a PEM file of the server's own certificate authority. Without it, the system's
            authorities count.
        verify_tls: `false` trusts any certificate.
        cert: a client certificate, a PEM file. Goes with other credentials too; shown to the host
            of `url` only.
        cert_key: a PEM file with the key of `cert`, where that does not hold it.
        cert_password: the password of the key.
        proxy: `http://proxy:3128`. Without it, the proxy of the environment (`HTTPS_PROXY`) is
            used.
        proxy_auth: `{ user = "me", password = SECRET }`.
    """

    ca: FilePath | None = None
    verify_tls: bool = True
    cert: FilePath | None = None
    cert_key: FilePath | None = None
    cert_password: Secret | None = None
    proxy: Url | None = None
    proxy_auth: ProxyAuth | None = None

    def http_arguments(self) -> dict[str, Any]:
        """The connection as arguments of `stixbridge.http.Http`.

        Raises:
            ConfigError: when a secret is not there.
        """
        from stixbridge.http import Certificate

        certificate = None
        if self.cert is not None:
            password = self.cert_password
            certificate = Certificate(
                self.cert.expanduser(),
                _expanded(self.cert_key),
                password.read("cert_password") if password is not None else None,
            )
        login = self.proxy_auth
        return {
            "ca": _expanded(self.ca),
            "verify": self.verify_tls,
            "certificate": certificate,
            "proxy": self.proxy,
            "proxy_auth": (login.user, login.password.read("proxy_auth.password"))
            if login is not None
            else None,
        }


def _expanded(path: Path | None) -> Path | None:
    return path.expanduser() if path is not None else None


@dataclass(frozen=True, kw_only=True)
class Organisation(Settings):
    """An organisation of MISP.

    Attributes:
        name: its name.
        uuid: its UUID.
    """

    name: str
    uuid: Uuid

    def to_dict(self) -> dict[str, str]:
        """As MISP writes it in an event."""
        return {"name": self.name, "uuid": self.uuid}
