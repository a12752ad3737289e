from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.packing.trees import source

from mlkit.archive.walk import SourceFile
from mlkit.errors import LimitError, UsageError
from mlkit.packing import plan as planning
from mlkit.packing.plan import EntryPaths, PackOptions, PackPlan, plan_pack
from mlkit.spec.kitfile import entries, parse_kitfile
from mlkit.spec.media_types import KIT

MIB = 1024 * 1024


def planned(kitfile: str, files: list[SourceFile], directories: tuple[str, ...] = (), **options: Any) -> PackPlan:
    parsed = parse_kitfile(kitfile.encode())
    return plan_pack(
        Path("/nowhere"),
        kitfile,
        parsed,
        PackOptions(**options),
        entries=entries(parsed),
        files=files,
        empty_directories=directories,
    )


def shape(plan: PackPlan) -> list[tuple[str, str, int]]:
    return [(layer.kind, layer.path, len(layer.files)) for layer in plan.layers]


@pytest.mark.parametrize("section", ["model: {path: d}", "datasets: [{path: d}]", "parameters: [{path: d}]"])
def test_files_that_matter_are_layers_of_their_own(section: str) -> None:
    plan = planned(section, [source("d/b", 5), source("d/a", 2 * MIB)])

    assert shape(plan) == [("raw", "d/a", 1), ("raw", "d/b", 1)]


@pytest.mark.parametrize("section", ["code: [{path: d}]", "docs: [{path: d}]", "prompts: [{path: d}]"])
def test_code_docs_and_prompts_are_one_tar_each(section: str) -> None:
    plan = planned(section, [source("d/b", 5), source("d/a", 2 * MIB)])

    assert shape(plan) == [("tar", "d", 2)]


def test_sixty_four_small_files_are_layers_and_one_more_makes_a_tar_of_the_small_ones() -> None:
    small = [source(f"d/{number:03}", MIB - 1) for number in range(65)]
    big = source("d/big", MIB)

    few = planned("datasets: [{path: d}]", [*small[:64], big])
    many = planned("datasets: [{path: d}]", [*small, big])

    assert [layer.kind for layer in few.layers] == ["raw"] * 65
    assert shape(many) == [("raw", "d/big", 1), ("tar", "d", 65)]


@pytest.mark.parametrize(
    ("layers", "expected"), [("tar", [("tar", "d", 2)]), ("raw", [("raw", "d/a", 1), ("raw", "d/b", 1)])]
)
def test_the_caller_may_ask_for_tars_or_for_raw_layers(layers: str, expected: list[tuple[str, str, int]]) -> None:
    files = [source("d/b", 2 * MIB), source("d/a")]

    assert shape(planned("code: [{path: d}]", files, layers=layers)) == expected
    assert shape(planned("datasets: [{path: d}]", files, layers=layers)) == expected


def test_an_mcp_bundle_is_never_put_into_a_tar() -> None:
    plan = planned("mcpServers: [{path: s.mcpb}]", [source("s.mcpb")], layers="tar")

    assert shape(plan) == [("raw", "s.mcpb", 1)]


def test_a_file_belongs_to_the_deepest_entry_and_paths_are_compared_by_component() -> None:
    kitfile = "model: {path: model, parts: [{path: model/lora}]}\ncode: [{path: .}]"
    names = ["model/a.bin", "model/lora/b.bin", "model_utils.py", "model.py", "train.py", "model/lora.txt"]

    plan = planned(kitfile, [source(name) for name in names])

    owned = {layer.entry.id: [file.path for file in layer.files] for layer in plan.layers if layer.kind == "tar"}
    raw = {layer.path: layer.entry.id for layer in plan.layers if layer.kind == "raw"}
    assert owned == {"code[0]": ["model.py", "model_utils.py", "train.py"]}
    assert raw == {"model/a.bin": "model", "model/lora.txt": "model", "model/lora/b.bin": "model.parts[0]"}


def test_a_file_of_no_entry_is_not_packed() -> None:
    plan = planned("docs: [{path: docs}]", [source("docs/a.md"), source("other/b"), source("docs2/c")])

    assert [file.path for layer in plan.layers for file in layer.files] == ["docs/a.md"]
    assert plan.file_count == 1
    assert plan.size == 10


def test_weights_come_before_what_lies_beside_them() -> None:
    plan = planned("model: {path: m}", [source("m/config.json"), source("m/b.safetensors"), source("m/a.safetensors")])

    assert [layer.path for layer in plan.layers] == ["m/a.safetensors", "m/b.safetensors", "m/config.json"]
    assert [layer.media_type.removeprefix("application/vnd.cncf.model.") for layer in plan.layers] == [
        "weight.v1.raw",
        "weight.v1.raw",
        "weight.config.v1.raw",
    ]


def test_a_file_that_is_named_as_the_model_is_weights_whatever_its_suffix() -> None:
    plan = planned("model: {path: booster.json}", [source("booster.json")])

    assert plan.layers[0].media_type == "application/vnd.cncf.model.weight.v1.raw"


