"""Compares versions of an object (STIX 2.1, section 3.6.2)."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from stixbridge import times


def version_of(obj: Mapping[str, Any]) -> int:
    """Return the time of a version in microseconds: `modified`, else `created`, else 0."""
    version = times.read(obj.get("modified"))
    return version if version is not None else times.read(obj.get("created")) or 0


def digest_of(obj: Mapping[str, Any]) -> bytes:
    """Return a digest that does not depend on the order of keys.

    Of two contents with the same version, the one with the greater digest counts as newer.
    """
    try:
        text = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except (TypeError, RecursionError):
        # nested deeper than JSON is written; later versions of marshal also write how often an
        # object is referred to
        text = marshal.dumps(dict(obj), 2)
    return blake2b(text, digest_size=16).digest()
