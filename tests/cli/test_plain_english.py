"""Two idioms stay out of pages and messages: "X is no Y", and "what …" as a noun.

Write "X is not a Y", and the noun itself: "objects that no report mentions" and not "what is in no
report". A question may begin with "What".
"""

import ast
import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

_VERB = (
    "(?:is|are|was|were|it|they|we|a|an|the|no|has|had|comes|came|goes|can|does|others?|each|every"
    "|one|becomes|should|would|must|MISP)"
)
IDIOMS = (
    re.compile(r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b)[a-z`']", re.IGNORECASE),
    re.compile(rf"(?:^|[.:;|(,] |\"\"\")What {_VERB}\b[^?\n|]*$", re.MULTILINE),
    re.compile(rf"\b(?:of|than|from|for|by|with|into|against|all|about|but|as) what {_VERB}\b"),
    re.compile(r"[:;,] what (?:is|are|was|were|comes|came|goes|has|had|can|no|it|they|others)\b"),
)
PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if page.name != "benchmarks.md"  # its text is in the benchmarks
]


def found(text: str) -> list[str]:
    """The idioms in a text."""
    return [match[0] for idiom in IDIOMS for match in idiom.finditer(text)]


@pytest.mark.parametrize(
    ("text", "idiom"),
    [
        ("'5 days' is no duration", True),
        ("'5 days' is not a duration; there is no such unit", False),
        ("it is no longer there", False),
        ("All inputs are one: what is in no report goes to one event", True),
        ("What MISP has.", True),
        ("What is in my feed?", False),
        ("It shows what the rules do.", False),
        ("a list of what was delivered", True),
    ],
)
def test_the_idioms_are_recognised(text: str, idiom: bool) -> None:
    assert bool(found(text)) == idiom


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    assert found(page.read_text()) == []


def messages(module: Path) -> str:
    """The texts of a module without its docstrings, one a line."""
    tree = ast.parse(module.read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    )


def test_messages() -> None:
    wrong = {
        str(module): found(messages(module))
        for module in (ROOT / "src" / "stixbridge").rglob("*.py")
        if found(messages(module))
    }
    assert wrong == {}
