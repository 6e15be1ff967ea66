"""docs/troubleshooting.md has every remedy that messages of sources name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "src/stixbridge/http").glob("*.py"),
    *(ROOT / "src/stixbridge/sources").rglob("*.py"),
]
REMEDIES = (
    r"set auth", r"set another page_size", r"raise page_size", r"lower page_size", r"https://", r"http://",
    r'type = "taxii20"', r'type = "taxii21"', r'type = "https"', r"ask = false", r"allow_hosts",
    r"proxy_auth", r"set ca\b", r"cert_key", r"not supported", r"is DER", r"is PKCS#12",
)  # fmt: skip


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_remedy_of_a_message_is_on_the_page(remedy: str) -> None:
    code = " ".join(path.read_text() for path in SOURCES)
    code = re.sub(r'"\s+f?"', "", code)  # texts over several lines
    assert re.search(remedy, code) or "{kind}" in code
    page = (ROOT / "docs/troubleshooting.md").read_text().replace("`", "")
    assert re.search(remedy.replace("set ca", "set ca"), page), f"{remedy} is missing on the page"
