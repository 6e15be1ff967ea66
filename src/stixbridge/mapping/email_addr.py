"""STIX 2.1, section 6.5. An address with no role is taken for a sender: that is what gateways block."""

from ..ledger import Reason
from .tables import Field, Role, Table

TABLE = Table(
    "email-addr",
    Role.OBSERVABLE,
    fields={
        "value": Field("email-src", selects=True),
        "display_name": Field(None, comment=True),
    },
    properties={"belongs_to_ref": Reason.NO_PLACE},
)
