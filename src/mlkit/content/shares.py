"""Who of several connections fetches which bytes of one blob. Nothing here does I/O.

One connection alone asks for everything to the end: a request less for every segment counts on a long line. With
others beside it all of them work close behind one another, because what is far ahead of the first gap cannot be
hashed yet and would have to come back from the disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.content.spans import Span, Spans


@dataclass(slots=True)
class Share:
    """Bytes that one connection fetches. `end` may come closer while it does, never to less than `Shares.step`."""

    position: int
    """The next byte."""
    end: int

    @property
    def left(self) -> int:
        """Bytes."""
        return self.end - self.position


class Shares:
    """What of a blob is free to fetch, and what is being fetched. Not locked: whoever holds it does that."""

    def __init__(self, written: Spans, size: int, *, segment: int) -> None:
        """`segment`: bytes that a connection takes at a time when it is not alone."""
        self._free: list[Span] = written.gaps(size)
        self._taken: list[Share] = []
        self._segment = segment
        self.step = max(1, segment // 4)
        """Bytes by which a share is sure to go on: who reads no more than that at once never reads another's."""

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return sum(end - start for start, end in self._free) + sum(share.left for share in self._taken)

    def take(self, *, is_alone: bool) -> Share | None:
        """The next bytes to fetch, from the front; None where others fetch all that is left, or nothing is.

        Where nothing is free, a part of another's share is, if that is large enough to be worth a request.
        """
        if not self._free:
            self._cut()
        if not self._free:
            return None
        start, end = self._free.pop(0)
        if not is_alone and end - start > self._segment + self.step:
            self._free.insert(0, (start + self._segment, end))
            end = start + self._segment
        share = Share(start, end)
        self._taken.append(share)
        return share

    def extend(self, share: Share, reach: int) -> None:
        """Let a share go on with what follows it, no further than `reach`, as far as that is free."""
        for number, (start, end) in enumerate(self._free):
            if start == share.end < reach:
                share.end = min(end, reach)
                self._free[number : number + 1] = [(share.end, end)] if share.end < end else []
                return

    def finish(self, share: Share) -> None:
        """The share is done, or given up; what is left of it is free again."""
        self._taken.remove(share)
        if share.left:
            self._free.append((share.position, share.end))
            self._free.sort()

    def _cut(self) -> None:
        largest = max(self._taken, key=lambda share: share.left, default=None)
        if largest is None or largest.left < 2 * self.step:
            return
        kept = self._segment if largest.left > 2 * self._segment else largest.left // 2
        self._free.append((largest.position + kept, largest.end))
        largest.end = largest.position + kept
