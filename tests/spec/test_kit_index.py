"""Indexes of kits in KitOps' form: what is read, what is written, and what is kept."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.kit_index import KitIndex, LabelEdits, label_text
from mlkit.spec.manifest import LAYER_LIMIT, Index, parse_manifest
from mlkit.spec.media_types import KITOPS_INDEX_ARTIFACT, MODELPACK_ARTIFACT, OCI_INDEX, OCI_MANIFEST


def kit(content: bytes) -> Descriptor:
    return Descriptor(OCI_MANIFEST, Descriptor.of(content, OCI_MANIFEST).digest, 649, {}, MODELPACK_ARTIFACT)


Q4, Q8, F16 = kit(b"q4"), kit(b"q8"), kit(b"f16")
NOTHING = LabelEdits()


def entry(desc: Descriptor, **fields: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": str(desc.digest), "size": desc.size, **fields}


def index_of(*entries: Any, **fields: Any) -> bytes:
    """As `kit index add` writes it."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": KITOPS_INDEX_ARTIFACT,
            "manifests": list(entries),
            **fields,
        }
    ).encode()


BY_KIT = index_of(
    entry(
        Q4,
        annotations={"ml.kitops.modelkit.original-tag": "q4_0", "org.example.tested": "true"},
        modelMetadata={"quantization": "q4_0", "vram": "6GB", "gpuArchs": ["sm_80", "sm_90"], "layers": 32},
    ),
    entry(Q8, annotations={"ml.kitops.modelkit.original-tag": "q8_0"}),
)


def test_what_kitops_writes_is_read() -> None:
    index = KitIndex.parse(BY_KIT)

    q4, q8 = index.variants
    assert index.is_of_kits
    assert (q4.desc.digest, q4.tag) == (Q4.digest, "q4_0")
    assert q4.labels == {"quantization": "q4_0", "vram": "6GB", "gpuArchs": ["sm_80", "sm_90"], "layers": 32}
    assert (q8.tag, q8.labels) == ("q8_0", {})


def test_what_is_written_is_in_the_form_that_kitops_reads() -> None:
    index = KitIndex.empty().with_kit(Q4, LabelEdits.parse(["quantization=q4_0", "layers:=32"]), tag="q4")

    assert json.loads(index.raw) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": KITOPS_INDEX_ARTIFACT,
        "manifests": [
            entry(
                Q4,
                artifactType=MODELPACK_ARTIFACT,
                annotations={"ml.kitops.modelkit.original-tag": "q4"},
                modelMetadata={"quantization": "q4_0", "layers": 32},
            )
        ],
    }
    assert isinstance(parse_manifest(index.raw, media_type=OCI_INDEX), Index)
    assert index.descriptor.digest == Descriptor.of(index.raw, OCI_INDEX).digest


def test_an_empty_index_lists_nothing_and_says_so() -> None:
    # Go's reader takes null for a list too, but the specification wants a list.
    assert json.loads(KitIndex.empty().raw)["manifests"] == []
    assert KitIndex.parse(index_of()).variants == ()


def test_the_same_entries_give_the_same_bytes_in_whatever_order_they_came() -> None:
    orders = [
        [(Q4, "a=1"), (Q8, "b=2"), (F16, "c=3")][first:] + [(Q4, "a=1"), (Q8, "b=2"), (F16, "c=3")][:first]
        for first in range(3)
    ]
    made = set()
    for order in (*orders, *permutations([(Q4, "a=1"), (Q8, "b=2"), (F16, "c=3")])):
        index = KitIndex.empty()
        for desc, label in order:
            index = index.with_kit(desc, LabelEdits.parse([label]), tag=None)
        made.add(index.raw)

    assert len(made) == 1


def test_what_others_wrote_besides_is_kept() -> None:
    raw = index_of(
        entry(Q4, platform={"os": "linux", "architecture": "arm64"}, urls=["https://example"], x={"y": [1]}),
        annotations={"org.example": "1"},
        later={"z": None},
    )

    index = KitIndex.parse(raw).with_kit(Q8, NOTHING, tag=None).with_kit(Q4, LabelEdits.parse(["a=1"]), tag="q4")

    value = json.loads(index.raw)
    (q4,) = [item for item in value["manifests"] if item["digest"] == str(Q4.digest)]
    assert value["later"] == {"z": None}
    assert value["annotations"] == {"org.example": "1"}
    assert (q4["x"], q4["urls"], q4["platform"]["architecture"]) == ({"y": [1]}, ["https://example"], "arm64")


