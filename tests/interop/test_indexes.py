"""Indexes of kits in the hands of tools that know nothing of kits: digests stay, and everything comes along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.cli import write_project
from tests.support.docker_registry import docker_registry
from tests.support.programs import Program

import mlkit
from mlkit.api.session import Session
from mlkit.spec.reference import Reference


@pytest.fixture
def reference(host: str, session: Session, tmp_path: Path) -> str:
    """An index of two kits that was pushed."""
    project, name = write_project(tmp_path / "project"), f"{host}/team/digits"
    mlkit.create_index(f"{name}:all", session=session)
    for tag in ("q4", "q8"):
        (project / "model/weights.safetensors").write_text(tag * 500)
        mlkit.pack(project, tag=f"{name}:{tag}", session=session)
        mlkit.add_to_index(f"{name}:all", f"{name}:{tag}", labels={"quantization": tag}, session=session)
    mlkit.push(f"{name}:all", session=session)
    return f"{name}:all"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("oras", ("cp", "-r", "--from-plain-http", "--to-plain-http", "{source}", "{target}")),
        ("crane", ("copy", "--insecure", "{source}", "{target}")),
    ],
    ids=["oras", "crane"],
)
def test_an_index_that_another_tool_copied_is_the_same(
    reference: str, session: Session, other: Session, tmp_path: Path, program: str, arguments: tuple[str, ...]
) -> None:
    with docker_registry(tmp_path / "third") as third:
        target = f"{third}/team/digits:copied"
        Program(program)(*(argument.format(source=reference, target=target) for argument in arguments))

        pulled = mlkit.pull(target, labels=["quantization=q8"], session=other)
        text = mlkit.cat(target, "model/weights.safetensors", labels=["quantization=q4"], session=other)

    assert pulled.digest == session.local(Reference.parse(reference)).digest
    assert text == b"q4" * 500


def test_oras_shows_the_index_with_its_labels(reference: str) -> None:
    shown = json.loads(Program("oras")("manifest", "fetch", "--plain-http", reference))

    assert shown["artifactType"] == "application/vnd.kitops.modelkit.index.v1+json"
    assert sorted(entry["modelMetadata"]["quantization"] for entry in shown["manifests"]) == ["q4", "q8"]


def test_skopeo_writes_indexes_anew_without_labels_and_its_kits_are_the_same(
    reference: str, session: Session, other: Session, tmp_path: Path
) -> None:
    """Its reader of indexes drops what it does not know; with --preserve-digests it refuses to copy them."""
    insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
    with docker_registry(tmp_path / "third") as third:
        target = f"{third}/team/digits"
        places = (f"docker://{reference}", f"docker://{target}:copied")
        refused = Program("skopeo").end("copy", "--all", "--preserve-digests", *insecure, *places)
        Program("skopeo")("copy", "--all", *insecure, *places)

        copied = mlkit.inspect(f"{target}:copied", remote=True, session=other)
        kits = {kit.labels["quantization"]: kit.digest for kit in mlkit.list_index(reference, session=session).kits}
        text = mlkit.cat(f"{target}@{kits['q4']}", "model/weights.safetensors", session=other)

    assert refused.code != 0
    assert {layer.digest for layer in copied.layers} == set(kits.values())
    assert "modelMetadata" not in json.dumps(copied.manifest)
    assert text == b"q4" * 500
