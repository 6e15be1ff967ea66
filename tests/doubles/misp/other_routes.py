"""Handlers for what is not inside an event: server, user, tags, galaxies, logs."""

import html
import json
from typing import Any

from .call import Call, Route
from .fields import SEARCH_OFF, TAG, require
from .knowledge import knowledge
from .model import Answer, Json, NotSaved, Refusal
from .search import like

VERSION = "2.5.1"
CLUSTER = frozenset(
    {
        "uuid", "value", "description", "source", "authors", "distribution", "sharing_group_id",
        "extends_uuid", "extends_version", "GalaxyElement", "GalaxyClusterRelation", "version",
    }
)  # fmt: skip


def get_version(call: Call) -> Answer:
    """`GET /servers/getVersion`."""
    rights = call.actor.role.permissions()
    return Answer(
        {
            "version": VERSION,
            "pymisp_recommended_version": VERSION,
            **{
                f"perm_{name}": rights[f"perm_{name}"]
                for name in ("sync", "sighting", "galaxy_editor", "analyst_data")
            },
            "uuid": call.store.org["uuid"] if call.actor.role.sync else "-",
            "request_encoding": ["gzip"],
            "filter_sightings": True,
        }
    )


def me(call: Call) -> Answer:
    """`GET /users/view/me`."""
    if call.args != ["me"]:
        raise Refusal(404, "Invalid user")
    role = call.actor.role
    user = {"id": "1", "org_id": call.actor.org_id, "email": "bridge@stixbridge.test",
            "role_id": "1",
            "disabled": False, "autoalert": False, "password": "*****",
            "totp": "*****"}  # fmt: skip
    org = next(org for org in call.store.orgs.values() if org["id"] == call.actor.org_id)
    return Answer(
        {
            "User": user,
            "Role": {"id": "1", "name": role.name, **role.permissions()},
            "UserSetting": {},
            "Organisation": dict(org),
        }
    )


def describe_types(call: Call) -> Answer:
    """`GET /attributes/describeTypes`."""
    return Answer({"result": knowledge().raw})


def sharing_groups(call: Call) -> Answer:
    """`GET /sharing_groups/index`."""
    return Answer(
        {"response": [{"SharingGroup": dict(group)} for group in call.store.sharing_groups]}
    )


def tag_add(call: Call) -> Answer:
    """`POST /tags/add`: an existing tag comes back as it is."""
    call.need(call.actor.role.tag_editor)
    sent = require(call.unwrapped("Tag"), TAG, "Tag")
    tag = call.store.tag(sent, call.actor.role)
    if tag is None:
        raise Refusal(405, "Could not add the Tag. [name]: Name cannot be empty.")
    return Answer({"Tag": dict(tag)})


def tag_index(call: Call) -> Answer:
    """`GET /tags/index`."""
    return Answer({"Tag": [dict(tag) for tag in call.store.tags.values()]})


def tag_search(call: Call) -> Answer:
    """`GET /tags/search/<tag>` or `POST /tags/search`: `%` is a wildcard."""
    wanted: list[Any] = list(call.args)
    if call.body:
        sent = require(call.body, {"tag", "tagname", "strict_tagname"}, "tags/search")
        names = sent.get("tag") or sent.get("tagname") or []
        wanted = names if isinstance(names, list) else [names]
    return Answer(
        [
            {"Tag": dict(tag)}
            for tag in call.store.tags.values()
            if any(like(str(name), tag["name"]) for name in wanted)
        ]
    )


def _galaxies(call: Call) -> dict[str, str]:
    kinds = dict.fromkeys(cluster["type"] for cluster in call.store.clusters.values())
    return {str(number): kind for number, kind in enumerate(kinds, 1)}


def galaxy_index(call: Call) -> Answer:
    """`GET /galaxies/index`: as far as the clusters given to the double tell."""
    return Answer(
        [{"Galaxy": {"id": i, "type": kind, "name": kind}} for i, kind in _galaxies(call).items()]
    )


def cluster_search(call: Call) -> Answer:
    """`POST /galaxy_clusters/restSearch`: `tag_name`, `uuid` filter; `value` is ignored: all
    clusters come.
    """
    known = {"tag_name", "uuid", "value", "returnFormat", "page", "limit"} | SEARCH_OFF
    sent = require(call.body or {}, known, "galaxy_clusters/restSearch")
    names = sent.get("tag_name")
    names = names if isinstance(names, list) or names is None else [names]
    uuids = sent.get("uuid")
    uuids = uuids if isinstance(uuids, list) or uuids is None else [uuids]
    found = [
        {"GalaxyCluster": dict(cluster)}
        for cluster in call.store.clusters.values()
        if (uuids is None or cluster["uuid"] in uuids)
        and (names is None or any(like(str(name), cluster["tag_name"]) for name in names))
    ]
    return Answer({"response": found}, headers={"X-Result-Count": str(len(found))})


