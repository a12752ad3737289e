"""What users of `kit` have run into (KitOps 1.15), each shown with the real program and not there in mlkit.

The half that shows `kit` is skipped where it is not installed, the half about mlkit never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.trees import write_everything
from tests.support.docker_registry import docker_registry
from tests.support.programs import Program, kit_program, tree

import mlkit
from mlkit.api.session import Session

WEIGHTS = bytes(range(256)) * 8000
TREE = {"model/net.bin": WEIGHTS, "model_utils.py": b"pass\n", "README.md": b"# hi\n"}
KITFILE = "manifestVersion: 1.0.0\nmodel: {name: net, path: model}\ncode: [{path: .}]\n"


@pytest.fixture
def kit(tmp_path: Path) -> Program:
    return kit_program(tmp_path / "home")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_everything(tmp_path / "project", TREE, KITFILE)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where `docker` keeps its blobs."""
    return tmp_path / "on-disk"


@pytest.fixture
def docker(disk: Path) -> Iterator[str]:
    """A registry whose disk can lose a bit: it does not look at what it serves."""
    with docker_registry(disk) as address:
        yield address


def flip(disk: Path, content: bytes) -> None:
    """Change one bit in the middle of the blob that ends or begins with some content; a second call changes it back."""
    path = next(one for one in disk.rglob("data") if one.is_file() and content[:1000] in one.read_bytes())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


def test_kit_unpacks_wrong_bytes_without_a_word(
    kit: Program, project: Path, docker: str, disk: Path, session: Session, tmp_path: Path
) -> None:
    reference = f"{docker}/team/net:1"
    mlkit.pack(project, tag=reference, push=True, session=session)
    flip(disk, WEIGHTS)

    kit("unpack", "--plain-http", reference, "-d", tmp_path / "out")

    assert (tmp_path / "out/model/net.bin").read_bytes() != WEIGHTS


def test_mlkit_unpacks_no_wrong_byte(
    project: Path, docker: str, disk: Path, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{docker}/team/net:1"
    mlkit.pack(project, tag=reference, push=True, session=session)
    flip(disk, WEIGHTS)

    with pytest.raises(mlkit.MlkitError) as caught:
        mlkit.unpack(reference, tmp_path / "out", session=other)

    assert caught.value.exit_code == 4
    assert not (tmp_path / "out").exists()


def test_mlkit_pulls_again_once_a_corrupt_download_is_over(
    project: Path, docker: str, disk: Path, session: Session, other: Session, tmp_path: Path
) -> None:
    """What `kit` keeps of a corrupt download blocks every further try."""
    reference = f"{docker}/team/net:1"
    mlkit.pack(project, tag=reference, push=True, session=session)
    flip(disk, WEIGHTS)
    with pytest.raises(mlkit.MlkitError):
        mlkit.pull(reference, session=other)
    flip(disk, WEIGHTS)

    mlkit.pull(reference, session=other)
    mlkit.unpack(reference, tmp_path / "out", session=other)

    assert tree(tmp_path / "out") == tree(project)


def test_kit_takes_a_name_for_part_of_another(kit: Program, project: Path, tmp_path: Path) -> None:
    kit("pack", project, "-t", "net:1")

    kit("unpack", "net:1", "-d", tmp_path / "out")

    assert set(tree(tmp_path / "out")) == {"model/net.bin", "README.md"}


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
def test_mlkit_compares_paths_by_their_components(project: Path, session: Session, tmp_path: Path, to: str) -> None:
    mlkit.pack(project, tag="net:1", format=to, session=session)  # type: ignore[arg-type]  # a parameter of the test

    mlkit.unpack("net:1", tmp_path / "out", session=session)

    assert tree(tmp_path / "out") == tree(project)


def child_of(tmp_path: Path, parent: str) -> Path:
    kitfile = f"manifestVersion: 1.0.0\nmodel: {{name: tuned, path: '{parent}'}}\ncode: [{{path: tune.py}}]\n"
    return write_everything(tmp_path / "child", {"tune.py": b"pass\n"}, kitfile)


def test_kit_looks_for_a_parent_with_other_settings_than_its_own(
    kit: Program, project: Path, host: str, session: Session, tmp_path: Path
) -> None:
    """`kit pack` has no flag for plain HTTP, nor any other of the network, and needs the parent for its entries."""
    mlkit.pack(project, tag=f"{host}/team/net:1", push=True, session=session)

    ended = kit.end("pack", child_of(tmp_path, f"{host}/team/net:1"), "-t", "tuned:1")

    assert ended.code == 1


def test_mlkit_finds_a_parent_with_its_own_settings_and_leaves_the_tags_of_the_child_alone(
    project: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    mlkit.pack(project, tag=f"{host}/team/net:1", push=True, session=session)
    child = child_of(tmp_path, f"{host}/team/net:1")
    mlkit.pack(child, tag=f"{host}/team/tuned:1", push=True, session=session)
    mlkit.pull(f"{host}/team/tuned:1", session=other)

    mlkit.unpack(f"{host}/team/tuned:1", tmp_path / "out", session=other)

    assert list(other.layout.names()) == [f"{host}/team/tuned:1"]
    assert set(tree(tmp_path / "out")) == {"model/net.bin", "tune.py"}
    assert {listed.reference for listed in mlkit.list_kits(f"{host}/team/tuned", session=other)} == {
        f"{host}/team/tuned:1"
    }


DOTS = {"data/a..b.csv": b"1\n", "data/..c/d": b"2\n", "data/e..f/g..h": b"3\n"}


def test_kit_refuses_names_with_two_dots_in_them(kit: Program, tmp_path: Path) -> None:
    project = write_everything(tmp_path / "dots", DOTS, "datasets: [{name: d, path: data}, {name: e, path: a..b}]\n")
    (project / "a..b").write_text("x")

    kit("pack", project, "-t", "dots:1")

    ended = kit.end("unpack", "dots:1", "-d", tmp_path / "out")

    assert ended.code == 1
    assert "illegal file path" in ended.stdout + ended.stderr


@pytest.mark.parametrize("layers", ["auto", "tar"])
def test_mlkit_takes_names_with_two_dots_in_them(session: Session, tmp_path: Path, layers: str) -> None:
    files = {**DOTS, "a..b": b"x"}
    project = write_everything(tmp_path / "dots", files, "datasets: [{name: d, path: data}, {name: e, path: a..b}]\n")

    mlkit.pack(project, tag="dots:1", layers=layers, session=session)  # type: ignore[arg-type]  # a parameter
    mlkit.unpack("dots:1", tmp_path / "out", session=session)

    assert tree(tmp_path / "out") == tree(project)


def test_kit_cannot_show_the_datasets_of_a_kit(kit: Program, tmp_path: Path) -> None:
    project = write_everything(tmp_path / "data", {"a.csv": b"1\n"}, "datasets: [{name: train, path: a.csv}]\n")
    kit("pack", project, "-t", "data:1")

    ended = kit.end("info", "data:1", "--filter", "datasets")

    assert ended.code == 1


def test_mlkit_shows_the_datasets_of_a_kit(session: Session, tmp_path: Path) -> None:
    project = write_everything(tmp_path / "data", {"a.csv": b"1\n"}, "datasets: [{name: train, path: a.csv}]\n")
    mlkit.pack(project, tag="data:1", session=session)

    assert mlkit.info("data:1", part="datasets", session=session).value == [{"name": "train", "path": "a.csv"}]
    assert mlkit.info("data:1", part="datasets[0].name", session=session).value == "train"
