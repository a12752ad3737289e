"""OpenSSF model-signing, the program of PyPI, on an unpacked kit: it verifies ours, and we verify its."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.cli import write_project
from tests.support.tools import find_tool

import mlkit
from mlkit.api import bundles, signing
from mlkit.api.session import Session
from mlkit.errors import PolicyError
from mlkit.spec.reference import Reference
from mlkit.spec.statement import MODEL_SIGNING
from mlkit.trust.keys import generate, load_private_key, render_private_key

PROGRAM = find_tool("model_signing")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="model_signing is not installed")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = generate()
    (tmp_path / "my.pub").write_text(made.public.pem)
    path = tmp_path / "my.key"
    path.write_text(render_private_key(made, None))
    path.chmod(0o600)
    return path


@pytest.fixture
def unpacked(session: Session, tmp_path: Path) -> Path:
    """A kit with names that sort differently as text and as paths, and with what their program passes over."""
    project = write_project(tmp_path / "project")
    (project / "src.txt").write_text("sorts between src and src/train.py")
    (project / ".gitignore").write_text("*.pyc")
    kitfile = (project / "Kitfile").read_text()
    (project / "Kitfile").write_text(kitfile.replace("  - path: src\n", "  - path: src\n  - path: .\n"))
    mlkit.pack(project, tag="digits:1", session=session)
    mlkit.unpack("digits:1", tmp_path / "out", session=session)
    return tmp_path / "out"


def run(arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, check=False)


def test_their_program_verifies_our_bundle_over_an_unpacked_kit(
    session: Session, unpacked: Path, key: Path, tmp_path: Path
) -> None:
    signature = tmp_path / "model.sig"
    signing.attest(
        session,
        Reference.parse("digits:1"),
        MODEL_SIGNING,
        None,
        signer=load_private_key(key, None),
        output=signature,
    )
    command = ["verify", "key", unpacked, "--signature", signature, "--public_key", tmp_path / "my.pub"]

    verified = run(command)
    (unpacked / "README.md").write_text("# Changed\n")
    changed = run(command)

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "WARNING" not in verified.stdout
    assert changed.returncode != 0


def test_we_verify_their_bundle_against_the_kit(session: Session, unpacked: Path, key: Path, tmp_path: Path) -> None:
    signature = tmp_path / "theirs.sig"
    signed = run(["sign", "key", unpacked, "--signature", signature, "--private_key", key])
    assert signed.returncode == 0, signed.stdout + signed.stderr

    found = bundles.verify_bundle(session, Reference.parse("digits:1"), signature, keys=[tmp_path / "my.pub"])

    assert (found.predicate_type, found.signed_by) == (MODEL_SIGNING, (str(tmp_path / "my.pub"),))
    assert found.files == sum(1 for path in unpacked.rglob("*") if path.is_file()) - 1, "all but .gitignore"

    (unpacked / "extra.txt").write_text("x")
    run(["sign", "key", unpacked, "--signature", signature, "--private_key", key])
    with pytest.raises(PolicyError, match=r"other files than digits:1 has: extra\.txt differ"):
        bundles.verify_bundle(session, Reference.parse("digits:1"), signature, keys=[tmp_path / "my.pub"])
    (unpacked / "extra.txt").unlink()
    (unpacked / "README.md").unlink()
    run(["sign", "key", unpacked, "--signature", signature, "--private_key", key])
    with pytest.raises(PolicyError, match=r"README\.md differ"):
        bundles.verify_bundle(session, Reference.parse("digits:1"), signature, keys=[tmp_path / "my.pub"])
