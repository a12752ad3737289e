"""Bundles and referrers in the hands of others, and theirs in ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.oracle import names_of_sound_layout
from tests.support.cli import WEIGHTS, write_project
from tests.support.docker_registry import docker_registry
from tests.support.programs import Program

import mlkit
from mlkit.api.packing import Packed
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

SKOPEO, ORAS = Program("skopeo"), Program("oras")
SBOM = "application/vnd.cyclonedx+json"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",)) as opened:
        yield opened


@pytest.fixture
def packed(tmp_path: Path, session: Session) -> Packed:
    return mlkit.pack(write_project(tmp_path / "project"), tag="digits:1.2", session=session)


@pytest.fixture
def without_api(tmp_path: Path) -> Iterator[str]:
    """host:port of a registry without referrers API."""
    with docker_registry(tmp_path / "docker-registry") as host:
        yield host


@pytest.fixture
def with_api(tmp_path: Path) -> Iterator[str]:
    """host:port of a registry with it."""
    with RunningRegistry(Layout.create(tmp_path / "embedded")) as running:
        yield running.host


def attach(target: str, folder: Path, flag: str) -> None:
    """Let oras attach an SBOM."""
    (folder / "sbom.json").write_text("{}")
    file = f"{folder / 'sbom.json'}:{SBOM}"
    ORAS("attach", flag, "--disable-path-validation", target, "--artifact-type", SBOM, file)


@pytest.mark.parametrize("name", ["", ":digits:1.2"], ids=["only-one", "by-name"])
def test_skopeo_reads_a_bundle(name: str, packed: Packed, session: Session, with_api: str, tmp_path: Path) -> None:
    mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)

    text = SKOPEO("inspect", "--raw", f"oci-archive:{tmp_path / 'a.tar'}{name}")
    target = f"{with_api}/team/digits:1.2"
    SKOPEO("copy", "--dest-tls-verify=false", f"oci-archive:{tmp_path / 'a.tar'}{name}", f"docker://{target}")

    assert Digest.of(text.encode()) == packed.digest
    assert mlkit.inspect(target, remote=True, session=session).digest == packed.digest


def test_an_archive_of_skopeo_is_loaded(packed: Packed, session: Session, tmp_path: Path) -> None:
    layout = f"oci:{session.layout.root}:digits:1.2"
    SKOPEO("copy", layout, f"oci-archive:{tmp_path / 'named.tar'}:team/digits:1")
    SKOPEO("copy", layout, f"oci-archive:{tmp_path / 'nameless.tar'}")

    with mlkit.session(home=tmp_path / "other") as other:
        named = mlkit.load(tmp_path / "named.tar", session=other)
        nameless = mlkit.load(tmp_path / "nameless.tar", tag="team/digits:2", session=other)
        mlkit.unpack("team/digits:2", tmp_path / "files", session=other)

    assert [kit.reference for kit in (*named.kits, *nameless.kits)] == ["team/digits:1", "team/digits:2"]
    assert set(names_of_sound_layout(tmp_path / "other").values()) == {str(packed.digest)}
    assert (tmp_path / "files/README.md").read_text() == "# Digits\n"


def test_oras_reads_a_bundle_with_its_referrers(packed: Packed, session: Session, tmp_path: Path) -> None:
    attach(f"{session.layout.root}@{packed.digest}", tmp_path, "--oci-layout")
    (note,) = session.layout.referrers(session.local(Reference.parse("digits:1.2")))
    mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)
    bundle = f"{tmp_path / 'a.tar'}@{packed.digest}"

    manifest = ORAS("manifest", "fetch", "--oci-layout", bundle)
    found = json.loads(ORAS("discover", "--oci-layout", "--format", "json", bundle))
    ORAS("pull", "--oci-layout", bundle, "-o", str(tmp_path / "pulled"))

    assert Digest.of(manifest.encode()) == packed.digest
    assert [entry["digest"] for entry in found.get("referrers") or found["manifests"]] == [str(note.digest)]
    assert (tmp_path / "pulled/model/weights.safetensors").read_bytes() == WEIGHTS


def test_what_oras_attached_goes_from_a_registry_without_referrers_api_to_one_with_it(
    packed: Packed, session: Session, without_api: str, with_api: str, tmp_path: Path
) -> None:
    source, target = f"{without_api}/team/digits:1.2", f"{with_api}/prod/digits:1.2"
    mlkit.push("digits:1.2", source, session=session)
    attach(source, tmp_path, "--plain-http")

    mlkit.copy(source, target, session=session)
    mlkit.copy(target, f"{without_api}/back/digits:1.2", session=session)

    for reference in (source, target, f"{without_api}/back/digits:1.2"):
        found = json.loads(ORAS("discover", "--plain-http", "--format", "json", reference))
        entries = found.get("referrers") or found["manifests"]
        assert [entry["artifactType"] for entry in entries] == [SBOM], reference
