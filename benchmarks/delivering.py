"""Delivering to the MISP double, beside PyMISP doing the same.

Commands of `python -m benchmarks.delivering`:

    serve MILLISECONDS FILE  the double, that slow for each attribute; prints URL and key, and keeps
                             in FILE how long it was at work and the largest request
    ours URL KEY [FILE]      100 events of 100 attributes by our sink
    pymisp URL KEY [FILE]    the same by PyMISP's add_event
    large URL KEY FILE       one event of 50,000 attributes by our sink
    clean URL KEY            delete what the two left in a real MISP
    traffic                  requests and bytes of deliveries with little or no change
"""

import copy
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS, ATTRIBUTES, LARGE = 100, 100, 50_000
SECONDS = 1_767_600_000
_SPACE = uuid.UUID("5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11")
Json = dict[str, Any]


def event(number: int, count: int) -> Json:
    """An event as the conversion makes it."""
    own = str(uuid.uuid5(_SPACE, f"event {number}"))
    rows = [
        {
            "uuid": str(uuid.uuid5(_SPACE, f"{number} {at}")),
            "type": "domain",
            "category": "Network activity",
            "value": f"host{at}.e{number}.example",
            "to_ids": True,
            "disable_correlation": False,
            "distribution": "5",
            "comment": "Seen in the traffic of hosts that the campaign had reached.",
            "timestamp": str(SECONDS),
        }
        for at in range(count)
    ]
    return {
        "uuid": own,
        "info": f"Campaign {number}",
        "date": "2026-01-05",
        "threat_level_id": "4",
        "analysis": "2",
        "distribution": "0",
        "published": False,
        "timestamp": str(SECONDS),
        "Tag": [{"name": "tlp:green"}],
        "Attribute": rows,
        "Object": [],
    }


def serve(milliseconds: str, file: str) -> None:
    """Run the double until killed."""
    double = _double()(cost_per_attribute=float(milliseconds) / 1000)
    own, path = double._serve, Path(file)
    known = {"busy": 0.0, "requests": 0, "largest": 0}
    lock = threading.Lock()

    def timed(method: str, target: str, headers: Any, raw: bytes) -> Any:
        began = time.perf_counter()
        answer = own(method, target, headers, raw)
        with lock:
            known["busy"] += time.perf_counter() - began
            known["requests"] += 1
            known["largest"] = max(known["largest"], len(raw))
            path.write_text(json.dumps(known))
        return answer

    double._serve = timed
    print(double.url, double.key, flush=True)
    while True:
        time.sleep(3600)


def _double() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from doubles.misp import MispDouble  # noqa: PLC0415

    return MispDouble


def measured(work: Callable[[], object], file: str = "") -> dict[str, float]:
    """CPU and wall seconds; and with a file of `serve` how long the server was at work."""
    before = _server_s(file)
    started, wall = time.process_time(), time.perf_counter()
    work()
    found = {"cpu": time.process_time() - started, "wall": time.perf_counter() - wall}
    return {**found, **{key: value - before.get(key, 0) for key, value in _server_s(file).items()}}


def _server_s(file: str) -> dict[str, float]:
    path = Path(file)
    return dict(json.loads(path.read_text())) if file and path.exists() else {}


def ours(url: str, key: str, file: str = "") -> dict[str, float]:
    """Our sink, one event after the other; and four at a time, other events."""
    from stixbridge.sinks.misp.sink import MispSink  # noqa: PLC0415

    made = [event(number, ATTRIBUTES) for number in range(EVENTS)]
    found = measured(lambda: MispSink(url, key).add(made), file)
    more = [event(number, ATTRIBUTES) for number in range(1_000, 1_000 + EVENTS)]
    several = measured(lambda: MispSink(url, key, concurrency=4).add(more))
    return {**found, "wall of several": several["wall"]}


