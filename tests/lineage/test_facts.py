from __future__ import annotations

from mlkit.lineage.facts import MODEL_CONFIG, edges_of_dependencies, edges_of_document
from mlkit.lineage.graph import EdgeKind, Evidence, NodeKind
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord, FileRecord, InputRecord, KitDocument, LayerRecord
from mlkit.spec.media_types import Class

KIT, DATA, WEIGHTS, CONFIG, PARENT = (Digest.of(text) for text in (b"kit", b"data", b"weights", b"config", b"parent"))


def layer(digest: Digest, path: str, cls: Class, entry: str) -> LayerRecord:
    return LayerRecord(digest, 4, digest, "raw", "none", cls, entry, (FileRecord(path, 4, 0o644, digest, 0),))


def document(*inputs: InputRecord) -> KitDocument:
    return KitDocument(
        kitfile="",
        entries=(EntryRecord("model", Class.MODEL, None, "m", None, None),),
        layers=(
            layer(WEIGHTS, "m/w.safetensors", Class.MODEL, "model"),
            layer(CONFIG, "m/config.json", Class.MODEL, "model"),
            layer(DATA, "data/train.csv", Class.DATASETS, "datasets[0]"),
        ),
        inputs=inputs,
    )


def test_every_file_is_a_link_to_its_content() -> None:
    edges = list(edges_of_document(KIT, document()))

    assert [(edge.origin.digest, edge.role, edge.name) for edge in edges] == [
        (WEIGHTS, "model", "m/w.safetensors"),
        (CONFIG, MODEL_CONFIG, "m/config.json"),
        (DATA, "datasets", "data/train.csv"),
    ]
    assert {edge.kind for edge in edges} == {EdgeKind.CONTAINS}
    assert {edge.evidence.digest for edge in edges} == {KIT}


def test_a_tar_layer_is_a_thing_beside_its_files() -> None:
    tar = LayerRecord(
        Digest.of(b"tar"),
        10,
        Digest.of(b"tar"),
        "tar",
        "none",
        Class.CODE,
        "code[0]",
        (FileRecord("a.py", 1, 0o644, Digest.of(b"a"), 512),),
    )

    edges = list(edges_of_document(KIT, KitDocument("", layers=(tar,))))

    assert [edge.origin.digest for edge in edges] == [Digest.of(b"tar"), Digest.of(b"a")]


def test_an_input_with_digest_and_address_can_be_found_by_either() -> None:
    record = InputRecord("dataset", uri="s3://bucket/train.csv", digest=DATA)

    edges = list(edges_of_document(KIT, KitDocument("", inputs=(record,))))

    assert [edge.origin.key for edge in edges] == [str(DATA), "s3://bucket/train.csv"]
    assert {edge.kind for edge in edges} == {EdgeKind.USES}


def test_a_kit_that_is_an_input_is_meant_by_its_digest() -> None:
    record = InputRecord("base-model", ref="host.example/base:1", digest=PARENT)

    (edge,) = edges_of_document(KIT, KitDocument("", inputs=(record,)))

    assert (edge.origin.digest, edge.origin.kind, edge.kind) == (PARENT, NodeKind.KIT, EdgeKind.BASE_MODEL)
    assert edge.name == "host.example/base:1"


def test_dependencies_of_provenance_are_inputs_and_nonsense_among_them_is_passed_over() -> None:
    evidence = Evidence("https://slsa.dev/provenance/v1", Digest.of(b"statement"))
    dependencies = [
        {"uri": "s3://bucket/x", "digest": {"sha256": DATA.hex}, "annotations": {"role": "dataset"}},
        {"uri": "git+https://host/repo@c0ffee", "digest": {"gitCommit": "c0ffee"}},
        {"digest": {"md5": "d41d8cd98f00b204e9800998ecf8427e", "sha256": 7}},
        {"uri": f"oci://host.example/base:1@{PARENT}", "digest": {"sha256": PARENT.hex}},
        {"digest": []},
        {"uri": "\x1b"},
    ]

    edges = list(edges_of_dependencies([KIT], dependencies, evidence))

    assert [edge.origin.key for edge in edges] == [
        str(DATA),
        "s3://bucket/x",
        "git+https://host/repo@c0ffee",
        "git:c0ffee",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        str(PARENT),
    ]
    assert edges[0].role == "dataset"
    assert edges[-1].origin.kind is NodeKind.KIT
    assert all(edge.evidence is evidence for edge in edges)
