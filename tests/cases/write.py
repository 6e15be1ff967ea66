"""Write the expected output of every case anew (`make cases`).

Read the diff: it is what changes for a user.
"""

import json
from pathlib import Path
from typing import Any

from stixbridge import convert

CASES = Path(__file__).parent
NOW = "2026-02-01T00:00:00Z"


def names() -> list[str]:
    return sorted(path.parent.name for path in CASES.glob("*/in.json"))


def output(name: str) -> dict[str, Any]:
    """What the conversion makes of a case: the events and the ledger."""
    result = convert(CASES / name / "in.json", now=NOW, source="case")
    return {"events": result.events, "ledger": result.ledger.to_dict()}


if __name__ == "__main__":
    for name in names():
        text = json.dumps(output(name), indent=1, ensure_ascii=False) + "\n"
        (CASES / name / "out.json").write_text(text, encoding="utf-8")
