"""STIX 2.1, section 6.9."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table("mutex", Role.OBSERVABLE, fields={"name": Field("mutex", selects=True)})
