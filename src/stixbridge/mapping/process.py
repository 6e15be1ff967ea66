"""STIX 2.1, section 6.13 with its two extensions."""

from stixbridge.mapping.tables import Field, Part, Role, Table

_EXT = "extensions.windows-process-ext"

TABLE = Table(
    "process",
    Role.OBSERVABLE,
    template="process",
    fields={
        "pid": Field(None, "pid"),
        "name": Field(None, "name"),
        "command_line": Field(None, "command-line"),
        "arguments[*]": Field(None, "args"),
        "cwd": Field(None, "current-directory"),
        "created_time": Field(None, "creation-time"),
        "created": Field(None, "creation-time"),
        "is_hidden": Field(None, "hidden"),
        "environment_variables.*": Field(None, "environment-variables"),
        "creator_user_ref.user_id": Field(None, "user-creator"),
        "creator_user_ref.account_login": Field(None, "user-creator"),
        "image_ref.name": Field(None, "image"),
        "binary_ref.name": Field(None, "image"),
        "parent_ref.pid": Field(None, "parent-pid"),
        "parent_ref.name": Field(None, "parent-process-name"),
        "parent_ref.command_line": Field(None, "parent-command-line"),
        "parent_ref.image_ref.name": Field(None, "parent-image"),
        "child_refs[*].pid": Field(None, "child-pid"),
        f"{_EXT}.integrity_level": Field(None, "integrity-level"),
        f"{_EXT}.aslr_enabled": Field(None, comment="ASLR"),
        f"{_EXT}.dep_enabled": Field(None, comment="DEP"),
        f"{_EXT}.priority": Field(None, comment="priority"),
        f"{_EXT}.owner_sid": Field(None, comment="SID of the owner"),
        f"{_EXT}.window_title": Field(None, comment="title of the window"),
        f"{_EXT}.startup_info.*": Field(None, comment="startup"),
    },
    parts={
        "extensions.windows-service-ext": Part(
            "windows-service",
            "executes",
            {
                "service_name": Field("windows-service-name", "name"),
                "descriptions[*]": Field(None, "comment"),
                "display_name": Field("windows-service-displayname", "display"),
                "group_name": Field(None, "group"),
                "start_type": Field(None, "start"),
                "service_type": Field(None, "type"),
                "service_status": Field(None, "comment"),
            },
        )
    },
    links={
        "opened_connection_refs": "opens",
        "image_ref": "executes",
        "binary_ref": "executes",
        "parent_ref": "child-of",
        "child_refs": "parent-of",
        "creator_user_ref": "created-by",
        "extensions.windows-service-ext.service_dll_refs": "loads",
    },
)
