"""Where the time of a conversion goes: the stages of the engine, timed from outside.

python -m benchmarks.stages FILE
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .measure import NOW

# (stage, module, name of what does it); each is called once a conversion, or adds up
STAGES = (
    ("choose and shape the objects", "conversion.engine", "_Engine._choose"),
    ("what each object says", "conversion.engine", "Sayings"),
    ("which event it goes to", "conversion.engine", "_Engine._plan"),
    ("place, merge and mark", "conversion.engine", "_Engine._build"),
    ("relationships and sightings", "conversion.engine", "_Engine._link"),
    ("write the events", "conversion.engine", "_Engine._finish"),
    ("the ledger", "conversion.engine", "Accounting.write"),
)


def measure_stages(path: Path) -> dict[str, float]:
    """CPU seconds of each stage, of reading and writing JSON, and of all."""
    import orjson  # noqa: PLC0415

    from stixbridge import convert  # noqa: PLC0415
    from stixbridge.conversion.to_misp import engine  # noqa: PLC0415

    data = path.read_bytes()
    convert(data, now=NOW, source="bench")  # warms caches up
    found: dict[str, float] = {}
    for stage, _, name in STAGES:
        _time(engine, name, stage, found)
    start = time.process_time()
    result = convert(data, now=NOW, source="bench")
    written = time.process_time()
    out = [orjson.dumps({"Event": event}) for event in result.events]
    ended = time.process_time()
    gc.disable()
    before = time.process_time()
    orjson.loads(data)
    found["read the JSON"] = time.process_time() - before
    found["write the JSON"] = ended - written
    found["all"] = ended - start
    assert out
    return found


def _time(module: Any, name: str, stage: str, found: dict[str, float]) -> None:
    """Put a stopwatch around a function, a method or a class."""
    holder = module
    *path, last = name.split(".")
    for part in path:
        holder = getattr(holder, part)
    original: Callable[..., Any] = getattr(holder, last)

    def timed(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return original(*given, **named)
        finally:
            found[stage] = found.get(stage, 0.0) + time.process_time() - start

    setattr(holder, last, timed)


if __name__ == "__main__":
    print(json.dumps(measure_stages(Path(sys.argv[1]))))
