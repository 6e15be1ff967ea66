"""One measurement in a process of its own: `python -m benchmarks.measure ENGINE FILE` prints JSON."""

import json
import resource
import sys
import time
from pathlib import Path

import orjson


def main(engine: str, path: str) -> None:
    """Convert a file with an engine, and print what that took."""
    data = Path(path).read_bytes()
    if engine == "floor":
        started = time.process_time()
        out = [orjson.dumps(orjson.loads(data))]
    else:
        from stixbridge import convert  # noqa: PLC0415

        convert(b'{"objects": []}', engine=engine)  # imports and the knowledge index are not the conversion
        started = time.process_time()
        result = convert(data, now="2026-02-01T00:00:00Z", source="bench", engine=engine)
        out = [orjson.dumps({"Event": event}) for event in result.events]
    print(
        json.dumps(
            {
                "cpu": time.process_time() - started,
                "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "events": len(out),
                "bytes": sum(map(len, out)),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
