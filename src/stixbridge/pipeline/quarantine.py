"""A conversion that fails on an object goes on without it.

The object is put aside, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from stixbridge.errors import StixbridgeError

MOST = 20
"""Objects that the conversion fails on, of one batch; more are no accident of the data."""

T = TypeVar("T")


def survived(
    convert: Callable[[], T],
    culprits: Callable[[], list[str]],
    put_aside: Callable[[str, Exception], None],
    new: Collection[str],
) -> T:
    """Convert, without the objects that the conversion fails on.

    Args:
        convert: converts everything but what is put aside.
        culprits: finds the objects that it fails on.
        put_aside: leaves one out from now on.
        new: ids of what just came: put aside where the conversion fails again and none is to blame.
    """
    before = False
    for _ in range(MOST):
        try:
            return convert()
        except (StixbridgeError, MemoryError, OSError):
            raise  # nothing that an object is to blame for
        except Exception as error:
            guilty = culprits()
            if not guilty and before:
                # not by chance, and not found by halving
                guilty = sorted(new)
            before = not guilty
            for id_ in guilty:
                put_aside(id_, error)
    return convert()


def culprits(
    ids: Collection[str], convert: Callable[[list[str]], object], new: Collection[str]
) -> list[str]:
    """What a conversion fails on: halved as long as one half alone makes it fail.

    Args:
        ids: of the objects.
        convert: converts some of them.
        new: ids of what just came: to blame where it takes several objects to make it fail.
    """

    def fails(some: list[str]) -> bool:
        try:
            convert(some)
        except (StixbridgeError, MemoryError, OSError):
            raise
        except Exception:
            return True
        return False

    suspects = sorted(ids)
    if not fails(suspects):
        return []  # it does not fail again: nothing in the objects
    while len(suspects) > 1:
        middle = len(suspects) // 2
        half = next((part for part in (suspects[:middle], suspects[middle:]) if fails(part)), None)
        if half is None:  # it takes several of them
            return [id_ for id_ in suspects if id_ in new] or suspects
        suspects = half
    return suspects
