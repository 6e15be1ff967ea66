"""The settings of a MISP as a sink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stixbridge.settings.checks import Count, Seconds, Tlp, Url
from stixbridge.settings.secret import Secret
from stixbridge.settings.sections import Connection, Organisation
from stixbridge.sinks.settings import SinkSettings

ConflictField = Literal[
    "info",
    "date",
    "threat_level_id",
    "analysis",
    "distribution",
    "to_ids",
    "comment",
    "category",
    "first_seen",
    "last_seen",
    "disable_correlation",
    "name",
    "content",
]
"""Fields that the source and an analyst can both change."""

Mode = Literal["api", "upload_stix"]
Foreign = Literal["skip", "adopt", "extend"]
Clusters = Literal["tags", "private", "none"]

_NOT_IN_UPLOADS = ("max_tlp", "split", "clusters", "empty", "recognise")


@dataclass(frozen=True, kw_only=True)
class MispSettings(SinkSettings, Connection):
    """A MISP.

    Attributes:
        url: the URL of the MISP.
        key: the auth key of the bridge's account.
        mode: `api` writes events. `upload_stix` hands the STIX over as it is to MISP's own import,
            which only adds; with `foreign = "adopt"`, the bridge's own conversion updates a report
            that MISP knows.
        timeout: seconds to wait for MISP at any one point.
        foreign: what happens to an event with this UUID that the bridge did not make. `skip` leaves
            it. `adopt` takes it over: it adds what is missing, and changes nothing that is there
            unless its marking forbids it. `extend` makes an event of our own that extends it. After
            a change: `stixbridge replay`.
        empty: what happens to an event of ours when nothing is left in it: `keep` it, or `delete`
            it and take its UUID [off the blocklist](delivery.md#empty-events).
        max_tlp: events and elements that are marked more strictly stay out of this MISP, and are
            withdrawn where they were delivered. So are those with a marking that is not a TLP
            level. Without it, there is no limit.
        recognise: how an event of somebody else is recognised: by its `uuid`, or by its `title` as
            well: an event of your organisation with the title of a report and some of its values is
            the same report, [whatever its UUID](delivery.md#events-of-someone-else). This costs a
            search for each new event.
        conflicts: whose value stays where the source and an analyst both changed a field:
            `{ comment = "ours", info = "theirs" }`. Without it, the analyst's value stays.
        deleted: `respect` leaves out what an analyst deleted. `restore` brings it back when the
            source changes it; what left no trace (deleted for good, or lost with a backup) comes
            back with `stixbridge replay`.
        keep_published: publish an event again that was published before an edit of ours. An edit
            unpublishes in MISP.
        only_complete: do not publish an event of which MISP dropped a part.
        orgc: `{ name = "…", uuid = "…" }`: the organisation that events carry. It takes a sync or
            admin key. Such events are `locked`: a sync key can't edit what it added otherwise, and
            only an admin's key may publish what another organisation made. Without it, events carry
            the organisation of the key.
        clusters: what happens to actors, campaigns, malware, tools, techniques and courses of
            action that no galaxy knows. `tags` makes plain tags, `private` makes galaxy clusters of
            this MISP, [created once](delivery.md#unknown-actors-and-malware), and `none` only adds
            a line to the ledger. After a change: `stixbridge replay`.
        false_positives: whose false-positive sightings put a value on the suppression list: those
            of the key's `own` organisation, of `any` organisation, or of `none`.
        chunk: attributes in one request. A larger event goes in several requests, and an
            interruption leaves nothing half done for good.
        split: attributes in one event. A larger event becomes [several, linked ones](delivery.md).
            Without it, there is no limit.
        max_request: bytes of one request.
        concurrency: events in flight at a time; fewer while MISP is busy or fails.
    """

    url: Url
    key: Secret
    mode: Mode = "api"
    timeout: Seconds = 300.0
    foreign: Foreign = "skip"
    empty: Literal["keep", "delete"] = "keep"
    max_tlp: Tlp | None = None
    recognise: Literal["uuid", "title"] = "uuid"
    conflicts: Mapping[ConflictField, Literal["ours", "theirs"]] = field(default_factory=dict)
    deleted: Literal["respect", "restore"] = "respect"
    keep_published: bool = False
    only_complete: bool = False
    orgc: Organisation | None = None
    clusters: Clusters = "tags"
    false_positives: Literal["own", "any", "none"] = "own"
    chunk: Count = 1_000
    split: Count | None = None
    max_request: Count = 10_000_000
    concurrency: Count = 4

    @property
    def describes_unknown(self) -> bool:
        """Clusters need a description."""
        return self.clusters != "tags"

    @classmethod
    def contradictions(cls, changed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Settings that an upload can't follow."""
        if changed.get("mode") == "upload_stix":
            for name in _NOT_IN_UPLOADS:
                if name in changed:
                    yield name, 'not with mode = "upload_stix", which hands the STIX over as it is'
