"""SQL is written in `store/` and nowhere else; the import contract holds the same of SQLAlchemy."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import stixbridge

SOURCES = Path(stixbridge.__file__).parent
SQL = re.compile(
    r"^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s*\()",
    re.S,
)


def statements(text: str) -> Iterator[str]:
    """The string constants of a module that are SQL."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.value


def test_only_the_store_has_sql() -> None:
    found = {
        str(path.relative_to(SOURCES)): list(statements(path.read_text()))
        for path in SOURCES.rglob("*.py")
        if path.relative_to(SOURCES).parts[0] != "store"
    }
    assert {path: sql for path, sql in found.items() if sql} == {}


def test_sql_is_recognised() -> None:
    found = list(statements((SOURCES / "store" / "statements.py").read_text()))
    assert len(found) > 20
