from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlkit.sources.git import public_remote, revision


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of `train.py` in `src`."""
    where = tmp_path / "repository"
    (where / "src").mkdir(parents=True)
    (where / "src/train.py").write_text("train()\n")
    git(where, "init", "-q")
    git(where, "add", ".")
    git(where, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    return where


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_commit_with_its_place_and_remote(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "git@github.example:team/digits.git")

    found = revision(repository / "src")

    assert found is not None
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert found.path == "src"
    assert found.is_dirty is False
    assert found.uri == f"git+https://github.example/team/digits@{found.commit}"


def test_a_tracked_file_that_differs_makes_it_dirty_and_an_untracked_one_does_not(repository: Path) -> None:
    (repository / "src/weights.bin").write_text("new")
    untracked = revision(repository)
    (repository / "src/train.py").write_text("train(2)\n")
    changed = revision(repository)

    assert untracked is not None
    assert untracked.is_dirty is False
    assert changed is not None
    assert changed.is_dirty is True


def test_a_change_elsewhere_in_the_repository_is_not_the_projects(repository: Path) -> None:
    (repository / "other").mkdir()
    (repository / "src/train.py").write_text("train(2)\n")

    found = revision(repository / "other")

    assert found is not None
    assert found.is_dirty is False


@pytest.mark.parametrize("name", ["filter.evil.clean", "core.fsmonitor"])
def test_no_program_that_a_repository_names_is_run(repository: Path, tmp_path: Path, name: str) -> None:
    git(repository, "config", name, f"touch {tmp_path / 'ran'}; cat")
    (repository / ".gitattributes").write_text("* filter=evil\n")
    (repository / "src/train.py").write_text("train(3)\n")

    found = revision(repository)

    assert found is not None
    assert found.is_dirty is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("state", ["no repository", "no commit", "not there"])
def test_without_a_commit_there_is_none(tmp_path: Path, state: str) -> None:
    where = tmp_path / "project"
    if state != "not there":
        where.mkdir()
    if state == "no commit":
        git(where, "init", "-q")

    assert revision(where) is None


def test_without_git_there_is_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert revision(repository) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@github.com:team/x.git", "https://github.com/team/x"),
        ("ssh://git@github.com:22/team/x.git", "https://github.com/team/x"),
        ("https://me:ghp_secret@github.com/team/x.git/", "https://github.com/team/x"),
        ("https://github.com/team/x", "https://github.com/team/x"),
        ("/srv/git/x.git", None),
        ("file:///srv/git/x.git", None),
        ("../x", None),
        ("", None),
        ("https://[broken/x", None),
        ("ext::sh -c touch% /tmp/x", None),
    ],
)
def test_a_remote_is_told_the_same_however_it_was_cloned_and_without_credentials(
    url: str, expected: str | None
) -> None:
    assert public_remote(url) == expected
