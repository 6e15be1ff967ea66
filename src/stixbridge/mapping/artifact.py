"""STIX 2.1, section 6.1. The payload is an attachment: MISP keeps it as a file."""

from stixbridge.mapping.hashes import UNCOMMON, hash_fields
from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "artifact",
    Role.OBSERVABLE,
    template="artifact",
    fields={
        "mime_type": Field(None, "mime_type"),
        "payload_bin": Field(None, "payload_bin", data=True),
        "url": Field("url", "url", selects=True),
        **hash_fields(
            UNCOMMON | {"sha224", "sha384", "sha512/224", "sha512/256", "sha3-224", "sha3-384"}
        ),
        "encryption_algorithm": Field(None, "encryption_algorithm"),
        "decryption_key": Field(None, "decryption_key"),
    },
)
