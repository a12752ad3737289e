"""Statements on kits: attached, found again, and whose they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import mlkit
from mlkit.api import evidence
from mlkit.api.session import Session
from mlkit.errors import AuthError, UsageError
from mlkit.spec.media_types import SIGSTORE_BUNDLE
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE
from mlkit.trust.keys import generate, render_private_key

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return folder


def test_a_statement_on_a_local_kit_is_found_and_known_by_its_key(project: Path, session: Session) -> None:
    key, other = generate(), generate("ed25519")
    mlkit.pack(project, tag="team/digits:1", session=session)
    located = session.locate(Reference.parse("team/digits:1"))

    attached = evidence.attach_statement(session, located, SLSA_PROVENANCE, {"n": 1}, signer=key, now=NOW)
    (found,) = evidence.evidence_of(session, located, {"alice": key.public, "bob": other.public})

    assert attached.artifact_type == SIGSTORE_BUNDLE
    assert found.digest == attached.digest
    assert found.signed_by == ("alice",)
    assert found.key_id == key.key_id
    assert (found.statement.predicate_type, found.statement.predicate) == (SLSA_PROVENANCE, {"n": 1})
    assert found.statement.subjects[0].annotations == {"org.opencontainers.image.created": "2026-01-02T03:04:05Z"}
    assert evidence.evidence_of(session, located, {"bob": other.public})[0].signed_by == ()


def test_a_statement_on_a_remote_kit_is_found_by_a_colleague(
    project: Path, session: Session, other: Session, host: str
) -> None:
    key = generate()
    reference = Reference.parse(f"{host}/team/digits:1")
    mlkit.pack(project, tag=str(reference), push=True, session=session)

    evidence.attach_statement(session, session.locate(reference, remote=True), COSIGN_SIGN, {}, signer=key)

    (found,) = evidence.evidence_of(other, other.locate(reference), {"alice": key.public})
    assert found.signed_by == ("alice",)
    mlkit.pull(str(reference), session=other)
    (pulled,) = evidence.evidence_of(other, other.locate(reference), {"alice": key.public})
    assert pulled == found


def test_programs_sign_and_verify_with_files_or_signers_of_their_own(
    project: Path, session: Session, tmp_path: Path
) -> None:
    mlkit.pack(project, tag="team/digits:1", session=session)
    made = mlkit.keygen(tmp_path / "mlkit", type="ed25519", no_password=True, session=session)

    with pytest.raises(mlkit.MlkitError, match="not verified"):
        mlkit.verify("team/digits:1", keys=made.public_key, session=session)
    signed = mlkit.sign("team/digits:1", key=made.private_key, session=session)
    mlkit.attest("team/digits:1", "urn:x", {"a": 1}, key=generate(), session=session)

    verified = mlkit.verify("team/digits:1", keys=[made.public_key], session=session)
    assert (verified.digest, verified.matched[0].digest) == (signed.digest, signed.attached)
    assert [one.signed_by for one in verified.others] == [()]


def key_file(folder: Path, password: str | None) -> Path:
    path = folder / "mlkit.key"
    path.write_text(render_private_key(generate(), password))
    path.chmod(0o600)
    return path


def test_the_signer_is_the_one_that_is_named_or_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path, "secret")
    (tmp_path / "password").write_text("secret\n")

    with mlkit.session(home=tmp_path / "store") as session:
        assert evidence.signer_for(session) is None
        with pytest.raises(AuthError, match="wants a password"):
            evidence.signer_for(session, path)
    monkeypatch.setenv("MLKIT_SIGNING_KEY", str(path))
    monkeypatch.setenv("MLKIT_KEY_PASSWORD_FILE", str(tmp_path / "password"))
    with mlkit.session(home=tmp_path / "store") as session:
        assert evidence.signer_for(session) is not None
    monkeypatch.setenv("MLKIT_KEY_PASSWORD", "secret")
    with pytest.raises(UsageError, match="excludes"):
        mlkit.session(home=tmp_path / "store")


def test_a_person_is_asked_for_the_password(tmp_path: Path) -> None:
    path = key_file(tmp_path, "secret")
    settings = mlkit.session(home=tmp_path / "store").settings

    with Session(settings, ask_secret=lambda what: {f"Password of {path}": "secret"}[what]) as session:
        assert evidence.signer_for(session, path) is not None


def test_as_many_statements_are_looked_at_as_the_setting_says(project: Path, session: Session) -> None:
    key = generate("ed25519")
    mlkit.pack(project, tag="team/digits:1", session=session)
    located = session.locate(Reference.parse("team/digits:1"))
    for number in range(3):
        evidence.attach_statement(session, located, SLSA_PROVENANCE, {"n": number}, signer=key, now=NOW)

    def looked(limit: int) -> tuple[int, int]:
        limits = replace(session.settings.limits, statements=limit)
        with mlkit.session(home=session.settings.home, limits=limits) as limited:
            found = evidence.examine(limited, limited.locate(located.reference), {"alice": key.public})
        return len(found.evidence), found.unexamined

    assert looked(3) == (3, 0)
    assert looked(2) == (2, 1)
