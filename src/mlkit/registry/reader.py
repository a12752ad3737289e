"""A blob as a stream that outlives its connections."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from mlkit.content.storage import RangesRefused
from mlkit.errors import IntegrityError, SizeMismatch
from mlkit.registry.failures import ERROR_LIMIT, network_failure
from mlkit.registry.http1 import Body
from mlkit.registry.retry import Patience
from mlkit.registry.wire import Call, Document, Wire, check_encoding, read_at_most

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_RENEWAL = 1024 * 1024  # bytes; after as many in one piece, earlier failures are forgotten
_SKIP = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)


class BlobStream(io.RawIOBase):
    """The bytes of a blob from `offset` to `end`; broken connections are made again, from where they broke.

    Verifies nothing but positions: whoever reads from the start wraps it in a VerifyReader, which notices also what a
    registry says beyond the promised size. Raises: NotFoundError and AuthError when it is made, NetworkError later on.
    """

    def __init__(
        self,
        wire: Wire,
        call: Call,
        *,
        size: int,
        offset: int = 0,
        end: int | None = None,
        is_exact: bool = False,
    ) -> None:
        """`is_exact`: raise RangesRefused rather than read what lies before `offset`."""
        super().__init__()
        self._wire = wire
        self._call = call
        self._size = size
        self._end = size if end is None else end
        self._is_whole = offset == 0 and end is None
        self._position = offset
        self._renewed_at = offset
        self._patience = Patience(wire.policy)
        self._has_ranges = True
        self._is_exact = is_exact
        self._body: Body | None = self._connect()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer; fewer bytes only at the end."""
        view = memoryview(buffer).cast("B")
        if not self._is_whole:
            view = view[: self._end - self._position]
        done = 0
        while done < len(view):
            count = self._some(view[done:])
            if not count:
                break
            done += count
        return done

    def close(self) -> None:
        if not self.closed and self._body is not None:
            self._body.close()
        super().close()

    def _some(self, view: memoryview) -> int:
        while self._body is not None:
            try:
                count = self._body.readinto(view)
            except httpx.TransportError as error:
                self._body.close()
                if self._position >= self._end:
                    return 0  # everything is here; what came after it is of no interest
                if not self._patience.pause(error=error):
                    raise network_failure(error, host=self._wire.host, what=self._call.what) from error
                self._body = self._connect()
                continue
            self._position += count
            if self._position - self._renewed_at >= _RENEWAL:
                self._patience.renew()
                self._renewed_at = self._position
            if count or self._position >= self._end:
                return count
            # The server thinks that this was all: another one behind the same name may know better.
            self._body.close()
            self._body = self._connect() if self._patience.pause() else None
        return 0

    def _connect(self) -> Body | None:
        """A body that goes on at the position; None where the registry has no bytes there."""
        while True:
            is_range = not (self._is_whole and self._position == 0) and self._has_ranges
            last = "" if self._end == self._size else str(self._end - 1)
            wanted = {"Range": f"bytes={self._position}-{last}"} if is_range else {}
            headers = {**self._call.headers, **wanted}
            response = self._wire.send(replace(self._call, headers=headers), self._patience)
            if response.status_code == 416:
                response.close()
                return None
            if response.status_code not in (200, 206):
                document = Document(
                    response.status_code, response.headers, read_at_most(response, ERROR_LIMIT), self._call.url
                )
                raise self._wire.refusal(document, self._call.what)
            check_encoding(response)
            body = response.stream
            assert isinstance(body, Body)
            if response.status_code == 200:
                if self._is_exact and self._position:
                    body.close()
                    raise RangesRefused(f"{self._call.what}: {self._wire.host} gives blobs only whole")
                if self._skip(body):
                    return body
                continue
            if is_range and self._is_our_range(body, response.headers):
                return body
            body.close()
            if not is_range:
                raise IntegrityError(f"{self._call.what}: {self._wire.host} sent a part where all was asked for")
            self._has_ranges = False

    def _is_our_range(self, body: Body, headers: httpx.Headers) -> bool:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self._position:
            return False
        if found[3] != "*" and int(found[3]) != self._size:
            body.close()
            raise SizeMismatch(f"{self._call.what}: {self._wire.host} has {found[3]} bytes (expected {self._size})")
        return True

    def _skip(self, body: Body) -> bool:
        """Read what was read before once more, from a server without ranges; False where to connect again."""
        left = self._position
        scratch = memoryview(bytearray(min(_SKIP, left)))
        try:
            while left:
                count = body.readinto(scratch[:left])
                if not count:
                    raise httpx.ReadError("the body ended early")
                left -= count
        except httpx.TransportError as error:
            body.close()
            if not self._patience.pause(error=error):
                raise network_failure(error, host=self._wire.host, what=self._call.what) from error
            return False
        return True
