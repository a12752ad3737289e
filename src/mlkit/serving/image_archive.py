"""An image in one file that `docker load` and `podman load` take, and that `skopeo` reads as two kinds of archive.

Written front to back, whole or not at all. A layer whose digest is not known yet is written behind an empty header,
which gets its name when the layer is whole: nothing is read or written twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mlkit.archive.tar import BLOCK, END, Member, padding, tar_header
from mlkit.content.lock import disk_errors, sync, sync_directory
from mlkit.content.storage import BlobWriter, Content
from mlkit.content.verify import VerifyReader, read_some
from mlkit.errors import IntegrityError, LimitError, NotFoundError, SizeMismatch, UsageError
from mlkit.serving.image_tar import Slice
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import Manifest
from mlkit.spec.media_types import OCI_INDEX, REF_NAME

_CHUNK = 1 << 20
_LARGEST = 8**11 - 1  # bytes of a file that needs no second header


class ImageArchive:
    """A Storage and an Ingestor for one image, used by one thread. As a context manager: without `finish` no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{os.urandom(6).hex()}.partial")
        self._sink: BinaryIO | None = None
        self._offsets: dict[Digest, int] = {}

    def __enter__(self) -> ImageArchive:
        if self.path.is_dir():
            raise UsageError(f"{self.path}: is a directory", hint=f"oci:{self.path}:TAG writes an image layout there")
        with disk_errors(self.path):
            # 0666 and the umask, as for any file of the user's.
            self._sink = self._partial.open("xb")
        folders = ("blobs", "blobs/sha256")
        self._write(b"".join(tar_header(Member(name, 0, 0o755, is_dir=True)) for name in folders))
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        with suppress(OSError):  # it has its name by now, or the folder is gone
            self._partial.unlink(missing_ok=True)

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._offsets

    def push(self, desc: Descriptor, content: Content) -> None:
        """See `Storage.push`; after an error the archive is of no use any more, and is not there."""
        if self.exists(desc):
            return
        self._write(tar_header(_blob(desc.digest, desc.size)))
        start = self._position()
        buffer = memoryview(bytearray(min(_CHUNK, max(1, desc.size))))
        with content.open() as stream:
            reader = VerifyReader(stream, desc)
            while count := read_some(reader, buffer):  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO to all who read
                self._write(buffer[:count])
        self._write(padding(desc.size))
        self._offsets[desc.digest] = start

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """See `ReadOnlyStorage.open`: what was written so far."""
        return self._open(desc, offset)

    def ingest(self) -> AbstractContextManager[BlobWriter]:
        """See `Ingestor`."""
        return self._ingest()

    @contextmanager
    def _ingest(self) -> Iterator[BlobWriter]:
        writer = _Writer(self)
        try:
            yield writer
        finally:
            writer.drop()

    @contextmanager
    def _open(self, desc: Descriptor, offset: int) -> Iterator[BinaryIO]:
        start = self._offsets.get(desc.digest)
        if start is None or self._sink is None:
            raise NotFoundError(f"{self.path}: does not hold {desc.digest}")
        with disk_errors(self.path):
            self._sink.flush()
            with self._partial.open("rb") as file:
                file.seek(start + offset)
                stream = Slice(file, desc.size - offset)
                yield cast(BinaryIO, stream if offset else VerifyReader(cast(BinaryIO, stream), desc))

    def finish(self, manifest: Manifest, name: str | None) -> None:
        """Write what makes it an archive, and let the file have its name. Raises: StoreError."""
        desc = manifest.descriptor.bare
        if name is not None:
            desc = desc.with_annotations({REF_NAME: name})
        listed = {
            "Config": _path(manifest.config.digest),
            "RepoTags": [] if name is None else [name],
            "Layers": [_path(layer.digest) for layer in manifest.layers],
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [desc.render()]}
        for file, value in (
            ("index.json", index),
            ("manifest.json", [listed]),
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ):
            raw = render_json(value)
            self._write(tar_header(Member(file, len(raw), 0o644)) + raw + padding(len(raw)))
        self._write(END)
        assert self._sink is not None, "an archive is finished once"
        with disk_errors(self.path):
            self._sink.flush()
            sync(self._sink.fileno())
            self._partial.replace(self.path)
            sync_directory(self.path.parent)

    def _write(self, chunk: bytes | bytearray | memoryview) -> None:
        assert self._sink is not None, "an archive is written within its context"
        with disk_errors(self.path):
            self._sink.write(chunk)

    def _position(self) -> int:
        assert self._sink is not None, "an archive is written within its context"
        return self._sink.tell()

    def _rewind(self, position: int) -> None:
        assert self._sink is not None, "an archive is written within its context"
        with disk_errors(self.path):
            self._sink.seek(position)
            self._sink.truncate()

    def _entitle(self, start: int, digest: Digest, size: int) -> None:
        """Give the bytes after the empty header at `start` their name, or forget them where they are there already."""
        if digest in self._offsets:
            self._rewind(start)
            return
        self._write(padding(size))
        end = self._position()
        assert self._sink is not None, "an archive is written within its context"
        with disk_errors(self.path):
            self._sink.seek(start)
            self._sink.write(tar_header(_blob(digest, size)))
            self._sink.seek(end)
        self._offsets[digest] = start + BLOCK


@dataclass(slots=True)
class _State:
    start: int
    size: int = 0
    is_done: bool = False


class _Writer:
    """See `BlobWriter`."""

    def __init__(self, archive: ImageArchive) -> None:
        self._archive = archive
        self._hasher = hashlib.sha256()
        self._state = _State(archive._position())
        archive._write(bytes(BLOCK))

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._hasher.update(chunk)
        self._state.size += len(chunk)
        if self._state.size > _LARGEST:
            raise LimitError(
                f"{self._archive.path}: a layer of more than 8 GiB",
                hint="write an image layout with -t oci:DIR:TAG, or build twice: the second time its digest is known",
            )
        self._archive._write(chunk)

    def copy_from(self, source: BinaryIO, count: int) -> None:
        left, buffer = count, memoryview(bytearray(min(_CHUNK, max(count, 1))))
        while left:
            read = read_some(source, buffer[:left])
            if not read:
                raise SizeMismatch(f"a file ends {left} bytes early (expected {count} more)")
            self.write(buffer[:read])
            left -= read

    def commit(self) -> tuple[Digest, int]:
        if self._state.is_done:
            raise IntegrityError("a layer is committed once")
        digest, size = Digest.finished(self._hasher), self._state.size
        self._archive._entitle(self._state.start, digest, size)
        self._state.is_done = True
        return digest, size

    def drop(self) -> None:
        """Forget what was written, unless it was committed."""
        if not self._state.is_done:
            self._archive._rewind(self._state.start)


def _blob(digest: Digest, size: int) -> Member:
    return Member(_path(digest), size, 0o644)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
