"""Certificates: an authority of one's own, and what is said of a certificate that is not good."""

from pathlib import Path
from typing import Any

import pytest
import trustme
from doubles.taxii import TaxiiDouble
from helpers.pull import Pull
from servers.reading import EVERYTHING, ids

from stixbridge.errors import ConfigError, ServerError, Unreachable
from stixbridge.http import Auth, Http
from stixbridge.sources.taxii.v21 import MEDIA_TYPE

pytestmark = pytest.mark.usefixtures("waits")

SECRET = "s3cr3t-Pa55"


class Certificates:
    """An authority and what it issues, as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str) -> tuple[Path, Path]:
        path = self._folder / f"{name}.pem"
        self._authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path, path


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def test_an_authority_of_ones_own(pull: Pull, certificates: Certificates) -> None:
    with TaxiiDouble(tls=certificates.issue("127.0.0.1"), bearer=SECRET) as server:
        server.add_collection("All")
        server.add("All", EVERYTHING)
        settings: list[dict[str, Any]] = [{"ca": certificates.ca}, {"verify": False}]
        for setting in settings:
            http = Http(server.url, auth=Auth(token=SECRET), accept=MEDIA_TYPE, **setting)
            assert pull(server.url, http=http).errors == []
        assert pull.ids == sorted(ids(EVERYTHING))


def test_an_authority_that_is_not_trusted(
    pull: Pull, certificates: Certificates, waits: list[float]
) -> None:
    with TaxiiDouble(tls=certificates.issue("127.0.0.1"), bearer=SECRET) as server:
        summary = pull(server.url, auth=Auth(token=SECRET))
        (error,) = summary.errors
        assert summary.status == 3
        assert f"certificate of https://127.0.0.1:{server.port} is not trusted" in error
        assert "set ca to the PEM file" in error
        assert (server.requests, waits) == ([], [])


def test_a_certificate_for_another_name(certificates: Certificates) -> None:
    """The authority is right: setting `ca` would not help, so nothing should say so."""
    with TaxiiDouble(tls=certificates.issue("other.example")) as server:
        with pytest.raises(Unreachable) as caught:
            Http(server.url, accept=MEDIA_TYPE, ca=certificates.ca).get(server.url)
        assert "127.0.0.1" in str(caught.value)
        assert "mismatch" in str(caught.value)
        assert "set ca to" not in str(caught.value)
        assert server.requests == []


def test_a_server_that_wants_a_certificate_of_us(certificates: Certificates) -> None:
    with TaxiiDouble(tls=certificates.issue("127.0.0.1"), client_ca=certificates.ca) as server:
        with pytest.raises(ServerError) as caught:
            Http(server.url, accept=MEDIA_TYPE, ca=certificates.ca).get(server.url)
        assert "is not trusted" not in str(caught.value)
        assert server.requests == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe\x00"])
def test_a_ca_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"own\.pem"):
        Http("https://host.example/", ca=path)


def test_https_to_a_server_that_has_none_and_the_other_way_round(
    certificates: Certificates,
) -> None:
    with TaxiiDouble() as plain, TaxiiDouble(tls=certificates.issue("127.0.0.1")) as safe:
        for url in (plain.url.replace("http:", "https:"), safe.url.replace("https:", "http:")):
            with pytest.raises(Unreachable) as caught:
                Http(url, accept=MEDIA_TYPE).get(url)
            assert url[:20] in str(caught.value)
