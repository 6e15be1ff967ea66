"""STIX 2.1, section 6.7. A name beside a hash is context: only hashes select."""

from ..ledger import Reason
from .tables import Composite, Field, Role, Table

# STIX name of the hash -> MISP type, which is also the relation in the template
_HASHES = {
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

TABLE = Table(
    "file",
    Role.OBSERVABLE,
    template="file",
    fields={
        "name": Field("filename", "filename"),
        **{f"hashes.{name}": Field(misp, misp, selects=True) for name, misp in _HASHES.items()},
        "size": Field(None, "size-in-bytes"),
        "mime_type": Field("mime-type", "mimetype"),
        "name_enc": Field(None, "file-encoding"),
        "magic_number_hex": Field(None, "magic"),
        "ctime": Field(None, "creation-time"),
        "mtime": Field(None, "modification-time"),
        "atime": Field(None, "access-time"),
        "parent_directory_ref.path": Field(None, "path"),
        "extensions.windows-pebinary-ext.imphash": Field("imphash", "imphash", selects=True),
    },
    composites=tuple(Composite(f"filename|{misp}", "name", f"hashes.{name}") for name, misp in _HASHES.items()),
    guards=frozenset({"parent_directory_ref.type"}),
    properties={"content_ref": Reason.NO_PLACE},
    links={"contains_refs": "contains"},
)