def large(url: str, key: str, file: str) -> dict[str, float]:
    """One event in pieces: how much memory that takes here, in how many requests of what size."""
    import resource  # noqa: PLC0415

    from stixbridge.sinks.misp.sink import MispSink  # noqa: PLC0415

    made = event(9_000, LARGE)
    without = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = measured(lambda: MispSink(url, key).add([made]), file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = len(json.dumps(made))
    return {
        **found,
        "event": size,
        "memory before": without * 1024,
        "memory": peak * 1024,
        **_server_s(file),
    }


def clean(url: str, key: str) -> dict[str, float]:
    """Delete the events, and take their UUIDs off the blocklist."""
    import httpx  # noqa: PLC0415

    deleted = 0
    with httpx.Client(
        base_url=url, headers={"Authorization": key, "Accept": "application/json"}, timeout=300
    ) as misp:
        for first in (0, 1_000, 5_000):
            for number in range(first, first + EVENTS):
                own = event(number, 0)["uuid"]
                deleted += misp.post(f"/events/delete/{own}").status_code == httpx.codes.OK
                misp.post(f"/event_blocklists/delete/{own}")
    return {"deleted": deleted}


def by_pymisp(url: str, key: str, file: str = "") -> dict[str, float]:
    """PyMISP as its documentation shows it."""
    from pymisp import MISPEvent, PyMISP  # noqa: PLC0415

    client = PyMISP(url, key)
    made = [event(number, ATTRIBUTES) for number in range(5_000, 5_000 + EVENTS)]

    def work() -> None:
        for one in made:
            misp_event = MISPEvent()
            misp_event.from_dict(**one)
            client.add_event(misp_event)

    return measured(work, file)


def traffic() -> dict[str, float]:
    """Count requests and bytes for 100 unchanged events, and for one attribute of 10,000."""
    from pymisp import MISPEvent, PyMISP  # noqa: PLC0415

    from stixbridge.envelopes import Delivered, Wanted  # noqa: PLC0415
    from stixbridge.sinks.delivery import Job, LastDelivery, State  # noqa: PLC0415
    from stixbridge.sinks.misp.sink import MispSink  # noqa: PLC0415

    found: dict[str, float] = {}
    with _double()() as double:
        sent: list[int] = []
        original = double._serve

        def counting(method: str, target: str, headers: Any, raw: bytes) -> Any:
            sent.append(len(raw))
            return original(method, target, headers, raw)

        double._serve = counting
        sink = MispSink(double.url, double.key)
        client = PyMISP(double.url, double.key)
        large = event(0, ATTRIBUTES * EVENTS)
        sink.add([large])
        newer = copy.deepcopy(large)
        newer["Attribute"][4_711]["comment"] = "another comment"
        sent.clear()
        list(sink.deliver([Job(Wanted(newer), LastDelivery(State.DELIVERED, Delivered(large)))]))
        found |= {"ours one change": sum(sent), "ours one change requests": len(sent)}
        misp_event = MISPEvent()
        misp_event.from_dict(**copy.deepcopy(newer))
        misp_event.attributes[17].comment = "and another"
        sent.clear()
        client.update_event(misp_event)
        found |= {"pymisp one change": sum(sent), "pymisp one change requests": len(sent)}
        found |= _unchanged(double, sent)
    return found


def _unchanged(double: Any, sent: list[int]) -> dict[str, float]:
    """A replay of 100 events that changes none, through a pipeline."""
    import tempfile  # noqa: PLC0415

    from stixbridge.pipeline.make import Maker  # noqa: PLC0415
    from stixbridge.pipeline.pipeline import Pipeline  # noqa: PLC0415
    from stixbridge.sinks.misp.sink import MispSink  # noqa: PLC0415
    from stixbridge.sources.files import Files  # noqa: PLC0415
    from stixbridge.store import Store  # noqa: PLC0415

    from .pulling import objects  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.json").write_text(objects(0, EVENTS * 200))
        store = Store(folder / "s.db")
        source = Files((str(folder / "in.json"),), name="bench")
        pipeline = Pipeline(
            Maker("bench", "bench", store), source, [MispSink(double.url, double.key)]
        )
        pipeline.run(1_770_000_000_000_000)
        sent.clear()
        summary = pipeline.run(1_770_000_000_000_001, replay=True)
        store.close()
        return {
            "unchanged events": summary.events.get("unchanged", 0),
            "unchanged requests": len(sent),
        }


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "serve":
        serve(*rest)
    else:
        print(
            json.dumps(
                {
                    "ours": ours,
                    "pymisp": by_pymisp,
                    "large": large,
                    "traffic": traffic,
                    "clean": clean,
                }[what](*rest)
            )
        )
