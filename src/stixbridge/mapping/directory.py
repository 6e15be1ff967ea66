"""STIX 2.1, section 6.3."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "directory",
    Role.OBSERVABLE,
    template="directory",
    fields={
        "path": Field(None, "path"),
        "path_enc": Field(None, "path-encoding"),
        "ctime": Field(None, "creation-time"),
        "mtime": Field(None, "modification-time"),
        "atime": Field(None, "access-time"),
    },
    links={"contains_refs": "contains"},
)
