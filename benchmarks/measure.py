"""One measurement, in a process of its own. Prints one line of JSON, the last of its output.

    python -m benchmarks.measure convert ENGINE FILE      ENGINE: native, misp-stix, floor
    python -m benchmarks.measure patterns ENGINE FILE     ENGINE: parse, meaning, stix2-patterns
    python -m benchmarks.measure command MEGABYTES WORD…  a command line, stopped above that memory
                                                          (0: never)

Only what is measured is imported, since the memory that is reported is that of the whole process.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

NOW = "2026-02-01T00:00:00Z"
_SMALL = (
    b'{"type": "bundle", "id": "bundle--5ab5d4d1-6c2c-4c52-8f5d-0c2a3a6a1b11", "objects": '
    b'[{"type": "indicator",'
    b' "spec_version": "2.1", "id": "indicator--0b0ad1b5-5d2c-4a53-9b38-91a6b6e0c6a1", '
    b'"pattern_type": "stix",'
    b' "created": "2026-01-05T08:00:00.000Z", "modified": "2026-01-05T08:00:00.000Z",'
    b' "valid_from": "2026-01-05T08:00:00Z", "pattern": "[domain-name:value = \'host.example\']"}]}'
)
# ru_maxrss is in kilobytes on Linux and in bytes on macOS
_MEGABYTE = 1024**2 if sys.platform == "darwin" else 1024


def _native() -> Callable[[bytes], list[bytes]]:
    import orjson  # noqa: PLC0415

    from stixbridge import convert  # noqa: PLC0415

    def run(data: bytes) -> list[bytes]:
        result = convert(data, now=NOW, source="bench")
        return [orjson.dumps({"Event": event}) for event in result.events]

    return run


def _misp_stix() -> Callable[[bytes], list[bytes]]:
    # Through its own API and not our `engine = "misp-stix"`, which adds identities and a ledger of
    # its own.
    from misp_stix_converter import MISP_org_uuid  # noqa: PLC0415
    from misp_stix_converter.tools import get_stix2_parser, load_stix2_content  # noqa: PLC0415

    def run(data: bytes) -> list[bytes]:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            bundle = load_stix2_content(BytesIO(data), max_size=0)
            kind, settings = get_stix2_parser(
                False, 0, None, None, None, False, False, False, MISP_org_uuid, 0, None
            )
            parser = kind()
            parser.load_stix_bundle(bundle)
            parser.parse_stix_bundle(**settings)
            found = parser.misp_events
            return [
                event.to_json().encode()
                for event in (found if isinstance(found, list) else [found])
            ]

    return run


def _floor() -> Callable[[bytes], list[bytes]]:
    import orjson  # noqa: PLC0415

    return lambda data: [orjson.dumps(orjson.loads(data))]


def measure_conversion(engine: str, path: Path) -> dict[str, float]:
    """Convert a file's bytes to the bytes of events.

    Args:
        engine: `native`, `misp-stix`, or `floor` (loads and dumps).
        path: the file.

    Returns:
        CPU seconds, peak memory, and how much came out.
    """
    run = {"native": _native, "misp-stix": _misp_stix, "floor": _floor}[engine]()
    run(_SMALL)  # imports, the knowledge index and lazily made tables are not the conversion
    data = path.read_bytes()
    started = time.process_time()
    out = run(data)
    cpu = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE
    return {"cpu": cpu, "memory": memory, **({} if engine == "floor" else _output(out))}


def _output(out: list[bytes]) -> dict[str, float]:
    """How much came out, to see whether both did comparable work."""
    events = [json.loads(event) for event in out]
    events = [event.get("Event", event) for event in events]
    objects = [obj for event in events for obj in event.get("Object") or []]
    attributes = [row for holder in (*events, *objects) for row in holder.get("Attribute") or []]
    tagged = [*events, *attributes]
    clusters = [
        galaxy.get("GalaxyCluster") or [] for row in tagged for galaxy in row.get("Galaxy") or []
    ]
    return {
        "made_events": len(events),
        "made_attributes": len(attributes),
        "made_objects": len(objects),
        "made_tags": sum(len(row.get("Tag") or []) for row in tagged) + sum(map(len, clusters)),
        "made_bytes": sum(map(len, out)),
    }


def _parser(engine: str) -> tuple[Callable[[str], Any], type[Exception]]:
    if engine == "stix2-patterns":
        from stix2patterns.exceptions import ParseException  # noqa: PLC0415
        from stix2patterns.v21.pattern import Pattern  # noqa: PLC0415

        return Pattern, ParseException
    from stixbridge.stix.pattern import PatternError, parse  # noqa: PLC0415

    if engine == "parse":
        return parse, PatternError
    from stixbridge.stix.pattern_algebra import meaning  # noqa: PLC0415

    return lambda text: meaning(parse(text)), PatternError


def measure_patterns(engine: str, path: Path) -> dict[str, float]:
    """Read a list of different patterns once, so that no cache can help.

    Args:
        engine: `parse`, `meaning` (parse and interpret), or `stix2-patterns`.
        path: a JSON list of texts.

    Returns:
        CPU seconds, the number of patterns, and how many of them were refused.
    """
    read, error = _parser(engine)
    texts = json.loads(path.read_bytes())
    for at in range(20 if engine == "stix2-patterns" else 2_000):
        read(f"[domain-name:value = 'warm{at}.example' OR url:value = 'http://warm{at}.example/']")
    refused = 0
    started = time.process_time()
    for text in texts:
        try:
            read(text)
        except error:
            refused += 1
    return {"cpu": time.process_time() - started, "patterns": len(texts), "refused": refused}


def measure_command(most: int, words: list[str]) -> dict[str, float | str]:
    """Run a command line as a user does.

    Args:
        most: megabytes of address space that it may take, so that a failure leaves the machine
            alone; 0 for any.
        words: the command.

    Returns:
        Wall and CPU seconds, peak memory, the exit status and the end of what it said.
    """
    if most:  # the child inherits it, and this process needs very little
        resource.setrlimit(resource.RLIMIT_AS, (most * 1024**2, most * 1024**2))
    started = time.perf_counter()
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = child.stderr.read().decode(errors="replace")[-2_000:] if child.stderr else ""
    _, status, used = os.wait4(child.pid, 0)
    return {
        "wall": time.perf_counter() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / _MEGABYTE,
        "status": os.waitstatus_to_exitcode(status),
        "said": said,
    }


def main(what: str, first: str, *rest: str) -> None:
    """Measure, and print what it took."""
    found: dict[str, Any]
    if what == "convert":
        found = measure_conversion(first, Path(rest[0]))
    elif what == "patterns":
        found = measure_patterns(first, Path(rest[0]))
    else:
        found = measure_command(int(first), list(rest))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
