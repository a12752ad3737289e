"""Which kit of an index is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.quantities import Quantity
from mlkit.packing.variants import Gpu, Requirement, best_for, choose
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.kit_index import KitIndex, LabelEdits
from mlkit.spec.media_types import OCI_MANIFEST

GIB = 1 << 30
H200 = Gpu("NVIDIA H200", 143771 << 20, (9, 0))
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", 24564 << 20, (8, 9))


def index_of(kits: Mapping[str, Mapping[str, Any]]) -> KitIndex:
    index = KitIndex.empty()
    for tag, labels in kits.items():
        index = index.with_kit(Descriptor.of(tag.encode(), OCI_MANIFEST), LabelEdits.of(labels), tag=tag)
    return index


SIZES = index_of(
    {
        "q4": {"quantization": "q4_0", "vram": "6GB", "params": "7B"},
        "q8": {"quantization": "q8_0", "vram": "12GB", "params": "7B"},
        "f16": {"quantization": "f16", "vram": "24GB", "params": "7B"},
    }
)
ARCHITECTURES = index_of(
    {
        "ampere": {"gpuArchs": ["sm_80", "sm_86"]},
        "ada": {"gpuArchs": "sm_89"},
        "hopper": {"gpuArchs": ["sm_90a"]},
    }
)


def chosen(index: KitIndex, *labels: str, gpus: tuple[Gpu, ...] = ()) -> str | None:
    requirements = [Requirement.parse(label) for label in labels]
    return choose(index, requirements, what="digits:all", pick=best_for(gpus) if gpus else None).tag


@pytest.mark.parametrize(
    ("labels", "tag"),
    [
        (["quantization=q4_0"], "q4"),
        (["quantization==q4_0"], "q4"),
        (["vram=12000 MB"], "q8"),
        (["vram<8GiB"], "q4"),
        (["vram <= 6gb"], "q4"),
        (["vram>=24GB"], "f16"),
        (["vram>12GB"], "f16"),
        (["vram>6GB", "vram<24GB"], "q8"),
        (["quantization!=q4_0", "quantization!=f16"], "q8"),
        (["quantization!=q4_0", "vram<20GB", "params<=7000M"], "q8"),
    ],
    ids=" and ".join,
)
def test_labels_choose_one(labels: list[str], tag: str) -> None:
    assert chosen(SIZES, *labels) == tag


def test_nothing_that_fits_lists_what_there_is() -> None:
    with pytest.raises(NotFoundError) as caught:
        chosen(SIZES, "quantization=q2", "vram<5GB")

    assert "no kit in the index has quantization=q2 and vram<5GB" in caught.value.message
    assert "q4 (params=7B, quantization=q4_0, vram=6GB)" in caught.value.message
    assert "f16 (" in caught.value.message


def test_several_that_fit_are_listed_and_no_others() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(SIZES, "vram<=12GB")

    assert "2 kits in the index have vram<=12GB" in caught.value.message
    assert "q4 (" in caught.value.message
    assert "f16 (" not in caught.value.message
    assert caught.value.hint is not None
    assert "-l" in caught.value.hint


def test_without_labels_the_only_kit_is_meant_and_of_several_none() -> None:
    assert chosen(index_of({"one": {"a": "1"}})) == "one"
    with pytest.raises(UsageError, match="an index of 3 kits"):
        chosen(SIZES)


def test_an_empty_index_has_nothing_to_choose() -> None:
    with pytest.raises(NotFoundError, match="lists no kit"):
        chosen(KitIndex.empty())


def test_a_kit_that_is_listed_twice_is_one() -> None:
    index = index_of({"q4": {"a": "1"}})
    twice = KitIndex(index.fields, (*index.variants, *index.variants))

    assert chosen(twice, "a=1") == "q4"


def test_a_long_list_is_cut() -> None:
    many = index_of({f"kit-{number:03}": {"a": "1"} for number in range(500)})

    with pytest.raises(UsageError) as caught:
        chosen(many, "a=1")

    assert "and 480 more" in caught.value.message
    assert len(caught.value.message) < 10_000


@pytest.mark.parametrize(
    ("label", "met"),
    [
        ("missing=x", False),
        ("missing!=x", True),
        ("missing<1", False),
        ("name<1", False),
        ("name!=q4", False),
        ("archs=sm_80", True),
        ("archs=sm_8", False),
        ('archs=["sm_80","sm_90"]', True),
        ("archs!=sm_90", False),
        ("layers=32", True),
        ("layers=32.0", True),
        ("layers>31.9", True),
        ("memory<1000000", False),
        ("memory<1M", False),
        ("memory<1MB", True),
        ("flag=true", True),
        ("flag>0", False),
        ("compute>=8.6", True),
        ("compute>=9", True),
        ("compute>10", False),
    ],
)
def test_a_requirement_is_met_or_not(label: str, met: bool) -> None:
    labels = {
        "name": "q4",
        "archs": ["sm_80", "sm_90"],
        "layers": 32,
        "memory": "640kB",
        "flag": True,
        "compute": "9.0",
    }
    (variant,) = index_of({"one": labels}).variants

    assert Requirement.parse(label).is_met(variant) is met


@pytest.mark.parametrize("text", ["", "=x", "quantization", "<=3", "vram<=", "vram<=much", "vram>=24 parsecs"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Requirement.parse(text)


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("24GB", "bytes", 24 * 10**9),
        ("24 GiB", "bytes", 24 * GIB),
        ("24Gi", "bytes", 24 * GIB),
        ("1.5TB", "bytes", 1_500_000_000_000),
        ("7B", "count", 7 * 10**9),
        ("0.5b", "count", 500_000_000),
        ("350M", "count", 350_000_000),
        (8.6, "count", None),
    ],
)
def test_amounts_are_read_with_their_units(text: Any, kind: str, amount: int | None) -> None:
    found = Quantity.parse(text)

    assert found is not None
    assert found.kind == kind
    assert amount is None or found.amount == amount


@pytest.mark.parametrize("text", ["", "GB", "1e999", "0x10", "1 000", "24GBs", "٣GB", "9" * 31, True, None, [], {}])
def test_what_is_no_amount_is_none(text: Any) -> None:
    assert Quantity.parse(text) is None


@pytest.mark.parametrize(
    ("gpu", "tag"),
    [
        (Gpu("small", 8 * GIB, (8, 6)), "q4"),
        (Gpu("middle", 16 * GIB, (8, 6)), "q8"),
        (RTX_4090, "f16"),
        (H200, "f16"),
    ],
    ids=["8", "16", "24", "140"],
)
def test_the_variant_that_is_least_cut_down_and_fits_is_taken(gpu: Gpu, tag: str) -> None:
    assert chosen(SIZES, gpus=(gpu,)) == tag


@pytest.mark.parametrize(
    ("compute", "tag"),
    [((8, 0), "ampere"), ((8, 6), "ampere"), ((8, 9), "ada"), ((9, 0), "hopper")],
    ids=["80", "86", "89", "90"],
)
def test_the_variant_for_the_nearest_architecture_is_taken(compute: tuple[int, int], tag: str) -> None:
    assert chosen(ARCHITECTURES, gpus=(Gpu("any", GIB, compute),)) == tag


def test_where_two_variants_fit_as_well_they_are_listed() -> None:
    index = index_of({"awq": {"vram": "12GB"}, "gptq": {"vram": "12 GB"}, "q4": {"vram": "6GB"}})

    with pytest.raises(UsageError, match=r"2 kits .* fit this machine's GPU .* equally well .*awq.*gptq") as caught:
        chosen(index, gpus=(RTX_4090,))

    assert "q4" not in caught.value.message


def test_labels_narrow_what_the_gpu_chooses_from() -> None:
    assert chosen(SIZES, "quantization!=f16", gpus=(H200,)) == "q8"


def test_the_larger_of_two_gpus_counts() -> None:
    assert chosen(SIZES, gpus=(Gpu("small", 8 * GIB), RTX_4090)) == "f16"


def test_nothing_that_fits_the_gpu_names_the_gpu_and_what_there_is() -> None:
    with pytest.raises(NotFoundError) as caught:
        chosen(SIZES, gpus=(Gpu("tiny", 4 * GIB, (8, 6)),))

    assert "tiny, 4.3 GB, sm_86" in caught.value.message
    assert "q4 (" in caught.value.message


@pytest.mark.parametrize(
    "labels",
    [{}, {"quantization": "q4"}, {"vram": "lots"}, {"vram": 6}, {"gpuArchs": "sm_100", "vram": "1GB"}, {"gpuArchs": 7}],
    ids=str,
)
def test_a_variant_that_is_not_known_to_fit_is_not_taken(labels: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError, match="labelled to fit"):
        chosen(index_of({"one": labels}), gpus=(H200,))


def test_a_binary_of_another_major_version_does_not_run() -> None:
    with pytest.raises(NotFoundError):
        chosen(index_of({"ampere": {"gpuArchs": "sm_80"}}), gpus=(H200,))


def test_a_gpu_whose_driver_tells_no_architecture_goes_by_its_name() -> None:
    index = index_of({"one": {"gpuArchs": "sm_90"}, "two": {"gpuArchs": "nvidia h200"}})

    assert chosen(index, gpus=(Gpu("NVIDIA H200", 140 * GIB),)) == "two"
