"""The settings of a feed folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stixbridge.settings.checks import FilePath, Tlp
from stixbridge.settings.sections import Organisation
from stixbridge.sinks.settings import SinkSettings


@dataclass(frozen=True, kw_only=True)
class FeedSettings(SinkSettings):
    """A MISP feed: a folder that any MISP can subscribe to.

    Attributes:
        path: the folder; made where there is none.
        orgc: `{ name = "…", uuid = "…" }`: the organisation that the events carry. Without it, they
            carry stixbridge.
        max_tlp: events and elements that are marked more strictly stay out of the folder.
        sign: a secret key of GnuPG, by id, fingerprint or e-mail address, that signs `SHA256SUMS`
            after each change. GnuPG's agent asks for a passphrase.
        gnupg_home: GnuPG's folder, where it is not the default one.
    """

    path: FilePath
    orgc: Organisation | None = None
    max_tlp: Tlp = "tlp:amber+strict"
    sign: str | None = None
    gnupg_home: FilePath | None = None

    @classmethod
    def contradictions(cls, changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """GnuPG's folder without a signature."""
        if "gnupg_home" in changed and "sign" not in changed:
            yield "gnupg_home", "needs sign beside it"
