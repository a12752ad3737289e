"""Images in one file: what `docker save`, `podman save` and `skopeo copy` write, read where it lies.

An OCI image layout in a tar (`oci-archive`), or Docker's own form (`docker-archive`): `manifest.json` and a tar for
each layer. Only headers are read to find things; no layer is unpacked.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mlkit.archive.compression import decompressed
from mlkit.archive.pax import parse_pax
from mlkit.archive.tar import BLOCK
from mlkit.content.verify import VerifyReader, read_some
from mlkit.errors import IntegrityError, LimitError, NotFoundError, StoreError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_json, parse_object
from mlkit.spec.media_types import OCI_LAYER

_ENTRY_LIMIT = 100_000  # entries; an archive has a few for each layer
_HEADER_LIMIT = 1 << 20  # bytes of an extended header (threats.md, 2.3)
_LINK_LIMIT = 4  # links in a row; skopeo writes one
_CHUNK = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file of a tar lies in it."""

    offset: int
    size: int


class TarStore:
    """The blobs of an archive, as a ReadOnlyStorage; every one is verified when it is read."""

    def __init__(self, path: Path) -> None:
        """Raises: NotFoundError, StoreError where the file cannot be read; IntegrityError for what is no tar."""
        self.path = path
        with _reading(path) as stream:
            self._places = _scan(stream, str(path))
        self._blobs: dict[Digest, Place] = {}
        for name, place in self._places.items():
            folder, _, rest = name.partition("/")
            algorithm, _, encoded = rest.partition("/")
            if folder == "blobs" and algorithm == "sha256" and len(encoded) == 64:
                self._blobs[Digest.parse(f"sha256:{encoded}")] = place

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._blobs

    @contextmanager
    def open(self, desc: Descriptor, *, offset: int = 0) -> Iterator[BinaryIO]:
        """See `ReadOnlyStorage.open`."""
        place = self._blobs.get(desc.digest)
        if place is None:
            raise NotFoundError(f"{self.path}: does not hold {desc.digest}")
        with self._opened(place, offset) as stream:
            yield stream if offset else cast(BinaryIO, VerifyReader(stream, desc))

    def document(self, name: str) -> bytes | None:
        """A small file of the archive, None where there is none. Raises: LimitError."""
        place = self._places.get(name)
        if place is None:
            return None
        if place.size > MANIFEST_LIMIT:
            raise LimitError(f"{self.path}: {name} has {place.size} bytes (at most {MANIFEST_LIMIT})")
        with self._opened(place) as stream:
            return stream.read(place.size)

    def docker_image(self, name: str | None) -> tuple[bytes, tuple[Descriptor, ...]]:
        """Config and layers of the image that `manifest.json` lists, under `name` where it lists several.

        Every layer is hashed once, since nothing tells its digest. Raises: UsageError where it is unclear which image
        is meant; IntegrityError.
        """
        raw = self.document("manifest.json")
        if raw is None:
            raise IntegrityError(f"{self.path}: is no archive of an image (it holds no manifest.json)")
        chosen = _choose(parse_json(raw, what=f"{self.path}: manifest.json"), name, str(self.path))
        config = self.document(posixpath.normpath(str(chosen.get("Config"))))
        if config is None:
            raise IntegrityError(f"{self.path}: the config that manifest.json names is not there")
        rootfs = parse_object(config, what=f"{self.path}: config").get("rootfs")
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        layers = chosen.get("Layers") or []
        if not isinstance(layers, list) or not isinstance(diff_ids, list) or len(layers) != len(diff_ids):
            raise IntegrityError(f"{self.path}: manifest.json and the config list different layers")
        return config, tuple(
            self._docker_layer(str(layer), Digest.parse(diff_id))
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        )

    def _docker_layer(self, name: str, diff_id: Digest) -> Descriptor:
        place = self._places.get(posixpath.normpath(name))
        if place is None:
            raise IntegrityError(f"{self.path}: the layer {ascii(name)[:200]} is not there")
        with self._opened(place) as stream:
            magic = stream.read(4)
        kind = "+gzip" if magic.startswith(_GZIP) else "+zstd" if magic == _ZSTD else ""
        with self._opened(place) as stream:
            digest = _hashed(stream)
        expanded = digest
        if kind:
            with self._opened(place) as stream:
                expanded = _hashed(decompressed(stream, "gzip" if kind == "+gzip" else "zstd"))
        if expanded != diff_id:
            raise IntegrityError(f"{self.path}: the layer {ascii(name)[:200]} is {expanded} (expected {diff_id})")
        self._blobs[digest] = place
        return Descriptor(f"{OCI_LAYER}{kind}", digest, place.size)

    def _opened(self, place: Place, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        return _part(self.path, place.offset + offset, place.size - offset)


def _choose(value: object, name: str | None, what: str) -> dict[str, object]:
    images = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    tags = {tag: image for image in images for tag in image.get("RepoTags") or [] if isinstance(tag, str)}
    if name is not None:
        if name not in tags:
            raise NotFoundError(
                f"{what}: no image {ascii(name)[:200]} (it has {', '.join(sorted(tags)[:10]) or 'none'})"
            )
        return tags[name]
    if len(images) != 1:
        raise UsageError(
            f"{what}: holds {len(images)} images", hint=f"name one: docker-archive:{what}:{next(iter(tags), 'NAME')}"
        )
    return images[0]


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path}: is a directory", hint=f"oci:{path} names an image layout in a directory") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error


