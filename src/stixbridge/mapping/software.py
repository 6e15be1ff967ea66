"""STIX 2.1, section 6.14."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table(
    "software",
    Role.OBSERVABLE,
    template="software",
    fields={
        "name": Field(None, "name"),
        "cpe": Field("cpe", "cpe"),
        "swid": Field(None, "swid"),
        "languages[*]": Field(None, "language"),
        "vendor": Field(None, "vendor"),
        "version": Field(None, "version"),
    },
)
