"""Kits of other tools, made by hand: what their layers are, and what becomes of them when they are unpacked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.packing.trees import packed, write_tree
from tests.support.kits import compressed, kitops_kit, manifest_of, modelpack_kit, put, tar_of
from tests.support.programs import tree

from mlkit.content.memory import MemoryStore
from mlkit.packing.kit import load_kit
from mlkit.packing.unpack import unpack
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile import kitfile_json
from mlkit.spec.media_types import FILE_METADATA, FILEPATH, LEGACY_FILE_METADATA, LEGACY_FILEPATH, TITLE

CNAI = "application/vnd.cnai.model."


def metadata(mode: int, *, typeflag: int = 48, **fields: Any) -> str:
    value = {"name": "f", "mode": mode, "uid": 0, "gid": 0, "size": 1, "mtime": "2025-01-01T00:00:00Z"}
    return json.dumps({**value, "typeflag": typeflag, **fields})


def unpacked(store: MemoryStore, desc: Descriptor, destination: Path) -> dict[str, tuple[bytes, bool]]:
    unpack(load_kit(store, desc), store, destination)
    return tree(destination)


def cnai_kit(store: MemoryStore, layers: list[tuple[str, bytes, dict[str, str]]], *, diff_ids: str) -> Descriptor:
    """As `modctl` 0.2 builds it: old names everywhere, and no Kitfile."""
    descs = []
    for kind, raw, notes in layers:
        descs.append(Descriptor.of(raw, CNAI + kind, notes))
        put(store, descs[-1], raw)
    config = {
        "descriptor": {"name": "old"},
        "modelfs": {"type": "layers", diff_ids: [str(one.digest) for one in descs]},
    }
    return manifest_of(
        store,
        json.dumps(config).encode(),
        f"{CNAI}config.v1+json",
        descs,
        artifact_type=f"{CNAI}manifest.v1+json",
        annotations={},
    )


@pytest.mark.parametrize("diff_ids", ["diff_ids", "diffIds"])
@pytest.mark.parametrize("typeflag", [0, 48])
def test_a_modelpack_of_the_old_names_is_a_kit(tmp_path: Path, typeflag: int, diff_ids: str) -> None:
    store = MemoryStore()
    desc = cnai_kit(
        store,
        [
            ("weight.config.v1.raw", b"{}", {LEGACY_FILEPATH: "config.json"}),
            ("weight.v1.raw", b"w1", {LEGACY_FILEPATH: "a.safetensors"}),
            ("weight.v1.raw", b"w2", {LEGACY_FILEPATH: "b.safetensors"}),
            (
                "code.v1.raw",
                b"#!",
                {LEGACY_FILEPATH: "run.sh", LEGACY_FILE_METADATA: metadata(0o755, typeflag=typeflag)},
            ),
            ("doc.v1.tar", tar_of({"deep/README.md": b"# old"}), {LEGACY_FILEPATH: "deep/README.md"}),
        ],
        diff_ids=diff_ids,
    )

    kit = load_kit(store, desc)

    assert unpacked(store, desc, tmp_path / "out") == {
        "config.json": (b"{}", False),
        "a.safetensors": (b"w1", False),
        "b.safetensors": (b"w2", False),
        "run.sh": (b"#!", True),
        "deep/README.md": (b"# old", False),
    }
    model = kitfile_json(kit.kitfile)["model"]
    assert (model["path"], [part["path"] for part in model["parts"]]) == (
        "a.safetensors",
        ["config.json", "b.safetensors"],
    )


def test_old_names_in_the_config_alone_make_a_kit_too() -> None:
    store = MemoryStore()
    layer = Descriptor.of(b"w", f"{CNAI}weight.v1.raw", {LEGACY_FILEPATH: "w.bin"})
    put(store, layer, b"w")
    desc = manifest_of(store, b"{}", f"{CNAI}config.v1+json", [layer], artifact_type=None, annotations={})

    assert [file.path for file in load_kit(store, desc).files] == ["w.bin"]


@pytest.mark.parametrize("typeflag", [0, 48])
def test_a_modelpack_of_aikit_has_its_modes_and_no_kitfile(tmp_path: Path, typeflag: int) -> None:
    store = MemoryStore()
    annotations = {FILEPATH: "model.gguf", TITLE: "model.gguf", FILE_METADATA: metadata(0o755, typeflag=typeflag)}
    desc = modelpack_kit(store, [("weight.v1.raw", b"GGUF", annotations)])

    assert unpacked(store, desc, tmp_path / "out") == {"model.gguf": (b"GGUF", True)}
    assert load_kit(store, desc).document is None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize(("mode", "is_executable"), [(0o755, True), (0o644, False)])
def test_a_compressed_raw_layer_keeps_the_mode_of_its_file(
    tmp_path: Path, compression: str, mode: int, is_executable: bool
) -> None:
    store = MemoryStore()
    raw = compressed(b"#!/bin/sh\n", compression)
    entry = {"path": "run.sh", "digest": str(Digest.of(raw)), "diffId": str(Digest.of(b"#!/bin/sh\n"))}
    annotations = {FILEPATH: "run.sh", FILE_METADATA: metadata(mode)}
    desc = kitops_kit(store, {"code": [entry]}, [(f"code.v1.raw+{compression}", raw, annotations)])

    assert unpacked(store, desc, tmp_path / "out") == {"run.sh": (b"#!/bin/sh\n", is_executable)}


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_equal_files_of_a_modelkit_have_layers_that_differ(tmp_path: Path, compression: str) -> None:
    project = write_tree(tmp_path / "in", {"data/a": b"same", "data/b": b"same", "w.bin": b"same", "x": b"other"})
    (project / "data/b").chmod(0o755)
    kitfile = "model: {path: w.bin}\ndatasets: [{name: d, path: data}, {name: e, path: x}]"

    result, store = packed(project, kitfile, format="kitops", compression=compression)

    digests = [layer.digest for layer in result.manifest.layers]
    assert len(set(digests)) == len(digests)
    kinds = {layer.annotations[FILEPATH]: layer.media_type.rpartition(".v1.")[2] for layer in result.manifest.layers}
    tar = "tar" if compression == "none" else f"tar+{compression}"
    assert kinds == {"w.bin": "raw", "data/a": tar, "data/b": tar, "x": "raw", ".mlkit/kit.json": "raw"}
    assert unpacked(store, result.manifest.descriptor, tmp_path / "out") == tree(project)
    assert result.read_bytes == 4 * 3 + 5 + 4 * 2


def test_equal_files_of_a_modelpack_stay_raw(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "in", {"data/a": b"same", "data/b": b"same"})

    result, _ = packed(project, "datasets: [{name: d, path: data}]")

    first, second, _ = result.manifest.layers
    assert first.digest == second.digest
    assert first.media_type == second.media_type == "application/vnd.cncf.model.dataset.v1.raw"


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
def test_a_kit_with_a_remote_dataset_can_be_read_again(tmp_path: Path, to: str) -> None:
    project = write_tree(tmp_path / "in", {"run.py": b"pass"})
    kitfile = "code: [{path: run.py}]\ndatasets: [{name: far, path: data.csv, remotePath: 's3://b/k', remoteHash: e}]\n"

    result, store = packed(project, kitfile, format=to)

    assert unpacked(store, result.manifest.descriptor, tmp_path / "out") == tree(project)
    assert load_kit(store, result.manifest.descriptor).kitfile.datasets[0].path == "data.csv"


def test_equal_bundles_of_mcp_servers_stay_raw(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "in", {"a.mcpb": b"zip", "b.mcpb": b"zip"})
    kitfile = "mcpServers: [{name: a, path: a.mcpb}, {name: b, path: b.mcpb}]"

    result, _ = packed(project, kitfile, format="kitops")

    assert [layer.media_type.rpartition(".v1.")[2] for layer in result.manifest.layers] == ["raw"] * 3
