"""Uploads that were begun: one file each, for its owner alone, and never a reason to fail."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlkit.content.uploads import KEPT_SECONDS, SavedUpload, Uploads
from mlkit.spec.digest import Digest

ORIGIN = "https://registry.example"
DIGEST = Digest.of(b"layer")
HERE = SavedUpload("https://registry.example/v2/a/blobs/uploads/1?_state=secret", 5)
THERE = SavedUpload("https://registry.example/v2/a/blobs/uploads/1?_state=other", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".mlkit" / "uploads"


def save(uploads: Uploads, upload: SavedUpload = HERE) -> None:
    with uploads.claim(ORIGIN, "a", DIGEST) as claim:
        claim.save(upload)


def saved(uploads: Uploads, origin: str = ORIGIN, repository: str = "a", digest: Digest = DIGEST) -> SavedUpload | None:
    with uploads.claim(origin, repository, digest) as claim:
        return claim.saved


def test_what_one_process_saved_another_one_finds(folder: Path) -> None:
    save(Uploads(folder))

    assert saved(Uploads(folder)) == HERE


def test_the_last_word_counts_and_is_for_its_owner_alone(folder: Path) -> None:
    uploads = Uploads(folder)
    with uploads.claim(ORIGIN, "a", DIGEST) as claim:
        claim.save(HERE)
        claim.save(THERE)

    (path,) = folder.iterdir()
    assert saved(uploads) == THERE
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("origin", "repository", "digest"),
    [("http://registry.example", "a", DIGEST), (ORIGIN, "b", DIGEST), (ORIGIN, "a", Digest.of(b"other"))],
    ids=["origin", "repository", "digest"],
)
def test_another_upload_is_another_one(origin: str, repository: str, digest: Digest, folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)

    assert saved(uploads, origin, repository, digest) is None
    assert saved(uploads) == HERE


def test_an_upload_that_has_ended_leaves_no_file(folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)
    with uploads.claim(ORIGIN, "a", DIGEST) as claim:
        claim.forget()

    assert list(folder.iterdir()) == []


def test_an_upload_that_saved_nothing_leaves_no_file(folder: Path) -> None:
    assert saved(Uploads(folder)) is None
    assert list(folder.iterdir()) == []


def test_who_is_at_work_on_an_upload_is_alone_with_it(folder: Path) -> None:
    with Uploads(folder).claim(ORIGIN, "a", DIGEST) as mine:
        mine.save(HERE)
        with Uploads(folder).claim(ORIGIN, "a", DIGEST) as theirs:
            assert theirs.saved is None
            theirs.save(THERE)
            theirs.forget()
        mine.save(HERE)

    assert saved(Uploads(folder)) == HERE


def test_many_threads_never_share_an_upload(folder: Path) -> None:
    uploads = Uploads(folder)
    at_work: set[str] = set()
    together: list[str] = []

    def work(name: str) -> None:
        for _ in range(25):
            with uploads.claim(ORIGIN, "a", DIGEST) as claim:
                claim.save(SavedUpload(name, 0))
                if claim.is_ours:
                    together.extend(at_work)
                    at_work.add(name)
                    time.sleep(0.001)  # the others' chance to come in
                    at_work.discard(name)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together == []
    assert not list(folder.glob("*.new"))


def test_an_upload_is_forgotten_after_a_week(folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)
    with uploads.claim(ORIGIN, "b", DIGEST) as claim:
        claim.save(HERE)
    later = Uploads(folder, clock=lambda: max(path.stat().st_mtime for path in folder.iterdir()) + KEPT_SECONDS + 1)

    assert saved(later) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"location":1,"least_chunk":0}', b"x" * 100_000],
    ids=["empty", "torn", "list", "nothing", "mistyped", "large"],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(content: bytes, folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)
    (path,) = folder.iterdir()
    path.write_bytes(content)

    assert saved(uploads) is None
    save(uploads)
    assert saved(uploads) == HERE


def test_what_was_saved_for_one_upload_is_not_used_for_another(folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)
    (path,) = folder.iterdir()
    with uploads.claim(ORIGIN, "b", DIGEST) as claim:
        claim.save(THERE)
    (other,) = set(folder.iterdir()) - {path}
    other.write_bytes(path.read_bytes())

    assert saved(uploads, repository="b") is None


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _second_name(path: Path) -> None:
    os.link(path, path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("replace", [_link, _second_name, _pipe, _folder])
def test_what_may_be_somebody_elses_is_neither_read_nor_written(replace: Callable[[Path], None], folder: Path) -> None:
    uploads = Uploads(folder)
    save(uploads)
    (path,) = folder.iterdir()
    replace(path)
    before = {other: other.lstat().st_size for other in folder.iterdir()}

    assert saved(uploads) is None
    save(uploads, THERE)
    assert {other: other.lstat().st_size for other in folder.iterdir()} == before


def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / ".mlkit").write_bytes(b"a file where a folder should be")
    told: list[str] = []
    uploads = Uploads(tmp_path / ".mlkit" / "uploads", warn=told.append)

    save(uploads)
    save(uploads)

    (line,) = told
    assert "start over" in line


def test_a_disk_that_fills_while_an_upload_is_saved_leaves_what_was_saved_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    uploads = Uploads(folder, warn=told.append)
    save(uploads)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with uploads.claim(ORIGIN, "a", DIGEST) as claim, monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        claim.save(THERE)
        claim.save(THERE)

    assert saved(Uploads(folder)) == HERE
    assert [path.suffix for path in folder.iterdir()] == [""]
    assert len(told) == 1
    assert "No space left" in told[0]


def test_what_its_owner_replaces_between_our_look_and_our_lock_is_taken_as_it_is_then(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Uploads(folder))
    (path,) = folder.iterdir()
    opened = os.open
    content = path.read_bytes()

    def replaced(where: object, *arguments: int, **more: object) -> int:
        file = opened(where, *arguments, **more)  # type: ignore[call-overload]  # as it was called
        if str(where) == str(path) and not races:
            races.append(1)
            path.unlink()
            path.write_bytes(content)
        return file

    races: list[int] = []
    monkeypatch.setattr(os, "open", replaced)

    assert saved(Uploads(folder)) == HERE
    assert races


def test_what_is_replaced_again_and_again_is_somebody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Uploads(folder))
    (path,) = folder.iterdir()
    opened = os.open

    def gone(where: object, *arguments: int, **more: object) -> int:
        file = opened(where, *arguments, **more)  # type: ignore[call-overload]  # as it was called
        if str(where) == str(path):
            path.unlink()
        return file

    monkeypatch.setattr(os, "open", gone)

    with Uploads(folder).claim(ORIGIN, "a", DIGEST) as claim:
        assert claim.saved is None
        assert not claim.is_ours
