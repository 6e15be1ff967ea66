"""Mistakes in a configuration name the lines of the TOML file at which the settings stand."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stixbridge.config.lines import lines_of
from stixbridge.config.reader import parse
from stixbridge.errors import ConfigError

TOML = '''\
# a comment with [brackets] and = signs
[store]
path = "s.db"  # trailing

[sources.acme]
type = "files"
paths = [
  "a # no comment",
  """
two lines ] }
""",
  'c:\\literal',   # a comment ]
]

[sources."with space"]
"quoted.key" = 1
dotted . key = { inner = 2, list = [1,
  [2, 3]] }

[[rules]]
name = "first"
[rules.when]
deep = true
[[rules]]
name = "second"
time = 2026-01-01 00:00:00Z
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("store",), 2),
        (("store", "path"), 3),
        (("sources", "acme"), 5),
        (("sources", "acme", "paths"), 7),
        (("sources", "acme", "paths", 0), 8),
        (("sources", "acme", "paths", 1), 9),
        (("sources", "acme", "paths", 2), 12),
        (("sources", "acme", "absent"), 5),
        (("sources", "with space", "quoted.key"), 16),
        (("sources", "with space", "dotted", "key"), 17),
        (("sources", "with space", "dotted", "key", "inner"), 17),
        (("sources", "with space", "dotted", "key", "list", 0), 17),
        (("sources", "with space", "dotted", "key", "list", 1), 18),
        (("rules", 0, "name"), 21),
        (("rules", 0, "when", "deep"), 23),
        (("rules", 1), 24),
        (("rules", 1, "name"), 25),
        (("rules", 1, "time"), 26),
        (("absent",), None),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    assert lines_of(TOML).line(path) == line


def paths_in(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """All settings of a value."""
    if not isinstance(value, dict | list):
        return set()
    found = set()
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found |= {(*path, key)} | paths_in(item, (*path, key))
    return found


def written(value: Any, depth: int) -> str:
    """A value as TOML, over several lines where that is allowed."""
    if isinstance(value, list):
        return "[" + "".join(f"\n# ]\n{written(item, depth + 1)} ," for item in value) + "\n]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {written(item, 9)}' for key, item in value.items()) + "}"
    return f"'''{value}'''" if isinstance(value, str) else str(value).lower()


TEXTS = st.text(st.sampled_from('ab\n#=[]{},." \\é'), max_size=8)
KEYS = st.text(st.sampled_from("ab.# =[é"), min_size=1, max_size=4)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_every_setting_of_any_file_has_a_line(tables: dict[str, dict[str, Any]]) -> None:
    toml = ""
    for name, table in tables.items():
        toml += f'["{name}"]\n'
        toml += "".join(f'"{key}" = {written(value, 0)} # end\n' for key, value in table.items())
    lines = lines_of(toml)
    value = tomllib.loads(toml)
    paths = paths_in(value)
    assert paths == set(lines._starts)
    rows = toml.split("\n")
    for path in paths:
        line = lines.line(path)
        assert line is not None
        if len(path) <= 2:
            assert f'"{path[-1]}"' in rows[line - 1]


def test_mistakes_come_in_the_order_of_the_file_with_their_lines() -> None:
    toml = """\
[sinks.out]
type = "feed"

[sources.acme]
type = "taxii21"
url = "https://taxii.example.com/"
overlap = "soon"
auth = { type = "basic", user = "me",
  password = "hunter2" }
""".replace("\n  password", " password")
    with pytest.raises(ConfigError) as caught:
        parse(toml, "stixbridge.toml")
    first, second, third, last = caught.value.problems
    assert first == "line 1: missing setting @ $.sinks.out.path"
    assert second.startswith("line 7: 'soon' is not a duration; write")
    assert second.endswith("@ $.sources.acme.overlap")
    assert third.startswith("line 8: a secret is a reference: {")
    assert last.startswith("no pipeline")
    assert "hunter2" not in str(caught.value)
