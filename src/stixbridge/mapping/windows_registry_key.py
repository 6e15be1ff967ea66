"""STIX 2.1, section 6.17.

A single value stays in the object of its key; several become own objects.
"""

from stixbridge.mapping.tables import Composite, Field, Part, Role, Table

TABLE = Table(
    "windows-registry-key",
    Role.OBSERVABLE,
    template="registry-key",
    fields={
        "key": Field("regkey", "key", selects=True),
        "values[*].name": Field(None, "name"),
        "values[*].data": Field(None, "data"),
        "values[*].data_type": Field(None, "data-type"),
        "modified_time": Field(None, "last-modified"),
        "creator_user_ref.user_id": Field(None, comment="created by"),
        "creator_user_ref.account_login": Field(None, comment="created by"),
        "number_of_subkeys": Field(None, comment="subkeys"),
    },
    parts={
        "values[*]": Part(
            "registry-key-value",
            "contains",
            {
                "name": Field(None, "name"),
                "data": Field(None, "data"),
                "data_type": Field(None, "data-type"),
            },
            several=True,
        )
    },
    composites=(Composite("regkey|value", "key", "values[*].data"),),
    links={"creator_user_ref": "created-by"},
)
