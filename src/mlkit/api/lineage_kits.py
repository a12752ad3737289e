"""Kits, and what is said of them, as facts of lineage."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from mlkit.api.evidence import Evidence as Found
from mlkit.api.evidence import examine
from mlkit.api.session import Located, Session
from mlkit.content.storage import read_blob
from mlkit.errors import IntegrityError, LimitError, NotFoundError, UnsafeError, UsageError
from mlkit.lineage.facts import (
    KITFILE,
    MANIFEST,
    KitFacts,
    StatementFacts,
    edges_of_contents,
    edges_of_dependencies,
    edges_of_document,
    edges_of_inputs,
)
from mlkit.lineage.graph import Edge, EdgeKind, Evidence, NodeKind, node_of
from mlkit.packing.kit import PARENT_ROLE, Kit, load_kit
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.kitfile import Kitfile, model_reference, remote_entries
from mlkit.spec.manifest import KIT_ARTIFACTS, Index, Manifest, parse_manifest
from mlkit.spec.media_types import KITOPS_INDEX_ARTIFACT, TITLE, VERSION
from mlkit.spec.statement import SLSA_PROVENANCE
from mlkit.trust.keys import PublicKey

_PROBLEMS = (IntegrityError, LimitError, UnsafeError, UsageError, NotFoundError)
"""What a kit can have that cannot be read; it is known to exist all the same."""

_DEPENDENCIES = 100_000
"""Of one provenance; a bundle of 4 MiB holds fewer."""


def facts_of(
    session: Session, located: Located, keys: Mapping[str, PublicKey], *, tags: Container[str] | None = None
) -> KitFacts | None:
    """What is known of a kit, or of an index of kits; None for what is neither.

    `keys` are by their ids, `tags` those of the repository. Raises: AuthError, NetworkError; NotFoundError where the
    manifest itself is gone.
    """
    digest = located.desc.digest
    raw = read_blob(located.store, located.desc, limit=MANIFEST_LIMIT)
    try:
        manifest = parse_manifest(raw, media_type=located.desc.media_type, what=str(digest))
    except (IntegrityError, LimitError) as error:
        return KitFacts(digest, problem=error.message)
    if isinstance(manifest, Index):
        return _facts_of_index(digest, manifest) if _is_of_kits(manifest) else None
    try:
        kit = load_kit(located.store, located.desc, checks_config=False)
    except _PROBLEMS as error:
        if not manifest.is_kit:
            return None
        return KitFacts(digest, size=manifest.size, edges=tuple(_layers(digest, manifest)), problem=error.message)
    return KitFacts(
        digest,
        title=manifest.annotations.get(TITLE),
        version=manifest.annotations.get(VERSION),
        size=manifest.size,
        edges=tuple(dict.fromkeys(_edges(digest, kit))),
        statements=statements_on(session, located, keys, tags=tags),
        closed_layers=sum(layer.files is None for layer in kit.layers),
    )


def statements_on(
    session: Session, located: Located, keys: Mapping[str, PublicKey], *, tags: Container[str] | None = None
) -> tuple[StatementFacts, ...]:
    """What is said of a kit, with the ids of the keys whose signature holds; what cannot be read says so."""
    found = examine(session, located, keys, tags=tags)
    return (
        *(_statement(located.desc.digest, one) for one in found.evidence),
        *(StatementFacts(one.digest, "unreadable", problem=one.reason) for one in found.unusable),
    )


def _is_of_kits(index: Index) -> bool:
    return index.artifact_type == KITOPS_INDEX_ARTIFACT or any(
        child.artifact_type in KIT_ARTIFACTS for child in index.manifests
    )


def _facts_of_index(digest: Digest, index: Index) -> KitFacts:
    node, evidence = node_of(digest, NodeKind.KIT), Evidence(MANIFEST, digest)
    return KitFacts(
        digest,
        title=index.annotations.get(TITLE),
        size=len(index.raw),
        edges=tuple(
            Edge(node, node_of(child.digest, NodeKind.KIT), EdgeKind.CONTAINS, evidence) for child in index.manifests
        ),
    )


def _edges(digest: Digest, kit: Kit) -> Iterator[Edge]:
    node = node_of(digest, NodeKind.KIT)
    pinned: tuple[InputRecord, ...] = ()
    if kit.document is not None:
        yield from edges_of_document(digest, kit.document)
        pinned = kit.document.inputs
    else:
        for layer in kit.layers:
            yield from edges_of_contents(
                node, layer.desc.digest, layer.desc.size, layer.cls, layer.path, layer.files, Evidence(MANIFEST, digest)
            )
    yield from edges_of_inputs(node, _told(kit.kitfile, pinned), Evidence(KITFILE, digest))


def _told(kitfile: Kitfile, pinned: tuple[InputRecord, ...]) -> Iterator[InputRecord]:
    """What the Kitfile says of inputs and packing did not pin."""
    known = {text.partition("@")[0] for record in pinned for text in (record.ref, record.uri) if text is not None}
    found = [
        InputRecord(item.role, item.ref, item.uri, Digest.parse(item.digest) if item.digest else None)
        for item in kitfile.inputs
    ]
    parent = model_reference(kitfile)
    if parent is not None:
        found.append(InputRecord(PARENT_ROLE, str(parent), digest=parent.digest))
    for _, remote_path, remote_hash in remote_entries(kitfile):
        is_url = "://" in remote_path
        digest = Digest.parse(remote_hash) if remote_hash and remote_hash.startswith("sha256:") else None
        found.append(InputRecord("dataset", None if is_url else remote_path, remote_path if is_url else None, digest))
    for record in found:
        text = record.ref or record.uri
        if text is None or text.partition("@")[0] not in known:
            yield record


def _layers(digest: Digest, manifest: Manifest) -> Iterator[Edge]:
    """Of a kit that cannot be read: at least which bytes it lists."""
    node, evidence = node_of(digest, NodeKind.KIT), Evidence(MANIFEST, digest)
    for layer in manifest.layers:
        name = layer.annotations.get(TITLE)
        yield Edge(node, node_of(layer.digest), EdgeKind.CONTAINS, evidence, name=name, size=layer.size)


def _statement(kit: Digest, found: Found) -> StatementFacts:
    statement = found.statement
    edges: tuple[Edge, ...] = ()
    if statement.predicate_type == SLSA_PROVENANCE:
        definition = statement.predicate.get("buildDefinition")
        listed = definition.get("resolvedDependencies") if isinstance(definition, dict) else None
        dependencies = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        evidence = Evidence(SLSA_PROVENANCE, found.digest, found.signed_by)
        edges = tuple(dict.fromkeys(edges_of_dependencies([kit], dependencies[:_DEPENDENCIES], evidence)))
    return StatementFacts(found.digest, statement.predicate_type, found.signed_by, edges)
