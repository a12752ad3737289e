"""What the packer makes, the unpacker gives back: cases of KitOps, both formats, every kind of layer and store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.packing.test_unpack import files
from tests.packing.trees import DATA, packed, write_tree

from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.packing.foreign import read_foreign
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.pack import pack, prepare
from mlkit.packing.plan import PackOptions
from mlkit.packing.read import open_file
from mlkit.packing.select import select
from mlkit.packing.unpack import unpack
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.kitfile import model_reference

CASES = DATA / "kitfile-cases"
KITFILE = """\
# every class, and a comment that stays
manifestVersion: 1.0.0
package: {name: whole, version: "1.2"}
model: {name: m, path: model, parts: [{name: tok, path: tok/tokenizer.json}]}
datasets: [{name: train, path: data/train}, {name: test, path: data/test.csv, version: "2"}]
parameters: [{name: p, path: params.yaml}]
deployment: [{name: d, path: deploy, runtime: vllm}]
docs: [{path: README.md}]
prompts: [{name: pr, path: prompts}]
code: [{path: .}]
"""
TREE = {
    "model/big.safetensors": bytes(range(256)) * 5000,
    "model/config.json": b"{}",
    "tok/tokenizer.json": b"[]",
    **{f"data/train/part-{number:03}.parquet": b"%d" % number * number for number in range(80)},
    "data/test.csv": b"1,2\n",
    "params.yaml": b"lr: 0.1\n",
    "deploy/k8s.yaml": b"kind: x\n",
    "README.md": b"# card\n",
    "prompts/a.md": b"say a",
    "src/train.py": b"pass\n",
    "src/lib/\u00fcber.py": b"",
    "model_utils.py": b"not the model's\n",
}


def cases(with_kits: bool) -> list[Any]:
    if not CASES.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip(reason="the cases of KitOps are not beside the repository"))]
    found = [(path.stem, yaml.safe_load(path.read_text())) for path in sorted(CASES.glob("*.yaml"))]
    return [pytest.param(case, id=name) for name, case in found if ("modelkits" in case) is with_kits]


@pytest.mark.parametrize("form", ["modelpack", "kitops"])
@pytest.mark.parametrize("layers", ["auto", "tar", "raw"])
@pytest.mark.parametrize("case", cases(with_kits=False))
def test_a_case_of_kitops_comes_back(case: dict[str, Any], layers: str, form: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    expected = [name.removeprefix("./") for name in case.get("files", ())]
    write_tree(source, [*expected, *(name.removeprefix("./") for name in case.get("ignored", ()))])
    (source / "Kitfile").write_text(case["kitfile"])
    if "kitignore" in case:
        (source / ".kitignore").write_text(case["kitignore"])
    result, store = packed(source, case["kitfile"], layers=layers, format=form)

    unpack(load_kit(store, result.manifest.descriptor), store, tmp_path / "out")

    found = files(tmp_path / "out")
    assert found.pop("Kitfile") == case["kitfile"].encode()
    assert found == {name: f"testing: {name}".encode() for name in expected}


@pytest.mark.parametrize("form", ["modelpack", "kitops"])
@pytest.mark.parametrize("case", cases(with_kits=True))
def test_a_case_of_kitops_with_references_comes_back(case: dict[str, Any], form: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    expected: list[str] = []

    def parents(kit: Kit) -> tuple[Kit, MemoryStore] | None:
        reference = model_reference(kit.kitfile)
        return None if reference is None else (load_kit(store, store.resolve(str(reference))), store)

    for number, one in enumerate(case["modelkits"]):
        source = write_tree(tmp_path / f"in{number}", one["files"])
        expected += one["files"]
        result = pack(prepare(source, one["kitfile"], PackOptions(format=form), inputs=_pinned(one, store)), store)
        store.tag(result.manifest.descriptor, one["tag"])
    youngest = load_kit(store, result.manifest.descriptor)

    unpack(youngest, store, tmp_path / "out", selection=select(youngest, ["model"]), parents=parents)

    assert files(tmp_path / "out") == {name: f"testing: {name}".encode() for name in expected}


def _pinned(one: dict[str, Any], store: MemoryStore) -> tuple[InputRecord, ...]:
    reference = yaml.safe_load(one["kitfile"])["model"]["path"]
    if ":" not in reference:
        return ()
    return (InputRecord("base-model", ref=reference, digest=store.resolve(reference).digest),)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_tree(tmp_path_factory.mktemp("source"), TREE)
    (root / "deploy/empty").mkdir()
    return root


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryStore() if request.param == "memory" else Layout.create(tmp_path / "store")


@pytest.mark.parametrize("form", ["modelpack", "kitops"])
@pytest.mark.parametrize(
    ("layers", "compression"), [("auto", "none"), ("tar", "none"), ("tar", "zstd"), ("tar", "gzip"), ("raw", "none")]
)
def test_every_byte_comes_back(
    form: Any, layers: Any, compression: Any, store: Any, source: Path, tmp_path: Path
) -> None:
    options = PackOptions(format=form, layers=layers, compression=compression)
    result = pack(prepare(source, KITFILE, options), store)
    kit = load_kit(store, result.manifest.descriptor)

    unpack(kit, store, tmp_path / "out")
    unpack(kit, store, tmp_path / "some", selection=select(kit, ["datasets:part-07*", "src/lib", "!**/*9.parquet"]))

    assert files(tmp_path / "out") == {**TREE, "Kitfile": KITFILE.encode()}
    assert (tmp_path / "out/deploy/empty").is_dir()
    assert set(files(tmp_path / "some")) == {
        *(f"data/train/part-07{digit}.parquet" for digit in range(9)),
        "src/lib/\u00fcber.py",
    }
    for path in ("model/big.safetensors", "data/train/part-042.parquet", "src/train.py", "Kitfile"):
        with open_file(kit, store, path) as stream:
            assert stream.read() == (tmp_path / "out" / path).read_bytes()


def test_packing_what_was_unpacked_gives_the_same_kit(source: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    first = pack(prepare(source, KITFILE, PackOptions()), store)
    unpack(load_kit(store, first.manifest.descriptor), store, tmp_path / "out")

    again = pack(prepare(tmp_path / "out", KITFILE, PackOptions()), store)

    assert again.manifest.descriptor == first.manifest.descriptor


def test_a_kit_that_mlkit_wrote_reads_the_same_without_its_kit_document(source: Path, tmp_path: Path) -> None:
    """What other tools see of it: entries in their words, with the same files behind them."""
    store = MemoryStore()
    result = pack(prepare(source, KITFILE, PackOptions(format="kitops")), store)
    manifest = result.manifest
    with store.open(manifest.config) as stream:
        config = stream.read()
    seen = read_foreign(replace(manifest, layers=manifest.layers[:-1]), config, what="kit")
    unpack(
        replace(load_kit(store, manifest.descriptor), document=None, entries=seen.entries, layers=seen.layers),
        store,
        tmp_path / "out",
    )

    assert files(tmp_path / "out") == {**TREE, "Kitfile": KITFILE.encode()}