@contextmanager
def _part(path: Path, offset: int, size: int) -> Iterator[BinaryIO]:
    with _reading(path) as stream:
        stream.seek(offset)
        yield cast(BinaryIO, Slice(stream, size))


class Slice:
    """The next `size` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        count = read_some(self._stream, view)
        self._left -= count
        return count

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """The stream is closed by who opened it."""


def _hashed(stream: BinaryIO) -> Digest:
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    while count := read_some(stream, buffer):
        hasher.update(buffer[:count])
    return Digest.finished(hasher)


def _scan(stream: BinaryIO, what: str) -> dict[str, Place]:
    """Every regular file by its cleaned name, and every link to one; the data is passed over.

    Raises: IntegrityError for what is no tar, or not a whole one; LimitError.
    """
    found: dict[str, Place] = {}
    links: dict[str, str] = {}
    position, path, size_told = 0, None, None
    end = stream.seek(0, os.SEEK_END)
    for _ in range(_ENTRY_LIMIT):
        stream.seek(position)
        block = stream.read(BLOCK)
        if len(block) < BLOCK or not any(block):
            break
        size = _size_of(block, what, position) if size_told is None else size_told
        data, kind = position + BLOCK, block[156:157]
        if data + size > end:
            raise IntegrityError(f"{what}: ends within an entry, at byte {end}")
        position = data + size + -size % BLOCK
        if kind in (b"x", b"L", b"K", b"g"):
            if size > _HEADER_LIMIT:
                raise LimitError(f"{what}: an extended header of {size} bytes (at most {_HEADER_LIMIT})")
            body = stream.read(size)
            if kind == b"x":
                extended = parse_pax(body)
                path, size_told = extended.path or path, extended.size
            elif kind == b"L":
                path = body.rstrip(b"\0")
            continue
        name = posixpath.normpath((path or _name_of(block)).decode("utf-8", "replace"))
        if kind in (b"0", b"\0"):
            found[name] = Place(data, size)
        elif kind == b"2":
            target = block[157:257].partition(b"\0")[0].decode("utf-8", "replace")
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        path = size_told = None
    else:
        raise LimitError(f"{what}: more than {_ENTRY_LIMIT} entries")
    if not found:
        raise IntegrityError(f"{what}: is no tar, or an empty one")
    # Docker and skopeo link layers that several images share, or that old readers look for by another name.
    for _ in range(_LINK_LIMIT):
        found |= {name: found[target] for name, target in links.items() if target in found and name not in found}
    return found


def _size_of(block: bytes, what: str, position: int) -> int:
    told, field = block[148:156].strip(b" \0"), block[124:136]
    size = field.strip(b" \0")
    is_binary = field[0] == 0x80  # GNU's form of a size that has no room in octal digits
    # int() takes signs and underscores, too.
    if told.strip(b"01234567") or (not is_binary and size.strip(b"01234567")):
        raise _no_header(what, position)
    if int(told or b"0", 8) != sum(block[:148]) + sum(b" " * 8) + sum(block[156:]):
        raise _no_header(what, position)
    return int.from_bytes(field[1:], "big") if is_binary else int(size or b"0", 8)


def _no_header(what: str, position: int) -> IntegrityError:
    return IntegrityError(f"{what}: no tar header at byte {position}: it is damaged, or no tar")


def _name_of(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
