"""The tables of docs/benchmarks.md."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from .cases import COLD_RUNS, MOST_MEMORY, RUNS, SLOW, Figures, Row

FLOOR_TARGET = 12
GROWTH_TARGET = 1.3
COLD_TARGET = 0.5
STREAM_TARGET = 500
_NOT_RUN = "not run"
_TITLES = {
    "reports": "indicators in reports",
    "equal": "indicators and SCOs",
    "observed": "observed-data",
    "attack": "like ATT&CK",
}


def head() -> str:
    """What the page is, and what it was measured with."""
    names = ("stixbridge", "misp-stix", "stix2-patterns", "orjson")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return f"""# Benchmarks

Written by `make bench`. Both engines convert the same input in one run, each measurement in a
process of its own. Time is CPU seconds of the whole conversion, from the bytes of the file to the
bytes of the events, without imports. Memory is the peak of the process, imports included. The floor
is `orjson` loads and dumps of the input. stixbridge and the floor: the median of {RUNS} runs;
misp-stix: one run, through its own API. Compare ratios, not seconds.

Python {platform.python_version()}, {platform.machine()}; {versions}.
"""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; all columns but the first are figures."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def seconds(value: float | None) -> str:
    """A time in two or three figures; it never shows as 0."""
    if value is None:
        return "–"
    return (
        f"{value:.2g} s" if value < 0.1 else f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"
    )


def times(value: float | None, target: float | None = None, sign: str = "") -> str:
    """A ratio, with its target."""
    shown = "–" if value is None else f"{value:.1f}" if value < 20 else f"{value:,.0f}"
    return shown if target is None else f"{shown} ({sign} {target:g})"


def megabytes(value: float | None) -> str:
    """A size in memory."""
    return "–" if value is None else f"{value:,.0f} MB"


def conversion(rows: Sequence[Row]) -> str:
    """The main table, and what came out."""
    shown = []
    for row in rows:
        if not row.size:
            shown.append([row.title, "absent", *["–"] * 7])
            continue
        theirs = row.engines.get("misp-stix")
        peer = _NOT_RUN if theirs is None else theirs.get("failed") or seconds(theirs["cpu"])
        least = row.case.memory_target
        memory = times(row.ratio("native", "misp-stix", "memory"), least, "≤") if least else ""
        shown.append(
            [
                f"{row.title} ({row.size / 1e6:.1f} MB)",
                row.engines["native"].get("failed") or seconds(row.get("native", "cpu")),
                peer,
                times(row.ratio("misp-stix", "native"), row.case.target, "≥"),
                seconds(row.get("floor", "cpu")),
                times(row.ratio("native", "floor"), FLOOR_TARGET, "≤"),
                megabytes(row.get("native", "memory")),
                megabytes(row.get("misp-stix", "memory")),
                memory,
            ]
        )
    first = table(
        [
            "input",
            "stixbridge",
            "misp-stix",
            "times less (target)",
            "floor",
            "times the floor (target)",
            "memory",
            "memory of misp-stix",
            "share (target)",
        ],
        shown,
    )
    said = ""
    for row in rows:
        if row.size and "misp-stix" not in row.engines:
            said += (
                f"\nmisp-stix was not run with “{row.title}”, where its time is quadratic: "
                "`--full` runs it.\n"
            )
        if row.get("native", "made_events") == 0 and row.get("misp-stix", "made_events"):
            said += (
                f"\n“{row.title}”: stixbridge makes no event of it, since nothing links its "
                "context to a value, and"
            )
            said += (
                " accounts for it in the ledger; misp-stix makes clusters of it. That is not "
                "the same work.\n"
            )
    return (
        f"## Conversion\n\n![CPU seconds of each input](benchmarks.svg)\n\n{first}{said}\n"
        f"{_came_out(rows)}"
    )


_MADE = ("events", "attributes", "objects", "tags", "bytes")


def _came_out(rows: Sequence[Row]) -> str:
    """Whether both did comparable work."""
    shown = []
    for row in rows:
        if not row.size:
            continue
        cells = []
        for key in _MADE:
            pair = [row.get(engine, f"made_{key}") for engine in ("native", "misp-stix")]
            scale, form = (1e6, ",.1f") if key == "bytes" else (1, ",.0f")
            cells.append(
                " / ".join("–" if value is None else format(value / scale, form) for value in pair)
            )
        shown.append([row.title, f"{row.objects:,}", *cells])
    header = [
        "stixbridge / misp-stix",
        "STIX objects",
        "events",
        "attributes",
        "objects",
        "tags and clusters",
        "MB",
    ]
    return "What came out:\n\n" + table(header, shown)


def patterns(rows: Sequence[Figures]) -> str:
    """Patterns a second."""

    def rate(found: Figures) -> str:
        return found.get("failed") or f"{found['patterns'] / found['cpu']:,.0f}"

    shown = [
        [row["what"], "absent", "–", f"{row['target']:,}", "–", "–"]
        if row.get("absent")
        else [
            f"{row['what']} ({row['parse'].get('patterns', 0):,.0f})",
            rate(row["parse"]),
            rate(row["meaning"]),
            f"{row['target']:,}",
            rate(row["stix2-patterns"]),
            f"{row['parse'].get('refused', 0):,.0f}",
        ]
        for row in rows
    ]
    header = [
        "patterns a second",
        "parse",
        "parse and interpret",
        "target",
        "stix2-patterns, parse",
        "refused by ours",
    ]
    return "## Patterns\n\nAll different, each read once.\n\n" + table(header, shown)


def growth(rows: Sequence[Figures]) -> str:
    """Time per object at each size."""
    shown = []
    for row in rows:
        sizes = row["sizes"]
        each = [size["cpu"] / size["objects"] * 1e6 if "cpu" in size else None for size in sizes]
        known = [value for value in each if value]
        ratio = max(known) / min(known) if len(known) == len(sizes) else None
        shown.append(
            [_TITLES[row["name"]]]
            + ["failed" if value is None else f"{value:.1f} µs" for value in each]
            + [
                megabytes(sizes[-1].get("memory")),
                "–" if ratio is None else f"{ratio:.2f} (≤ {GROWTH_TARGET})",
            ]
        )
    columns = [f"about {size['wanted']:,} objects" for size in rows[0]["sizes"]]
    header = ["CPU time per object", *columns, "memory of the last", "longest by shortest (target)"]
    return "## Growth\n\n" + table(header, shown)


def cold_start(found: Figures) -> str:
    """From start to end of the command."""
    said = (
        "## Cold start\n\n`stixbridge convert` of a file of 22 objects, index warm; "
        f"{COLD_RUNS} runs.\n\n"
    )
    if "failed" in found:
        return f"{said}Failed: {found['failed']}\n"
    cells = [
        seconds(found["wall"]),
        seconds(found["slowest"]),
        seconds(found["cpu"]),
        megabytes(found["memory"]),
    ]
    return said + table(
        ["", "median", "slowest", "CPU", "memory", "target"],
        [["wall time", *cells, f"under {COLD_TARGET} s"]],
    )


def stages(found: Figures) -> str:
    """Where the time of the first input goes, and what would make it less."""
    whole = found["all"]
    rows = [
        [stage, seconds(spent), f"{spent / whole:.0%}"]
        for stage, spent in sorted(found.items(), key=lambda row: -row[1])
        if stage != "all"
    ]
    rows.append(
        [
            "the rest",
            seconds(whole - sum(spent for stage, spent in found.items() if stage != "all")),
            "",
        ]
    )
    return (
        "## Where the time goes\n\nOf the first input, timed by stage, in one run.\n\n"
        + table(["stage", "CPU", "share"], rows)
        + "\nNo stage stands out: what is left is Python making and filling objects. Reading and "
        "writing JSON is the floor. The sixteen hot modules compiled with mypyc took a quarter "
        "off (0.55 s to 0.41 s for the first input, measured once); that is less than a second "
        "build is worth, and is not adopted. What would meet the targets that are missed is an "
        "engine that holds an indicator in a few tuples instead of objects, or a compiled one.\n"
    )


def enriching(found: Figures) -> str:
    """Rules and warninglists."""
    rules, lists = found["rules"], found["lists"]
    count = rules["attributes"]

    def cost(name: str) -> str:
        return f"{(rules[name] - rules['without']) / count * 1000:.3f} ms"

    return (
        f"## Enrichment\n\n{count:,.0f} attributes in reports; CPU time beside the conversion, "
        "which takes"
        f" {rules['without'] / count * 1000:.3f} ms an attribute. A MISP needs about 3 ms to "
        "store one.\n\n"
        + table(
            ["per attribute", "cost (target)"],
            [
                ["20 rules", f"{cost('rules')} (≤ 0.2 ms)"],
                ["20 rules for types that do not occur", f"{cost('other types')} (nothing)"],
                ["20 rules and all warninglists", f"{cost('rules and warninglists')} (≤ 0.3 ms)"],
            ],
        )
        + "\n"
        + table(
            ["look-ups a second in all warninglists", "target", "pymispwarninglists, slow search"],
            [[f"{lists['ours']:,.0f}", "100,000", f"{lists['package']:,.1f}"]],
        )
    )


def pulling(found: Figures) -> str:
    """From a TAXII server into the store."""
    count = found["count"]
    rows = []
    for way, title in (
        ("ours", "stixbridge: source and store"),
        ("loop", "a loop: httpx, `orjson.loads`, one upsert a page"),
        ("taxii2-client", "taxii2-client, into a list"),
    ):
        run = found[way]
        rate = run["objects"] / run["cpu"]
        share = f"{rate / (found['loop']['objects'] / found['loop']['cpu']):.0%}"
        rows.append([title, seconds(run["cpu"]), f"{rate:,.0f}", share, megabytes(run["memory"])])
    whole, few, many = found["all of many"], found["poll of few"], found["poll of many"]
    return (
        f"## Pulling\n\n{count:,} objects (reports, indicators, relationships) from a server on "
        "loopback, 1,000 a page. CPU of the client.\n\n"
        + table(
            [
                "",
                "CPU",
                "objects a second of CPU",
                "share of the loop (target: 60%)",
                "peak memory",
            ],
            rows,
        )
        + "\nThe loop keeps bodies and nothing else. The store also keeps which object refers to "
        "which, which is newer,"
        " what came when and what expires, in indexes that later polls need; half of the time is "
        "SQLite's for"
        " those.\n\n"
        + table(
            ["", "measured", "target"],
            [
                [
                    f"peak memory of {found['many']:,} objects",
                    megabytes(whole["memory"]),
                    "under 100 MB",
                ],
                [
                    "a poll with nothing new: requests a collection",
                    f"{found['quiet']['requests']:.0f}",
                    "1",
                ],
                [
                    "a poll with nothing new: CPU",
                    f"{found['quiet']['cpu'] * 1000:.1f} ms",
                    "under 50 ms",
                ],
                [
                    f"a run of 1,000 new objects, {many['held']:,} in the store",
                    (
                        f"{seconds(many['cpu'])}, {many['cpu'] / few['cpu']:.2f} times that of "
                        f"{few['held']:,}"
                    ),
                    "under 1.5 times",
                ],
            ],
        )
    )


def replaced(page: str, section: str) -> str:
    """A page with a newer form of one of its sections."""
    title = section.lstrip().split("\n", 1)[0]
    before, found, after = page.partition(f"{title}\n")
    if not found:
        raise SystemExit(f"the page has no section {title!r}")
    _, more, rest = after.partition("\n## ")
    return f"{before}{section.strip()}\n{more}{rest}"


def delivering(found: Figures) -> str:
    """To a MISP that needs 3 ms an attribute."""
    ours, peer, traffic, large = found["ours"], found["pymisp"], found["traffic"], found["large"]

    def row(name: str, way: Figures) -> list[str]:
        beyond = way["wall"] - way["busy"]
        return [
            name,
            seconds(way["wall"]),
            seconds(way["busy"]),
            f"{beyond / way['busy']:.1%}",
            seconds(way["cpu"]),
        ]

    return (
        f"## Delivery\n\n100 events of 100 attributes to the MISP double, which takes {SLOW} ms "
        "for each attribute as a real one does. The overhead is what the clock shows beyond the "
        "time in which the server was at work.\n\n"
        + table(
            [
                "",
                "wall time",
                "the server at work",
                "overhead (target: under 10%)",
                "CPU of the client",
            ],
            [
                row("stixbridge", ours),
                ["stixbridge, four events in flight", seconds(ours["wall of several"]), "", "", ""],
                row("PyMISP `add_event`", peer),
            ],
        )
        + _on_a_real_misp(found)
        + "\nPyMISP does not look at what was stored; stixbridge compares every part.\n\n"
        + table(
            ["", "stixbridge", "target", "PyMISP `update_event`"],
            [
                [
                    "one attribute of 10,000 changes: bytes sent",
                    (
                        f"{traffic['ours one change']:,.0f} in "
                        f"{traffic['ours one change requests']:.0f} requests"
                    ),
                    "under 5,000",
                    f"{traffic['pymisp one change']:,.0f}",
                ],
                [
                    f"{traffic['unchanged events']:.0f} events again, unchanged: requests",
                    f"{traffic['unchanged requests']:.0f}",
                    "no write, at most 1 read",
                    "one an event",
                ],
            ],
        )
        + (
            f"\nOne event of 50,000 attributes ({large['event'] / 1e6:.0f} MB as JSON) goes in"
            f" {large['requests']:.0f} requests, the largest of {large['largest'] / 1e3:,.0f} KB; "
            "the client's memory"
            f" grows from {large['memory before'] / 1e6:.0f} MB, with the event in it, to"
            f" {large['memory'] / 1e6:.0f} MB.\n"
        )
    )


def _on_a_real_misp(found: Figures) -> str:
    if "ours on a real one" not in found:
        return "\nNot measured against a real MISP in this run: set `MISP_URL` and `MISP_KEY`.\n"
    ours, peer = found["ours on a real one"], found["pymisp on a real one"]
    return "\nThe same to a real MISP, as `MISP_URL` and `MISP_KEY` name it:\n\n" + table(
        ["", "CPU of the client", "wall time", "times as fast as PyMISP"],
        [
            ["stixbridge", seconds(ours["cpu"]), seconds(ours["wall"]),
             f"{peer['wall'] / ours['wall']:.2f}"],
            [
                "stixbridge, four events in flight", "", seconds(ours["wall of several"]),
                f"{peer['wall'] / ours['wall of several']:.2f}",
            ],
            ["PyMISP `add_event`", seconds(peer["cpu"]), seconds(peer["wall"]), ""],
        ],
    )  # fmt: skip


def streaming(found: Figures | None) -> str:
    """A bundle larger than memory."""
    said = "## A bundle larger than memory\n\n"
    if found is None:
        return said + "Not measured in this run: `python -m benchmarks --large`.\n"
    said += "Through the command line, the reports at the end of the file; stopped above"
    said += f" {MOST_MEMORY:,} MB of address space.\n\n"
    ended = found.get("failed") or f"exit status {found['status']}"
    if found.get("status") and found["said"].strip():
        ended += ": " + "; ".join(line.strip() for line in found["said"].splitlines()[-3:]).replace(
            "|", "\\|"
        )
    return said + table(
        [
            "objects",
            "file",
            "peak memory (target)",
            "CPU",
            "wall time",
            "events",
            "written",
            "ended with",
        ],
        [
            [
                f"{found['objects']:,}",
                f"{found['size'] / 1e6:,.0f} MB",
                f"{megabytes(found.get('memory'))} (under {STREAM_TARGET} MB)",
                seconds(found.get("cpu")),
                seconds(found.get("wall")),
                f"{found['events']:,} of {found['reports']:,}",
                f"{found['written'] / 1e6:,.0f} MB",
                ended,
            ]
        ],
    )
