"""A large blob from far away into a file: over one connection, or several, going on where an earlier run stopped.

The caller's thread is the first connection; each further one is a thread of its own that may fail without harm, since
what it does not bring is fetched by the others. One more thread hashes what was written, in order.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from typing import BinaryIO

from mlkit.content.follow import Follower
from mlkit.content.landing import Landing
from mlkit.content.pace import Connections, Pace
from mlkit.content.shares import Share, Shares
from mlkit.content.storage import RangesRefused, Resumable
from mlkit.content.verify import read_some, unverified
from mlkit.content.writeback import start_writeback
from mlkit.errors import DigestMismatch, MlkitError, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

_BUFFER = 1 << 20
_WRITEBACK_STEP = 16 << 20
_BUSY_HASH = 4 << 20
"""Bytes by which a hash that has enough to do lags behind."""


class Download:
    """One blob on its way into a file. Used once."""

    def __init__(self, landing: Landing, desc: Descriptor, content: Resumable) -> None:
        self._landing = landing
        self._desc = desc
        self._content = content
        self._connections = _allowed(content.connections, desc)
        spans = landing.spans
        self._shares = Shares(spans, desc.size, segment=self._connections.segment if self._connections else desc.size)
        self._pace = Pace(self._connections or Connections(1))
        self._changed = threading.Condition()
        self._helpers: list[threading.Thread] = []
        self._active = 1
        self._is_over = False
        self._failure: BaseException | None = None
        self._hasher = desc.digest.hasher()
        self._follower = Follower(landing.file, self._hasher, 0)

    def run(self) -> None:
        """Fetch what is missing, until all of it is there and found right. What becomes of it is the caller's to say.

        Raises: DigestMismatch, SizeMismatch; what the content raises; what the landing makes of errors of the disk.
        """
        spans = self._landing.spans
        try:
            self._content.resumed(spans.total)
            # What is there is hashed before the first byte is asked for, or a server would have to wait for it.
            self._hash(spans.prefix)
            self._fetch_all()
            with self._landing.guarded():
                # The disk finishes while the hash does: the longer of the two counts, not their sum.
                self._landing.complete()
                self._follower.finish()
        finally:
            self._follower.abandon()
        found = Digest.finished(self._hasher)
        if found != self._desc.digest:
            raise DigestMismatch(f"{self._desc.digest}: the content is {found}")

    def _fetch_all(self) -> None:
        try:
            while (share := self._next()) is not None:
                self._fetch(share, is_first=True)
        finally:
            with self._changed:
                self._is_over = True
            for helper in self._helpers:
                helper.join()
        if self._failure is not None:
            raise self._failure

    def _next(self) -> Share | None:
        """What to do next; waits while all that is left is in the hands of others, for they may give it back."""
        with self._changed:
            while self._shares.left and self._failure is None:
                share = self._shares.take(is_alone=self._pace.wanted == 1)
                if share is not None:
                    return share
                self._changed.wait()
        return None

    def _help(self) -> None:
        assert self._connections is not None
        try:
            while (share := self._next_of_helper()) is not None:
                self._fetch(share, is_first=False)
        except RangesRefused:
            self._refuse(1)
        except MlkitError:
            # The first connection meets the same, if it is not about there being several.
            self._refuse(self._active - 1)
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, which raises it
            with self._changed:
                self._failure = error
        finally:
            self._connections.spare.release()
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def _next_of_helper(self) -> Share | None:
        with self._changed:
            if self._is_over or self._failure is not None or self._active > self._pace.wanted:
                return None
            return self._shares.take(is_alone=False)

    def _refuse(self, most: int) -> None:
        with self._changed:
            self._pace.refuse(most)

    def _fetch(self, share: Share, *, is_first: bool) -> None:
        buffer = memoryview(bytearray(min(_BUFFER, self._shares.step)))
        written_back = share.position
        try:
            opened, reach = self._opened(share, is_exact=not is_first)
            with opened as stream:
                source = unverified(stream)
                while count := self._wanted(share, len(buffer), reach=reach, is_first=is_first):
                    read = read_some(source, buffer[:count])
                    if not read:
                        raise SizeMismatch(
                            f"{self._desc.digest}: ends after {share.position} bytes (expected {self._desc.size})"
                        )
                    self._store(share, buffer[:read])
                    if self._landing.is_durable and share.position - written_back >= _WRITEBACK_STEP:
                        start_writeback(self._landing.file, written_back, share.position - written_back)
                        written_back = share.position
                    if is_first:
                        self._adjust()
                if is_first and share.position == self._desc.size and source.read(1):
                    raise SizeMismatch(f"{self._desc.digest}: more than the expected {self._desc.size} bytes")
        finally:
            with self._changed:
                self._shares.finish(share)
                self._changed.notify_all()

    def _opened(self, share: Share, *, is_exact: bool) -> tuple[AbstractContextManager[BinaryIO], int]:
        """A stream from the start of the share, and where it ends: behind the share perhaps."""
        if share.position == 0 or self._connections is None or (share.end == self._desc.size and not is_exact):
            return self._content.open(offset=share.position), self._desc.size
        opened = self._content.open_range(offset=share.position, length=share.left, is_exact=is_exact)
        return opened, share.position + share.left

    def _wanted(self, share: Share, most: int, *, reach: int, is_first: bool) -> int:
        """Bytes to read next; none where another has taken what follows, or has failed for good."""
        with self._changed:
            if self._failure is not None or (self._is_over and not is_first):
                return 0
            if not share.left:
                # Nobody came for what was cut off: the stream is there already, and another request would cost one.
                self._shares.extend(share, reach)
            return min(most, share.left)

    def _store(self, share: Share, view: memoryview) -> None:
        prefix = self._landing.write(share.position, view)
        with self._changed:
            share.position += len(view)
        self._hash(prefix)

    def _hash(self, prefix: int) -> None:
        with self._landing.guarded():
            self._follower.advance(prefix)

    def _adjust(self) -> None:
        """Open a connection more where that may help. Who is one too many leaves by himself."""
        if self._connections is None:
            return
        with self._changed:
            left = self._shares.left
            arrived = self._desc.size - left
            wanted = self._pace.tell(time.monotonic(), arrived, is_waiting=self._follower.lag < _BUSY_HASH)
            while self._active < wanted and left >= self._connections.segment:
                if not self._connections.spare.acquire(blocking=False):
                    self._pace.refuse(self._active)
                    return
                self._active += 1
                helper = threading.Thread(target=self._help, name=f"mlkit-range-{len(self._helpers)}", daemon=True)
                helper.start()
                self._helpers.append(helper)


def _allowed(connections: Connections | None, desc: Descriptor) -> Connections | None:
    return connections if connections is not None and desc.size >= connections.least_size else None
