"""Reading the documents of a kit, and finding where they disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.kits import (
    DIGITS_KITFILE,
    DIGITS_LAYERS,
    Layer,
    digits_kit,
    kitops_kit,
    manifest_of,
    modelpack_kit,
    own_kit,
    put,
    tar_of,
)

from mlkit.content.memory import MemoryStore
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, UnsafeError
from mlkit.packing.kit import load_kit
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.kit_document import KitDocument, LayerRecord
from mlkit.spec.media_types import FILEPATH, KIT, MODELPACK_ARTIFACT, MODELPACK_CONFIG, OCI_INDEX, Class

OTHER = Digest.of(b"something else")


def test_an_own_kit_gives_back_the_authors_text_and_every_file() -> None:
    kit = digits_kit(MemoryStore())

    assert kit.kitfile_text == DIGITS_KITFILE
    assert kit.kitfile.package.version == "1.2"
    assert {file.path for file in kit.files} == {
        path for layer in DIGITS_LAYERS for path in layer.files if not path.endswith("/")
    }
    assert [entry.id for entry in kit.entries][:3] == ["model", "model.parts[0]", "datasets[0]"]
    assert not kit.has_parent


def test_no_layer_of_files_is_read() -> None:
    store = MemoryStore()
    desc = own_kit(store, DIGITS_KITFILE, DIGITS_LAYERS)
    for layer in load_kit(store, desc).layers:
        del store._blobs[layer.desc.digest]

    assert len(load_kit(store, desc).files) == 11


def test_a_kit_whose_config_is_absent_says_so() -> None:
    store = MemoryStore()
    desc = own_kit(store, DIGITS_KITFILE, DIGITS_LAYERS)
    del store._blobs[load_kit(store, desc).manifest.config.digest]

    with pytest.raises(NotFoundError):
        load_kit(store, desc)


@pytest.mark.parametrize(
    ("artifact_type", "config_type", "name"),
    [
        (None, "application/vnd.oci.image.config.v1+json", "a container image"),
        (None, "application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
        ("application/vnd.example.other", "application/vnd.oci.empty.v1+json", "'application/vnd.example.other'"),
    ],
    ids=["image", "chart", "artifact"],
)
def test_b17_what_is_no_kit_is_refused_by_name(artifact_type: str | None, config_type: str, name: str) -> None:
    store = MemoryStore()
    desc = manifest_of(store, b"{}", config_type, [], artifact_type=artifact_type, annotations={})

    with pytest.raises(UnsafeError, match="and no kit") as caught:
        load_kit(store, desc)
    assert name in caught.value.message


def test_an_index_is_no_kit() -> None:
    store = MemoryStore()
    raw = render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    desc = Descriptor.of(raw, OCI_INDEX)
    put(store, desc, raw)

    with pytest.raises(UnsafeError, match="and no kit"):
        load_kit(store, desc)


def layer_change(number: int, **fields: Any) -> Callable[[KitDocument], KitDocument]:
    def change(document: KitDocument) -> KitDocument:
        layers = list(document.layers)
        layers[number] = replace(layers[number], **fields)
        return replace(document, layers=tuple(layers))

    return change


def file_change(number: int, **fields: Any) -> Callable[[KitDocument], KitDocument]:
    def change(document: KitDocument) -> KitDocument:
        layer = document.layers[number]
        return layer_change(number, files=(replace(layer.files[0], **fields), *layer.files[1:]))(document)

    return change


def reordered(document: KitDocument) -> KitDocument:
    return replace(document, layers=(*document.layers[1:], document.layers[0]))


def shortened(document: KitDocument) -> KitDocument:
    return replace(document, layers=document.layers[1:])


def lengthened(document: KitDocument) -> KitDocument:
    first: LayerRecord = document.layers[0]
    return replace(document, layers=(*document.layers, replace(first, digest=OTHER)))


@pytest.mark.parametrize(
    "change",
    [
        shortened,
        lengthened,
        reordered,
        layer_change(0, size=1),
        layer_change(0, kind="tar"),
        layer_change(6, compression="zstd"),
        layer_change(0, entry="datasets[9]"),
        layer_change(0, cls=Class.DOCS),
        layer_change(0, diff_id=OTHER),
        layer_change(0, files=()),
        file_change(0, path="model/elsewhere.bin"),
        file_change(0, path="elsewhere/weights.bin"),
        file_change(3, path="data/training.csv"),
        file_change(0, size=1),
        file_change(0, digest=OTHER),
        lambda document: replace(document, kitfile="manifestVersion: 1.0.0\nmodle: {}\n"),
        lambda document: replace(document, kitfile=""),
        lambda document: replace(document, entries=()),
        lambda document: replace(document, kitfile=document.kitfile.replace('version: "6"', 'version: "7"')),
        lambda document: replace(document, kitfile=document.kitfile.replace("path: params.yaml", "path: p.yaml")),
    ],
)
def test_b18_documents_that_disagree_are_refused(change: Callable[[KitDocument], KitDocument]) -> None:
    store = MemoryStore()
    desc = own_kit(store, DIGITS_KITFILE, DIGITS_LAYERS, change=change)

    with pytest.raises(IntegrityError):
        load_kit(store, desc)


def test_a_kit_document_that_the_annotation_does_not_name_is_refused() -> None:
    store = MemoryStore()
    desc = Descriptor.of(b"{}", "application/vnd.cncf.model.doc.v1.raw", {FILEPATH: ".mlkit/kit.json"})
    put(store, desc, b"{}")
    for notes, layers in (({}, [desc]), ({KIT: str(OTHER)}, [desc]), ({KIT: str(OTHER)}, [])):
        manifest = manifest_of(
            store, b"{}", MODELPACK_CONFIG, layers, artifact_type=MODELPACK_ARTIFACT, annotations=notes
        )

        with pytest.raises(IntegrityError, match="kit document"):
            load_kit(store, manifest)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("data/a.csv", "data/a.csv"),
        ("data/A.csv", "data/a.csv"),
        ("data/a", "data/a/b"),
        ("data/a/b", "data/a"),
        ("data/caf\u00e9", "data/cafe\u0301"),
    ],
)
def test_a31_two_layers_that_would_write_to_one_place_are_refused(first: str, second: str) -> None:
    store = MemoryStore()
    kitfile = "manifestVersion: 1.0.0\ndatasets:\n  - {path: data}\n"
    desc = own_kit(store, kitfile, [Layer("datasets[0]", {first: b"1"}), Layer("datasets[0]", {second: b"2"})])

    with pytest.raises(UnsafeError):
        load_kit(store, desc)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/cron.d/x", "a/../../x", ".git/hooks/post-checkout", "~/.ssh/authorized_keys", "a\\b", "a\nb"]
)
@pytest.mark.parametrize("kind", ["raw", "tar"])
def test_annotations_that_lead_out_of_the_kit_are_refused(path: str, kind: str) -> None:
    store = MemoryStore()
    desc = modelpack_kit(store, [(f"dataset.v1.{kind}", b"x" if kind == "raw" else tar_of({}), {FILEPATH: path})])

    with pytest.raises(UnsafeError):
        load_kit(store, desc)


def test_a_kit_of_kitops_is_matched_by_digest() -> None:
    store = MemoryStore()
    weights, part, data = b"weights", b"part", tar_of({"data/a.csv": b"1"})
    kitfile = {
        "manifestVersion": "1.0.0",
        "package": {"name": "p"},
        "model": {
            "name": "m",
            "path": "./m.bin",
            "digest": str(Digest.of(weights)),
            "diffId": str(Digest.of(weights)),
            "parts": [{"name": "t", "path": "t.json", "digest": str(Digest.of(part))}],
        },
        "datasets": [{"name": "d", "path": "data/", "digest": str(Digest.of(data)), "future": {"key": 1}}],
    }
    layers = [
        ("dataset.v1.tar", data, {FILEPATH: "data/"}),
        ("modelpart.v1.raw", part, {}),
        ("model.v1.raw", weights, {}),
    ]

    kit = load_kit(store, kitops_kit(store, kitfile, layers))

    assert [(layer.entry, layer.path, layer.kind, layer.cls) for layer in kit.layers] == [
        ("model", "m.bin", "raw", Class.MODEL),
        ("model.parts[0]", "t.json", "raw", Class.MODEL),
        ("datasets[0]", "data", "tar", Class.DATASETS),
    ]
    assert [(file.path, file.size, file.digest) for file in kit.files] == [
        ("m.bin", 7, Digest.of(weights)),
        ("t.json", 4, Digest.of(part)),
    ]
    assert kit.layers[2].files is None
    assert kit.document is None
    assert "name: m" in kit.kitfile_text


@pytest.mark.parametrize(
    ("entries", "layers"),
    [
        ([("a", b"1")], []),
        ([("a", b"1")], [b"1", b"2"]),
        ([("a", b"1"), ("b", None)], [b"1", b"2"]),
        ([("a", b"1"), ("b", b"2")], [b"1"]),
    ],
    ids=["layer missing", "layer too many", "entry without a layer", "second layer missing"],
)
def test_a_config_of_kitops_that_disagrees_with_the_layers_is_refused(
    entries: list[tuple[str, bytes | None]], layers: list[bytes]
) -> None:
    store = MemoryStore()
    docs = [
        {"path": path} if content is None else {"path": path, "digest": str(Digest.of(content))}
        for path, content in entries
    ]
    desc = kitops_kit(
        store, {"manifestVersion": "1.0.0", "docs": docs}, [("docs.v1.raw", content, {}) for content in layers]
    )

    with pytest.raises(IntegrityError):
        load_kit(store, desc)


def test_a_path_in_the_config_of_kitops_that_differs_from_the_annotation_is_refused() -> None:
    store = MemoryStore()
    kitfile = {"manifestVersion": "1.0.0", "docs": [{"path": "a.md", "digest": str(Digest.of(b"1"))}]}

    with pytest.raises(IntegrityError, match="by its annotation"):
        load_kit(store, kitops_kit(store, kitfile, [("docs.v1.raw", b"1", {FILEPATH: "b.md"})]))


def test_a_kit_from_before_digests_is_matched_by_order() -> None:
    store = MemoryStore()
    kitfile = {
        "manifestVersion": "1.0.0",
        "model": {"name": "m", "path": "models/m"},
        "datasets": [{"name": "a", "path": "a"}, {"name": "b", "path": "deep/b"}],
    }
    one, two, model = tar_of({"a/1": b"1"}), tar_of({"b/2": b"2"}), tar_of({"m/w": b"w"})
    layers = [("model.v1.tar+gzip", model, {}), ("dataset.v1.tar", one, {}), ("dataset.v1.tar", two, {})]

    kit = load_kit(store, kitops_kit(store, kitfile, layers))

    assert [(layer.entry, layer.root, layer.desc.digest) for layer in kit.layers] == [
        ("model", "models", Digest.of(model)),
        ("datasets[0]", ".", Digest.of(one)),
        ("datasets[1]", "deep", Digest.of(two)),
    ]


def test_a_kit_from_before_digests_with_too_few_layers_is_refused() -> None:
    store = MemoryStore()
    kitfile = {"manifestVersion": "1.0.0", "datasets": [{"path": "a"}, {"path": "b"}]}

    with pytest.raises(IntegrityError, match="1 layers of type dataset for 2"):
        load_kit(store, kitops_kit(store, kitfile, [("dataset.v1.tar", tar_of({}), {})]))


def test_a_modelpack_with_a_kitfile_is_matched_by_path() -> None:
    store = MemoryStore()
    kitfile = {"manifestVersion": "1.0.0", "model": {"path": "m.bin"}, "prompts": [{"name": "p", "path": "p"}]}
    layers = [
        ("weight.v1.raw", b"w", {FILEPATH: "m.bin"}),
        ("code.v1.tar", tar_of({}), {FILEPATH: "p", "ml.kitops.modelkit.layer-subtype": "prompt"}),
    ]

    kit = load_kit(store, modelpack_kit(store, layers, kitfile=kitfile))

    assert [(layer.entry, layer.cls) for layer in kit.layers] == [("model", Class.MODEL), ("prompts[0]", Class.PROMPTS)]


def test_a_modelpack_with_a_kitfile_that_disagrees_is_refused() -> None:
    store = MemoryStore()
    layers = [("weight.v1.raw", b"w", {FILEPATH: "other.bin"})]
    for kitfile in ({"model": {"path": "m.bin"}}, {}):
        with pytest.raises(IntegrityError):
            load_kit(store, modelpack_kit(store, layers, kitfile=kitfile))


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("application/vnd.cncf.model.", "org.cncf.model.filepath"),
        ("application/vnd.cnai.model.", "org.cnai.model.filepath"),
    ],
    ids=["modelpack", "legacy"],
)
def test_a_modelpack_without_a_kitfile_is_given_one(prefix: str, path: str) -> None:
    store = MemoryStore()
    layers = [
        ("weight.config.v1.raw", b"{}", {path: "config.json"}),
        ("weight.v1.raw", b"1", {path: "model-1.bin"}),
        ("weight.v1.raw", b"2", {path: "model-2.bin"}),
        ("dataset.v1.tar", tar_of({}), {path: "data"}),
        ("code.v1.raw", b"3", {path: "run.py"}),
        ("doc.v1.raw", b"4", {path: "README.md"}),
    ]

    kit = load_kit(store, modelpack_kit(store, layers, prefix=prefix))

    assert [(entry.id, entry.path) for entry in kit.entries] == [
        ("model.parts[0]", "config.json"),
        ("model", "model-1.bin"),
        ("model.parts[1]", "model-2.bin"),
        ("datasets[0]", "data"),
        ("code[0]", "run.py"),
        ("docs[0]", "README.md"),
    ]
    assert kit.kitfile.model is not None
    assert kit.kitfile.model.path == "model-1.bin"
    assert [part.path for part in kit.kitfile.model.parts] == ["config.json", "model-2.bin"]


def test_the_mode_of_a_file_of_another_tool_is_taken_from_its_metadata() -> None:
    store = MemoryStore()
    metadata = "org.cncf.model.file.metadata+json"
    layers = [
        ("code.v1.raw", b"1", {FILEPATH: "run", metadata: '{"mode": 493, "typeflag": 48}'}),
        ("code.v1.raw", b"2", {FILEPATH: "lib", metadata: '{"mode": 2541}'}),
        ("code.v1.raw", b"3", {FILEPATH: "odd", metadata: '{"mode": "rwx"}'}),
        ("code.v1.raw", b"4", {FILEPATH: "none"}),
    ]

    kit = load_kit(store, modelpack_kit(store, layers))

    assert [file.mode for file in kit.files] == [0o755, 0o755, 0o644, 0o644]


def test_layers_of_unknown_types_in_other_tools_kits_are_passed_over() -> None:
    store = MemoryStore()
    layers = [("weight.v1.raw", b"1", {FILEPATH: "m"}), ("signature.v9.raw", b"2", {})]

    assert [layer.path for layer in load_kit(store, modelpack_kit(store, layers)).layers] == ["m"]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (b'{"modelfs": {"diffIds": []}}', IntegrityError),
        (b'{"modelfs": {"diffIds": "sha256:x"}}', IntegrityError),
        (b'{"modelfs": {"diffIds": ["sha256:x"]}}', IntegrityError),
        (b'{"modelfs": 1, "modelfs": 2}', IntegrityError),
        (b"[]", IntegrityError),
        (b"{", IntegrityError),
        (b'{"a":' * 100_000, LimitError),
    ],
)
def test_hostile_configs_are_refused(config: bytes, error: type[MlkitError]) -> None:
    store = MemoryStore()
    layer = Descriptor.of(b"1", "application/vnd.cncf.model.weight.v1.raw", {FILEPATH: "m"})
    desc = manifest_of(store, config, MODELPACK_CONFIG, [layer], artifact_type=MODELPACK_ARTIFACT, annotations={})

    with pytest.raises(error):
        load_kit(store, desc)


def test_a_model_that_is_another_kit_is_known_as_such() -> None:
    store = MemoryStore()

    kit = load_kit(store, own_kit(store, "manifestVersion: 1.0.0\nmodel: {path: 'base:1.0'}\n", []))

    assert kit.has_parent
