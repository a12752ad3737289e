"""Thousands of kits in a registry's folder, and millions of facts in an index, made without packing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.support.kits import Layer, own_kit

from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.lineage.facts import KIT_DOCUMENT, KitFacts, edges_of_inputs
from mlkit.lineage.graph import Edge, EdgeKind, Evidence, NodeKind, node_of
from mlkit.lineage.index import Index
from mlkit.lineage.writing import Tagged
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.media_types import OCI_INDEX, REF_NAME

_KITFILE = """\
manifestVersion: 1.0.0
package: {{name: kit-{number}, version: "1.{number}"}}
model: {{path: w.safetensors, version: "{number}"}}
datasets: [{{name: train, path: train.csv}}]
"""


class _Folder(MemoryStore):
    """Writes blobs where a layout has them, without waiting for the disk."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._folder = root / "blobs/sha256"

    def push(self, desc: Descriptor, content: object) -> None:
        with content.open() as stream:  # type: ignore[attr-defined]  # bytes in memory here
            (self._folder / desc.digest.hex).write_bytes(stream.read())


def many_kits(root: Path, count: int, repository: str = "team/many") -> Layout:
    """A layout with kits under the tags v0, v1, …; each tenth is tuned from the one before it."""
    layout = Layout.create(root)
    (root / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    store = _Folder(root)
    entries = []
    before: Descriptor | None = None
    for number in range(count):
        inputs: tuple[InputRecord, ...] = ()
        if before is not None and number % 10:
            inputs = (InputRecord("base-model", f"{repository}:v{number - 1}", digest=before.digest),)
        layers = [
            Layer("model", {"w.safetensors": f"weights {number}".encode() * 100}),
            Layer("datasets[0]", {"train.csv": f"data {number % 100}".encode() * 100}),
        ]
        before = own_kit(store, _KITFILE.format(number=number), layers, inputs=inputs)
        entries.append(before.with_annotations({REF_NAME: f"{repository}:v{number}"}).render())
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (root / "index.json").write_text(json.dumps(index))
    return layout


def fill(index: Index, kits: int, *, fan: int = 250, depth: int = 4, batch: int = 5000) -> str:
    """An index of so many kits with three links each; gives the key of a file that a thousand kits came of.

    In a corner of it one file is in a kit, which `fan` kits used, of each of which came a chain of `depth` kits in all.
    """
    place = index.place("host.example/team/synthetic", is_local=False)
    poison = _digest("poison")
    found: list[KitFacts] = [_kit("root", poison, [])]
    for arm in range(fan):
        for level in range(depth):
            above = "root" if level == 0 else f"arm-{arm}-{level - 1}"
            found.append(_kit(f"arm-{arm}-{level}", _digest(f"data-{arm}-{level}"), [above]))
    rest = (
        _kit(f"kit-{number}", _digest(f"data-{number // 3}"), _above(number)) for number in range(kits - len(found))
    )
    _write(index, place, found)
    while some := list(_take(rest, batch)):
        _write(index, place, some)
    index.start("host.example", at=1, keys=())
    index.finish("host.example", at=2, kit_count=kits, state=None, problem=None, failed={})
    return str(poison)


def _write(index: Index, place: int, found: list[KitFacts]) -> None:
    index.write(place, found, [Tagged(one.title or "", one.digest) for one in found], at=1)


def _above(number: int) -> list[str]:
    return [f"kit-{number - 1 - number % 7}"] if number > 7 else []


def _kit(name: str, data: Digest, above: list[str]) -> KitFacts:
    digest = _digest(name)
    node, evidence = node_of(digest, NodeKind.KIT), Evidence(KIT_DOCUMENT, digest)
    weights = node_of(_digest(f"weights of {name}"))
    inputs = [InputRecord("base-model", f"team/{other}:1", digest=_digest(other)) for other in above]
    return KitFacts(
        digest,
        title=name,
        version="1.0",
        size=10_000,
        edges=(
            Edge(node, weights, EdgeKind.CONTAINS, evidence, "model", "model/weights.safetensors", 8000),
            Edge(node, node_of(data), EdgeKind.CONTAINS, evidence, "datasets", "data/train.parquet", 4000),
            *edges_of_inputs(node, inputs, evidence),
        ),
    )


def _digest(name: str) -> Digest:
    return Digest.of(name.encode())


def _take(items: Iterator[KitFacts], count: int) -> Iterator[KitFacts]:
    for _, item in zip(range(count), items, strict=False):
        yield item
