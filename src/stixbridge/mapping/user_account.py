"""STIX 2.1, section 6.16 with its extension."""

from stixbridge.mapping.tables import Field, Role, Table

_UNIX = "extensions.unix-account-ext"

TABLE = Table(
    "user-account",
    Role.OBSERVABLE,
    template="user-account",
    fields={
        "user_id": Field(None, "user-id"),
        "credential": Field(None, "password"),
        "account_login": Field(None, "username"),
        "account_type": Field(None, "account-type"),
        "display_name": Field(None, "display-name"),
        "is_service_account": Field(None, "is_service_account"),
        "is_privileged": Field(None, "privileged"),
        "can_escalate_privs": Field(None, "can_escalate_privs"),
        "is_disabled": Field(None, "disabled"),
        "account_created": Field(None, "created"),
        "account_expires": Field(None, "expires"),
        "credential_last_changed": Field(None, "password_last_changed"),
        "account_first_login": Field(None, "first_login"),
        "account_last_login": Field(None, "last_login"),
        f"{_UNIX}.gid": Field(None, "group-id"),
        f"{_UNIX}.groups[*]": Field(None, "group"),
        f"{_UNIX}.home_dir": Field(None, "home_dir"),
        f"{_UNIX}.shell": Field(None, "shell"),
    },
)
