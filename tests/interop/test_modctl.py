"""ModelPack's own `modctl`, both ways: the same tree, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.interop.trees import write_everything
from tests.support.programs import Program, modctl_program, tree

import mlkit
from mlkit.api.session import Session

KIT_DOCUMENT = ".mlkit/kit.json"

MODELFILE = """\
NAME theirs
ARCH transformer
FAMILY test
FORMAT safetensors
CONFIG config.json
CONFIG deep/er/tokenizer.json
MODEL model-00001.safetensors
MODEL model-00002.safetensors
CODE deep/größe-数据.py
CODE run.sh
DOC README.md
DOC empty.md
"""
THEIRS = {
    "config.json": b"{}\n",
    "deep/er/tokenizer.json": b'{"a": 1}\n',
    "model-00001.safetensors": bytes(range(256)) * 4000,
    "model-00002.safetensors": b"second" * 1000,
    "deep/größe-数据.py": b"pass\n",
    "run.sh": b"#!/bin/sh\n",
    "README.md": b"# theirs\n",
    "empty.md": b"",
}


@pytest.fixture
def modctl(tmp_path: Path) -> Program:
    return modctl_program(tmp_path / "home")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    return write_everything(tmp_path / "everything")


def without_kit_document(root: Path) -> dict[str, tuple[bytes, bool]]:
    """The tree; `modctl` puts the kit document into it, as a document beside the others."""
    found = tree(root)
    assert json.loads(found.pop(KIT_DOCUMENT)[0])
    return found


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
@pytest.mark.parametrize("layers", ["auto", "tar", "raw"])
def test_modctl_extracts_what_mlkit_packed(
    modctl: Program, everything: Path, host: str, session: Session, tmp_path: Path, layers: Any, to: Any
) -> None:
    """ModelKits too: it looks at how the media type of a layer ends, and at nothing else."""
    reference = f"{host}/team/everything:1.2"
    mlkit.pack(everything, tag=reference, format=to, layers=layers, push=True, session=session)

    modctl("pull", "--plain-http", reference)
    modctl("extract", reference, "--output", tmp_path / "extracted")
    streamed = ("--extract-from-remote", "--extract-dir", tmp_path / "streamed")
    modctl("pull", "--plain-http", *streamed, reference)
    inspected = json.loads(modctl("inspect", reference))

    assert without_kit_document(tmp_path / "extracted") == tree(everything)
    assert without_kit_document(tmp_path / "streamed") == tree(everything)
    # The config of a ModelKit is a Kitfile, which it cannot read.
    assert inspected["Name"] == ("everything" if to == "modelpack" else "")
    assert len(inspected["Layers"]) == len(mlkit.inspect(reference, session=session).layers)


def test_modctl_extracts_the_digits_example(
    modctl: Program, digits: Path, host: str, session: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/digits:1.2"
    mlkit.pack(digits, tag=reference, push=True, session=session)

    modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", tmp_path / "out", reference)

    packed = {file.path for file in mlkit.files(reference, session=session)}
    expected = {path: content for path, content in tree(digits).items() if path in packed}
    assert without_kit_document(tmp_path / "out") == expected


def test_modctl_fetches_files_of_a_kit_by_pattern(
    modctl: Program, everything: Path, host: str, session: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/everything:1.2"
    mlkit.pack(everything, tag=reference, push=True, session=session)

    modctl("fetch", "--plain-http", "--output", tmp_path / "out", "--patterns", "data/*.csv", reference)

    assert set(tree(tmp_path / "out")) == {"data/test.csv"}


def test_modctl_tells_equal_raw_files_apart(modctl: Program, host: str, session: Session, tmp_path: Path) -> None:
    project = write_everything(
        tmp_path / "equal", {"data/a": b"same", "data/b": b"same"}, "datasets: [{name: d, path: data}]\n"
    )
    reference = f"{host}/team/equal:1"
    mlkit.pack(project, tag=reference, push=True, session=session)

    modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", tmp_path / "out", reference)

    assert without_kit_document(tmp_path / "out") == tree(project)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_modctl_knows_no_compressed_layer(
    modctl: Program, everything: Path, host: str, session: Session, tmp_path: Path, compression: Any
) -> None:
    """The specification has them, `modctl` 0.2 does not: whoever uses it packs without compression, the default."""
    reference = f"{host}/team/everything:1.2"
    mlkit.pack(everything, tag=reference, layers="tar", compression=compression, push=True, session=session)

    modctl("pull", "--plain-http", reference)
    # Extracting while pulling meets the same error, and tries again for minutes.
    ended = modctl.end("extract", reference, "--output", tmp_path / "out")

    assert ended.code != 0
    assert "unsupported codec type" in ended.stdout + ended.stderr


@pytest.mark.parametrize("layers", ["raw", "tar"])
def test_mlkit_reads_what_modctl_built(
    modctl: Program, host: str, session: Session, tmp_path: Path, layers: str
) -> None:
    project = write_everything(tmp_path / "project", THEIRS, kitfile=None)
    (project / "run.sh").chmod(0o755)
    (tmp_path / "Modelfile").write_text(MODELFILE)
    reference = f"{host}/team/theirs:1"
    modctl("build", f"--raw={str(layers == 'raw').lower()}", "-f", tmp_path / "Modelfile", "-t", reference, project)
    modctl("push", "--plain-http", reference)

    mlkit.pull(reference, session=session)
    mlkit.unpack(reference, tmp_path / "all", session=session)
    mlkit.unpack(reference, tmp_path / "some", filters=["code", "docs:README.md"], session=session)
    inspected = mlkit.inspect(reference, session=session)
    with mlkit.open(reference, session=session) as opened:
        caught = {path: opened.read(path) for path in THEIRS}

    assert tree(tmp_path / "all") == tree(project)
    assert set(tree(tmp_path / "some")) == {"deep/größe-数据.py", "run.sh", "README.md"}
    assert caught == THEIRS
    assert inspected.is_kit
    assert {entry.path for entry in inspected.entries} == set(THEIRS)
    model = mlkit.info(reference, session=session).kitfile["model"]
    assert model["path"] == "model-00001.safetensors"
    assert len(model["parts"]) == 3


def test_mlkit_pulls_a_part_of_what_modctl_built(modctl: Program, host: str, session: Session, tmp_path: Path) -> None:
    project = write_everything(tmp_path / "project", THEIRS, kitfile=None)
    (tmp_path / "Modelfile").write_text(MODELFILE)
    reference = f"{host}/team/theirs:1"
    modctl("build", "-f", tmp_path / "Modelfile", "-t", reference, project)
    modctl("push", "--plain-http", reference)

    moved = mlkit.pull(reference, filters=["docs"], unpack_to=tmp_path / "docs", session=session)

    assert set(tree(tmp_path / "docs")) == {"README.md", "empty.md"}
    assert moved.digest == mlkit.inspect(reference, session=session).digest
