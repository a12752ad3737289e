"""A process may die while it signs: there is one signature more, or none, and never half of one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.content.oracle import names_of_sound_layout
from tests.content.test_crash import every_crash_point
from tests.trust.forgery import ALICE, KEYS, victim

import mlkit
from mlkit.api.evidence import examine
from mlkit.api.signing import sign_located
from mlkit.spec.reference import Reference
from mlkit.trust.key_files import write_pair
from mlkit.trust.keys import load_private_key, read_public_key, render_private_key

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_kill_at_any_step_of_signing_leaves_whole_signatures_and_the_rerun_succeeds(tmp_path: Path) -> None:
    with mlkit.session(home=tmp_path / "before") as session:
        reference = victim(session).located.reference
    home = tmp_path / "store"
    seen = set()

    def reset() -> None:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(tmp_path / "before", home)

    def sign() -> None:
        with mlkit.session(home=home) as session:
            sign_located(session, session.locate(reference), signer=ALICE, legacy=True)

    def judge() -> None:
        with mlkit.session(home=home) as session:
            found = examine(session, session.locate(Reference.parse(str(reference))), KEYS)
        assert found.unusable == ()
        assert all(one.signed_by == ("alice",) for one in found.evidence)
        assert str(reference) in names_of_sound_layout(home)
        seen.add(len(found.evidence))

    steps = every_crash_point(sign, judge, reset)
    sign()
    judge()

    assert steps > 20
    assert {0, 1, 2} <= seen


def test_a_kill_at_any_step_of_keygen_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    private, public = render_private_key(ALICE, None), ALICE.public.pem

    def reset() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def judge() -> None:
        for path in folder.iterdir():
            if path.name == "a.key":
                assert load_private_key(path, None).key_id == ALICE.key_id
            elif path.name == "a.pub":
                assert read_public_key(path) == ALICE.public
            else:
                assert path.name.startswith(".a.")
                assert path.stat().st_mode & 0o077 == 0 or path.name.startswith(".a.pub")

    assert every_crash_point(lambda: write_pair(folder / "a", private, public), judge, reset) > 4
    assert sorted(os.listdir(folder)) == ["a.key", "a.pub"]
