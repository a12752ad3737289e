"""What one run may know of another, if it is given a place to keep it. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from mlkit.content.uploads import SavedUpload
from mlkit.spec.digest import Digest


class UploadClaim(Protocol):
    """The upload of one blob to one repository, nobody else's while it is held."""

    saved: SavedUpload | None
    """Where an earlier run got to."""

    def save(self, upload: SavedUpload) -> None:
        """Let a later run go on here."""

    def forget(self) -> None:
        """There is nothing to go on with."""


class UploadMemory(Protocol):
    """Uploads that were begun; `mlkit.content.uploads.Uploads` keeps them in files."""

    def claim(self, origin: str, repository: str, digest: Digest) -> AbstractContextManager[UploadClaim]:
        """The upload of `digest` to a repository of the registry at `origin` (`https://host:port`)."""


class PlaceMemory(Protocol):
    """Where blobs were seen; `mlkit.content.places.Places` keeps it in a file."""

    def of(self, origin: str, digest: Digest) -> tuple[str, ...]:
        """Repositories of the registry at `origin` that had the blob, the latest first. Never those of another one."""

    def saw(self, origin: str, repository: str, digests: Iterable[Digest]) -> None:
        """These blobs are in this repository."""


class Forgetful:
    """An UploadMemory and PlaceMemory that keeps nothing."""

    @contextmanager
    def claim(self, origin: str, repository: str, digest: Digest) -> Iterator[UploadClaim]:  # noqa: ARG002
        yield _Unsaved()

    def of(self, origin: str, digest: Digest) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def saw(self, origin: str, repository: str, digests: Iterable[Digest]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Memory:
    """What a registry's client is given to remember with."""

    uploads: UploadMemory = field(default_factory=Forgetful)
    places: PlaceMemory = field(default_factory=Forgetful)


class _Unsaved:
    def __init__(self) -> None:
        self.saved: SavedUpload | None = None

    def save(self, upload: SavedUpload) -> None:
        self.saved = upload

    def forget(self) -> None:
        self.saved = None
