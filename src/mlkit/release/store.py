"""What release asks of a repository, wherever it is: tags that can be listed, found, added and moved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from mlkit.content.storage import Content
from mlkit.errors import UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.release import HISTORY_TAGS, MARKS

_CHANNEL = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,63}", re.ASCII)


class Repository(Protocol):
    """One repository of a registry, or of the local store."""

    @property
    def name(self) -> str:
        """With its host, for people."""

    def tags(self) -> Iterable[str]:
        """All tags; none where there is no such repository."""

    def find(self, name: str) -> Descriptor | None:
        """What a tag or a digest points at; None where there is no such thing."""

    def raw(self, desc: Descriptor) -> bytes:
        """The verified bytes of a small document. Raises: NotFoundError, LimitError."""

    def exists(self, desc: Descriptor) -> bool:
        """Whether the content is there."""

    def push(self, desc: Descriptor, content: Content) -> None:
        """See `Storage.push`."""

    def tag(self, desc: Descriptor, name: str) -> None:
        """Let a tag point at a manifest that is there."""

    def move(self, desc: Descriptor, name: str, *, expected: Digest | None) -> None:
        """Like `tag`, but only where the tag points at `expected`, or at nothing where that is None, until then.

        A registry may not be able to promise this to the last moment. Raises: ConflictError.
        """


def check_channel(name: str) -> str:
    """`name`, if a channel may be called so. Raises: UsageError."""
    if not _CHANNEL.fullmatch(name):
        raise UsageError(
            f"{ascii(name)[:120]} is not a name of a channel",
            hint="production, staging, canary.eu: at most 64 letters, digits, '.', '_' and '-', first no '.' or '-'",
        )
    if name == MARKS or name.startswith(HISTORY_TAGS.rstrip(".")) or re.match(r"sha(256|512)-", name):
        raise UsageError(f"{name}: channels of this name are kept for histories and signatures")
    return name
