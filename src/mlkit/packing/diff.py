"""What differs between two kits. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlkit.packing.kit import Kit
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.kitfile import kitfile_json


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value of the Kitfile."""

    path: str
    """Its address, for example `datasets[0].license`."""
    before: Any
    """None where the value is new."""
    after: Any
    """None where the value is gone."""


@dataclass(frozen=True, slots=True)
class EntryChange:
    """An entry that came, went or has another version.

    Two entries are the same by class and name, or by class and path where they have no name.
    """

    id: str
    name: str | None
    before: str | None
    """The version; None where the entry had none, or was not there."""
    after: str | None
    kind: str
    """`added`, `removed` or `changed`."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that came, went or has other bytes; sizes in bytes, None where there is no such file."""

    path: str
    before: int | None
    after: int | None

    @property
    def delta(self) -> int:
        """By how many bytes the file grew."""
        return (self.after or 0) - (self.before or 0)


@dataclass(frozen=True, slots=True)
class KitDiff:
    """All differences; the lists are sorted."""

    fields: tuple[FieldChange, ...]
    entries: tuple[EntryChange, ...]
    added: tuple[FileChange, ...]
    removed: tuple[FileChange, ...]
    changed: tuple[FileChange, ...]
    before: Digest
    after: Digest

    @property
    def is_same(self) -> bool:
        """Whether the kits say and hold the same, even if they were packed into different layers or formats."""
        return not (self.fields or self.entries or self.added or self.removed or self.changed)

    @property
    def delta(self) -> int:
        """By how many bytes the files grew in all."""
        return sum(change.delta for change in (*self.added, *self.removed, *self.changed))


def diff(before: Kit, after: Kit) -> KitDiff:
    """What it takes to get from one kit to the other.

    A tar layer whose files nobody knows (foreign kits) counts as one file at its entry's path, by its layer's digest.
    """
    old, new = _contents(before), _contents(after)
    return KitDiff(
        fields=tuple(_field_changes(before, after)),
        entries=tuple(_entry_changes(before, after)),
        added=tuple(FileChange(path, None, new[path][0]) for path in sorted(new.keys() - old.keys())),
        removed=tuple(FileChange(path, old[path][0], None) for path in sorted(old.keys() - new.keys())),
        changed=tuple(
            FileChange(path, old[path][0], new[path][0])
            for path in sorted(old.keys() & new.keys())
            if old[path] != new[path]
        ),
        before=before.manifest.descriptor.digest,
        after=after.manifest.descriptor.digest,
    )


def _contents(kit: Kit) -> dict[str, tuple[int, Digest, int]]:
    """Size, digest and mode by path."""
    contents = {file.path: (file.size, file.digest, file.mode) for file in kit.files}
    for layer in kit.layers:
        if layer.files is None:
            contents[layer.path] = (layer.desc.size, layer.diff_id or layer.desc.digest, 0)
    return contents


def _field_changes(before: Kit, after: Kit) -> Iterator[FieldChange]:
    old, new = dict(_leaves(kitfile_json(before.kitfile))), dict(_leaves(kitfile_json(after.kitfile)))
    for path in sorted(old.keys() | new.keys()):
        # 1, 1.0 and true are equal in Python, and three different values in a Kitfile.
        if (type(old.get(path)), old.get(path)) != (type(new.get(path)), new.get(path)):
            yield FieldChange(path, old.get(path), new.get(path))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The addresses of all scalars; an empty list or map counts as one."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    elif path:
        yield path, value


def _entry_changes(before: Kit, after: Kit) -> Iterator[EntryChange]:
    old, new = _by_identity(before), _by_identity(after)
    for identity in sorted(old.keys() | new.keys()):
        one, other = old.get(identity), new.get(identity)
        if one is None and other is not None:
            yield EntryChange(other.id, other.name, None, other.version, "added")
        elif one is not None and other is None:
            yield EntryChange(one.id, one.name, one.version, None, "removed")
        elif one is not None and other is not None and one.version != other.version:
            yield EntryChange(other.id, other.name, one.version, other.version, "changed")


def _by_identity(kit: Kit) -> dict[tuple[str, str], EntryRecord]:
    """Entries by class and name; by path where there is no name, or two of a class share one."""
    found: dict[tuple[str, str], EntryRecord] = {}
    for entry in kit.entries:
        identity = (str(entry.cls), entry.name or entry.path)
        if identity in found:
            identity = (str(entry.cls), entry.path)
        found[identity] = entry
    return found
