"""`index.json` of a layout: names and manifests. Values only, except for the reading and replacing at the end.

What other tools wrote there and mlkit does not know is kept: fields, entries, annotations.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mlkit.content.lock import as_store_error, disk_errors, sync, sync_directory, write_all
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError, StoreError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.media_types import OCI_INDEX, PARTIAL, REF_NAME
from mlkit.spec.reference import check_host, is_repository, is_tag

INDEX_LIMIT = 32 * 1024 * 1024
"""Bytes of index.json: a hundred thousand tags. Beyond that it is no index, and reading it would only cost memory."""

HINT = "`mlkit fsck --repair` makes it again from the journal; nothing else writes a new one over a broken one"
_BEGIN, _BETWEEN, _END = b'"manifests":[\n', b",\n", b"\n]}"
_OTHER_ALGORITHM = re.compile(r"(?!sha256:|sha512:)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)


_Parsed = tuple[Mapping[str, Any], Descriptor | None, str | None]


class Entry:
    """One element of `manifests`, as the one line of canonical JSON that it is written as; parsed when it is asked for.

    Of twenty thousand lines a change of one name needs one.
    """

    __slots__ = ("_parsed", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._parsed: _Parsed | None = None

    @classmethod
    def of(cls, desc: Descriptor, name: str | None) -> Entry:
        """An entry of ours: `desc` under `name`, or without one."""
        return cls(render_json(desc.with_annotations({REF_NAME: name}).render()))

    @classmethod
    def parse(cls, value: object, *, what: str) -> Entry:
        """An entry from outside. Raises: IntegrityError."""
        if not isinstance(value, dict):
            raise IntegrityError(f"{what}: expected a descriptor, found {type(value).__name__}")
        entry = cls(render_json(value))
        entry._parsed = _parse_entry(value, what)
        return entry

    @property
    def value(self) -> Mapping[str, Any]:
        """The JSON form, as it was found."""
        return self._all()[0]

    @property
    def desc(self) -> Descriptor | None:
        """Without the name among its annotations. None where the digest is of an algorithm that mlkit cannot check."""
        return self._all()[1]

    @property
    def name(self) -> str | None:
        """The text of org.opencontainers.image.ref.name, sound or not; None where there is none."""
        return self._all()[2]

    def _all(self) -> _Parsed:
        if self._parsed is None:
            try:
                value = parse_object(self.text, what="index.json", limit=INDEX_LIMIT)
                self._parsed = _parse_entry(value, "index.json")
            except (IntegrityError, LimitError) as error:
                raise StoreError(error.message, hint=HINT) from error
        return self._parsed


@dataclass(frozen=True)
class LayoutIndex:
    """The document; changes give a new one.

    Ours has a line for each entry, so that it can be taken apart without parsing all of it (ADR 0019).
    """

    fields: Mapping[str, Any]
    """Everything but `manifests`."""
    lines: tuple[bytes, ...]
    """The entries, each as the line that it is written as. The collector of garbage passes over bytes; twenty thousand
    objects in their place would let it walk through all that the process holds at every few changes."""

    @classmethod
    def empty(cls) -> LayoutIndex:
        return cls({"schemaVersion": 2, "mediaType": OCI_INDEX}, ())

    @classmethod
    def parse(cls, raw: bytes, *, what: str) -> LayoutIndex:
        """Raises: StoreError for all that is no index."""
        try:
            value = parse_object(raw, what=what, limit=INDEX_LIMIT)
            # null is how Go writes a list that nothing was ever put into; a field that is not there is another matter.
            items = [] if "manifests" in value and value["manifests"] is None else value.get("manifests")
            if value.get("schemaVersion") != 2 or not isinstance(items, list):
                raise IntegrityError(f"{what}: expected schemaVersion 2 and a list of manifests")
            entries = tuple(Entry.parse(item, what=f"{what}: manifests[{at}]") for at, item in enumerate(items))
        except (IntegrityError, LimitError) as error:
            message = error.message if error.message.startswith(what) else f"{what}: {error.message}"
            raise StoreError(message, hint=HINT) from error
        index = cls(
            {name: field for name, field in value.items() if name != "manifests"},
            tuple(entry.text for entry in entries),
        )
        vars(index)["entries"] = entries  # as the property would have them, and parsed already
        return index

    @classmethod
    def of_lines(cls, raw: bytes, *, what: str) -> LayoutIndex:
        """Like `parse`, for bytes that are known to be of `render`: entries are parsed when they are asked for."""
        head, begin, body = raw.partition(_BEGIN)
        if not begin or not body.endswith(_END):
            return cls.parse(raw, what=what)
        try:
            fields = parse_object(head.rstrip(b",") + b"}", what=what)
        except (IntegrityError, LimitError) as error:
            raise StoreError(error.message, hint=HINT) from error
        return cls(fields, tuple(body[: -len(_END)].split(_BETWEEN)))

    def render(self) -> bytes:
        """The bytes of index.json."""
        head = render_json(self.fields)[:-1] + (b"," if self.fields else b"")
        if not self.lines:
            return head + b'"manifests":[]}'
        return b"".join((head, _BEGIN, _BETWEEN.join(self.lines), _END))

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, for who looks at every one."""
        return tuple(map(Entry, self.lines))

    @cached_property
    def digest(self) -> Digest:
        """Of the bytes of index.json, as mlkit would write them."""
        return Digest.of(self.render())

    @cached_property
    def by_name(self) -> dict[str, tuple[Descriptor, ...]]:
        """What each sound name points at; more than one where two writers disagree."""
        found: dict[str, tuple[Descriptor, ...]] = {}
        for entry in self.entries:
            if entry.desc is not None and entry.name is not None and is_name(entry.name):
                known = found.get(entry.name, ())
                if all(desc.digest != entry.desc.digest for desc in known):
                    found[entry.name] = (*known, entry.desc)
        return found

    def named(self, name: str) -> tuple[Descriptor, ...]:
        """What `by_name` has for one name, without looking at the others."""
        if "by_name" in self.__dict__:
            return self.by_name.get(name, ())
        found: list[Descriptor] = []
        for entry in self._that_may_have(name) if is_name(name) else ():
            if entry.name == name and entry.desc is not None and all(one.digest != entry.desc.digest for one in found):
                found.append(entry.desc)
        return tuple(found)

    @property
    def bad_names(self) -> tuple[str, ...]:
        """Names that no reference can be, in the order in which they occur; they are kept and ignored."""
        return tuple(entry.name for entry in self.entries if entry.name is not None and not is_name(entry.name))

    @property
    def ambiguous_names(self) -> tuple[str, ...]:
        """Names that point at two manifests."""
        return tuple(name for name, found in self.by_name.items() if len(found) > 1)

    def resolve(self, name: str) -> Descriptor:
        """Raises: NotFoundError; ConflictError where the name is given twice."""
        found = self.named(name)
        if not found:
            raise NotFoundError(f"no {ascii(name)[:300]} in this store")
        if len(found) > 1:
            digests = " and ".join(str(desc.digest) for desc in found)
            raise ConflictError(
                f"{name}: index.json gives this name to {digests}",
                hint="tag the right one by its digest, which replaces both",
            )
        return found[0]

    def tagged(self, desc: Descriptor, name: str) -> LayoutIndex:
        """`name` points at `desc` and at nothing else. What is whole under one name is whole under all."""
        return replace(self, lines=(*_as_whole(self.untagged(name).lines, desc), Entry.of(desc, name).text))

    def untagged(self, name: str) -> LayoutIndex:
        """Without `name`."""
        gone = {entry.text for entry in self._that_may_have(name) if entry.name == name}
        return replace(self, lines=tuple(line for line in self.lines if line not in gone)) if gone else self

    def recorded(self, desc: Descriptor) -> LayoutIndex:
        """With an entry for `desc` that has no name, in place of an earlier one; whole is whole, as in `tagged`."""
        digest = str(desc.digest).encode()
        kept = tuple(line for line in self.lines if digest not in line or not _is_nameless(Entry(line), desc.digest))
        return replace(self, lines=(*_as_whole(kept, desc), Entry.of(desc, None).text))

    def without(self, digests: Iterable[Digest]) -> LayoutIndex:
        """Without any entry of these manifests."""
        gone = frozenset(digests)
        if not gone:
            return self
        kept = (entry.text for entry in self.entries if entry.desc is None or entry.desc.digest not in gone)
        return replace(self, lines=tuple(kept))

    def lists(self, digest: Digest) -> bool:
        """Whether any entry, named or not, is of this manifest."""
        text = str(digest).encode()
        return any(text in line and _is(Entry(line), digest) for line in self.lines)

    def _that_may_have(self, name: str) -> list[Entry]:
        """Every entry that has the name, and perhaps some that only hold such a pair somewhere else."""
        pair = render_json({REF_NAME: name})[1:-1]
        return [Entry(line) for line in self.lines if pair in line]


