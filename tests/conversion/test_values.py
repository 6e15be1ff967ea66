"""Values as MISP holds them, and those it refuses."""

import pytest

from stixbridge.misp.values import BadValue, cut, normalise, storable

H = "0123456789abcdef"


@pytest.mark.parametrize(
    ("type_", "given", "held"),
    [
        ("ip-dst", " 198.51.100.7 ", "198.51.100.7"),
        ("ip-dst", "198.51.100[.]7", "198.51.100.7"),
        ("ip-dst", "198.51.100.0/24", "198.51.100.0/24"),
        ("ip-dst", "198.51.100.7/32", "198.51.100.7"),
        ("ip-src", "2001:0DB8:0:0::1", "2001:db8::1"),
        ("domain", "Evil.EXAMPLE.", "evil.example"),
        ("domain", "b\u00fccher.example", "xn--bcher-kva.example"),
        ("hostname", "a_b.example.org", "a_b.example.org"),
        ("url", "hxxp://evil[.]example/A", "http://evil.example/A"),
        ("email-src", "A@Example.ORG", "a@example.org"),
        ("md5", (H * 2).upper(), H * 2),
        ("sha256", H * 4, H * 4),
        ("AS", "AS64500", "64500"),
        ("mac-address", "02-00-5E-10-00-01", "02:00:5e:10:00:01"),
        ("vulnerability", "cve_2025_12345", "CVE-2025-12345"),
        ("ip-dst|port", "198.51.100.7|443", "198.51.100.7|443"),
        ("domain|ip", "A.example|198.51.100.7", "a.example|198.51.100.7"),
        ("filename|md5", f"Invoice.exe|{H * 2}", f"Invoice.exe|{H * 2}"),
        ("boolean", "true", "1"),
        ("text", "fire \U0001f525", "fire \\u{1F525}"),
        ("text", "nul\x00 and bell\x07", "nul and bell"),
    ],
)
def test_normalised(type_: str, given: str, held: str) -> None:
    assert normalise(type_, given) == held
    assert normalise(type_, held) == held


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("ip-dst", "foo"),
        ("ip-dst", "198.51.100.999"),
        ("ip-dst", "198.51.100.0/33"),
        ("domain", "nodots"),
        ("domain", "198.51.100.7"),
        ("domain", "has space.example"),
        ("url", "http://two\nlines.example/"),
        ("email-src", "nobody"),
        ("md5", H),
        ("sha256", "z" * 64),
        ("port", "70000"),
        ("AS", "many"),
        ("mac-address", "02:00"),
        ("vulnerability", "a flaw"),
        ("datetime", "yesterday"),
        ("filename", "two\nlines"),
        ("text", "  "),
        ("text", "x" * 65_536),
        ("ip-dst|port", "198.51.100.7|x"),
    ],
)
def test_refused(type_: str, given: str) -> None:
    with pytest.raises(BadValue):
        normalise(type_, given)


def test_cut_ends_at_a_whole_character() -> None:
    assert cut("\u00e9" * 10, 9).encode("utf-8")[:-3].decode() == "\u00e9" * 3
    assert cut("short", 100) == "short"


def test_lone_surrogates_are_written_as_what_they_are() -> None:
    assert storable("a\ud800b") == "a\\u{D800}b"
