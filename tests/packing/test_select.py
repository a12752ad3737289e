"""Filters: their grammar, and what they take."""

from __future__ import annotations

import pytest
from tests.support.kits import Layer, digits_kit, kitops_kit, own_kit, tar_of

from mlkit.content.memory import MemoryStore
from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.select import Filter, Glob, Selection, select
from mlkit.spec.digest import Digest

ALL = {
    "model/weights.bin",
    "model/config.json",
    "tokenizer.json",
    "data/train/a.parquet",
    "data/train/deep/b.parquet",
    "data/train/notes.txt",
    "data/test.csv",
    "params.yaml",
    "src/train.py",
    "src/lib/util.py",
    "README.md",
    "Kitfile",
}


@pytest.fixture(scope="module")
def kit() -> Kit:
    return digits_kit(MemoryStore())


def taken(selection: Selection) -> set[str]:
    paths = {file.path for one in selection.layers for file in one.layer.files or () if one.wants(file.path)}
    return paths | ({"Kitfile"} if selection.kitfile else set())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ALL),
        (["model"], {"model/weights.bin", "model/config.json", "tokenizer.json"}),
        (["kitfile"], {"Kitfile"}),
        (["kitfile,parameters"], {"Kitfile", "params.yaml"}),
        (["kitfile,datasets:test"], {"Kitfile", "data/test.csv"}),
        (["datasets:train"], {"data/train/a.parquet", "data/train/deep/b.parquet", "data/train/notes.txt"}),
        (["datasets:data/train"], {"data/train/a.parquet", "data/train/deep/b.parquet", "data/train/notes.txt"}),
        (["datasets:./data/train/"], {"data/train/a.parquet", "data/train/deep/b.parquet", "data/train/notes.txt"}),
        (["datasets:data"], {path for path in ALL if path.startswith("data/")}),
        (["datasets:data/train/*.parquet"], {"data/train/a.parquet"}),
        (["datasets:*.parquet"], {"data/train/a.parquet"}),
        (["datasets:deep"], {"data/train/deep/b.parquet"}),
        (["**/*.parquet"], {"data/train/a.parquet", "data/train/deep/b.parquet"}),
        (["data/**/b.*"], {"data/train/deep/b.parquet"}),
        (["data/train/deep"], {"data/train/deep/b.parquet"}),
        (["model:tok*"], {"tokenizer.json"}),
        (["model:config.json,tokenizer"], {"model/config.json", "tokenizer.json"}),
        (["parameters", "docs"], {"params.yaml", "README.md"}),
        (
            ["model,datasets", "!datasets:train"],
            {"model/weights.bin", "model/config.json", "tokenizer.json", "data/test.csv"},
        ),
        (["!datasets:train", "datasets"], {"data/test.csv"}),
        (
            ["!model,datasets"],
            ALL
            - {"model/weights.bin", "model/config.json", "tokenizer.json"}
            - {p for p in ALL if p.startswith("data/")},
        ),
        (["!**/*.parquet"], ALL - {"data/train/a.parquet", "data/train/deep/b.parquet"}),
        (["!kitfile"], ALL - {"Kitfile"}),
        (["**"], ALL),
        (["*/*"], {path for path in ALL if "/" in path}),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_filters_take(kit: Kit, filters: list[str], expected: set[str]) -> None:
    assert taken(select(kit, filters)) == expected


def test_a_whole_layer_is_told_from_a_part_of_one(kit: Kit) -> None:
    whole = select(kit, ["datasets:train"]).layers[0]
    part = select(kit, ["datasets:*.parquet"]).layers[0]

    assert whole.is_whole
    assert whole.paths is None
    assert not part.is_whole
    assert part.paths == {"data/train/a.parquet"}


def test_the_size_of_a_selection_is_that_of_its_layers(kit: Kit) -> None:
    selection = select(kit, ["model"])

    assert selection.size == 3000 + 2 + 6


@pytest.mark.parametrize("filters", [["prompts"], ["model:nothing"], ["model", "datasets:typo"], ["!docs:typo"]])
def test_a_filter_that_matches_nothing_is_an_error_that_lists_what_there_is(kit: Kit, filters: list[str]) -> None:
    with pytest.raises(NotFoundError) as caught:
        select(kit, filters)

    assert filters[-1] in caught.value.message
    assert "model 'classifier' at 'model'" in caught.value.message


