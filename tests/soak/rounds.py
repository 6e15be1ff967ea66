"""One round: a server is filled wave by wave, a bridge runs under faults and kills, and the end is
judged.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from doubles.misp import MispDouble
from doubles.taxii import TaxiiDouble
from helpers import stix
from helpers.bridge import Bridge
from servers import TaxiiServer, medallion, medallion20, opentaxii

from stixbridge.store import Store

from .mischief import Mischief

Json = dict[str, Any]
TITLE = "All"
WAVES = 5
PAGE = 10
CALM_RUNS = 12
KINDS = ("double", "medallion", "opentaxii", "medallion (TAXII 2.0)")
_SHARE = 0.12
_TIMES = ("2026-01-05T00:00:00.000Z", *(f"2026-01-06T{at:02}:00:00.000Z" for at in range(WAVES)))


@dataclass
class Counts:
    """What happened, over all rounds of one kind of server."""

    rounds: int = 0
    runs: int = 0
    failed_runs: int = 0
    kills: int = 0
    objects: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


class Feed:
    """What a vendor publishes: indicators, newer versions, revocations, reports and relationships
    of all of them.
    """

    def __init__(self, chance: Random, round_: int, *, old: bool) -> None:
        self._chance = chance
        self._round = round_
        self._old = old
        self.newest: dict[str, Json] = {}
        self._indicators: list[str] = []

    def wave(self, number: int) -> list[Json]:
        """The objects of a wave."""
        chance = self._chance
        found: list[Json] = []
        for at in range(chance.randrange(4, 12)):
            label = f"w{number}-{at}.r{self._round}.example"
            found.append(
                stix.indicator(label, f"[domain-name:value = '{label}']", modified=_TIMES[0])
            )
            self._indicators.append(found[-1]["id"])
        known = list(self.newest)
        for id_ in chance.sample(known, min(3, len(known))):
            last = self.newest[id_]
            if last["type"] == "indicator" and not last.get("revoked"):
                change = (
                    {"revoked": True} if chance.random() < 0.3 else {"name": f"version {number}"}
                )
                found.append({**last, **change, "modified": _TIMES[number + 1]})
        members = chance.sample(self._indicators, min(6, len(self._indicators)))
        found.append(stix.report(f"report {self._round} {number}", list(members)))
        for _ in range(3):
            ends = [{"id": id_} for id_ in chance.sample(self._indicators, 2)]
            found.append(stix.relationship(ends[0], "related-to", ends[1]))
        if self._old:
            found = [
                {**obj, "spec_version": "2.0", "labels": ["malicious-activity"]} for obj in found
            ]
        chance.shuffle(found)
        found = [
            obj
            for obj in found
            if self.newest.get(obj["id"], {}).get("modified", "") < obj["modified"]
        ]
        self.newest.update({obj["id"]: obj for obj in found})
        return found


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[list[Json]], Any], Json]]:
    """A server of a kind: the URL of its API root, how to add objects, and the settings of a
    source.
    """
    if kind == "double":
        with TaxiiDouble(page_size=PAGE) as double:
            double.add_collection(TITLE)
            # a proxy that repeats what the client sent is no violation of the client's
            yield double.api_root, lambda objects: double.add(TITLE, objects), {}
            double.violations.clear()
        return
    starts: dict[str, Callable[[], TaxiiServer]] = {
        "medallion": lambda: medallion({TITLE: []}, page_size=PAGE, dir=folder),
        "opentaxii": lambda: opentaxii({TITLE: []}, dir=folder),
        "medallion (TAXII 2.0)": lambda: medallion20({TITLE: []}, page_size=PAGE, dir=folder),
    }
    with starts[kind]() as server:
        os.environ["SOAK_PASSWORD"] = server.token or server.password
        auth: Json = {"type": "basic", "user": server.user, "password": {"env": "SOAK_PASSWORD"}}
        if server.token:
            auth = {"type": "bearer", "token": {"env": "SOAK_PASSWORD"}}
        # it keeps the time of the first version: newer ones are seen in its manifest only
        version = {"type": "taxii20", "compare_every": "0s"} if "2.0" in kind else {}
        yield server.api_root, lambda objects: server.add(TITLE, objects), {"auth": auth, **version}


def one_round(kind: str, number: int, chance: Random, folder: Path, counts: Counts) -> None:
    """Fill, run, kill, and compare."""
    folder.mkdir()
    feed = Feed(chance, number, old="2.0" in kind)
    with (
        serving(kind, folder) as (root, add, source),
        Mischief(
            root.split("/", 3)[0] + "//" + root.split("/", 3)[2], chance, counts.faults, _SHARE
        ) as proxy,
        MispDouble() as misp,
    ):
        write_configuration(folder, {"url": proxy.through(root), **source}, misp)
        proxy.on = True
        for wave in range(WAVES):
            add(feed.wave(wave))
            for _ in range(2):
                trouble(misp, chance, counts.faults)
                run(folder, chance, counts)
        proxy.on = False
        misp.calm_down()
        for _ in range(CALM_RUNS):
            if run(folder, None, counts) == 0:
                break
        else:
            counts.wrong.append(f"{kind}, round {number}: no run came through")
        writes = len(misp.writes())
        run(folder, None, counts)
        if len(misp.writes()) != writes:
            counts.wrong.append(f"{kind}, round {number}: a run with nothing new wrote")
        counts.rounds += 1
        counts.objects += len(feed.newest)
        judge(kind, number, folder, feed, misp, counts)


def trouble(misp: MispDouble, chance: Random, faults: Counter[str]) -> None:
    """Something that MISP will do wrong in the next run, perhaps."""
    kinds: dict[str, Callable[[], None]] = {
        "MISP 500": lambda: misp.fail_next(
            500, path=chance.choice(["/events/add", "/events/edit", None])
        ),
        "MISP hangs up before": lambda: misp.hang_up_next(path="/events/", after_storing=False),
        "MISP hangs up after": lambda: misp.hang_up_next(path="/events/", after_storing=True),
        "MISP web page": misp.html_next,
    }
    if chance.random() < 0.4:
        name = chance.choice(list(kinds))
        faults[name] += 1
        kinds[name]()


def write_configuration(folder: Path, source: Json, misp: MispDouble) -> None:
    """The configuration as a user writes it; an overlap so short that paging has to be right."""
    (folder / "key").write_text(misp.key)
    settings = {"type": "taxii21", "page_size": PAGE, "timeout": 1.0, "overlap": "2s", **source}
    lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
    (folder / "stixbridge.toml").write_text(
        "[sources.acme]\n"
        + "\n".join(lines)
        + f'\n[sinks.misp]\ntype = "misp"\nurl = "{misp.url}"\n'
        'key = { file = "key" }\ntimeout = 5.0\n[pipelines.acme]\nsource = "acme"\nsinks = '
        '["misp"]\n'
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


def run(folder: Path, chance: Random | None, counts: Counts) -> int:
    """One run of the command; with `chance`, perhaps killed in the middle.

    The exit status; None of a killed one.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "stixbridge", "run", "--now", "2026-02-01T00:00:00Z"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    counts.runs += 1
    if chance is not None and chance.random() < 0.4:
        time.sleep(chance.uniform(0.25, 1.6))
        process.send_signal(signal.SIGKILL)
    out, err = process.communicate()
    if process.returncode == -signal.SIGKILL:
        counts.kills += 1
    elif process.returncode:
        counts.failed_runs += 1
    if "Traceback" in err or (process.returncode not in (0, 1, 3, -signal.SIGKILL)):
        counts.wrong.append(f"exit status {process.returncode}: {out} {err}")
    return process.returncode


