"""Runs inside a server's own environment and starts it: `launch.py medallion ARG…`, `launch.py
opentaxii FILE`.

It stands alone: nothing of the project can be imported there, and nothing of the servers here.
"""

import functools
import importlib
import json
import os
import sys
import threading
import types
from typing import Any

# Both servers are absent from the environment that checks the types.
load = importlib.import_module


def end_with_parent() -> None:
    """End this process when standard input closes, so that a killed test run leaves no server
    behind.
    """

    def watch() -> None:
        # Not `sys.stdin`: its lock, held here, would abort the interpreter when it ends by itself.
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def run_medallion(arguments: list[str]) -> None:
    """Run medallion, of whatever version, exactly as its own command does."""
    sys.argv = ["medallion", *arguments]
    load("medallion.scripts.run").main()


def run_opentaxii(arguments: list[str]) -> None:
    """Mend OpenTAXII, fill its database with an API root, collections and one account, and serve.

    Args:
        arguments: The path of a JSON file with `port`, `dir`, `secret`, `user`, `password`, `title`
            and `collections`, a list of title and the rights of the account (`["read", "write"]`).
    """
    with open(arguments[0]) as file:  # noqa: PTH123 - one line fewer to import
        settings: dict[str, Any] = json.load(file)
    mend_json()
    mend_versions()
    mend_rights()

    server = load("opentaxii.server").TAXIIServer(opentaxii_config(settings))
    app = load("opentaxii.middleware").create_app(server)
    with app.app_context():
        database = server.servers.taxii2.persistence.api
        root = database.add_api_root(title=settings["title"], default=True)
        rights = {}
        for title, granted in settings["collections"]:
            collection = database.add_collection(api_root_id=root.id, title=title)
            rights[str(collection.id)] = granted
        account = load("opentaxii.entities").Account(
            id=None, username=settings["user"], permissions=rights
        )
        server.auth.api.update_account(account, password=settings["password"])
    app.run(host="127.0.0.1", port=settings["port"], threaded=True)


def run_misp_modules(arguments: list[str]) -> None:
    """Run misp-modules exactly as its own command does."""
    sys.argv = ["misp-modules", *arguments]
    load(
        "misp_modules.__main__" if not hasattr(load("misp_modules"), "main") else "misp_modules"
    ).main()


def opentaxii_config(settings: dict[str, Any]) -> Any:
    """Return the configuration: TAXII 2 only, SQLite files in the server's own directory."""

    def database(name: str) -> dict[str, Any]:
        return {"db_connection": f"sqlite:///{settings['dir']}/{name}.db", "create_tables": True}

    config = {
        "domain": f"127.0.0.1:{settings['port']}",
        "support_basic_auth": True,
        "auth_api": {
            "class": "opentaxii.auth.sqldb.SQLDatabaseAPI",
            "parameters": {**database("auth"), "secret": settings["secret"]},
        },
        "taxii1": None,
        "taxii2": {
            "title": settings["title"],
            "public_discovery": False,
            "max_content_length": 64 * 1024 * 1024,
            "persistence_api": {
                "class": "opentaxii.persistence.sqldb.Taxii2SQLDatabaseAPI",
                "parameters": database("data"),
            },
        },
    }
    return load("opentaxii.config").ServerConfig(extra_configs=[config])


def mend_json() -> None:
    """First mend: ids are UUID objects, which `json` refuses; `/collections/` and POST answer 500
    without this.
    """
    http: Any = load("opentaxii.taxii2.http")
    http.json = types.SimpleNamespace(dumps=functools.partial(json.dumps, default=str))


class Versioned(dict[str, Any]):
    """An object that answers for the properties which OpenTAXII demands of every object.

    The answers are not in the mapping itself, so what is stored and served is what the client sent.
    """

    def __missing__(self, key: str) -> Any:
        if key == "modified":
            # Observables have no `created` either; a constant lets a second POST of one be seen as
            # a duplicate.
            return self.get("created", "1970-01-01T00:00:00.000000Z")
        if key == "spec_version":
            return "2.1"
        raise KeyError(key)


def mend_versions() -> None:
    """Second mend: objects without `modified` (marking definitions, observables) make POST answer
    500.
    """
    api = load("opentaxii.persistence.sqldb.api").Taxii2SQLDatabaseAPI
    original = api.add_objects

    def add_objects(
        self: Any, api_root_id: Any, collection_id: Any, objects: list[dict[str, Any]]
    ) -> Any:
        return original(self, api_root_id, collection_id, [Versioned(item) for item in objects])

    api.add_objects = add_objects


def mend_rights() -> None:
    """Third mend: the account table refuses the rights that the collections ask for, and ids don't
    compare.
    """
    model = load("opentaxii.auth.sqldb.models").Account
    model.permissions = property(
        lambda self: json.loads(self._permissions),
        lambda self, rights: setattr(self, "_permissions", json.dumps(rights)),
    )

    def granted(right: str, public: str) -> Any:
        def check(self: Any, account: Any) -> bool:
            if getattr(self, public):
                return True
            return bool(
                account and (account.is_admin or right in account.permissions.get(str(self.id), []))
            )

        return check

    collection = load("opentaxii.taxii2.entities").Collection
    collection.can_read = granted("read", "is_public")
    collection.can_write = granted("write", "is_public_write")


if __name__ == "__main__":
    end_with_parent()
    {"medallion": run_medallion, "opentaxii": run_opentaxii, "misp_modules": run_misp_modules}[
        sys.argv[1]
    ](sys.argv[2:])
