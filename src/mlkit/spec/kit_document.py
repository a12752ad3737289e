"""The kit document, `.mlkit/kit.json`: what a kit holds that the standard formats have no slot for.

The author's Kitfile byte for byte, which layers belong to which entry, and path, size, mode, sha256 and place of every
file: enough to list, compare and fetch single files without fetching layers. It lies in every kit as a small layer and
is covered by the manifest's digest; kits come from anywhere, so nothing in it is believed before it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast

from mlkit.errors import IntegrityError, LimitError, UnsafeError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.media_types import Class

DOCUMENT_LIMIT = 64 * 1024 * 1024
"""Bytes; about 350,000 files."""
SCHEMA_VERSION: Final = 1

FACTS_LIMIT = 256
"""Of one input; a training run has a few dozen parameters and metrics."""
TEXT_LIMIT = 4096
"""Characters of a fact, as of a path."""

_MODES = (0o644, 0o755)
_MAX_SIZE = 2**63 - 1
_PATH_LIMIT = 4096  # PATH_MAX of Linux
_NAME_LIMIT = 255  # NAME_MAX of Linux, in bytes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Kind = Literal["raw", "tar"]
Compression = Literal["none", "gzip", "zstd"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file in a layer."""

    path: str
    """Relative to the kit's root, as it will be unpacked."""
    size: int
    """Bytes."""
    mode: int
    """0o644 or 0o755."""
    digest: Digest
    """sha256 of the file's bytes."""
    offset: int
    """Where the file's bytes begin in the uncompressed layer; 0 in a raw layer."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer with content, and what is in it."""

    digest: Digest
    size: int
    """Bytes, as stored."""
    diff_id: Digest
    """Digest of the uncompressed bytes; equal to `digest` without compression."""
    kind: Kind
    compression: Compression
    cls: Class
    entry: str
    """`EntryRecord.id` of the entry it belongs to."""
    files: tuple[FileRecord, ...]


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """One entry of the Kitfile that has local content."""

    id: str
    """Its address in the Kitfile, for example `datasets[1]`."""
    cls: Class
    name: str | None
    path: str
    """Relative to the kit's root; `.` is all of it."""
    version: str | None
    description: str | None
    directories: tuple[str, ...] = ()
    """Directories without files, that unpacking makes."""


@dataclass(frozen=True, slots=True)
class InputRecord:
    """Something that the kit was made from."""

    role: str
    ref: str | None = None
    uri: str | None = None
    digest: Digest | None = None
    """What `ref` or `uri` meant when the kit was packed."""
    name: str | None = None
    """What people call it."""
    path: str | None = None
    """Where it lies in this kit, if it does."""
    facts: tuple[tuple[str, str], ...] = ()
    """What other systems call it or say of it, in order of the names: `dvc.md5`, `git.commit`, `mlflow.run`."""


