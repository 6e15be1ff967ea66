"""Hashes: STIX's names (STIX 2.1, section 10.6, hash-algorithm-ov) and MISP's types, which are also its relations."""

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
}


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
