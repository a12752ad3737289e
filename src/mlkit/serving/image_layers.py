"""The bytes of an image's layers, made while they are read: a header, a file as it lies in the kit's store, padding.

Nothing is spooled, and no file is in memory: a layer of 40 GB passes through a buffer of a mebibyte. What the store
gives is verified against the kit's digests before the last chunk leaves.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from mlkit.archive.compression import decompressed
from mlkit.archive.reader import TarReader
from mlkit.archive.tar import END, Member, link_header, padding, tar_header
from mlkit.content.verify import read_some, unverified
from mlkit.errors import IntegrityError, SizeMismatch
from mlkit.serving.image_reader import verified_beside
from mlkit.serving.image_tree import ImageLayer, KitPart, folders_of
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20

Chunk = bytes | memoryview
Moved = Callable[[int], None]
"""Told of bytes as they leave; raises where the work should stop."""


@dataclass(frozen=True, slots=True)
class LayerContent:
    """A layer as content that can be read again."""

    layer: ImageLayer
    is_verified: bool = False
    """Whether it is checked against the kit's digests, for who does not know the layer's own."""
    moved: Moved | None = None

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """See `Content`: a stream from `offset` on. Raises: NotFoundError; IntegrityError while it is read."""
        # What is to be verified has to be read from its start.
        skipped = 0 if self.is_verified else offset
        pieces = layer_pieces(self.layer, offset=skipped, is_verified=self.is_verified)
        return cast(BinaryIO, _PieceReader(pieces, skip=offset - skipped, moved=self.moved))


def layer_chunks(layer: ImageLayer) -> Iterator[Chunk]:
    """The bytes of a layer, each chunk good until the next one is asked for. Raises: as of `layer_pieces`."""
    buffer = memoryview(bytearray(_CHUNK))
    for piece in layer_pieces(layer):
        if isinstance(piece, Run):
            while count := piece.readinto(buffer):
                yield buffer[:count]
        else:
            yield piece


@dataclass(slots=True)
class Run:
    """A file of the kit that is read right to where it is wanted; all of it, before the next piece."""

    stream: BinaryIO
    left: int
    """Bytes."""
    what: str

    def readinto(self, view: memoryview) -> int:
        """Bytes read, 0 at the end. Raises: SizeMismatch where it comes too early; what the stream raises."""
        view = view[: self.left]
        if not view:
            return 0
        count = read_some(self.stream, view)
        if not count:
            raise SizeMismatch(f"{self.what}: ends {self.left} bytes early")
        self.left -= count
        return count


Piece = Chunk | Run


def layer_pieces(layer: ImageLayer, *, offset: int = 0, is_verified: bool = True) -> Generator[Piece, None, None]:
    """The bytes of a layer from `offset` on, each piece good until the next one is asked for.

    `is_verified`: what is read from the kit's store is checked against the kit's digests, unless `offset` skips some
    of it. Raises: DigestMismatch, SizeMismatch in place of the last chunk of what is wrong; UnsafeError for names.
    """
    if layer.is_reused:
        yield from _reused(layer.parts[0], offset, is_verified=is_verified)
        return
    skipped = _Skip(offset)
    files = layer.known_files
    above = folders_of([*(file.name for file in files), *(path for path, _ in layer.links)], layer.directories)
    yield from skipped.over(b"".join(map(tar_header, above)))
    for path, target in layer.links:
        yield from skipped.over(link_header(path, target))
    for text in layer.texts:
        member = Member(text.path, len(text.content), 0o644)
        yield from skipped.over(tar_header(member) + text.content + padding(member.size))
    made = {folder.name for folder in above}
    for part in layer.parts:
        if part.kind == "raw" and part.compression == "none":
            yield from _raw(part, skipped, is_verified=is_verified)
        elif part.kind == "raw":
            yield from _expanded(part, skipped, made)
        else:
            yield from _rewritten(part, skipped, made)
    yield from skipped.over(END)


def digest_of(layer: ImageLayer, moved: Moved) -> tuple[Digest, int]:
    """Digest and size of a layer, found by reading all of it and keeping nothing. Raises: as of `layer_chunks`."""
    hasher, size = hashlib.sha256(), 0
    for chunk in layer_chunks(layer):
        hasher.update(chunk)
        size += len(chunk)
        moved(len(chunk))
    return Digest.finished(hasher), size


def check_reused(part: KitPart) -> None:
    """See that a layer of the kit, put into an image as it is, holds its files and nothing else.

    Raises: IntegrityError where the kit says otherwise; UnsafeError for links, devices and names, which in an image
    could be anywhere.
    """
    assert part.files is not None, "only layers with known files are reused"
    expected = {file.path: file.size for file in part.files}
    with part.store.open(part.desc) as raw:
        for member, _ in TarReader(decompressed(raw, part.compression)):
            if not member.is_dir:
                _expect(expected, member, part)
            part.image_path(part.place(member.name))
    _all_seen(expected, part)


class _Skip:
    """What of the bytes that come the caller has already."""

    def __init__(self, count: int) -> None:
        self.left = count

    def over(self, chunk: Chunk) -> Iterator[Chunk]:
        taken = min(self.left, len(chunk))
        self.left -= taken
        if taken < len(chunk):
            yield chunk[taken:]


def _reused(part: KitPart, offset: int, *, is_verified: bool) -> Iterator[Piece]:
    yield from _run(part, offset, is_verified=is_verified)


def _run(part: KitPart, offset: int, *, is_verified: bool) -> Iterator[Piece]:
    """A layer of the kit as it is stored."""
    with ExitStack() as stack:
        stream = stack.enter_context(part.store.open(part.desc, offset=offset))
        if not is_verified:
            stream = unverified(stream)
        elif not offset:
            stream = stack.enter_context(verified_beside(stream, part.desc))
        yield Run(stream, part.desc.size - offset, str(part.desc.digest))


def _raw(part: KitPart, skipped: _Skip, *, is_verified: bool) -> Iterator[Piece]:
    """A raw layer: its descriptor is the file's size and digest, so nothing has to be believed."""
    size = part.desc.size
    mode = part.files[0].mode if part.files else part.mode
    yield from skipped.over(tar_header(Member(part.image_path(part.path), size, mode)))
    if skipped.left >= size:
        skipped.left -= size
    else:
        start, skipped.left = skipped.left, 0
        yield from _run(part, start, is_verified=is_verified)
    yield from skipped.over(padding(size))


