"""Pulling: our source and store, a loop of bare libraries, and taxii2-client, each in a process.

Commands of `python -m benchmarks.pulling`:

    serve              a TAXII 2.1 server that costs nothing; prints its URL
    ours URL FILE      our source into our store
    loop URL FILE      httpx, orjson.loads, and an upsert of each page by sqlite3
    taxii2-client URL  the usual client, into a list
    quiet URL FILE     polls that bring nothing new
    poll URL FILE      a poll of 1,000 new objects into a store that holds FILE's
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = 1_000
BLOCK = 200
MALWARE = "5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11"
STAMP = "2026-01-05T08:00:00.000Z"
ADDED = "2026-01-05T08:00:00.000000Z"
KIND = "application/taxii+json;version=2.1"
QUIET_POLLS = 20
_MEGABYTE = 1024**2 if sys.platform == "darwin" else 1024


def objects(first: int, count: int) -> str:
    """Make JSON in blocks of 200: a report, 99 indicators, their relationships to one malware."""
    rows = []
    for block in range(first // BLOCK, (first + count) // BLOCK):
        ids = [f"0b0ad1b5-5d2c-4a53-9b38-{block * BLOCK + at:012x}" for at in range(BLOCK)]
        common = f'"spec_version":"2.1","created":"{STAMP}","modified":"{STAMP}"'
        members = ",".join(f'"indicator--{id_}"' for id_ in ids[1:100])
        rows.append(
            f'{{"type":"report",{common},"id":"report--{ids[0]}","name":"Campaign '
            f'{block}","published":"{STAMP}",'
            f'"report_types":["campaign"],"object_refs":[{members}]}}'
        )
        rows.append(
            f'{{"type":"malware",{common},"id":"malware--{MALWARE}","name":"Emotet","is_family":true}}'
        )
        for id_ in ids[1:100]:
            rows.append(
                f'{{"type":"indicator",{common},"id":"indicator--{id_}","name":"Host of campaign '
                f'{block}",'
                '"description":"Seen in the traffic of hosts that the campaign had '
                'reached.","confidence":80,'
                '"indicator_types":["malicious-activity"],"pattern":"[domain-name:value = '
                f"'{id_[-12:]}.example']\","
                f'"pattern_type":"stix","valid_from":"{STAMP}",'
                f'"object_marking_refs":["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"]}}'
            )
            rows.append(
                f'{{"type":"relationship",{common},"id":"relationship--{id_}","relationship_type":"indicates",'
                f'"source_ref":"indicator--{id_}","target_ref":"malware--{MALWARE}"}}'
            )
    return "[" + ",".join(rows) + "]"


class Handler(BaseHTTPRequestHandler):
    """Answers pages; the path says how many objects there are: `/N/collections/c/`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        count = int((re.search(r"/(\d+)/", parts.path) or ["", "0"])[1])
        headers = {}
        if parts.path.endswith("/objects/"):
            if "added_after" in query:
                body = "{}"
            else:
                first = int(query.get("next", ["0"])[0])
                last = min(first + PAGE, count)
                more = f'"more":true,"next":"{last}",' if last < count else '"more":false,'
                body = f'{{{more}"objects":{objects(first, last - first)}}}'
                headers = {"X-TAXII-Date-Added-First": ADDED, "X-TAXII-Date-Added-Last": ADDED}
        else:
            body = '{"id":"c","title":"C","can_read":true,"can_write":false}'
        data = body.encode()
        self.send_response(200)
        for name, value in {
            "Content-Type": KIND,
            "Content-Length": str(len(data)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def serve() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


def measured(work: Callable[[], int]) -> dict[str, float]:
    """CPU and wall seconds, peak memory, and how many objects."""
    started, wall = time.process_time(), time.perf_counter()
    count = work()
    return {
        "cpu": time.process_time() - started,
        "wall": time.perf_counter() - wall,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE,
        "objects": count,
    }


def ours(url: str, file: str) -> dict[str, float]:
    """Our source and our store."""
    from stixbridge.pipeline.pull import Puller, PullPolicy  # noqa: PLC0415
    from stixbridge.sources.taxii.v21 import Taxii21  # noqa: PLC0415
    from stixbridge.store import Store  # noqa: PLC0415

    store = Store(file)
    source = Taxii21(f"{url}/collections/c/", page_size=PAGE, name="bench")
    return measured(
        lambda: Puller(source, store, PullPolicy(ask=False)).pull(1_770_000_000_000_000).entries
    )


def loop(url: str, file: str) -> dict[str, float]:
    """The least that anybody would write: a page, its JSON, its rows."""
    import sqlite3  # noqa: PLC0415

    import httpx  # noqa: PLC0415
    import orjson  # noqa: PLC0415

    def work() -> int:
        database = sqlite3.connect(file)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE objects (id TEXT PRIMARY KEY, modified TEXT, body BLOB)")
        count, token = 0, None
        with httpx.Client(headers={"Accept": KIND}) as client:
            while True:
                params = {"limit": str(PAGE), **({"next": token} if token else {})}
                envelope = orjson.loads(
                    client.get(f"{url}/collections/c/objects/", params=params).content
                )
                rows = [
                    (row["id"], row["modified"], orjson.dumps(row)) for row in envelope["objects"]
                ]
                with database:
                    database.executemany(
                        "INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                        " modified = excluded.modified, body = excluded.body",
                        rows,
                    )
                count += len(rows)
                if not envelope["more"]:
                    return count
                token = envelope["next"]

    return measured(work)


def client(url: str, _file: str = "") -> dict[str, float]:
    """taxii2-client as its documentation shows it: all pages in a list."""
    from taxii2client.v21 import Collection, as_pages  # noqa: PLC0415

    def work() -> int:
        collection = Collection(f"{url}/collections/c/")
        found = []
        for page in as_pages(collection.get_objects, per_request=PAGE):
            found.extend(page.get("objects", []))
        return len(found)

    return measured(work)


def quiet(url: str, file: str) -> dict[str, float]:
    """Runs that bring nothing new, as a daemon makes them: CPU of one, and its requests."""
    from stixbridge.http import Http  # noqa: PLC0415
    from stixbridge.pipeline.make import Maker  # noqa: PLC0415
    from stixbridge.pipeline.pipeline import Pipeline  # noqa: PLC0415
    from stixbridge.sources.taxii.v21 import MEDIA_TYPE, Taxii21  # noqa: PLC0415
    from stixbridge.store import Store  # noqa: PLC0415

    class Counting(Http):
        asked = 0

        def get(self, *args: object, **more: object) -> object:  # type: ignore[override]
            Counting.asked += 1
            return super().get(*args, **more)  # type: ignore[arg-type]

    place = f"{url}/collections/c/"
    store = Store(file)
    source = Taxii21(place, page_size=PAGE, name="bench", http=Counting(place, accept=MEDIA_TYPE))
    pipeline = Pipeline(Maker("bench", "bench", store), source, [])
    pipeline.run(1_770_000_000_000_000)
    Counting.asked = 0

    def work() -> int:
        for at in range(QUIET_POLLS):
            pipeline.run(1_770_000_000_000_000 + at + 1)
        return Counting.asked

    found = measured(work)
    return {
        "cpu": found["cpu"] / QUIET_POLLS,
        "requests": found["objects"] / QUIET_POLLS,
        "memory": found["memory"],
    }


def poll(url: str, file: str) -> dict[str, float]:
    """A run of a pipeline with a files sink for 1,000 objects that are new to the store."""
    from stixbridge.conversion.settings import ConvertSettings  # noqa: PLC0415
    from stixbridge.pipeline.make import Maker  # noqa: PLC0415
    from stixbridge.pipeline.pipeline import Pipeline  # noqa: PLC0415
    from stixbridge.sinks.files import FilesSink  # noqa: PLC0415
    from stixbridge.sources.base import Collection, Page  # noqa: PLC0415
    from stixbridge.stix.reader import read_bytes  # noqa: PLC0415
    from stixbridge.store import Store  # noqa: PLC0415

    class Fresh:
        name = "bench"
        number = int(url)

        def collections(self) -> list[Collection]:
            return [Collection("c", "C")]

        def pages(
            self, _collection: Collection, _watermark: str | None
        ) -> list[Page]:  # an iterable does
            found = read_bytes(objects(self.number, PAGE).encode()).entries
            self.number += PAGE
            return iter([Page(found, ADDED, 1_767_600_000_000_000)])  # type: ignore[return-value]

        def close(self) -> None:
            pass

    store = Store(file)
    seq = store.objects.last_seq("bench")
    store.runs.set_progress("bench", seq, 1_770_000_000_000_000)
    sink = FilesSink(Path(file).parent / "out")
    pipeline = Pipeline(
        Maker("bench", "bench", store, settings=ConvertSettings(group="input")), Fresh(), [sink]
    )  # type: ignore[arg-type]
    pipeline.run(1_770_000_000_000_001)
    runs = []
    for at in range(3):
        runs.append(measured(lambda at=at: pipeline.run(1_770_000_000_000_002 + at).changed))  # type: ignore[misc]
    return {
        "cpu": sorted(run["cpu"] for run in runs)[1],
        "wall": sorted(run["wall"] for run in runs)[1],
        "held": seq,
    }


if __name__ == "__main__":
    os.environ["NO_PROXY"] = "*"
    if sys.argv[1] == "serve":
        serve()
    else:
        act = {"ours": ours, "loop": loop, "taxii2-client": client, "quiet": quiet, "poll": poll}[
            sys.argv[1]
        ]
        print(json.dumps(act(*sys.argv[2:])))
