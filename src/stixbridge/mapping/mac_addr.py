"""STIX 2.1, section 6.8."""

from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table("mac-addr", Role.OBSERVABLE, fields={"value": Field("mac-address", selects=True)})
