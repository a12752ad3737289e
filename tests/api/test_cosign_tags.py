"""Signatures under cosign's older tags go wherever their kit goes, beside those that are there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mlkit
from mlkit.api.cosign_tags import local_names
from mlkit.api.session import Session
from mlkit.api.signing import sign_located
from mlkit.content.storage import BytesContent
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY
from mlkit.spec.reference import Reference
from mlkit.spec.simple_signing import signature_tag
from mlkit.trust.keys import PrivateKey, generate

ALICE, BOB = generate(), generate()


@pytest.fixture
def kit(session: Session, tmp_path: Path, host: str) -> str:
    """A kit in the registry, signed there by alice in both forms."""
    (tmp_path / "m.onnx").write_bytes(b"weights")
    reference = f"{host}/team/kit:1"
    mlkit.pack(tmp_path, tag=reference, kitfile_text="model: {path: m.onnx}", push=True, session=session)
    sign(session, reference, ALICE, remote=True)
    return reference


def sign(session: Session, reference: str, key: PrivateKey, *, remote: bool = False) -> None:
    sign_located(session, session.locate(Reference.parse(reference), remote=remote), signer=key, legacy=True)


def older(session: Session, reference: str, *, remote: bool = False) -> list[str]:
    """Whose signatures in the older form a kit has."""
    keys = {"alice": ALICE.public, "bob": BOB.public}
    from mlkit.api.evidence import examine

    found = examine(session, session.locate(Reference.parse(reference), remote=remote), keys).evidence
    return sorted(name for one in found if one.form == "simple-signing" for name in one.signed_by)


def test_they_are_pulled_and_pushed_to_another_name(session: Session, other: Session, kit: str) -> None:
    host = kit.partition("/")[0]

    pulled = mlkit.pull(kit, session=other)
    mlkit.tag(kit, "mine/kit:2", session=other)
    mlkit.push("mine/kit:2", f"{host}/else/where:3", session=other)

    assert pulled.referrers == 2
    assert older(other, kit) == ["alice"]
    assert older(other, "mine/kit:2") == ["alice"]
    assert older(session, f"{host}/else/where:3") == ["alice"]
    assert [one.reference for one in mlkit.list_kits(session=other)] == [kit, "mine/kit:2"]


def test_they_are_copied_from_registry_to_registry(session: Session, kit: str) -> None:
    host = kit.partition("/")[0]

    copied = mlkit.copy(kit, f"{host}/prod/kit:1", session=session)
    again = mlkit.copy(kit, f"{host}/prod/kit:1", session=session)
    without = mlkit.copy(kit, f"{host}/bare/kit:1", referrers=False, session=session)

    assert (copied.referrers, again.referrers, without.referrers) == (2, 2, 0)
    assert again.moved == 0
    assert older(session, f"{host}/prod/kit:1") == ["alice"]
    assert older(session, f"{host}/bare/kit:1") == []


def test_those_of_both_sides_are_kept(session: Session, other: Session, kit: str) -> None:
    mlkit.pull(kit, session=other)
    sign(other, kit, BOB)
    sign(session, kit, BOB, remote=True)

    mlkit.push(kit, session=other)
    mlkit.pull(kit, session=other)

    assert older(session, kit, remote=True) == older(other, kit) == ["alice", "bob", "bob"]


def test_a_rehearsal_moves_none(session: Session, other: Session, kit: str) -> None:
    rehearsed = mlkit.pull(kit, dry_run=True, session=other)

    assert rehearsed.referrers == 2
    assert other.layout.names() == {}


def test_they_are_saved_and_loaded_under_the_name_that_the_kit_gets(
    session: Session, other: Session, kit: str, tmp_path: Path
) -> None:
    mlkit.pull(kit, session=session)

    saved = mlkit.save(kit, tmp_path / "kits.tar", session=session)
    loaded = mlkit.load(tmp_path / "kits.tar", tag="mine/kit:7", session=other)

    assert (saved.referrers, loaded.referrers) == (2, 2)
    assert older(other, "mine/kit:7") == ["alice"]
    assert sorted(other.layout.names()) == ["mine/kit:7", f"mine/kit:{signature_tag(loaded.kits[0].digest)}"]


def test_they_are_saved_from_a_registry_too(session: Session, other: Session, kit: str, tmp_path: Path) -> None:
    mlkit.save(kit, tmp_path / "kits.tar", remote=True, session=session)
    mlkit.load(tmp_path / "kits.tar", session=other)

    assert older(other, kit) == ["alice"]


def test_they_go_with_the_last_name_of_their_kit(session: Session, other: Session, kit: str) -> None:
    mlkit.pull(kit, session=other)
    mlkit.tag(kit, "mine/kit:2", session=other)
    digest = mlkit.inspect(kit, session=other).digest

    mlkit.remove(kit, session=other)
    assert older(other, "mine/kit:2") == ["alice"]
    mlkit.remove("mine/kit:2", session=other)

    assert local_names(other.layout, signature_tag(digest)) == []
    assert other.layout.names() == {}


def test_what_is_no_signature_stays_where_it_is(session: Session, other: Session, kit: str) -> None:
    repository = session.registry(Reference.parse(kit))
    digest = mlkit.inspect(kit, session=session).digest
    config, layer = Descriptor.of(b"{}", OCI_EMPTY), Descriptor.of(b"0" * 100, "application/x")
    repository.push(config, BytesContent(b"{}"))
    repository.push(layer, BytesContent(b"0" * 100))
    manifest = render_manifest(config=config, layers=(layer,), artifact_type="x/y")
    repository.push(manifest.descriptor, BytesContent(manifest.raw))
    repository.tag(manifest.descriptor, signature_tag(digest))

    pulled = mlkit.pull(kit, session=other)

    assert pulled.referrers == 1
    assert not other.layout.exists(layer)
    assert list(other.layout.names()) == [kit]


def test_signers_at_the_same_moment_lose_nothing(session: Session, kit: str, tmp_path: Path) -> None:
    def signing(number: int) -> None:
        with mlkit.session(home=tmp_path / f"store-{number}", plain_http=True) as own:
            sign(own, kit, BOB, remote=True)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(signing, range(3)))

    assert older(session, kit) == ["alice", "bob", "bob", "bob"]
    assert len(mlkit.inspect(kit, remote=True, session=session).referrers) == 4
