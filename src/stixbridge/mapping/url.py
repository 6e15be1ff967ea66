"""STIX 2.1, section 6.15."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table("url", Role.OBSERVABLE, fields={"value": Field("url", selects=True)})
