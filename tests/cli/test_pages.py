"""The pages of docs: links work, and the files and names of the architecture page exist."""

import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCE = ROOT / "src" / "stixbridge"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if "://" in target:
            continue
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}#{anchor}"


def test_the_architecture_page_names_files_that_exist() -> None:
    paths = set(re.findall(r"`([\w/]+(?:\.py|/))`", ARCHITECTURE))
    assert len(paths) > 30
    missing = [
        path for path in sorted(paths) if not any((base / path).exists() for base in (SOURCE, ROOT))
    ]
    assert missing == []


def test_the_architecture_page_names_functions_that_exist() -> None:
    rows = re.findall(r"^\| [^|]+\? \| ([^|]+) \| ([^|]*) \|$", ARCHITECTURE, re.MULTILINE)
    assert len(rows) > 15
    for files, names in rows:
        paths = [SOURCE / path for path in re.findall(r"`([\w/]+\.py)`", files)]
        texts = [path.read_text() for path in paths]
        for name in re.findall(r"`(\w+)`", names) if texts else ():
            defined = rf"(?:def|class) {name}\b|\.{name}\("
            assert any(re.search(defined, text) for text in texts), f"{name} in {files}"


def test_the_tests_of_the_threat_model_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    names = set(re.findall(r"`(test_\w+)`", page))
    assert len(names) > 30
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in sorted(names) if f"def {name}(" not in tests] == []
