"""Facts written straight into an index, without kits and registries behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlkit.lineage.ask import Questions, Subject
from mlkit.lineage.database import open_database
from mlkit.lineage.facts import KIT_DOCUMENT, KitFacts, StatementFacts, edges_of_inputs
from mlkit.lineage.graph import Edge, EdgeKind, Evidence, NodeKind, node_of
from mlkit.lineage.index import Index
from mlkit.lineage.writing import Tagged
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.reference import is_tag
from mlkit.spec.statement import COSIGN_SIGN

KEY = "trusted"
BIG = 10_000
"""Bytes of a file that tells where it comes from."""


def digest(name: str) -> Digest:
    """Of anything that has a name."""
    return Digest.of(name.encode())


def kit(
    name: str,
    *,
    holds: dict[str, str] | None = None,
    inputs: Iterable[InputRecord] = (),
    signed_by: Sequence[str] = (),
    statements: Sequence[StatementFacts] = (),
    size: int = BIG,
    title: str | None = None,
) -> KitFacts:
    """A kit; `holds` gives the role of each content by its name."""
    node, evidence = node_of(digest(name), NodeKind.KIT), Evidence(KIT_DOCUMENT, digest(name))
    held = [
        Edge(node, node_of(digest(content)), EdgeKind.CONTAINS, evidence, role, content, size)
        for content, role in (holds or {}).items()
    ]
    signatures = [StatementFacts(digest(f"signature of {name}"), COSIGN_SIGN, tuple(signed_by))] if signed_by else []
    return KitFacts(
        digest(name),
        title=title or name,
        size=1,
        edges=(*held, *edges_of_inputs(node, inputs, evidence)),
        statements=(*signatures, *statements),
    )


def dataset(name: str) -> InputRecord:
    """A kit as a dataset."""
    return InputRecord("dataset", f"{name}:1", digest=digest(name))


def base(name: str) -> InputRecord:
    """A kit as a base model."""
    return InputRecord("base-model", f"{name}:1", digest=digest(name))


class Filled:
    """An index with facts in it."""

    def __init__(self, location: Path | str) -> None:
        self.location = str(location)
        self.opened = open_database(self.location, now=lambda: 1000.0)
        self.index = Index(self.opened.engine)
        self.place = self.index.place("host.example/team", is_local=False)

    def add(self, *facts: KitFacts, at: int = 1000) -> Filled:
        """Kits, each under a tag that is its title."""
        tags = [Tagged(tag if is_tag(tag := one.title or "") else "odd", one.digest) for one in facts]
        self.index.write(self.place, facts, tags, at=at)
        return self

    def finish(self) -> Filled:
        """As after a whole scan."""
        self.index.start("host.example", at=1000, keys=())
        self.index.finish("host.example", at=1001, kit_count=1, state=None, problem=None, failed={})
        return self

    def questions(self, *keys: str) -> Questions:
        return Questions(self.index, keys=keys, now=lambda: 2000.0, name="test")

    def found(self, name: str, *keys: str) -> dict[str, str]:
        """Titles and standings of what came of something."""
        answer = self.questions(*keys).trained_on(subject(name))
        return {hit.thing.title or "": str(hit.standing) for hit in answer.hits}


def subject(name: str) -> Subject:
    """What has this name."""
    return Subject(name, {str(digest(name)): None})