def judge(
    kind: str, number: int, folder: Path, feed: Feed, misp: MispDouble, counts: Counts
) -> None:
    """Hold the end against what was sent, and against a bridge that got it all at once and in
    peace.
    """
    store = Store(folder / "stixbridge.db")
    held = store.objects.load("acme", feed.newest)
    store.close()
    for id_, obj in feed.newest.items():
        if id_ not in held or held[id_][0].get("modified") != obj["modified"]:
            counts.lost += 1
            counts.wrong.append(
                f"{kind}, round {number}: {id_} is not in the store as it was sent last"
            )
    (folder / "peace").mkdir()
    with MispDouble() as calm:
        bridge = Bridge(
            folder / "peace", {"misp": {"type": "misp", "url": calm.url, "key": calm.key}}
        )
        bridge.poll(*feed.newest.values(), now="2026-02-01T00:00:00Z")
        bridge.close()
        wanted, found = live(calm), live(misp)
    revoked = {
        obj["pattern"].split("'")[1]
        for obj in feed.newest.values()
        if obj["type"] == "indicator" and obj.get("revoked")
    }
    for place in wanted.keys() | found.keys():
        value = place[1]
        if value in revoked:  # never there, or there and ended, by when it was delivered
            if any(to_ids for to_ids, _ in found.get(place, [])):
                counts.wrong.append(f"{kind}, round {number}: {value} is revoked and alive")
            continue
        if place not in found:
            counts.lost += 1
            counts.wrong.append(f"{kind}, round {number}: {value} is not in {place[0]}")
        elif len(found[place]) > 1:
            counts.doubled += 1
            counts.wrong.append(f"{kind}, round {number}: {value} is twice in {place[0]}")
        elif found[place] != wanted.get(place):
            counts.wrong.append(
                f"{kind}, round {number}: {value}: {found[place]} instead of {wanted.get(place)}"
            )
        else:
            counts.delivered += 1


def live(misp: MispDouble) -> dict[tuple[str, str], list[tuple[bool, str]]]:
    """The live values of MISP: (event, value) -> `to_ids` and comment of each attribute with it."""
    found: dict[tuple[str, str], list[tuple[bool, str]]] = {}
    for uuid, event in misp.events.items():
        for row in event["Attribute"]:
            if not row["deleted"]:
                found.setdefault((uuid, row["value"]), []).append(
                    (bool(row["to_ids"]), str(row["comment"]))
                )
    return found
