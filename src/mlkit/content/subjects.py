"""Which manifests of a layout refer to which, remembered: a manifest never changes, so its subject is read once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from mlkit.content.graph import is_document
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


class Subjects:
    """Thread-safe. Holds a digest for each manifest of the index that it was last asked about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subjects: dict[Digest, Digest | None] = {}
        self._asked: object = None
        self._referring: dict[Digest, tuple[Descriptor, ...]] = {}
        self._unread: tuple[Descriptor, ...] = ()

    def referring(
        self,
        subject: Digest,
        version: object,
        listed: Iterable[Descriptor],
        subject_of: Callable[[Descriptor], Digest | None],
    ) -> tuple[Descriptor, ...]:
        """Those of the `listed` whose subject it is, and those that cannot be read and so may be among them.

        Each once; `version` is one object for one list. `subject_of` is asked about what was never read before.
        """
        with self._lock:
            if self._asked is not version:
                self._look(listed, subject_of)
                self._asked = version
            return (*self._referring.get(subject, ()), *self._unread)

    def _look(self, listed: Iterable[Descriptor], subject_of: Callable[[Descriptor], Digest | None]) -> None:
        subjects: dict[Digest, Digest | None] = {}
        referring: dict[Digest, list[Descriptor]] = {}
        unread: list[Descriptor] = []
        seen: set[Digest] = set()
        for desc in listed:
            if desc.digest in seen or not is_document(desc):
                continue
            seen.add(desc.digest)
            try:
                found = self._subjects[desc.digest] if desc.digest in self._subjects else subject_of(desc)
            except (IntegrityError, LimitError, NotFoundError):
                unread.append(desc)
                continue
            subjects[desc.digest] = found
            if found is not None:
                referring.setdefault(found, []).append(desc)
        self._subjects = subjects
        self._unread = tuple(unread)
        self._referring = {digest: tuple(found) for digest, found in referring.items()}
