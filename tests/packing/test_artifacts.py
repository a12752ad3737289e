"""Artifacts of tools that know nothing of kits, made by hand: read where they hold files, named where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.support.kits import compressed, kitops_kit, manifest_of, modelpack_kit, put, tar_of
from tests.support.programs import tree

from mlkit.content.memory import MemoryStore
from mlkit.errors import IntegrityError, MlkitError, UnsafeError, UsageError
from mlkit.packing.artifacts import identify
from mlkit.packing.kit import load_kit
from mlkit.packing.read import open_file
from mlkit.packing.select import select
from mlkit.packing.unpack import unpack
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import parse_manifest
from mlkit.spec.media_types import FILEPATH, KITOPS_INDEX_ARTIFACT, KITOPS_SUBTYPE, OCI_EMPTY, OCI_INDEX, TITLE, Class

DOCKER = "application/vnd.docker.ai."
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar"


def artifact(
    store: MemoryStore,
    layers: Sequence[tuple[str, bytes, Mapping[str, str]]],
    *,
    config_type: str = OCI_EMPTY,
    config: bytes = b"{}",
    artifact_type: str | None = None,
) -> Descriptor:
    descs = []
    for media_type, raw, notes in layers:
        descs.append(Descriptor.of(raw, media_type, notes))
        put(store, descs[-1], raw)
    return manifest_of(store, config, config_type, descs, artifact_type=artifact_type, annotations={})


def unpacked(store: MemoryStore, desc: Descriptor, destination: Path, *filters: str) -> dict[str, bytes]:
    kit = load_kit(store, desc)
    unpack(kit, store, destination, selection=select(kit, filters) if filters else None)
    return {path: content for path, (content, _) in tree(destination).items()}


def read(store: MemoryStore, desc: Descriptor, path: str) -> bytes:
    with open_file(load_kit(store, desc), store, path) as stream:
        return stream.read()


def kind_of(store: MemoryStore, desc: Descriptor) -> str:
    return identify(parse_manifest(store._blobs[desc.digest], media_type=desc.media_type)).kind


@pytest.mark.parametrize("version", ["v0.1", "v0.2"])
def test_a_model_of_docker_is_read(tmp_path: Path, version: str) -> None:
    store = MemoryStore()
    layers: list[tuple[str, bytes, Mapping[str, str]]] = [
        (f"{DOCKER}license", b"MIT", {}),
        (f"{DOCKER}gguf.v3", b"GGUF", {}),
        (f"{DOCKER}gguf.v3.mmproj", b"projector", {}),
        (f"{DOCKER}chat.template.jinja", b"{{ }}", {}),
    ]
    desc = artifact(store, layers, config_type=f"{DOCKER}model.config.{version}+json")

    assert kind_of(store, desc) == "docker-model"
    assert unpacked(store, desc, tmp_path / "out") == {
        "LICENSE": b"MIT",
        "model.gguf": b"GGUF",
        "mmproj.gguf": b"projector",
        "chat_template.jinja": b"{{ }}",
    }
    assert read(store, desc, "model.gguf") == b"GGUF"
    assert unpacked(store, desc, tmp_path / "docs", "docs") == {"LICENSE": b"MIT"}
    assert load_kit(store, desc).kitfile.model is not None
    assert [entry.path for entry in load_kit(store, desc).entries if entry.id == "model"] == ["model.gguf"]


def test_shards_and_annotated_files_of_a_model_of_docker_keep_their_names(tmp_path: Path) -> None:
    store = MemoryStore()
    layers: list[tuple[str, bytes, Mapping[str, str]]] = [
        (f"{DOCKER}safetensors", b"one", {}),
        (f"{DOCKER}safetensors", b"two", {}),
        (f"{DOCKER}model.file", b"{}", {FILEPATH: "text_encoder/config.json"}),
        (f"{DOCKER}vllm.config.tar", tar_of({"config.json": b"{}", "merges.txt": b""}), {}),
        (f"{DOCKER}something.new", b"?", {}),
    ]
    desc = artifact(store, layers, config_type=f"{DOCKER}model.config.v0.2+json")

    assert unpacked(store, desc, tmp_path / "out") == {
        "model-00001-of-00002.safetensors": b"one",
        "model-00002-of-00002.safetensors": b"two",
        "text_encoder/config.json": b"{}",
        "config.json": b"{}",
        "merges.txt": b"",
    }


@pytest.mark.parametrize("artifact_type", [None, "application/vnd.example.thing"])
def test_titled_layers_of_oras_are_files(tmp_path: Path, artifact_type: str | None) -> None:
    store = MemoryStore()
    directory = tar_of({"data/": b"", "data/a.csv": b"1", "data/deep/b.csv": b"2"})
    layers: list[tuple[str, bytes, Mapping[str, str]]] = [
        ("application/octet-stream", b"weights", {TITLE: "net.safetensors"}),
        ("text/plain", b"# hi", {TITLE: "docs/README.md"}),
        (
            f"{IMAGE_LAYER}+gzip",
            compressed(directory, "gzip"),
            {
                TITLE: "data",
                "io.deis.oras.content.unpack": "true",
                "io.deis.oras.content.digest": str(Digest.of(directory)),
            },
        ),
        ("application/x-without-a-name", b"passed by, as by oras", {}),
    ]
    desc = artifact(store, layers, artifact_type=artifact_type)

    kit = load_kit(store, desc)

    assert kind_of(store, desc) == "artifact"
    assert {entry.path: entry.cls for entry in kit.entries} == {
        "net.safetensors": Class.MODEL,
        "docs/README.md": Class.DOCS,
        "data": Class.CODE,
    }
    assert unpacked(store, desc, tmp_path / "out") == {
        "net.safetensors": b"weights",
        "docs/README.md": b"# hi",
        "data/a.csv": b"1",
        "data/deep/b.csv": b"2",
    }
    assert read(store, desc, "data/deep/b.csv") == b"2"


def test_a_directory_of_oras_with_other_bytes_than_told_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    annotations = {
        TITLE: "data",
        "io.deis.oras.content.unpack": "true",
        "io.deis.oras.content.digest": str(Digest.of(b"another tar")),
    }
    raw = compressed(tar_of({"data/a": b"1"}), "gzip")
    desc = artifact(store, [(f"{IMAGE_LAYER}+gzip", raw, annotations)])

    with pytest.raises(IntegrityError, match="diffID"):
        unpacked(store, desc, tmp_path / "out")


@pytest.mark.parametrize("title", ["../x", "/etc/passwd", "a/../../x", "..", "a\0b"])
@pytest.mark.parametrize("config_type", [OCI_EMPTY, f"{DOCKER}model.config.v0.1+json"], ids=["oras", "docker"])
def test_names_that_leave_the_destination_are_refused(title: str, config_type: str) -> None:
    store = MemoryStore()
    desc = artifact(store, [(f"{DOCKER}gguf.v3", b"x", {TITLE: title})], config_type=config_type)

    with pytest.raises(UnsafeError):
        load_kit(store, desc)


@pytest.mark.parametrize(
    ("config_type", "artifact_type", "expected", "kind"),
    [
        ("application/vnd.cncf.helm.config.v1+json", None, "a Helm chart", "chart"),
        (OCI_EMPTY, "application/vnd.dev.sigstore.bundle.v0.3+json", "a signature or attestation", "signature"),
        (
            OCI_EMPTY,
            "application/vnd.example",
            "an OCI artifact of type 'application/vnd.example', and no kit: no layer of it has a name",
            "artifact",
        ),
        (
            f"{DOCKER}model.config.v9.1+json",
            None,
            "a model of Docker, and no kit: no layer of it has a name",
            "docker-model",
        ),
    ],
    ids=["chart", "signature", "artifact", "docker"],
)
def test_what_cannot_be_a_kit_is_said_to_be_what_it_is(
    config_type: str, artifact_type: str | None, expected: str, kind: str
) -> None:
    store = MemoryStore()
    desc = artifact(
        store, [("application/octet-stream", b"x", {})], config_type=config_type, artifact_type=artifact_type
    )

    with pytest.raises(UnsafeError, match="and no kit") as caught:
        load_kit(store, desc)
    assert expected in caught.value.message
    assert caught.value.hint == "`mlkit inspect` shows what it holds"
    assert kind_of(store, desc) == kind


def test_an_index_of_kits_tells_its_variants_with_their_labels() -> None:
    store = MemoryStore()
    children = [
        Descriptor.of(b"q4", "application/vnd.oci.image.manifest.v1+json", {"quantization": "q4"}),
        Descriptor.of(b"q8", "application/vnd.oci.image.manifest.v1+json", {"quantization": "q8", "vram": "24GB"}),
    ]
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": KITOPS_INDEX_ARTIFACT,
        "manifests": [child.render() for child in children],
    }
    raw = render_json(value)
    desc = Descriptor.of(raw, OCI_INDEX)
    put(store, desc, raw)

    with pytest.raises(UsageError, match="is an index of 2 kits, and one kit is wanted") as caught:
        load_kit(store, desc)

    assert f"{children[0].digest} (quantization=q4), " in caught.value.message
    assert f"{children[1].digest} (quantization=q8, vram=24GB)" in caught.value.message
    assert "digest" in (caught.value.hint or "")
    assert kind_of(store, desc) == "index"


def test_prompts_and_bundles_of_mcp_servers_by_kit_are_read(tmp_path: Path) -> None:
    store = MemoryStore()
    prompts, bundle, code = tar_of({"prompts/a.md": b"be kind"}), b"PK\x03\x04 zip", tar_of({"run.py": b"pass"})

    def entry(raw: bytes, path: str, **more: str) -> dict[str, str]:
        return {**more, "path": path, "digest": str(Digest.of(raw)), "diffId": str(Digest.of(raw))}

    desc = kitops_kit(
        store,
        {
            "manifestVersion": "1.0.0",
            "package": {},
            "code": [entry(code, "run.py")],
            "prompts": [entry(prompts, "prompts", name="system")],
            "mcpServers": [entry(bundle, "tool.mcpb", name="tool")],
        },
        [
            ("code.v1.tar", code, {FILEPATH: "run.py"}),
            ("code.v1.tar", prompts, {FILEPATH: "prompts", KITOPS_SUBTYPE: "prompt"}),
            ("mcpb.v1.raw", bundle, {FILEPATH: "tool.mcpb"}),
        ],
    )

    assert unpacked(store, desc, tmp_path / "out") == {
        "run.py": b"pass",
        "prompts/a.md": b"be kind",
        "tool.mcpb": bundle,
    }
    assert unpacked(store, desc, tmp_path / "prompts", "prompts") == {"prompts/a.md": b"be kind"}
    assert unpacked(store, desc, tmp_path / "servers", "mcpservers:tool") == {"tool.mcpb": bundle}


def test_a_remote_dataset_of_kit_has_no_layer_and_misses_none(tmp_path: Path) -> None:
    store = MemoryStore()
    code = tar_of({"run.py": b"pass"})
    desc = kitops_kit(
        store,
        {
            "code": [{"path": "run.py", "digest": str(Digest.of(code)), "diffId": str(Digest.of(code))}],
            "datasets": [{"name": "far", "path": "data.csv", "remotePath": "s3://bucket/key", "remoteHash": "abc"}],
        },
        [("code.v1.tar", code, {FILEPATH: "run.py"})],
    )

    assert unpacked(store, desc, tmp_path / "out") == {"run.py": b"pass"}
    assert [item.remote_path for item in load_kit(store, desc).kitfile.datasets] == ["s3://bucket/key"]


def test_equal_files_of_kit_are_told_apart_by_their_annotations(tmp_path: Path) -> None:
    """`kit` writes the layers of code before those of datasets, the other way round than their sections are read."""
    store = MemoryStore()
    digest = str(Digest.of(b"same"))
    desc = kitops_kit(
        store,
        {
            "code": [{"path": "a.py", "digest": digest, "diffId": digest}],
            "datasets": [{"name": "d", "path": "b.csv", "digest": digest, "diffId": digest}],
        },
        [("code.v1.raw", b"same", {FILEPATH: "a.py"}), ("dataset.v1.raw", b"same", {FILEPATH: "b.csv"})],
    )

    assert unpacked(store, desc, tmp_path / "out") == {"a.py": b"same", "b.csv": b"same"}
    assert unpacked(store, desc, tmp_path / "some", "datasets") == {"b.csv": b"same"}


@pytest.mark.parametrize(
    "layer",
    [("weight.v1.raw", b"w", {}), ("weight.v1.raw", b"w", {FILEPATH: "../x"})],
    ids=["no path", "hostile path"],
)
def test_a_broken_kit_keeps_its_kind(layer: tuple[str, bytes, dict[str, str]]) -> None:
    store = MemoryStore()
    desc = modelpack_kit(store, [layer])

    with pytest.raises(MlkitError):
        load_kit(store, desc)
    assert kind_of(store, desc) == "modelpack"
