"""Images that are signed, and kits that a policy does not let into one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.base_images import write_base
from tests.support.images import build, pack_kit
from tests.trust.policies import ALICE, BOB

import mlkit
from mlkit.api.evidence import attach_statement, evidence_of
from mlkit.api.session import Located, Session
from mlkit.content.layout import Layout
from mlkit.errors import PolicyError, UsageError
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE
from mlkit.trust.keys import render_private_key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "alice.key"
    path.write_text(render_private_key(ALICE, None))
    path.chmod(0o600)
    return path


def test_a_signed_image_says_what_it_was_made_of(session: Session, host: str, key: Path, tmp_path: Path) -> None:
    kit = pack_kit(session, tmp_path / "project")
    base = write_base(tmp_path / "base")

    built = build(
        session, kit, f"oci:{base}", f"{host}/team/tiny:1", key=key, is_signed=True, has_provenance=True, runtime="none"
    )

    reference = Reference.parse(f"{host}/team/tiny:1")
    store = session.registry(reference)
    image = Located(reference, store.resolve("1"), store, "remote")
    found = {one.statement.predicate_type: one for one in evidence_of(session, image, {"alice": ALICE.public})}
    assert found.keys() == {COSIGN_SIGN, SLSA_PROVENANCE}
    assert all(one.signed_by == ("alice",) and one.statement.names(built.digest) for one in found.values())
    made_of = found[SLSA_PROVENANCE].statement.predicate["buildDefinition"]
    assert made_of["externalParameters"]["runtime"] == "none"
    assert [(one["annotations"]["role"], one["digest"]["sha256"]) for one in made_of["resolvedDependencies"]] == [
        ("kit", built.kit_digest.hex),
        ("base", built.base_digest.hex),
    ]
    assert str(tmp_path) not in str(made_of)


def test_a_layout_holds_the_signature_beside_the_image(session: Session, key: Path, tmp_path: Path) -> None:
    kit = pack_kit(session, tmp_path / "project")

    built = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1", key=key, is_signed=True)

    layout = Layout.at(tmp_path / "image")
    assert built.statements == 1
    assert len(list(layout.referrers(layout.resolve("1")))) == 1


def test_without_a_key_or_a_place_for_it_nothing_is_built(session: Session, key: Path, tmp_path: Path) -> None:
    kit = pack_kit(session, tmp_path / "project")

    with pytest.raises(UsageError, match="no key to sign with"):
        build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1", has_provenance=True)
    with pytest.raises(UsageError, match="holds no signatures"):
        build(session, kit, "scratch", f"docker-archive:{tmp_path / 'image.tar'}", key=key, is_signed=True)

    assert not (tmp_path / "image").exists()


def test_a_kit_that_the_policy_refuses_is_not_built_in(session: Session, host: str, tmp_path: Path) -> None:
    kit = pack_kit(session, tmp_path / "project", tag=f"{host}/team/tiny:1.2")
    mlkit.push(kit, session=session)
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    rules = f'rules: [{{scope: "{host}/team/**", require: [{{type: signature, keys: [alice]}}]}}]'
    (tmp_path / "policy.yaml").write_text(f"version: 1\nkeys: {{alice: {{file: alice.pub}}}}\n{rules}\n")
    guarded = mlkit.session(home=tmp_path / "g", plain_http_hosts=("loopback",), policy=tmp_path / "policy.yaml")
    located = session.locate(Reference.parse(kit), remote=True)

    with guarded as strict:
        for signer in (None, BOB):
            if signer is not None:
                attach_statement(session, located, COSIGN_SIGN, {}, signer=signer)
            with pytest.raises(PolicyError, match="alice"):
                build(strict, kit, "scratch", f"oci:{tmp_path / 'image'}:1")
        assert not (tmp_path / "image").exists()
        attach_statement(session, located, COSIGN_SIGN, {}, signer=ALICE)
        built = build(strict, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    assert built.policy == "met"
