"""What one kit says about where it came from, as links. Pure: documents in, links out.

Every link that a kit's own documents state rests on the kit's manifest, whose digest covers them all; a link that an
attestation states rests on that attestation. Nothing here decides whom to believe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlkit.errors import MlkitError
from mlkit.lineage.graph import (
    ROLE_KINDS,
    Edge,
    EdgeKind,
    Evidence,
    Node,
    NodeKind,
    node_of,
    node_of_reference,
    node_of_uri,
)
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord, InputRecord, KitDocument
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference
from mlkit.spec.weights import is_weight

KIT_DOCUMENT: Final = "kit document"
MANIFEST: Final = "manifest"
KITFILE: Final = "Kitfile"

MODEL_CONFIG: Final = "model-config"
"""The role of tokenizers, configs and other small companions of weights: many models share them, so they tell nothing
about where weights came from."""

_ADDRESSES: Final[Mapping[str, Callable[[str], str]]] = {
    "dvc.md5": "md5:{}".format,
    "git.commit": "git:{}".format,
    "huggingface.commit": "hf:{}".format,
    "mlflow.run": "mlflow:runs/{}".format,
}
"""Facts of an input that are names of the same thing elsewhere, by which it can be asked for."""

_DIGEST_FACTS: Final[Mapping[str, str]] = {"md5": "dvc.md5", "gitCommit": "git.commit"}
"""Digests of in-toto (spec/v1, digest_set.md) that are no digests here, as the facts that an input has of them."""
_OCI: Final = "oci://"


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """An attestation or signature on a kit, as far as lineage is concerned."""

    digest: Digest
    """Of the referrer's manifest."""
    predicate_type: str
    signed_by: tuple[str, ...] = ()
    """Ids of the keys whose signature was checked and holds."""
    edges: tuple[Edge, ...] = ()
    problem: str | None = None
    """Why it could not be read, where it could not."""


@dataclass(frozen=True, slots=True)
class KitFacts:
    """What is known of one kit."""

    digest: Digest
    """Of its manifest."""
    title: str | None = None
    version: str | None = None
    size: int = 0
    """Bytes of everything it lists."""
    edges: tuple[Edge, ...] = ()
    statements: tuple[StatementFacts, ...] = ()
    closed_layers: int = 0
    """Layers whose files nobody knows before they are read: those of other tools."""
    problem: str | None = None
    """Why it could not be read whole, where it could not; what could be read is still here."""


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """One record of a channel's history."""

    channel: str
    sequence: int
    action: str
    kit: Digest
    """What the channel points at from then on."""
    before: Digest | None
    at: str
    """RFC 3339, by the clock of whoever wrote it."""
    by: str
    record: Digest
    message: str | None = None
    signed_by: tuple[str, ...] = ()
    """Ids of the keys that stand for it: its own, or those of a later record of the chain."""
    is_signed: bool | None = None
    """Whether anybody has signed it, trusted or not; None where nobody looked."""


def edges_of_document(kit: Digest, document: KitDocument) -> Iterator[Edge]:
    """What a kit document states: every file and layer by content, and the inputs."""
    node = node_of(kit, NodeKind.KIT)
    evidence = Evidence(KIT_DOCUMENT, kit)
    for layer in document.layers:
        digest = None if layer.kind == "raw" and layer.compression == "none" else layer.digest
        yield from edges_of_contents(node, digest, layer.size, layer.cls, None, layer.files, evidence)
    yield from edges_of_inputs(node, document.inputs, evidence)


def edges_of_contents(
    kit: Node,
    layer: Digest | None,
    size: int,
    cls: Class,
    path: str | None,
    files: Sequence[FileRecord] | None,
    evidence: Evidence,
) -> Iterator[Edge]:
    """What a layer amounts to: itself, where it is something else than its one file, and its files where it tells."""
    if layer is not None:
        role = _role(cls, path) if files is None and path is not None else cls.value
        yield Edge(kit, node_of(layer), EdgeKind.CONTAINS, evidence, role=role, name=path, size=size)
    for file in files or ():
        role = _role(cls, file.path)
        yield Edge(kit, node_of(file.digest), EdgeKind.CONTAINS, evidence, role=role, name=file.path, size=file.size)


def edges_of_inputs(made: Node, records: Iterable[InputRecord], evidence: Evidence) -> Iterator[Edge]:
    """What inputs amount to. One that gives a digest and an address gives a link to each: either may be asked for."""
    for record in records:
        for origin, name in _origins(record):
            kind, node_kind = ROLE_KINDS.get(record.role, (EdgeKind.USES, NodeKind.URI))
            if origin.kind is NodeKind.URI and node_kind is not NodeKind.CONTENT:
                origin = Node(origin.key, node_kind)
            yield Edge(made, origin, kind, evidence, role=record.role, name=name)


def edges_of_dependencies(
    subjects: Sequence[Digest], dependencies: Iterable[Mapping[str, object]], evidence: Evidence
) -> Iterator[Edge]:
    """What the `resolvedDependencies` of SLSA provenance v1 amount to, for each of the subjects.

    A dependency has `uri`, `digest` (names of algorithms to hexadecimal), `mediaType`, `annotations`; what is not of
    this shape is passed over (an attestation comes from anywhere). An annotation `role` is a role, as mlkit writes it.
    """
    for dependency in dependencies:
        records = list(_resolved(dependency))
        for subject in subjects:
            yield from edges_of_inputs(node_of(subject, NodeKind.KIT), records, evidence)


def _role(cls: Class, path: str) -> str:
    return MODEL_CONFIG if cls is Class.MODEL and not is_weight(path) else cls.value


def _origins(record: InputRecord) -> Iterator[tuple[Node, str | None]]:
    name = record.ref or record.uri or record.name
    if record.ref is not None:
        reference = _reference(record.ref)
        if reference is not None and record.digest is not None:
            reference = reference.with_digest(record.digest)
        yield (node_of_reference(reference) if reference else node_of_uri(record.ref)), name
    elif record.digest is not None:
        yield node_of(record.digest), name
    addresses = [record.uri, *(make(text) for fact, text in record.facts if (make := _ADDRESSES.get(fact)))]
    for address in addresses:
        try:
            if address is not None:
                yield node_of_uri(address), name or record.path
        except MlkitError:
            continue  # an address that is none says nothing


def _reference(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except MlkitError:
        return None


def _resolved(dependency: Mapping[str, object]) -> Iterator[InputRecord]:
    """A dependency as inputs: one for each digest that is known here, or one for its address alone."""
    uri, annotations, digests = (dependency.get(name) for name in ("uri", "annotations", "digest"))
    address = uri if isinstance(uri, str) and uri else None
    role = annotations.get("role") if isinstance(annotations, Mapping) else None
    told = digests if isinstance(digests, Mapping) else {}
    facts = tuple((fact, told[name]) for name, fact in _DIGEST_FACTS.items() if isinstance(told.get(name), str))
    reference = address.removeprefix(_OCI) if address is not None and address.startswith(_OCI) else None
    found: list[Digest | None] = []
    for algorithm in ("sha256", "sha512"):
        try:
            found.append(Digest.parse(f"{algorithm}:{told[algorithm]}"))
        except (KeyError, MlkitError):
            continue
    for digest in found or [None]:
        yield InputRecord(
            role=role if isinstance(role, str) else "other",
            ref=reference,
            uri=address if reference is None else None,
            digest=digest,
            facts=facts,
        )
