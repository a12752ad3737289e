"""A release record as an artifact: a manifest whose first layer is the statement, signed or bare.

The layers after the first are the contents of records before it, so that they can still be had, and are not collected
as garbage, where somebody deleted their tags. They are small, and stand in the manifest itself too (`data`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mlkit.content.storage import BytesContent, LostContent
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.release.store import Repository
from mlkit.spec.bundle import parse_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import Envelope
from mlkit.spec.manifest import Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import CREATED, IN_TOTO, OCI_EMPTY, SIGSTORE_BUNDLE
from mlkit.spec.release import RELEASE_ARTIFACT, RELEASE_PREDICATE, Release, parse_release
from mlkit.spec.statement import Statement, Subject, parse_statement, render_statement

Seal = Callable[[Statement], bytes]
"""Signs a statement: gives the bytes of a Sigstore bundle."""

WINDOW = 32
"""Earlier records whose content a record keeps alive: as many of them in a row can lose their tags."""
_RECORD_LIMIT = 256 * 1024  # bytes; a thousand entries with names and versions have less than half of it
_INLINE_LIMIT = 16 * 1024  # bytes of a record that also stand in the manifest, which saves a request for each
_EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read or written; what it says, and what it is made of."""

    release: Release
    content: bytes
    """Bundle or bare statement."""
    media_type: str
    envelope: Envelope | None
    """None where nobody signed it."""
    manifest: Manifest | None
    """None where it was found in the manifest of a later one."""

    @property
    def digest(self) -> Digest:
        """Of the content: what the next record names as its previous one."""
        return Digest.of(self.content)

    @property
    def layer(self) -> Descriptor:
        """The content as a layer, in itself."""
        desc = Descriptor.of(self.content, self.media_type)
        return replace(desc, data=self.content) if desc.size <= _INLINE_LIMIT else desc

    @property
    def window(self) -> tuple[Descriptor, ...]:
        """The contents of records before it, newest first."""
        return () if self.manifest is None else self.manifest.layers[1:]


def make_record(release: Release, *, seal: Seal | None, before: Record | None) -> Record:
    """A record with its manifest, not pushed yet."""
    statement = Statement((Subject(release.repository, release.to),), RELEASE_PREDICATE, release.predicate())
    if seal is None:
        content, media_type = render_statement(statement), IN_TOTO
    else:
        content, media_type = seal(statement), SIGSTORE_BUNDLE
    found = _read(content, media_type, what="release record")
    earlier = () if before is None else (replace(before.layer, data=None), *before.window)[:WINDOW]
    return replace(found, manifest=_manifest(found, earlier))


def push_record(store: Repository, record: Record, before: Record | None) -> Record:
    """Bring a record to a repository, without a tag; where earlier ones are lost there, without these."""
    assert record.manifest is not None
    layer = replace(record.layer, data=None)
    store.push(record.manifest.config, BytesContent(_EMPTY))
    store.push(layer, BytesContent(record.content))
    try:
        store.push(record.manifest.descriptor, BytesContent(record.manifest.raw))
    except (LostContent, NotFoundError):
        earlier: tuple[Descriptor, ...] = ()
        if before is not None:
            earlier = (replace(before.layer, data=None),)
            store.push(earlier[0], BytesContent(before.content))
        alone = _manifest(record, earlier)
        store.push(alone.descriptor, BytesContent(alone.raw))
        return replace(record, manifest=alone)
    return record


def read_record(store: Repository, tag: str) -> Record | None:
    """The record under a tag; None where there is no such tag.

    Raises: IntegrityError for what is no record; LimitError; what the store raises.
    """
    desc = store.find(tag)
    if desc is None:
        return None
    manifest = parse_manifest(store.raw(desc), media_type=desc.media_type, what=f"{store.name}:{tag}")
    if not isinstance(manifest, Manifest) or manifest.artifact_type != RELEASE_ARTIFACT or not manifest.layers:
        raise IntegrityError(f"{store.name}:{tag}: not a release record")
    return replace(read_content(store, manifest.layers[0], what=f"{store.name}:{tag}"), manifest=manifest)


def read_content(store: Repository, layer: Descriptor, *, what: str) -> Record:
    """The record that a layer is. Raises: NotFoundError, IntegrityError, LimitError."""
    if layer.size > _RECORD_LIMIT:
        raise LimitError(f"{what}: a record of {layer.size} bytes (at most {_RECORD_LIMIT})")
    content = layer.data if layer.data is not None else store.raw(layer.bare)
    return _read(content, layer.media_type, what=what)


def _read(content: bytes, media_type: str, *, what: str) -> Record:
    envelope = None
    payload = content
    if media_type == SIGSTORE_BUNDLE:
        envelope = parse_bundle(content, what=what).envelope
        if envelope.payload_type != IN_TOTO:
            raise IntegrityError(f"{what}: signs {ascii(envelope.payload_type)[:100]} (expected {IN_TOTO})")
        payload = envelope.payload
    elif media_type != IN_TOTO:
        raise IntegrityError(f"{what}: {ascii(media_type)[:100]} is not a release record")
    statement = parse_statement(payload, what=what)
    if statement.predicate_type != RELEASE_PREDICATE:
        raise IntegrityError(f"{what}: {ascii(statement.predicate_type)[:100]} is not {RELEASE_PREDICATE}")
    release = parse_release(statement.predicate, what=what)
    if not statement.names(release.to):
        raise IntegrityError(f"{what}: says {release.to}, and is about other content")
    return Record(release, content, media_type, envelope, None)


def _manifest(record: Record, earlier: tuple[Descriptor, ...]) -> Manifest:
    # A layer that is listed twice would be one blob with two roles.
    layers = (record.layer, *(layer.bare for layer in earlier if layer.digest != record.digest))
    return render_manifest(
        config=Descriptor.of(_EMPTY, OCI_EMPTY),
        layers=layers,
        artifact_type=RELEASE_ARTIFACT,
        annotations={CREATED: record.release.at},
    )