def test_filters_that_cancel_each_other_select_nothing(kit: Kit) -> None:
    with pytest.raises(NotFoundError, match="matches nothing"):
        select(kit, ["docs", "!docs"])


def test_the_list_of_entries_in_an_error_is_bounded() -> None:
    store = MemoryStore()
    names = "\n".join(f"  - {{name: d{number}, path: d{number}}}" for number in range(500))
    kit = load_kit(store, own_kit(store, f"manifestVersion: 1.0.0\ndatasets:\n{names}\n", []))

    with pytest.raises(NotFoundError, match="and 480 more") as caught:
        select(kit, ["model"])
    assert len(caught.value.message) < 2000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "models",
        "model,",
        "train.parquet",
        "model:",
        "model:a,",
        "model:/etc/passwd",
        "/etc/*",
        "datasets:../x",
        "a/../../b",
        "MODEL",
        "x" * 5000 + "/",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Filter.parse(text)

    assert caught.value.hint is not None
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Model", "'Model' is not a class (did you mean model?)"),
        ("data", "'data' is not a class (did you mean datasets?)"),
        ("model,doc", "'model,doc': 'doc' is not a class (did you mean docs?)"),
        ("zzz", "'zzz' is not a class"),
        ("model:", "'model:': a pattern of it is empty"),
    ],
)
def test_a_filter_that_is_nearly_right_is_named_with_what_was_meant(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Filter.parse(text)

    assert caught.value.message == message


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "ab", False),
        ("a/b", "a", False),
        ("*", "a/b", True),
        ("a/*", "a", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/d/c", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True),
        ("**", "a", True),
        ("**/x", "x", True),
        ("**/**/x", "a/x", True),
        ("*.bin", "model.bin", True),
        ("*.bin", "d/model.bin", False),
        ("m*l*.b*n", "model.bin", True),
        ("a*a", "a", False),
        ("**.bin", "model.bin", True),
        (".", "anything/at/all", True),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("a?c", "abc", False),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert Glob.parse(pattern).matches(path) is expected


def test_a_pattern_made_to_explode_does_not() -> None:
    hostile = Glob.parse("/".join(["**", "*a*a*a*a*a*a*a*a*b"] * 60))
    path = "/".join(["a" * 60] * 60)

    assert not hostile.matches(path)  # an exponential matcher would not end at all


@pytest.fixture
def foreign() -> Kit:
    """Tar layers of another tool: nobody knows their files before they are read."""
    store = MemoryStore()
    tars = {"one": tar_of({"data/one/a.csv": b"a"}), "two": tar_of({"data/two/b.csv": b"b"})}
    datasets = [
        {"name": name, "path": f"data/{name}", "digest": str(Digest.of(content))} for name, content in tars.items()
    ]
    layers = [("dataset.v1.tar", content, {}) for content in tars.values()]
    return load_kit(store, kitops_kit(store, {"manifestVersion": "1.0.0", "datasets": datasets}, layers))


def test_an_entry_with_unknown_files_is_taken_whole_and_no_other_is_fetched(foreign: Kit) -> None:
    selection = select(foreign, ["datasets:one"])

    assert [one.layer.entry for one in selection.layers] == ["datasets[0]"]
    assert selection.layers[0].is_whole


def test_a_file_pattern_over_unknown_files_is_left_to_the_extraction(foreign: Kit) -> None:
    selection = select(foreign, ["datasets:*.csv", "!data/two/*"])

    assert [one.is_whole for one in selection.layers] == [False, False]
    assert [one.wants("data/one/a.csv") for one in selection.layers] == [True, False]
    assert not selection.layers[1].wants("data/two/b.csv")


def test_an_exclusion_of_an_entry_with_unknown_files_needs_no_reading(foreign: Kit) -> None:
    selection = select(foreign, ["!datasets:two"])

    assert [one.layer.entry for one in selection.layers] == ["datasets[0]"]
    assert selection.layers[0].is_whole


def test_equal_files_in_two_entries_are_told_apart() -> None:
    store = MemoryStore()
    kitfile = "manifestVersion: 1.0.0\ndatasets:\n  - {path: a.csv}\n  - {path: b.csv}\n"
    kit = load_kit(
        store, own_kit(store, kitfile, [Layer("datasets[0]", {"a.csv": b"x"}), Layer("datasets[1]", {"b.csv": b"x"})])
    )

    selection = select(kit, ["datasets:b.csv"])

    assert taken(selection) == {"b.csv"}