def test_a_kit_that_is_entered_again_has_its_labels_merged() -> None:
    index = KitIndex.parse(BY_KIT).with_kit(Q4, LabelEdits.parse(["vram-", "quantization=q4_k_m"]), tag=None)

    assert len(index.variants) == 2
    changed = index.get(Q4.digest)
    assert changed is not None
    assert changed.labels == {"quantization": "q4_k_m", "gpuArchs": ["sm_80", "sm_90"], "layers": 32}
    assert changed.desc.annotations["org.example.tested"] == "true"
    assert changed.tag == "q4_0"


def test_labels_that_are_all_taken_away_leave_no_field() -> None:
    index = KitIndex.empty().with_kit(Q4, LabelEdits.parse(["a=1"]), tag=None)

    without = index.with_kit(Q4, LabelEdits.parse(["a-"]), tag=None)

    assert "modelMetadata" not in json.loads(without.raw)["manifests"][0]


def test_annotations_stand_in_where_an_index_of_another_tool_has_no_labels() -> None:
    index = KitIndex.parse(index_of(entry(Q4, annotations={"quantization": "q4_0"}), artifactType=None))

    assert index.variants[0].labels == {"quantization": "q4_0"}
    assert not index.is_of_kits


def test_a_kit_that_is_taken_out_is_gone_and_no_other() -> None:
    assert [variant.tag for variant in KitIndex.parse(BY_KIT).without(Q4.digest).variants] == ["q8_0"]


@pytest.mark.parametrize("labels", [[], "q4", 4, True], ids=repr)
def test_labels_that_are_no_mapping_are_refused(labels: Any) -> None:
    with pytest.raises(IntegrityError, match=r"manifests\[0\]: modelMetadata is not a mapping"):
        KitIndex.parse(index_of(entry(Q4, modelMetadata=labels)))


def test_a_manifest_is_no_index() -> None:
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(Q4), "layers": []}

    with pytest.raises(IntegrityError, match="no index"):
        KitIndex.parse(json.dumps(manifest).encode())


def test_an_index_beyond_the_size_of_a_manifest_is_not_written() -> None:
    index = KitIndex.empty().with_kit(Q4, LabelEdits.of({"text": "x" * (4 << 20)}), tag=None)

    with pytest.raises(LimitError, match="bytes is more than the limit"):
        _ = index.raw


def test_an_index_of_more_kits_than_a_manifest_lists_is_not_written() -> None:
    full = KitIndex.parse(index_of(*[entry(Q4)] * LAYER_LIMIT))

    with pytest.raises(LimitError, match=f"{LAYER_LIMIT + 1} kits is more than the limit"):
        _ = full.with_kit(Q8, NOTHING, tag=None).raw


def test_the_artifact_type_of_an_entry_is_that_of_the_kit_or_stays() -> None:
    index = KitIndex.empty().with_kit(Q4.bare, NOTHING, tag=None)
    told = index.with_kit(Q4, NOTHING, tag=None)
    again = told.with_kit(Q4.bare, NOTHING, tag=None)

    assert "artifactType" not in json.loads(index.raw)["manifests"][0]
    assert json.loads(told.raw)["manifests"][0]["artifactType"] == MODELPACK_ARTIFACT
    assert again.raw == told.raw


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a=b", "a", "b"),
        ("a=", "a", ""),
        ("a=b=c:=d", "a", "b=c:=d"),
        ("example.com/gpu=x", "example.com/gpu", "x"),
        ('a:=["x",1.5]', "a", ["x", 1.5]),
        ("a:=null", "a", None),
    ],
)
def test_labels_are_read(text: str, key: str, value: Any) -> None:
    assert LabelEdits.parse([text]) == LabelEdits({key: value})


@pytest.mark.parametrize("text", ["a", "=b", "-", "a b=c", "-a=c", "a-=c", "a:=[", "a:={'x'}", "é=1", "a/b/c=1"])
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        LabelEdits.parse([text])


def test_a_label_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        LabelEdits.parse(["a=1", "a-"])


def test_labels_of_programs_are_what_json_holds() -> None:
    with pytest.raises(UsageError, match="JSON"):
        LabelEdits.of({"a": float("nan")})


def test_a_hostile_label_is_shown_on_one_short_line_of_ascii() -> None:
    hostile = {"a": "\x1b[31m\u202e\n" + "x" * 10_000}
    index = KitIndex.parse(index_of(entry(Q4, modelMetadata=hostile)))

    shown = str(index.variants[0])

    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 400


def test_a_label_that_is_no_text_is_shown_as_json() -> None:
    assert [label_text(value) for value in ("a b", 1, ["x"], None)] == ["a b", "1", '["x"]', "null"]
