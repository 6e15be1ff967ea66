"""Mutations that know JSON and patterns; what they can't read they leave to the fuzzer's own."""

import gzip
import json
import re
import zlib
from random import Random
from typing import Any

import orjson

from .seeds import DOCUMENTS, NAMES, PATTERNS, PIECES, STRINGS, VALUES

_DEEP = 300  # of a nest that is put into a document: deep, and still JSON for the reader

Place = tuple[Any, Any]
"""(list or dict, index or key)."""


def pattern(data: bytes, random: Random) -> bytes:
    """A pattern with some of its tokens changed."""
    return pattern_text(data.decode("utf-8", "surrogateescape"), random).encode(
        "utf-8", "surrogateescape"
    )


def pattern_text(text: str, random: Random) -> str:
    """`pattern`, of a text."""
    tokens = re.findall(r"\w+|\s+|.", text, re.DOTALL) or [" "]
    for _ in range(random.randint(1, 4)):
        at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        match random.randrange(8):
            case 0 | 1:
                tokens.insert(at, random.choice(PIECES))
            case 2 | 3:
                tokens[at] = random.choice(PIECES)
            case 4:
                del tokens[at]
            case 5:
                tokens[at:at] = tokens[other : other + random.randint(1, 8)]
            case 6:
                start, end = sorted((at, other))
                tokens.insert(end, ")")
                tokens.insert(start, "(")
            case _:
                tokens += [
                    random.choice([" AND ", " OR ", " FOLLOWEDBY "]),
                    random.choice(PATTERNS),
                ]
        tokens = tokens or [" "]
    return "".join(tokens)


def document(data: bytes, random: Random) -> bytes | None:
    """A document with some of its values changed, in another shape at times; None for what is no
    JSON.
    """
    try:
        root = [orjson.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)]
    except (ValueError, OSError, EOFError, zlib.error):
        return None
    try:
        for _ in range(random.randint(1, 4)):
            _change(root, random)
        return _shaped(root[0] if root else None, random)
    except RecursionError:  # nested deeper than can be written
        return None


def places(root: Any) -> list[Place]:
    """Every place in a value where another value can stand."""
    found: list[Place] = []
    waiting = [root]
    while waiting:
        held = waiting.pop()
        keys = (
            list(held)
            if isinstance(held, dict)
            else range(len(held))
            if isinstance(held, list)
            else ()
        )
        for key in keys:
            found.append((held, key))
            waiting.append(held[key])
    return found


def dumped(value: Any) -> bytes:
    """JSON; `orjson` reads deeper nests than it writes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _change(root: list[Any], random: Random) -> None:
    found = places(root)
    if not found:
        root.append({})
        return
    held, key = random.choice(found)
    value = held[key]
    if isinstance(value, str) and random.random() < 0.4:
        held[key] = _text(value, key, random)
        return
    choice = random.randrange(10)
    if choice == 0:
        held[key] = _copy(random.choice(VALUES))
    elif choice == 1:
        held[key] = random.choice(STRINGS)
    elif choice == 2:  # a value or a reference from elsewhere
        other, name = random.choice(found)
        held[key] = _copy(other[name])
    elif choice == 3:
        del held[key]
    else:
        _reshape(choice, held, key, found, random)


def _reshape(choice: int, held: Any, key: Any, found: list[Any], random: Random) -> None:
    """Change the shape of a place: its names, its order, its kind, its depth."""
    value = held[key]
    match choice:
        case 4 if isinstance(value, dict):
            value[random.choice(NAMES)] = _copy(
                random.choice([*VALUES, *STRINGS, *(o[k] for o, k in found[:50])])
            )
        case 4 if isinstance(held, dict):
            held[random.choice([*NAMES, *STRINGS])] = held.pop(key)
        case 5 if isinstance(value, list) and value:
            value.insert(random.randint(0, len(value)), _copy(random.choice(value)))
        case 6 if isinstance(value, list):
            value += _some_objects(random)
        case 7 if isinstance(held, list):
            random.shuffle(held)
        case 8 if isinstance(value, list):
            held[key] = {str(at): item for at, item in enumerate(value)}
        case 8 if isinstance(value, dict):
            held[key] = list(value.values())
        case _:
            depth = random.choice([1, 2, 5, _DEEP])
            for _ in range(depth):
                value = [value] if random.random() < 0.5 else {random.choice(NAMES): value}
            held[key] = value


def _text(value: str, key: Any, random: Random) -> str:
    if key == "pattern" and random.random() < 0.8:
        return pattern_text(value, random)
    at = random.randint(0, len(value))
    match random.randrange(4):
        case 0:
            return value[:at]
        case 1:
            return value[:at] + random.choice(STRINGS) + value[at:]
        case 2:
            return value.swapcase()
        case _:
            return (
                value[:at]
                + chr(random.choice([random.randrange(128), random.randrange(0xD800)]))
                + value[at + 1 :]
            )


def _some_objects(random: Random) -> list[Any]:
    try:
        objects = orjson.loads(random.choice(DOCUMENTS))["objects"]
        return [random.choice(objects)]
    except (ValueError, TypeError, KeyError, IndexError):
        return []


def _shaped(value: Any, random: Random) -> bytes:
    objects = value.get("objects") if isinstance(value, dict) else value
    objects = objects if isinstance(objects, list) else [value]
    match random.randrange(40):
        case 0:
            return gzip.compress(dumped(value), 1, mtime=0)
        case 1:
            return b"\n".join(map(dumped, objects))
        case 2:
            return dumped(objects)
        case 3:
            return dumped({"more": False, "objects": objects})
        case 4 if objects:
            return dumped(objects[0])
        case 5:
            return b"\xef\xbb\xbf" + dumped(value)
        case 6:
            return dumped(value).decode().encode("utf-16")
        case _:
            return dumped(value)


MUTATIONS = {"reader": document, "pattern": pattern}
