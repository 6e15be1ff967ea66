"""Write the counts and examples of the reviewed file anew; reasons stay, new keys get an empty one.

PYTHONPATH=tests python -m differential.write
"""

import sys

from helpers.paths import corpora_folder

from .compare import bundles, cases, differences
from .reviewed import read, write


def main() -> int:
    corpora = corpora_folder()
    if corpora is None:
        print("no real STIX files: set STIXBRIDGE_CORPORA", file=sys.stderr)
        return 1
    few = differences(cases(corpora), corpora, stored=True)
    all_ = differences(bundles(corpora), corpora, stored=False)
    entries = read()
    write(few, all_, {key: entry["reason"] for key, entry in entries.items()})
    print(
        f"{all_.facts} facts, {all_.equal} equal, {len(all_.count)} keys for "
        f"{sum(all_.count.values())} differences"
    )
    print(f"cases: {few.facts} facts, {few.equal} equal, {len(few.count)} keys")
    missing = sum(not entry["reason"] for entry in read().values())
    print(f"{missing} keys without a reason")
    return 0


if __name__ == "__main__":
    sys.exit(main())
