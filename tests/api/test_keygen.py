"""New keys: the password that a person is asked for, and files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mlkit
from mlkit.api import keygen as making
from mlkit.api.session import Session
from mlkit.errors import ConflictError, StoreError, UsageError
from mlkit.trust.key_files import write_pair
from mlkit.trust.keys import load_private_key


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Session]:
    """A session with a person who answers so, one answer after the other."""
    settings = mlkit.session(home=tmp_path / "store").settings

    def answering(*answers: str) -> Session:
        left = list(answers)
        return Session(settings, ask_secret=lambda what: left.pop(0))

    return answering


def test_a_person_is_asked_twice(asked: Callable[..., Session], tmp_path: Path) -> None:
    made = making.keygen(asked("secret", "secret"), tmp_path / "a")

    assert load_private_key(made.private_key, "secret").key_id == made.key_id
    for answers in (("secret", "secrte"), ("", "")):
        with pytest.raises(UsageError):
            making.keygen(asked(*answers), tmp_path / "b")
    assert not (tmp_path / "b.key").exists()


def test_an_existing_key_is_opened_with_its_own_password(asked: Callable[..., Session], tmp_path: Path) -> None:
    first = making.keygen(asked("old", "old"), tmp_path / "a")

    again = making.keygen(asked("old", "new", "new"), tmp_path / "b", source=first.private_key)

    assert again.key_id == load_private_key(again.private_key, "new").key_id == first.key_id


def test_a_disk_that_fails_leaves_no_half_of_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)

    with pytest.raises(StoreError, match="No space left"):
        write_pair(tmp_path / "a", "private", "public")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_pair(tmp_path / "absent/a", "private", "public")


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    # Drawn when the first file is about to be written: then somebody else is faster.
    def meanwhile(count: int) -> bytes:
        (tmp_path / "a.pub").write_text("somebody's")
        return bytes(count)

    with pytest.raises(ConflictError):
        write_pair(tmp_path / "a", "private", "public", random=meanwhile)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.pub": "somebody's"}


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refusing)

    write_pair(tmp_path / "a", "private", "public")
    with pytest.raises(ConflictError):
        write_pair(tmp_path / "a", "other", "other")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.key", "a.pub"]
    assert (tmp_path / "a.key").read_text() == "private"
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