def is_name(text: str) -> bool:
    """Whether a layout may know a manifest by `text`: a tag, or `[host/]repository:tag`."""
    name, colon, tag = text.rpartition(":")
    if not is_tag(tag):
        return False
    if not colon or is_repository(name):
        return True
    host, _, repository = name.partition("/")
    try:
        return check_host(host) == host and is_repository(repository)
    except UsageError:
        return False


def read_index(path: Path) -> LayoutIndex:
    """Raises: StoreError where the file is missing, broken or no file."""
    return LayoutIndex.parse(read_small(path, limit=INDEX_LIMIT), what=str(path))


def read_small(path: Path, *, limit: int) -> bytes:
    """A small regular file of the store. Raises: StoreError for links, folders, pipes and what is larger."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: is missing", hint=HINT) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise StoreError(f"{path}: is not a regular file", hint=HINT) from error
        raise as_store_error(error, path) from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: is not a regular file", hint=HINT)
        if found.st_size > limit:
            raise StoreError(f"{path}: {found.st_size} bytes is more than the limit of {limit}", hint=HINT)
        with disk_errors(path), io.FileIO(file, closefd=False) as stream:
            return stream.readall()
    finally:
        os.close(file)


def replace_file(path: Path, content: bytes, *, through: Path, is_durable: bool = True) -> None:
    """Let `path` hold `content`, all at once, by way of a file `through` on the same file system.

    Only for a holder of the exclusive lock, since `through` is one fixed name. Raises: StoreError.
    """
    with disk_errors(path, needed=len(content)):
        file = os.open(through, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            write_all(file, content)
            if is_durable:
                sync(file)
        except OSError:
            through.unlink(missing_ok=True)  # it may be what fills the disk
            raise
        finally:
            os.close(file)
        through.replace(path)
        if is_durable:
            sync_directory(path.parent)


def _parse_entry(value: Mapping[str, Any], what: str) -> _Parsed:
    digest = value.get("digest")
    if isinstance(digest, str) and _OTHER_ALGORITHM.fullmatch(digest):
        return value, None, None
    desc = Descriptor.parse(value, what=what)
    name = desc.annotations.get(REF_NAME)
    return value, desc if name is None else desc.with_annotations({REF_NAME: None}), name


def _is(entry: Entry, digest: Digest) -> bool:
    return entry.desc is not None and entry.desc.digest == digest


def _is_nameless(entry: Entry, digest: Digest) -> bool:
    return entry.name is None and _is(entry, digest)


def _as_whole(lines: tuple[bytes, ...], desc: Descriptor) -> tuple[bytes, ...]:
    """Entries, of which those of a manifest that is whole now do not say otherwise."""
    if PARTIAL in desc.annotations:
        return lines
    mark, digest = PARTIAL.encode(), str(desc.digest).encode()
    return tuple(_whole(line, desc.digest) if mark in line and digest in line else line for line in lines)


def _whole(line: bytes, digest: Digest) -> bytes:
    """The line of an entry, without the mark of a partial kit where it is one of this manifest."""
    entry = Entry(line)
    if entry.desc is None or entry.desc.digest != digest or PARTIAL not in entry.desc.annotations:
        return line
    annotations = {name: text for name, text in entry.value["annotations"].items() if name != PARTIAL}
    return render_json({**entry.value, "annotations": annotations})
