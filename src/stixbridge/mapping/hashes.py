"""Hashes: names of STIX (2.1, section 10.6, hash-algorithm-ov) and types of MISP."""

from stixbridge.mapping.tables import Field

HASHES = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-224": "sha224",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA-512/224": "sha512/224",
    "SHA-512/256": "sha512/256",
    "SHA3-224": "sha3-224",
    "SHA3-256": "sha3-256",
    "SHA3-384": "sha3-384",
    "SHA3-512": "sha3-512",
    "SSDEEP": "ssdeep",
    "TLSH": "tlsh",
    # not in the vocabulary, but in the field, and types of MISP
    "IMPHASH": "imphash",
    "AUTHENTIHASH": "authentihash",
    "VHASH": "vhash",
    "TELFHASH": "telfhash",
    "PEHASH": "pehash",
    "CDHASH": "cdhash",
}
"""STIX's name of an algorithm -> MISP's type."""

STRONGEST = (
    "sha512", "sha3-512", "sha384", "sha3-384", "sha256", "sha3-256", "sha512/256", "sha224",
    "sha3-224",
    "sha512/224", "sha1", "md5",
)  # fmt: skip
"""Types of hashes that identify a file, the strongest first."""


UNCOMMON = frozenset({"imphash", "authentihash", "vhash", "telfhash", "pehash", "cdhash"})
"""Types that most object templates have no relation for."""


def hash_fields(without: frozenset[str] = frozenset(), prefix: str = "") -> dict[str, Field]:
    """The fields of a `hashes` dictionary; each hash selects.

    Args:
        without: MISP types that the object template lacks; they stay attributes.
        prefix: stands before `hashes`.
    """
    return {
        f"{prefix}hashes.{name}": Field(misp, None if misp in without else misp, selects=True)
        for name, misp in HASHES.items()
    }