def _expanded(part: KitPart, skipped: _Skip, made: set[str]) -> Iterator[Chunk]:
    """A raw layer that is compressed: a tar needs its size first, so where nobody tells it is expanded twice."""
    size = part.files[0].size if part.files else _expanded_size(part)
    mode = part.files[0].mode if part.files else part.mode
    path = part.image_path(part.path)
    yield from _folders(path, skipped, made)
    yield from skipped.over(tar_header(Member(path, size, mode)))
    with part.store.open(part.desc) as raw:
        stream = decompressed(raw, part.compression)
        for chunk in _chunks(stream, size, part):
            yield from skipped.over(chunk)
        if read_some(stream, memoryview(bytearray(1))):
            raise SizeMismatch(f"{part.desc.digest}: expands to more than the expected {size} bytes")
    yield from skipped.over(padding(size))


def _rewritten(part: KitPart, skipped: _Skip, made: set[str]) -> Iterator[Chunk]:
    """The wanted files of a tar layer, with the names that they have in the image."""
    expected = None if part.files is None else {file.path: file.size for file in part.files}
    with part.store.open(part.desc) as raw:
        for member, content in TarReader(decompressed(raw, part.compression), only=part.only):
            path = part.place(member.name)
            if member.is_dir or not part.wants(path):
                continue
            if expected is not None:
                _expect(expected, member, part, path=path)
            named = Member(part.image_path(path), member.size, member.mode)
            yield from _folders(named.name, skipped, made)
            yield from skipped.over(tar_header(named))
            for chunk in _chunks(content, member.size, part):
                yield from skipped.over(chunk)
            yield from skipped.over(padding(member.size))
    if expected is not None:
        _all_seen(expected, part)


def _folders(path: str, skipped: _Skip, made: set[str]) -> Iterator[Chunk]:
    for folder in folders_of([path]):
        if folder.name not in made:
            made.add(folder.name)
            yield from skipped.over(tar_header(folder))


def _expanded_size(part: KitPart) -> int:
    size, buffer = 0, memoryview(bytearray(_CHUNK))
    with part.store.open(part.desc) as raw:
        stream = decompressed(raw, part.compression)
        while count := read_some(stream, buffer):
            size += count
    return size


def _chunks(stream: BinaryIO, size: int, part: KitPart) -> Iterator[Chunk]:
    """Exactly `size` bytes. Raises: SizeMismatch where there are fewer."""
    buffer = memoryview(bytearray(min(_CHUNK, max(size, 1))))
    left = size
    while left:
        count = read_some(stream, buffer[:left])
        if not count:
            raise SizeMismatch(f"{part.desc.digest}: ends {left} bytes early")
        yield buffer[:count]
        left -= count


def _expect(expected: dict[str, int], member: Member, part: KitPart, *, path: str | None = None) -> None:
    found = expected.pop(member.name if path is None else path, None)
    if found != member.size:
        raise IntegrityError(
            f"{part.desc.digest}: holds {ascii(member.name)[:200]} with {member.size} bytes, "
            f"where the kit lists {'no such file' if found is None else f'{found} bytes'}"
        )


def _all_seen(expected: dict[str, int], part: KitPart) -> None:
    if expected:
        raise IntegrityError(f"{part.desc.digest}: does not hold {ascii(next(iter(expected)))[:200]}, which is listed")


class _PieceReader(io.RawIOBase):
    """Pieces as a stream."""

    def __init__(self, pieces: Generator[Piece, None, None], *, skip: int, moved: Moved | None) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._run: Run | None = None
        self._skip = skip
        self._moved = moved

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while self._skip:
            wanted = min(self._skip, _CHUNK)
            if not (count := self._read(memoryview(bytearray(wanted)))):
                return 0
            self._skip -= count
        count = self._read(view)
        if self._moved is not None:
            self._moved(count)
        return count

    def close(self) -> None:
        if not self.closed:
            self._pieces.close()  # and with it what it has open
        super().close()

    def _read(self, view: memoryview) -> int:
        while view:
            if self._run is not None:
                if count := self._run.readinto(view):
                    return count
                self._run = None
            if self._rest:
                count = min(len(view), len(self._rest))
                view[:count] = self._rest[:count]
                self._rest = self._rest[count:]
                return count
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            if isinstance(piece, Run):
                self._run = piece
            else:
                self._rest = memoryview(piece)
        return 0