def test_layers_do_not_depend_on_the_order_in_which_files_were_found() -> None:
    kitfile = "model: {path: m}\ncode: [{path: .}]"
    files = [source(name) for name in ("m/z", "m/é", "m/a-b", "m/a/b", "x.py", "Z.py")]

    assert planned(kitfile, files).layers == planned(kitfile, files[::-1]).layers


def test_empty_directories_are_recorded_with_the_entry_that_owns_them() -> None:
    plan = planned("datasets: [{path: d}]\ncode: [{path: c}]", [source("c/x.py")], ("d", "c/empty", "elsewhere"))

    assert [entry.directories for entry in plan.entries] == [("d",), ("c/empty",)]
    assert [(layer.path, layer.directories, len(layer.files)) for layer in plan.layers] == [
        ("d", ("d",), 0),
        ("c", ("c/empty",), 1),
    ]


def test_an_entry_without_a_file_of_its_own_has_no_layer_and_a_note() -> None:
    plan = planned("model: {path: ., parts: [{path: a}]}", [source("a")])

    assert [layer.entry.id for layer in plan.layers] == ["model.parts[0]"]
    assert any("model: . holds no file of its own" in note for note in plan.notes)


def test_more_layers_than_a_kit_may_have_become_tars_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "GROUP_SIZE", 400 * MIB)
    files = [source(f"d/{number:04}", MIB) for number in range(2500)]

    plan = planned("model: {path: m}\ndatasets: [{path: d}]", [source("m"), *files])

    assert shape(plan)[0] == ("raw", "m", 1)
    assert [layer.kind for layer in plan.layers[1:]] == ["tar"] * 7
    assert all(layer.size <= 400 * MIB for layer in plan.layers)
    assert sum(len(layer.files) for layer in plan.layers) == 2501
    assert len({layer.path for layer in plan.layers}) == len(plan.layers)
    assert any("2500 files share 7 layers" in note for note in plan.notes)


def test_the_limit_counts_the_kit_document() -> None:
    def count(number: int) -> list[str]:
        plan = planned("datasets: [{path: d}]", [source(f"d/{name:04}", MIB) for name in range(number)])
        return [layer.kind for layer in plan.layers]

    assert count(1999) == ["raw"] * 1999
    assert set(count(2000)) == {"tar"}


def test_a_file_too_large_to_share_a_tar_stays_alone_when_others_are_grouped() -> None:
    files = [source(f"d/{number:04}", MIB) for number in range(2000)]

    plan = planned("datasets: [{path: d}]", [source("d/huge", 2**31), *files])

    assert shape(plan)[0] == ("raw", "d/huge", 1)
    assert {layer.kind for layer in plan.layers[1:]} == {"tar"}


def test_more_huge_files_than_a_kit_has_layers_are_refused() -> None:
    with pytest.raises(LimitError, match="2001 layers") as caught:
        planned("datasets: [{path: d}]", [source(f"d/{number}", 2**31) for number in range(2000)])

    assert caught.value.hint is not None
    assert "--layers tar" in caught.value.hint


def test_compression_is_for_tars_and_a_note_says_what_it_leaves_alone() -> None:
    plan = planned("model: {path: m}\ncode: [{path: c}]", [source("m"), source("c/x")], compression="zstd")

    assert [(layer.kind, layer.compression) for layer in plan.layers] == [("raw", "none"), ("tar", "zstd")]
    assert plan.layers[1].media_type.endswith(".v1.tar+zstd")
    assert any("--layers tar" in note for note in plan.notes)


def test_in_kitops_format_one_layer_is_the_model_and_the_rest_are_parts() -> None:
    kitfile = (
        "model: {path: m, parts: [{path: p}]}\nparameters: [{path: a}]\ndeployment: [{path: b}]\ndocs: [{path: c}]"
    )
    files = [source(name) for name in ("m/1.bin", "m/2.bin", "p", "a", "b", "c")]

    plan = planned(kitfile, files, format="kitops")

    assert [layer.media_type.removeprefix("application/vnd.kitops.modelkit.") for layer in plan.layers] == [
        "model.v1.raw",
        "modelpart.v1.raw",
        "modelpart.v1.raw",
        "code.v1.raw",
        "code.v1.raw",
        "docs.v1.tar",
    ]


def test_parts_stay_parts_when_the_model_is_another_kit() -> None:
    plan = planned("model: {path: 'team/base:1', parts: [{path: p}]}", [source("p")], format="kitops")

    assert [layer.media_type for layer in plan.layers] == ["application/vnd.kitops.modelkit.modelpart.v1.raw"]


def test_the_owner_of_a_path_is_found_through_every_directory_above_it() -> None:
    paths = EntryPaths(entries(parse_kitfile(b"datasets: [{path: a/b}]")))

    assert paths.owner("a/b/c/d") is not None
    assert paths.owner("a/bc") is None
    assert [paths.reaches(path) for path in ("a", "a/b", "a/b/c", "b", "a/x")] == [True, True, True, False, False]


def test_annotations_of_mlkit_itself_cannot_be_given() -> None:
    with pytest.raises(UsageError, match=KIT):
        PackOptions(annotations={KIT: "sha256:0"})


def test_no_concurrency_is_refused() -> None:
    with pytest.raises(UsageError, match="concurrency 0"):
        PackOptions(concurrency=0)
