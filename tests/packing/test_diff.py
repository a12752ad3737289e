"""What differs between two kits."""

from __future__ import annotations

import pytest
from tests.support.kits import DIGITS_KITFILE, DIGITS_LAYERS, Layer, digits_kit, modelpack_kit, own_kit, tar_of

from mlkit.content.memory import MemoryStore
from mlkit.packing.diff import EntryChange, FieldChange, FileChange, diff
from mlkit.packing.kit import Kit, load_kit

KITFILE = "manifestVersion: 1.0.0\ndatasets:\n  - {name: train, path: data, version: '1'}\n"


def kit_of(kitfile: str, *layers: Layer) -> Kit:
    store = MemoryStore()
    return load_kit(store, own_kit(store, kitfile, layers))


def data(**files: bytes) -> Layer:
    return Layer("datasets[0]", {f"data/{name}": content for name, content in files.items()}, kind="tar")


def test_a_kit_is_the_same_as_itself() -> None:
    result = diff(digits_kit(MemoryStore()), digits_kit(MemoryStore()))

    assert result.is_same
    assert result.delta == 0


def test_other_layers_and_comments_make_no_difference() -> None:
    one = kit_of(KITFILE, data(a=b"1", b=b"2"))
    other = kit_of(
        f"# a comment\n{KITFILE}", Layer("datasets[0]", {"data/b": b"2"}), Layer("datasets[0]", {"data/a": b"1"})
    )

    assert one.manifest.descriptor.digest != other.manifest.descriptor.digest
    assert diff(one, other).is_same


def test_files_that_came_went_and_changed_are_told_with_their_bytes() -> None:
    result = diff(kit_of(KITFILE, data(a=b"1", b=b"22", c=b"3")), kit_of(KITFILE, data(b=b"4444", c=b"3", d=b"55555")))

    assert result.added == (FileChange("data/d", None, 5),)
    assert result.removed == (FileChange("data/a", 1, None),)
    assert result.changed == (FileChange("data/b", 2, 4),)
    assert [change.delta for change in (*result.added, *result.removed, *result.changed)] == [5, -1, 2]
    assert result.delta == 6
    assert not result.is_same


def test_a_file_of_the_same_size_with_other_bytes_has_changed() -> None:
    result = diff(kit_of(KITFILE, data(a=b"1")), kit_of(KITFILE, data(a=b"2")))

    assert result.changed == (FileChange("data/a", 1, 1),)


def test_versions_of_entries_are_compared_by_name() -> None:
    renumbered = DIGITS_KITFILE.replace(
        '  - {name: train, path: data/train, version: "2"}\n  - {name: test, path: data/test.csv}\n',
        '  - {name: test, path: data/test.csv}\n  - {name: train, path: data/train, version: "3"}\n',
    )
    moved = {"datasets[0]": "datasets[1]", "datasets[1]": "datasets[0]"}
    layers = [
        Layer(moved.get(layer.entry, layer.entry), layer.files, kind=layer.kind, compression=layer.compression)
        for layer in DIGITS_LAYERS
    ]

    result = diff(digits_kit(MemoryStore()), kit_of(renumbered, *layers))

    assert result.entries == (EntryChange("datasets[1]", "train", "2", "3", "changed"),)
    assert (result.added, result.removed, result.changed) == ((), (), ())


def test_entries_that_came_and_went_are_told() -> None:
    after = KITFILE.replace("name: train", "name: test")

    result = diff(kit_of(KITFILE, data(a=b"1")), kit_of(after, data(a=b"1")))

    assert result.entries == (
        EntryChange("datasets[0]", "test", None, "1", "added"),
        EntryChange("datasets[0]", "train", "1", None, "removed"),
    )


def test_fields_of_the_kitfile_are_told_by_their_address() -> None:
    before = "manifestVersion: 1.0.0\npackage: {name: a, authors: [x, y]}\nmodel: {name: m, parameters: {n: 1}}\n"
    after = "manifestVersion: 1.0.0\npackage: {name: b, authors: [x]}\nmodel: {name: m, parameters: {n: true}}\n"

    result = diff(kit_of(before), kit_of(after))

    assert result.fields == (
        FieldChange("model.parameters.n", 1, True),
        FieldChange("package.authors[1]", "y", None),
        FieldChange("package.name", "a", "b"),
    )


@pytest.mark.parametrize(("content", "is_same"), [(b"1", True), (b"2", False)])
def test_layers_with_unknown_files_are_compared_by_their_digest(content: bytes, is_same: bool) -> None:
    def kit(inner: bytes) -> Kit:
        store = MemoryStore()
        path = {"org.cncf.model.filepath": "data"}
        return load_kit(store, modelpack_kit(store, [("dataset.v1.tar", tar_of({"data/a": inner}), path)]))

    assert diff(kit(b"1"), kit(content)).is_same is is_same
