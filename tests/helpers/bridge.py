"""A bridge under test: a configuration in a folder, and polls that bring objects."""

import json
from pathlib import Path
from typing import Any

from doubles.misp import MispDouble

from stixbridge import times
from stixbridge.config.build import make_pipelines, open_store
from stixbridge.config.reader import Config, parse
from stixbridge.pipeline.summary import Summary

from .stix import Stix, bundle

NOW = "2026-01-10T00:00:00Z"


class Bridge:
    """Pipelines from a configuration, made anew for every run, as the command does.

    Args:
        folder: for the store, the key and the files of the source.
        sinks: their sections; a sink with `key` gets it by reference to a file.
        enrich: settings of every pipeline.
        sources: further sections by name; `acme` is always there, a folder of files.
        source: settings of `acme`; with a `type`, all of them.
        more: further settings of every pipeline.
    """

    def __init__(
        self,
        folder: Path,
        sinks: dict[str, dict[str, Any]],
        *,
        enrich: dict[str, Any] | None = None,
        sources: dict[str, dict[str, Any]] | None = None,
        source: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._folder = folder
        self._polls = 0
        for name, settings in sinks.items():
            if settings["type"] == "misp":
                settings.setdefault("concurrency", 1)  # faults hit the request they are meant for
            if isinstance(settings.get("key"), str):
                path = folder / f"{name}.key"
                path.write_text(settings["key"])
                settings["key"] = {"file": str(path)}
        files = {"type": "files", "paths": [str(folder / "acme")]}
        own = source or {}
        self.sources = {"acme": own if "type" in own else {**files, **own}, **(sources or {})}
        for name, settings in self.sources.items():
            if settings["type"] == "files":
                settings.setdefault("paths", [str(folder / name)])
                (folder / name).mkdir(exist_ok=True)
        pipeline = {"sinks": list(sinks), "enrich": enrich or {}, **more}
        self.config: Config = parse(
            {
                "store": {"path": str(folder / "stixbridge.db")},
                "sources": self.sources,
                "sinks": sinks,
                "pipelines": {name: {"source": name, **pipeline} for name in self.sources},
            }
        )
        self.store = open_store(self.config)

    def poll(self, *objects: Stix, source: str = "acme", now: str = NOW) -> Summary:
        """Bring objects and run the pipeline of their source."""
        if objects:
            self._polls += 1
            path = self._folder / source / f"{self._polls:02}.json"
            path.write_text(json.dumps(bundle(list(objects))))
        return self.run(source=source, now=now)

    def run(self, *, source: str = "acme", now: str = NOW, **how: bool) -> Summary:
        """Run the pipeline of a source."""
        moment = times.microseconds(now)
        assert moment is not None
        (pipeline,) = make_pipelines(self.config, self.store, (source,))
        try:
            return pipeline.run(moment, **how)
        finally:
            pipeline.close()

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()


def bridge_to(
    misp: MispDouble,
    folder: Path,
    *,
    enrich: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Bridge:
    """Make a bridge to one MISP.

    Args:
        misp: the MISP.
        folder: of the bridge.
        enrich: settings of the pipeline's enrichment.
        more: further arguments of `Bridge`.
        settings: of the sink.
    """
    sink = {"type": "misp", "url": misp.url, "key": misp.key, **settings}
    return Bridge(folder, {"misp": sink}, **{"enrich": enrich, **(more or {})})


def actions(summary: Summary) -> dict[str, int]:
    """What a run without errors did to events."""
    assert summary.errors == []
    return summary.events


def reasons(summary: Summary) -> dict[str, list[str]]:
    """What the ledger of a run says: reason -> the texts beside it."""
    found: dict[str, list[str]] = {}
    for entry in summary.ledger.entries:
        found.setdefault(entry.get("reason", ""), []).append(entry.get("target", ""))
    return found