@dataclass(frozen=True, slots=True)
class KitDocument:
    """The whole document."""

    kitfile: str
    """The author's text, byte for byte."""
    entries: tuple[EntryRecord, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    inputs: tuple[InputRecord, ...] = ()
    schema_version: int = SCHEMA_VERSION


def parse_kit_document(raw: bytes, *, what: str = "kit document") -> KitDocument:
    """Read a kit document from anywhere.

    Raises: IntegrityError for another shape or version; UnsafeError for a path that leaves the kit; LimitError.
    """
    value = parse_object(raw, what=what, limit=DOCUMENT_LIMIT)
    reader = _Reader(what)
    version = reader.integer(value, "schemaVersion", what)
    if version != SCHEMA_VERSION:
        raise IntegrityError(
            f"{what}: schemaVersion {version} is not known (expected {SCHEMA_VERSION})",
            hint="the kit may come from a newer mlkit: upgrade this one",
        )
    return KitDocument(
        kitfile=reader.text(value, "kitfile", what),
        entries=reader.items(value, "entries", what, reader.entry),
        layers=reader.items(value, "layers", what, reader.layer),
        inputs=reader.items(value, "inputs", what, reader.input),
        schema_version=version,
    )


def render_kit_document(document: KitDocument) -> bytes:
    """Canonical JSON: equal documents give equal bytes. Raises: LimitError beyond 64 MiB."""
    raw = render_json(
        {
            "schemaVersion": document.schema_version,
            "kitfile": document.kitfile,
            "entries": [_entry(entry) for entry in document.entries],
            "layers": [_layer(layer) for layer in document.layers],
            "inputs": [_input(record) for record in document.inputs],
        }
    )
    if len(raw) > DOCUMENT_LIMIT:
        raise LimitError(
            f"kit document: {len(raw)} bytes is more than the limit of {DOCUMENT_LIMIT}",
            hint="the kit has too many files: pack them into archives, or split it into several kits",
        )
    return raw


def check_kit_path(path: str, *, what: str) -> str:
    """`path`, if it is a clean relative posix path. Raises: UnsafeError naming `what` and the path."""
    reason = _path_reason(path)
    if reason is not None:
        raise UnsafeError(f"{what}: the path {ascii(path)[:120]} {reason}")
    return path


def _path_reason(path: str) -> str | None:
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path or _CONTROL.search(path):
        return "holds a backslash or control character"
    if len(path) > _PATH_LIMIT:
        return f"is longer than {_PATH_LIMIT} characters"
    for name in path.split("/"):
        if name in ("", ".", ".."):
            return f'holds the component "{name}"'
        if len(name) > 63 and len(name.encode("utf-8")) > _NAME_LIMIT:
            return f"has a component of more than {_NAME_LIMIT} bytes"
    return None


class _Reader:
    """Field by field, so that each error names the place and the value."""

    def __init__(self, what: str) -> None:
        self._what = what

    def items(self, value: dict[str, Any], key: str, where: str, read: Callable[[Any, str], Item]) -> tuple[Item, ...]:
        found = value.get(key)
        if not isinstance(found, list):
            raise IntegrityError(f"{where}: {key} is not a list")
        return tuple(read(item, f"{where}: {key}[{number}]") for number, item in enumerate(found))

    def entry(self, value: Any, where: str) -> EntryRecord:
        fields = self._object(value, where)
        path = self.text(fields, "path", where)
        return EntryRecord(
            id=self.text(fields, "id", where),
            cls=self._class(fields, where),
            name=self._optional_text(fields, "name", where),
            path=path if path == "." else check_kit_path(path, what=where),
            version=self._optional_text(fields, "version", where),
            description=self._optional_text(fields, "description", where),
            directories=self.items(fields, "directories", where, self._directory),
        )

    def layer(self, value: Any, where: str) -> LayerRecord:
        fields = self._object(value, where)
        kind = self._choice(fields, "kind", ("raw", "tar"), where)
        return LayerRecord(
            digest=Digest.parse(fields.get("digest")),
            size=self.integer(fields, "size", where),
            diff_id=Digest.parse(fields.get("diffId")),
            kind=cast(Kind, kind),
            compression=cast(Compression, self._choice(fields, "compression", ("none", "gzip", "zstd"), where)),
            cls=self._class(fields, where),
            entry=self.text(fields, "entry", where),
            files=self.items(fields, "files", where, self.file),
        )

    def file(self, value: Any, where: str) -> FileRecord:
        fields = self._object(value, where)
        mode = self.integer(fields, "mode", where)
        if mode not in _MODES:
            raise IntegrityError(f"{where}: mode {mode:o} is neither 644 nor 755")
        digest = Digest.parse(fields.get("digest"))
        if digest.algorithm != "sha256":
            raise IntegrityError(f"{where}: the digest of a file is sha256, not {digest.algorithm}")
        return FileRecord(
            path=check_kit_path(self.text(fields, "path", where), what=where),
            size=self.integer(fields, "size", where),
            mode=mode,
            digest=digest,
            offset=self.integer(fields, "offset", where),
        )

    def input(self, value: Any, where: str) -> InputRecord:
        fields = self._object(value, where)
        digest = fields.get("digest")
        path = self._optional_text(fields, "path", where)
        return InputRecord(
            role=self.text(fields, "role", where),
            ref=self._optional_text(fields, "ref", where),
            uri=self._optional_text(fields, "uri", where),
            digest=None if digest is None else Digest.parse(digest),
            name=self._optional_text(fields, "name", where),
            path=path if path in (None, ".") else check_kit_path(path, what=where),
            facts=self._facts(fields, where),
        )

    def text(self, fields: dict[str, Any], key: str, where: str) -> str:
        found = fields.get(key)
        if not isinstance(found, str):
            raise IntegrityError(f"{where}: {key} is missing or not text")
        return found

    def integer(self, fields: dict[str, Any], key: str, where: str) -> int:
        found = fields.get(key)
        # bool is an int in Python, and 1e3 arrives as a float: neither counts bytes.
        if type(found) is not int or not 0 <= found <= _MAX_SIZE:
            raise IntegrityError(f"{where}: {key} {ascii(found)[:50]} is not a whole number")
        return found

    def _facts(self, fields: dict[str, Any], where: str) -> tuple[tuple[str, str], ...]:
        facts = self._object(fields.get("facts", {}), f"{where}: facts")
        if len(facts) > FACTS_LIMIT:
            raise LimitError(f"{where}: {len(facts)} facts are more than the limit of {FACTS_LIMIT}")
        for name in facts:
            if len(self.text(facts, name, f"{where}: facts")) > TEXT_LIMIT or len(name) > TEXT_LIMIT:
                raise LimitError(f"{where}: the fact {ascii(name)[:60]} is longer than {TEXT_LIMIT} characters")
        return tuple(sorted(facts.items()))

    def _optional_text(self, fields: dict[str, Any], key: str, where: str) -> str | None:
        return None if fields.get(key) is None else self.text(fields, key, where)

    def _choice(self, fields: dict[str, Any], key: str, choices: tuple[str, ...], where: str) -> str:
        found = self.text(fields, key, where)
        if found not in choices:
            raise IntegrityError(f"{where}: {key} {ascii(found)[:50]} is none of {', '.join(choices)}")
        return found

    def _class(self, fields: dict[str, Any], where: str) -> Class:
        return Class(self._choice(fields, "class", tuple(Class), where))

    def _directory(self, value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise IntegrityError(f"{where}: is not text")
        return check_kit_path(value, what=where)

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise IntegrityError(f"{where}: is not an object")
        return value


def _entry(entry: EntryRecord) -> dict[str, Any]:
    return _present(
        id=entry.id,
        **{"class": entry.cls.value},
        name=entry.name,
        path=entry.path,
        version=entry.version,
        description=entry.description,
        directories=list(entry.directories),
    )


def _layer(layer: LayerRecord) -> dict[str, Any]:
    return {
        "digest": str(layer.digest),
        "size": layer.size,
        "diffId": str(layer.diff_id),
        "kind": layer.kind,
        "compression": layer.compression,
        "class": layer.cls.value,
        "entry": layer.entry,
        "files": [
            {
                "path": file.path,
                "size": file.size,
                "mode": file.mode,
                "digest": str(file.digest),
                "offset": file.offset,
            }
            for file in layer.files
        ],
    }


def _input(record: InputRecord) -> dict[str, Any]:
    digest = None if record.digest is None else str(record.digest)
    return _present(
        role=record.role,
        ref=record.ref,
        uri=record.uri,
        digest=digest,
        name=record.name,
        path=record.path,
        facts=dict(record.facts) or None,
    )


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
