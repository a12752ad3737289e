from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from mlkit.content.layout import Layout
from mlkit.errors import DigestMismatch
from mlkit.server import uploads as sessions
from mlkit.server.uploads import EXPIRY, TooManyUploads, UploadClosed, Uploads, UploadTaken
from mlkit.spec.digest import Digest


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(layout: Layout, clock: Clock) -> Iterator[Uploads]:
    numbers = itertools.count()
    uploads = Uploads(layout, clock=clock, new_id=lambda: f"session-{next(numbers)}")
    yield uploads
    uploads.close()


def test_bytes_become_a_blob_when_they_keep_their_promise(uploads: Uploads, layout: Layout) -> None:
    upload = uploads.start("a")
    turn = upload.take_turn()

    upload.append(turn, [b"wei", b"", b"ghts"])
    upload.finish(turn, Digest.of(b"weights"))

    assert upload.received == 7
    assert layout.blob_size(Digest.of(b"weights")) == 7


def test_a_broken_promise_ends_the_session(uploads: Uploads, layout: Layout) -> None:
    upload = uploads.start("a")
    turn = upload.take_turn()
    upload.append(turn, [b"weights"])

    with pytest.raises(DigestMismatch):
        upload.finish(turn, Digest.of(b"else"))

    with pytest.raises(UploadClosed):
        upload.take_turn()
    assert layout.blob_size(Digest.of(b"weights")) is None


def test_of_two_that_write_the_latest_wins(uploads: Uploads) -> None:
    upload = uploads.start("a")
    first = upload.take_turn()
    second = upload.take_turn()

    with pytest.raises(UploadTaken):
        upload.append(first, [b"x"])
    with pytest.raises(UploadTaken):
        upload.finish(first, Digest.of(b""))

    upload.append(second, [b"y"])
    assert upload.received == 1


def test_a_session_that_ended_takes_nothing(uploads: Uploads) -> None:
    upload = uploads.start("a")
    turn = upload.take_turn()

    uploads.end(upload)
    uploads.end(upload)

    assert uploads.find("a", upload.id) is None
    with pytest.raises(UploadClosed):
        upload.append(turn, [b"x"])
    with pytest.raises(UploadClosed):
        upload.finish(turn, Digest.of(b""))


def test_sessions_expire_a_day_after_their_last_byte(uploads: Uploads, clock: Clock) -> None:
    idle, busy = uploads.start("a"), uploads.start("a")
    clock.now = EXPIRY - 1
    busy.append(busy.take_turn(), [b"x"])
    clock.now = EXPIRY + 1

    uploads.start("a")

    assert uploads.find("a", idle.id) is None
    assert uploads.find("a", busy.id) is busy


def test_sessions_are_bounded_and_idle_ones_make_room(
    uploads: Uploads, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSION_LIMIT", 3)
    first = [uploads.start("a") for _ in range(3)]

    with pytest.raises(TooManyUploads):
        uploads.start("a")

    clock.now = 3600.0
    uploads.start("a")
    assert uploads.find("a", first[0].id) is None