def cluster_add(call: Call) -> Answer:
    """`POST /galaxy_clusters/add/<galaxy id>`: its tag carries the UUID, which must be new; the
    value need not be.
    """
    call.need(call.actor.role.permissions()["perm_galaxy_editor"])
    kind = _galaxies(call).get(call.args[0])
    if kind is None:
        raise Refusal(404, "Invalid galaxy")
    sent = require(call.unwrapped("GalaxyCluster"), CLUSTER, "GalaxyCluster")
    uuid = str(sent.get("uuid") or call.store.new_uuid()).lower()
    if any(cluster["uuid"] == uuid for cluster in call.store.clusters.values()):
        raise NotSaved("GalaxyCluster", "Edit not allowed on default clusters")
    tag_name = f'misp-galaxy:{kind}="{uuid}"'
    cluster: Json = {
        "GalaxyElement": [], **sent, "uuid": uuid, "tag_name": tag_name, "custom": True,
        "GalaxyClusterRelation": [], "orgc_id": call.actor.org_id, "published": False,
    }  # fmt: skip
    return Answer({"GalaxyCluster": dict(call.store.add_cluster(tag_name, cluster))})


def _own_cluster(call: Call, uuid: str) -> Json:
    """A custom cluster of the actor's organisation."""
    found = next((row for row in call.store.clusters.values() if row["uuid"] == uuid), None)
    if found is None or not found.get("custom"):
        raise Refusal(404, "Invalid Galaxy cluster")
    if not call.actor.role.site_admin and found["orgc_id"] != call.actor.org_id:
        raise Refusal(403, "Only the Orgc can edit")
    return found


def cluster_edit(call: Call) -> Answer:
    """`POST /galaxy_clusters/edit/<uuid>`: the elements are replaced, not merged."""
    call.need(call.actor.role.permissions()["perm_galaxy_editor"])
    stored = _own_cluster(call, call.args[0])
    stored.update(require(call.unwrapped("GalaxyCluster"), CLUSTER, "GalaxyCluster"))
    return Answer({"GalaxyCluster": dict(stored)})


def relation_add(call: Call) -> Answer:
    """`POST /galaxy_cluster_relations/add`: once; success comes as HTML, the reason of a refusal in
    odd places.
    """
    call.need(call.actor.role.permissions()["perm_galaxy_editor"])
    names = {f"{kind}_uuid" for kind in ("galaxy_cluster", "referenced_galaxy_cluster")}
    names |= {"referenced_galaxy_cluster_type", "distribution"}
    sent = dict(require(call.unwrapped("GalaxyClusterRelation"), names, "GalaxyClusterRelation"))
    stored = _own_cluster(call, sent["galaxy_cluster_uuid"])
    same = ("referenced_galaxy_cluster_uuid", "referenced_galaxy_cluster_type")
    if any(
        all(row[name] == sent[name] for name in same) for row in stored["GalaxyClusterRelation"]
    ):
        why = 'Relationship could not be added.Reasons: ["Relation already exists"]'
        message = "Could not add GalaxyClusterRelation"
        body = {
            "saved": False,
            "name": message,
            "message": message,
            "errors": "application/json",
            "id": why,
        }
        return Answer(body | {"url": f"/galaxy_cluster_relations/add/{why}"}, 403)
    stored["GalaxyClusterRelation"].append(sent)
    text = html.escape(json.dumps(call.saved("GalaxyClusterRelation added").body))
    return Answer(text, headers={"Content-Type": "text/html; charset=UTF-8"})


def log_index(call: Call) -> Answer:
    """`GET` or `POST /logs/index`: what was dropped and why, for admins only."""
    call.need(call.actor.role.site_admin)
    sent = require(call.body or {}, {"title", "model"}, "logs/index")
    return Answer(
        [
            {"Log": dict(entry)}
            for entry in call.store.drops
            if like(str(sent.get("title", "%")), entry["title"])
            and like(str(sent.get("model", "%")), entry["model"])
        ]
    )


ROUTES = [
    Route("GET", "servers", "getVersion", get_version),
    Route("GET", "users", "view", me, (1, 1)),
    Route("GET", "attributes", "describeTypes", describe_types),
    Route("GET", "sharing_groups", "index", sharing_groups),
    Route("POST", "tags", "add", tag_add),
    Route("GET", "tags", "index", tag_index),
    Route("POST", "tags", "index", tag_index),
    Route("GET", "tags", "search", tag_search, (1, 1)),
    Route("POST", "tags", "search", tag_search, (0, 1)),
    Route("GET", "galaxies", "index", galaxy_index),
    Route("POST", "galaxy_clusters", "restSearch", cluster_search),
    Route("POST", "galaxy_clusters", "add", cluster_add, (1, 1)),
    Route("POST", "galaxy_clusters", "edit", cluster_edit, (1, 1)),
    Route("POST", "galaxy_cluster_relations", "add", relation_add),
    Route("GET", "logs", "index", log_index),
    Route("POST", "logs", "index", log_index),
]
