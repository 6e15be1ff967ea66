"""Where the paging of one listing stands, and which watermark is safe."""

from __future__ import annotations

from dataclasses import dataclass, field

from stixbridge import times

_STEPS = 6
_BEGINNING = "1970-01-01T00:00:00.000000Z"


@dataclass(slots=True)
class Progress:
    """Where the paging of one listing stands.

    A watermark may only move when what lies before it has come. At the end of a listing it has.
    Before that it has in a list in the order of `date_added`: some servers list in another, and a
    few pages of those may ascend by chance. So the order counts as proven after several steps
    upwards and none downwards.

    Attributes:
        added_after: where the listing begins; None for everything.
        stored: the watermark of the last stored page.
        in_order: False for a server that is known to list in another order.
        steps: times that followed an earlier one, here and in the attempts that this one goes on
            from.
        guessed: whether the listing begins at a time that is only likely to be safe.
        params: of the last request.
        seen: entries so far.
        last: the time up to which a listing without `next` has been read.
        reached: the latest time of a page that lies in no future.
        before: entries of the page before.
        full: entries of the largest page before that.
        pages: digests of all pages so far: a page that comes again is a circle.
        empty: empty pages in a row.
        largest: entries of the largest page so far.
        doubted: whether the server said that there is no more, and its `next` is followed all the
            same.
        future: a time of a page that lies in the future.
    """

    added_after: int | None
    stored: int | None
    in_order: bool = True
    steps: int = 0
    guessed: bool = False
    params: dict[str, str] = field(default_factory=dict)
    seen: int = 0
    last: int | None = None
    reached: int | None = None
    before: int = 0
    full: int = 0
    pages: set[int] = field(default_factory=set)
    empty: int = 0
    largest: int = 0
    doubted: bool = False
    future: int | None = None
    _latest: int | None = None
    _moved: bool = False

    def page(self, first: int | None, last: int | None, now: int) -> None:
        """Take note of the times of a page."""
        for moment in (first, last):
            if moment is None:
                continue
            if self._latest is not None and moment < self._latest:
                self.in_order = False
            elif self._latest is not None and moment > self._latest:
                self.steps += 1
            self._latest = moment if self._latest is None else max(moment, self._latest)
            if moment > now:
                self.future = moment
            elif self.reached is None or moment > self.reached:
                self.reached = moment

    @property
    def proven(self) -> bool:
        """Whether the list is in the order of its times."""
        return self.in_order and self.steps >= _STEPS

    def watermark(self, *, at_end: bool) -> str | None:
        """The watermark that may stand after this page; None leaves the stored one."""
        if not at_end and not self.in_order and self._moved:
            # it moved before the order showed: what is still to come may lie before it
            self._moved = False
            return times.to_text(self.stored) if self.stored is not None else _BEGINNING
        if not self.proven and (self.guessed or not at_end):
            return None
        latest = max(
            (moment for moment in (self.stored, self.reached) if moment is not None), default=None
        )
        if latest is None:
            return None
        self._moved = True
        return times.to_text(latest)

    def next_attempt(self, *, again: bool) -> Progress:
        """The progress of another attempt after a page that did not arrive.

        Args:
            again: whether an attempt from the beginning has failed before: a `next` may die before
                the end is reached.
        """
        attempt = Progress(self.added_after, self.stored, self.in_order, guessed=self.guessed)
        if self.in_order and self.reached is not None and (self.proven or again):
            # not an overlap before it: else a page never gets behind the overlap
            attempt.added_after = max(self.reached - 1, self.added_after or 0)
            attempt.guessed = True
            attempt.steps = self.steps
        return attempt
