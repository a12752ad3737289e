"""The main job: what was packed comes back byte for byte, and no byte moves that need not."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from tests.support.fault_proxy import fault_proxy

import mlkit
from mlkit.api import looking
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from mlkit.server import RunningRegistry
from mlkit.spec.reference import Reference

MIB = 1024 * 1024
WIRE_SLACK = 64 * 1024  # bytes; manifest, config, kit document and headers of a partial pull


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A project whose weights are much larger than its data."""
    project = tmp_path / "large"
    (project / "model").mkdir(parents=True)
    (project / "data").mkdir()
    (project / "model/weights.safetensors").write_bytes(os.urandom(9 * MIB))
    (project / "data/train.parquet").write_bytes(os.urandom(2 * MIB))
    for number in range(100):
        (project / f"data/note-{number:03d}.txt").write_text(f"note {number}\n" * number)
    (project / "Kitfile").write_text(
        'manifestVersion: "1.0.0"\n'
        "package: {name: large, version: '1'}\n"
        "model: {path: model/weights.safetensors, version: '6'}\n"
        "datasets: [{name: data, path: data, version: '2'}]\n"
    )
    return project


def test_the_example_comes_back_byte_for_byte(
    digits: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/digits:1.2"

    packed = mlkit.pack(digits, tag=["digits:1.2", reference], session=session)
    pushed = mlkit.push(reference, session=session)
    pulled = mlkit.pull(reference, session=other)
    mlkit.unpack(reference, tmp_path / "copy", session=other)

    assert pushed.digest == pulled.digest == packed.digest
    assert tree(tmp_path / "copy") == tree(digits)
    versions = {entry.id: entry.version for entry in mlkit.info(reference, session=other).entries}
    assert (versions["model"], versions["datasets[0]"], versions["parameters[0]"]) == ("6", "2", "5")
    assert mlkit.info(reference, part="package.version", session=other).value == "1.2"


def test_a_second_push_and_a_second_pull_move_nothing(
    digits: Path, host: str, session: Session, other: Session
) -> None:
    reference = f"{host}/team/digits:1.2"
    mlkit.pack(digits, tag=reference, session=session)
    first = mlkit.push(reference, session=session)
    mlkit.pull(reference, session=other)

    again = mlkit.push(reference, session=session)
    pulled = mlkit.pull(reference, session=other)

    assert first.moved_bytes == first.size
    assert again.moved_bytes == 0
    assert pulled.moved_bytes == 0


def test_a_partial_pull_moves_the_selected_layers_and_little_more(
    large: Path, host: str, session: Session, other: Session
) -> None:
    mlkit.pack(large, tag="large:1", session=session)
    with fault_proxy(host) as proxy:
        reference = f"{proxy.host}/team/large:1"
        mlkit.push("large:1", reference, session=session)
        session.close()
        proxy.forget()

        moved = mlkit.pull(reference, filters=["datasets"], session=other)

        selected = sum(
            layer.size for layer in mlkit.inspect(reference, session=other).layers if layer.cls == "datasets"
        )
        assert proxy.received <= selected + WIRE_SLACK
    assert selected > 2 * MIB
    assert moved.is_partial
    assert moved.moved_bytes < 3 * MIB
    assert moved.size > 11 * MIB


def test_every_question_about_a_partial_kit_has_an_answer(
    large: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/large:1"
    mlkit.pack(large, tag=reference, session=session)
    mlkit.push(reference, session=session)
    mlkit.pull(reference, filters=["datasets"], session=other)

    inspected = mlkit.inspect(reference, session=other)
    assert inspected.is_partial
    assert {layer.cls: layer.is_local for layer in inspected.layers if layer.cls in ("model", "datasets")} == {
        "model": False,
        "datasets": True,
    }
    assert [listed.is_partial for listed in mlkit.list_kits(session=other)] == [True]
    assert len(mlkit.files(reference, session=other)) == 102
    mlkit.unpack(reference, tmp_path / "data-only", filters=["datasets"], session=other)
    assert set(tree(tmp_path / "data-only")) == {name for name in tree(large) if name.startswith("data/")}
    mlkit.unpack(reference, tmp_path / "all", session=other)
    assert tree(tmp_path / "all") == tree(large)
    assert mlkit.diff(f"local://{reference}", f"remote://{reference}", session=other).is_same
    rest = mlkit.pull(reference, session=other)
    assert not rest.is_partial
    assert 9 * MIB <= rest.moved_bytes < 10 * MIB


def test_a_partial_kit_is_not_pushed_where_the_rest_is_missing(
    large: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/large:1"
    mlkit.pack(large, tag=reference, session=session)
    mlkit.push(reference, session=session)
    mlkit.pull(reference, filters=["datasets"], session=other)

    with RunningRegistry(Layout.create(tmp_path / "empty")) as empty, pytest.raises(NotFoundError) as caught:
        mlkit.push(reference, f"{empty.host}/team/large:1", session=other)

    assert "partial" in caught.value.message
    assert "mlkit pull" in (caught.value.hint or "")


def test_one_small_file_of_a_tar_layer_is_fetched_by_its_range(
    large: Path, host: str, session: Session, other: Session
) -> None:
    mlkit.pack(large, tag="large:1", session=session, layers="tar")
    with fault_proxy(host) as proxy:
        reference = f"{proxy.host}/team/large:1"
        mlkit.push("large:1", reference, session=session)
        session.close()
        proxy.forget()
        sink = io.BytesIO()

        looking.cat(other, Reference.parse(reference), "data/note-099.txt", sink)

        assert proxy.received <= WIRE_SLACK + 4 * len(sink.getvalue())
    assert sink.getvalue() == (large / "data/note-099.txt").read_bytes()


def test_pull_with_unpack_moves_each_byte_once_and_keeps_no_copy(
    large: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    mlkit.pack(large, tag="large:1", session=session)
    with fault_proxy(host) as proxy:
        reference = f"{proxy.host}/team/large:1"
        mlkit.push("large:1", reference, session=session)
        session.close()
        proxy.forget()

        moved = mlkit.pull(reference, unpack_to=tmp_path / "out", session=other)

        assert proxy.received <= moved.size + WIRE_SLACK
        assert moved.size <= moved.moved_bytes <= proxy.received
    assert tree(tmp_path / "out") == tree(large)
    assert moved.is_partial
    stored = sum(path.stat().st_size for path in (tmp_path / "other-store/blobs").rglob("*") if path.is_file())
    assert stored < WIRE_SLACK


def test_unpacking_a_remote_reference_moves_each_byte_once(
    large: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    mlkit.pack(large, tag="large:1", session=session)
    with fault_proxy(host) as proxy:
        reference = f"{proxy.host}/team/large:1"
        size = mlkit.push("large:1", reference, session=session).size
        session.close()
        proxy.forget()

        mlkit.unpack(reference, tmp_path / "out", session=other)

        assert proxy.received <= size + WIRE_SLACK
    assert tree(tmp_path / "out") == tree(large)
    assert mlkit.list_kits(session=other) == ()


def test_packing_straight_to_a_registry_gives_the_same_kit_and_keeps_no_copy(
    large: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    local = mlkit.pack(large, tag="large:1", session=session)

    pushed = mlkit.pack(large, tag=f"{host}/team/large:1", push=True, session=other)
    mlkit.unpack(f"{host}/team/large:1", tmp_path / "out", session=other)

    assert pushed.digest == local.digest
    assert tree(tmp_path / "out") == tree(large)


def test_a_dry_run_moves_nothing_and_says_how_much_would(
    large: Path, host: str, session: Session, other: Session
) -> None:
    reference = f"{host}/team/large:1"
    mlkit.pack(large, tag=reference, session=session)

    would_push = mlkit.push(reference, dry_run=True, session=session)
    with pytest.raises(NotFoundError):
        mlkit.pull(reference, session=other)
    pushed = mlkit.push(reference, session=session)
    would_pull = mlkit.pull(reference, filters=["model"], dry_run=True, session=other)

    assert would_push.moved_bytes == pushed.moved_bytes
    assert 9 * MIB <= would_pull.moved_bytes <= 9 * MIB + WIRE_SLACK
    assert mlkit.list_kits(session=other) == ()


def test_files_that_exist_are_left_alone_unless_it_was_asked_for(
    digits: Path, session: Session, tmp_path: Path
) -> None:
    mlkit.pack(digits, tag="digits:1", session=session)
    out = tmp_path / "out"
    out.mkdir()
    (out / "params.yaml").write_text("mine\n")

    with pytest.raises(ConflictError, match=r"params\.yaml"):
        mlkit.unpack("digits:1", out, session=session)
    assert tree(out) == {"params.yaml": b"mine\n"}
    mlkit.unpack("digits:1", out, existing="ignore", session=session)
    assert (out / "params.yaml").read_text() == "mine\n"
    mlkit.unpack("digits:1", out, existing="overwrite", session=session)
    assert tree(out) == tree(digits)


def test_a_damaged_blob_is_found_by_unpack_and_by_push(
    digits: Path, host: str, session: Session, tmp_path: Path
) -> None:
    mlkit.pack(digits, tag="digits:1", session=session)
    layer = next(layer for layer in mlkit.inspect("digits:1", session=session).layers if layer.path == "params.yaml")
    blob = tmp_path / f"store/blobs/sha256/{layer.digest.hex}"
    content = bytearray(blob.read_bytes())
    content[3] ^= 1

    for read in (
        lambda: mlkit.unpack("digits:1", tmp_path / "out", session=session),
        lambda: mlkit.push("digits:1", f"{host}/team/digits:1", session=session),
    ):
        # Whoever meets it takes it out of use.
        blob.unlink(missing_ok=True)
        blob.write_bytes(content)
        with pytest.raises(IntegrityError, match=layer.digest.hex):
            read()

    assert not (tmp_path / "out").exists()
    with pytest.raises(NotFoundError):
        mlkit.list_kits(f"{host}/team/digits", session=session)


def test_a_kit_built_on_another_brings_the_model_of_its_parent(
    digits: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    parent = f"{host}/team/digits:1.2"
    mlkit.pack(digits, tag=parent, session=session)
    mlkit.push(parent, session=session)
    child = tmp_path / "child"
    child.mkdir()
    (child / "adapter.safetensors").write_bytes(b"adapter")
    kitfile = f"manifestVersion: 1.0.0\nmodel:\n  path: {parent}\n  parts:\n    - path: adapter.safetensors\n"
    (child / "Kitfile").write_text(kitfile)

    mlkit.pack(child, tag=f"{host}/team/child:1", session=session)
    mlkit.push(f"{host}/team/child:1", session=session)
    mlkit.pack(large_copy(digits), tag=parent, session=session)
    mlkit.push(parent, session=session)
    mlkit.unpack(f"{host}/team/child:1", tmp_path / "out", session=other)

    assert (tmp_path / "out/adapter.safetensors").read_bytes() == b"adapter"
    assert (tmp_path / "out/Kitfile").read_text() == kitfile
    assert (tmp_path / "out/model/digits.safetensors").exists()
    assert not (tmp_path / "out/data").exists()
    assert not (tmp_path / "out/later.txt").exists(), "the parent is the one that the child was packed with"


def large_copy(project: Path) -> Path:
    """The project, changed, as its next version under the same tag."""
    (project / "model/digits.safetensors").write_bytes(b"later")
    return project


def test_a_reference_without_host_cannot_be_pushed(digits: Path, session: Session) -> None:
    mlkit.pack(digits, tag="digits:1", session=session)

    with pytest.raises(UsageError, match="no registry host") as caught:
        mlkit.push("digits:1", session=session)

    assert "mlkit push digits:1 registry.example/digits" in (caught.value.hint or "")


def test_an_unknown_tag_names_those_that_there_are(digits: Path, session: Session) -> None:
    mlkit.pack(digits, tag="digits:1.1,1.2", session=session)

    with pytest.raises(NotFoundError, match=r'digits: no tag "2" in the local store \(tags: 1\.1, 1\.2\)'):
        mlkit.info("digits:2", session=session)
    with pytest.raises(NotFoundError) as caught:
        mlkit.info("digit:1.2", session=session)
    assert caught.value.hint == "did you mean digits:1.2?"
    mlkit.tag("digits:1.2", "localhost:5000/team/digits:1.2", session=session)
    with pytest.raises(NotFoundError) as caught:
        mlkit.info("localhost", session=session)
    assert "5000" not in caught.value.message


def test_tags_and_removal_in_the_registry(digits: Path, host: str, session: Session) -> None:
    reference = f"{host}/team/digits:1"
    mlkit.pack(digits, tag=reference, session=session)
    mlkit.push(reference, session=session)

    mlkit.tag(reference, f"{host}/team/digits:stable", remote=True, session=session)
    assert [kit.reference for kit in mlkit.list_kits(f"{host}/team/digits", session=session)] == [
        reference,
        f"{host}/team/digits:stable",
    ]
    mlkit.remove(reference, session=session)
    with pytest.raises(NotFoundError):
        mlkit.unpack(f"{host}/team/digits:2", "nowhere", session=session)


def test_a_kit_is_read_file_by_file_in_a_program(digits: Path, session: Session) -> None:
    mlkit.pack(digits, tag="digits:1", session=session)

    with mlkit.open("digits:1", session=session) as kit:
        metrics = json.loads(kit.read("metrics.json"))
        paths = [file.path for file in kit.files(["parameters"])]

    assert metrics == json.loads((digits / "metrics.json").read_text())
    assert paths == ["params.yaml"]
    assert mlkit.cat("digits:1", "params.yaml", session=session) == (digits / "params.yaml").read_bytes()


def test_equal_files_in_two_entries_are_told_apart(session: Session, tmp_path: Path) -> None:
    project = tmp_path / "twins"
    project.mkdir()
    for name in ("a.csv", "b.csv"):
        (project / name).write_text("same\n")
    (project / "Kitfile").write_text("datasets:\n  - {name: a, path: a.csv}\n  - {name: b, path: b.csv}\n")
    mlkit.pack(project, tag="twins:1", session=session)

    listed = mlkit.files("twins:1", filters=["datasets:b"], session=session)
    layers = mlkit.inspect("twins:1", session=session).layers

    assert [file.path for file in listed] == ["b.csv"]
    assert [(layer.entry, layer.path) for layer in layers[:2]] == [("datasets[0]", "a.csv"), ("datasets[1]", "b.csv")]
    assert layers[0].digest == layers[1].digest
