"""The kit that a kit's model is, and bases that are only stated: those are origins, and no part of the kit."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.images import LaidOut, build
from tests.support.lineage import Team
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
import mlkit.lineage
from mlkit.api import comparing, lineage
from mlkit.api.serve import ServeOptions, serving
from mlkit.api.session import Session
from mlkit.errors import NotFoundError
from mlkit.packing.kit import load_kit
from mlkit.spec.reference import Reference

ROOT = Path(__file__).parents[2]
FAKE = f"{shlex.quote(sys.executable)} -m tests.support.fake_server --port {{port}} --model {{model}}"
WEIGHTS = "model/model.gguf"
STATED = "inputs: [{role: base-model, ref: 'base:1'}]\n"


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


def write(folder: Path, kitfile: str, **files: str) -> Path:
    """A project; the names of `files` are paths."""
    for name, text in {"Kitfile": kitfile, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def model(path: str, text: str) -> dict[str, str]:
    return {path: f"GGUF{text}"}


def pack_base(session: Session, folder: Path, path: str = WEIGHTS) -> mlkit.Digest:
    project = write(folder / "base", f"model: {{path: {path}}}\n", **model(path, "base"))
    return mlkit.pack(project, tag="base:1", session=session).digest


def pack_tuned(session: Session, folder: Path, says: str) -> mlkit.Digest:
    """A kit with a stated base, by its Kitfile or by the record of a run."""
    kitfile = f"model: {{path: {WEIGHTS}}}\n" + (STATED if says == "Kitfile" else "")
    project = write(folder / "tuned", kitfile, **model(WEIGHTS, "tuned"))
    if says == "run":
        with mlkit.lineage.run(
            "train", directory=project, resolve=lambda text: mlkit.resolve(text, session=session)
        ) as run:
            run.uses("base:1", role="base-model")
            run.produces(project / WEIGHTS)
    return mlkit.pack(project, tag="tuned:1", session=session).digest


@pytest.fixture(params=["Kitfile", "run"])
def says(request: pytest.FixtureRequest) -> str:
    """Who states the base."""
    return str(request.param)


@pytest.fixture(params=["same names", "other names", "absent"])
def tuned(request: pytest.FixtureRequest, session: Session, tmp_path: Path, says: str) -> mlkit.Digest:
    """`tuned:1` was trained from `base:1`, which has files of the same names or of others, or is gone."""
    pack_base(session, tmp_path, "weights.gguf" if request.param == "other names" else WEIGHTS)
    digest = pack_tuned(session, tmp_path, says)
    if request.param == "absent":
        mlkit.remove("base:1", session=session)
    return digest


def tree(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found if path.name != "Kitfile"}


def test_a_kit_with_a_stated_base_is_unpacked_without_it(session: Session, tuned: mlkit.Digest, tmp_path: Path) -> None:
    mlkit.unpack("tuned:1", tmp_path / "out", session=session)

    assert tree(tmp_path / "out") == {WEIGHTS: "GGUFtuned"}
    report = comparing.compare(session, Reference.parse("tuned:1"), tmp_path / "out")
    assert (report.is_same, report.files) == (True, 2)


def test_a_pull_that_unpacks_leaves_a_stated_base_where_it_is(
    session: Session, other: Session, server: SimulatedRegistry, tuned: mlkit.Digest, tmp_path: Path
) -> None:
    mlkit.push("tuned:1", f"{server.host}/team/tuned:1", session=session)

    mlkit.pull(f"{server.host}/team/tuned:1", unpack_to=tmp_path / "out", session=other)

    assert tree(tmp_path / "out") == {WEIGHTS: "GGUFtuned"}


@pytest.mark.parametrize("reuse", [False, True], ids=["streamed", "reused"])
def test_a_kit_with_a_stated_base_is_served_without_it(session: Session, tuned: mlkit.Digest, *, reuse: bool) -> None:
    options = ServeOptions(command=FAKE, port=0, ready_seconds=30, reuse=reuse)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    with serving(session, Reference.parse("tuned:1"), options, environ=environ) as one:
        assert tree(one.served.directory) == {WEIGHTS: "GGUFtuned"}


def test_an_image_of_a_kit_with_a_stated_base_is_built_without_it(
    session: Session, tuned: mlkit.Digest, tmp_path: Path
) -> None:
    build(session, "tuned:1", "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert [raw for path, raw in sorted(files.items()) if path.endswith(".gguf")] == [
        f"-> ../../models/{Path(WEIGHTS).name}".encode(),
        b"GGUFtuned",
    ]


def test_a_stated_base_is_still_an_ancestor(session: Session, tmp_path: Path, says: str) -> None:
    team = Team(session, tmp_path / "team")
    team.kit("data:1", datasets={"a.csv": b"p" * 900})
    base = pack_base(session, tmp_path)
    pack_tuned(session, tmp_path, says)

    lineage.index(session, [])
    answer = lineage.trained_on(session, f"base:1@{base}")

    assert "tuned:1" in {hit.thing.text for hit in answer.hits}


def test_the_kit_that_the_model_is_counts_and_not_another_stated_base(session: Session, tmp_path: Path) -> None:
    pack_base(session, tmp_path)
    part = write(tmp_path / "part", "model: {path: part.gguf}\n", **model("part.gguf", "part"))
    before = mlkit.pack(part, tag="part:1", session=session).digest
    pinned = mlkit.pack(
        write(part, (part / "Kitfile").read_text(), **model("part.gguf", "new")), tag="part:1", session=session
    )
    mlkit.tag("part:1", "part:kept", session=session)
    kitfile = (
        "model: {path: 'part:1'}\ncode: [{path: run.py}]\n"
        f"inputs: [{{role: base-model, ref: 'base:1'}}, {{role: base-model, ref: 'part:1@{before}'}}]\n"
    )
    mlkit.pack(write(tmp_path / "child", kitfile, **{"run.py": "pass\n"}), tag="child:1", session=session)
    write(part, (part / "Kitfile").read_text(), **model("part.gguf", "moved on"))
    mlkit.pack(part, tag="part:1", session=session)

    mlkit.unpack("child:1", tmp_path / "out", session=session)

    assert tree(tmp_path / "out") == {"run.py": "pass\n", "part.gguf": "GGUFnew"}, "as it was when it was packed"
    document = load_kit(session.layout, session.local(Reference.parse("child:1"))).document
    assert document is not None
    assert [record.digest for record in document.inputs if record.ref and "part" in record.ref] == [
        pinned.digest,
        before,
    ]


def test_a_kit_that_the_model_is_must_be_there(session: Session, tmp_path: Path) -> None:
    pack_base(session, tmp_path)
    child = write(tmp_path / "child", "model: {path: 'base:1'}\n" + STATED)
    mlkit.pack(child, tag="child:1", session=session)
    mlkit.remove("base:1", session=session)

    with pytest.raises(NotFoundError, match="base:1"):
        mlkit.unpack("child:1", tmp_path / "out", session=session)
