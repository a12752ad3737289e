"""One blob over several connections: who fetches what, how many there are, and what is kept of it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.content.contract import blob, read
from tests.content.far import Far
from tests.content.test_download import child
from tests.content.test_ingest import leftovers

from mlkit.content.layout import Layout
from mlkit.content.pace import MOST, Connections, Pace
from mlkit.content.shares import Share, Shares
from mlkit.content.spans import Spans
from mlkit.content.storage import RangesRefused
from mlkit.errors import DigestMismatch, NetworkError, SizeMismatch

MIB = 1 << 20
SIZE = 48 * MIB
CONTENT = os.urandom(SIZE)
DESC = blob(CONTENT)
PARTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


@given(PARTS)
def test_spans_are_the_bytes_that_were_added(parts: list[tuple[int, int]]) -> None:
    spans = Spans(parts)
    there = {number for start, end in parts for number in range(start, end)}

    assert {number for start, end in spans.parts for number in range(start, end)} == there
    assert spans.total == len(there)
    assert spans.prefix == next(number for number in range(50) if number not in there)
    assert {number for start, end in spans.gaps(40) for number in range(start, end)} == set(range(40)) - there
    assert all(before < after for (_, before), (after, _) in zip(spans.parts, spans.parts[1:], strict=False))


@given(PARTS, st.integers(1, 5), st.integers(1, 9), st.randoms(use_true_random=False))
def test_whoever_fetches_what_and_gives_up_when_every_byte_is_fetched_once(
    parts: list[tuple[int, int]], workers: int, segment: int, chance: random.Random
) -> None:
    written = Spans(parts)
    shares = Shares(written, 40, segment=segment)
    missing = sorted(number for start, end in written.gaps(40) for number in range(start, end))
    fetched: list[int] = []
    busy: list[Share] = []

    while shares.left:
        if len(busy) < workers and (share := shares.take(is_alone=chance.random() < 0.3)) is not None:
            busy.append(share)
            continue
        share = chance.choice(busy)
        count = min(shares.step, share.left)
        fetched.extend(range(share.position, share.position + count))
        share.position += count
        if not share.left and chance.random() < 0.5:
            shares.extend(share, 40)
        if not share.left or chance.random() < 0.1:
            shares.finish(share)
            busy.remove(share)

    assert sorted(fetched) == missing


def test_one_alone_asks_for_everything_and_gives_the_rest_up_when_another_comes() -> None:
    shares = Shares(Spans(), 1000, segment=100)

    first = shares.take(is_alone=True)
    assert first == Share(0, 1000)
    first.position = 50
    second, third = shares.take(is_alone=False), shares.take(is_alone=False)

    assert (first, second, third) == (Share(50, 150), Share(150, 250), Share(250, 350))


def test_who_is_done_takes_half_of_what_the_slowest_has_left() -> None:
    shares = Shares(Spans(), 100, segment=100)
    slow = shares.take(is_alone=False)
    assert slow is not None

    assert shares.take(is_alone=False) == Share(50, 100)
    slow.position = 20
    assert shares.take(is_alone=False) == Share(75, 100)
    assert shares.take(is_alone=False) is None, "too little is left to be worth a request"


def measured(most: int = 4) -> Pace:
    return Pace(Connections(most))


def run(pace: Pace, rate_of: list[float], *, seconds: int, is_waiting: bool = True, begin: float = 0.0) -> list[int]:
    """The connections after each measurement of a line that gives `rate_of[n - 1]` bytes per second with n of them."""
    total, now, found = 1e9 + begin * 1e6, begin, []  # what an earlier run had brought
    pace.tell(now, int(total), is_waiting=is_waiting)
    for _ in range(seconds * 2):
        now += 0.5
        total += 0.5 * rate_of[pace.wanted - 1]
        found.append(pace.tell(now, int(total), is_waiting=is_waiting))
    return found


def test_connections_are_opened_while_each_brings_more() -> None:
    assert run(measured(), [100, 200, 300, 400], seconds=4)[-1] == 4


def test_a_connection_that_brings_nothing_is_closed_and_tried_ever_more_rarely() -> None:
    found = run(measured(), [100, 100, 100, 100], seconds=60)

    assert set(found) == {1, 2}
    assert found[-1] == 1
    assert found[:30].count(2) > found[30:60].count(2) >= found[60:90].count(2)


def test_as_many_connections_stay_as_help() -> None:
    assert run(measured(), [100, 200, 210, 210], seconds=60)[-1] == 2


def test_no_connection_is_opened_where_hash_and_disk_have_enough_to_do() -> None:
    assert set(run(measured(), [100, 200, 300, 400], seconds=10, is_waiting=False)) == {1}


def test_what_was_refused_is_not_asked_for_again() -> None:
    pace = measured()
    run(pace, [100, 200, 300, 400], seconds=10)

    pace.refuse(2)

    assert set(run(pace, [100, 200, 300, 400], seconds=60, begin=10.0)) == {2}


def test_a_number_is_taken_at_its_word_and_off_is_one() -> None:
    fixed = Connections.of(3, blobs_at_once=2)

    assert fixed is not None
    assert Pace(fixed).wanted == 3
    assert [fixed.spare.acquire(blocking=False) for _ in range(5)] == [True] * 4 + [False]
    assert Connections.of("off", blobs_at_once=4) is None
    assert getattr(Connections.of(99, blobs_at_once=1), "most", None) == MOST


def several(most: int = 4, *, segment: int = 4 * MIB) -> Connections:
    """Connections for small blobs, all at once."""
    return Connections(most, is_measured=False, least_size=MIB, segment=segment, spare=threading.Semaphore(most - 1))


class Slow(Far):
    """Content whose first connection waits, after two pieces, until others have brought `others` bytes."""

    def __init__(
        self,
        content: bytes,
        connections: Connections | None,
        *,
        breaks_at: tuple[int, ...] = (),
        others: int = 0,
    ) -> None:
        super().__init__(content, connections=connections, breaks_at=breaks_at, on_read=self.wait)
        self.others = others

    def wait(self, position: int) -> None:
        time.sleep(0.001)
        deadline = time.monotonic() + 60
        while position == 2 * MIB and self.read_bytes < 2 * MIB + self.others:
            assert time.monotonic() < deadline, "no other connection came"
            time.sleep(0.001)


def test_several_connections_bring_every_byte_once(layout: Layout) -> None:
    content = Slow(CONTENT, several(), others=12 * MIB)

    layout.push(DESC, content)

    assert read(layout, DESC) == CONTENT
    assert content.read_bytes == SIZE
    assert len(content.opened) >= 4
    assert leftovers(layout) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlkit-range")]


def test_a_line_that_is_slower_than_hash_and_disk_gets_further_connections(layout: Layout) -> None:
    measured = Connections(4, least_size=MIB, segment=4 * MIB)
    content = Far(CONTENT, connections=measured, on_read=lambda _: time.sleep(0.1))

    layout.push(DESC, content)

    assert len(content.opened) > 1
    assert read(layout, DESC) == CONTENT
    assert [measured.spare.acquire(blocking=False) for _ in range(4)] == [True, True, True, False], "all are given back"


def test_a_blob_beside_others_gets_no_more_than_these_leave(layout: Layout) -> None:
    content = Slow(CONTENT, several(most=2))
    assert content.connections is not None
    content.connections.spare.acquire()

    layout.push(DESC, content)

    assert content.opened == [(0, None)]


def test_a_blob_that_is_small_or_not_to_be_had_in_parts_comes_over_one(layout: Layout) -> None:
    large = Connections(4, is_measured=False, least_size=SIZE + 1)
    for content in (Slow(CONTENT, large), Slow(CONTENT[: 9 * MIB], None)):
        layout.push(blob(content.content), content)

        assert content.opened == [(0, None)]


@pytest.mark.parametrize("error", [NetworkError("refused"), RangesRefused("only whole")], ids=["network", "whole"])
def test_where_further_connections_fail_the_first_one_brings_everything_and_asks_once(
    layout: Layout, error: NetworkError
) -> None:
    class Lonely(Slow):
        def open_range(self, *, offset: int, length: int, is_exact: bool) -> AbstractContextManager[BinaryIO]:
            if is_exact:
                raise error
            return super().open_range(offset=offset, length=length, is_exact=is_exact)

    content = Lonely(CONTENT, several())

    layout.push(DESC, content)

    assert read(layout, DESC) == CONTENT
    assert content.opened == [(0, None)]


def test_a_connection_that_dies_in_the_middle_leaves_its_share_to_the_others(layout: Layout) -> None:
    content = Slow(CONTENT, several(), breaks_at=(9 * MIB,), others=9 * MIB)

    layout.push(DESC, content)

    assert content.breaks_at == []
    assert read(layout, DESC) == CONTENT
    assert content.read_bytes == SIZE


def interrupted(layout: Layout) -> tuple[Path, int]:
    """A download over four connections whose first one died; its file, and the bytes that had come."""
    content = Slow(CONTENT, several(), breaks_at=(3 * MIB,), others=9 * MIB)
    with pytest.raises(NetworkError):
        layout.push(DESC, content)
    (part,) = leftovers(layout)
    return part, content.read_bytes


def test_segments_that_arrived_out_of_order_are_kept_and_only_the_gaps_fetched(layout: Layout) -> None:
    part, arrived = interrupted(layout)
    assert part.stat().st_size == SIZE + 2048
    assert arrived > 8 * MIB
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.told == [arrived]
    assert again.read_bytes == SIZE - arrived
    assert again.opened[0] == (3 * MIB, None)
    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_while_segments_are_out_of_order_costs_a_few_megabytes(layout: Layout) -> None:
    told, tell = os.pipe()

    class Stuck(Slow):
        def wait(self, position: int) -> None:
            super().wait(position)
            if position == 2 * MIB:
                os.write(tell, b"x")
                time.sleep(60)

    def work() -> None:
        Layout.at(layout.root).push(DESC, Stuck(CONTENT, several(), others=17 * MIB))

    with child(work):
        os.read(told, 1)
    again = Far(CONTENT)
    layout.push(DESC, again)

    assert again.opened[0][0] >= MIB
    assert len(again.told) == 1, "everything that was noted is there"
    assert again.told[0] >= 11 * MIB
    assert again.read_bytes == SIZE - again.told[0]
    assert read(layout, DESC) == CONTENT


def test_gaps_are_filled_over_several_connections_too(layout: Layout) -> None:
    _, arrived = interrupted(layout)
    again = Slow(CONTENT, several())

    layout.push(DESC, again)

    assert again.read_bytes == SIZE - arrived
    assert read(layout, DESC) == CONTENT


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b'{"written": 7}',
        b'{"written": [[0, 999999999999]]}',
        b'{"written": [[5, 3]]}',
        b'{"written": [[0, 10], [5, 20]]}',
        b'{"written": [[-5, 10]]}',
        b'{"written": [[0, true]]}',
        b'{"written": [["0", "5"]]}',
        b'{"written": [], "written": []}',
        b"[" * 2000,
    ],
    ids=ascii,
)
def test_a_note_that_is_none_means_that_nothing_is_there(layout: Layout, note: bytes) -> None:
    part, _ = interrupted(layout)
    with part.open("r+b") as file:
        file.seek(SIZE)
        file.write(note.ljust(2048))
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == [(0, None)]
    assert read(layout, DESC) == CONTENT


def test_a_note_that_lies_is_found_out_by_the_digest(layout: Layout) -> None:
    part, _ = interrupted(layout)
    with part.open("r+b") as file:
        file.seek(SIZE)
        file.write((b'{"written": [[0, %d]]}' % (SIZE - 5)).ljust(2048))
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == [(SIZE - 5, None), (0, None)]
    assert read(layout, DESC) == CONTENT


def test_parts_that_are_wrong_are_fetched_once_more_and_then_refused(layout: Layout) -> None:
    wrong = Slow(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), several())

    with pytest.raises(DigestMismatch):
        layout.push(DESC, wrong)

    assert wrong.told == [0, 0, 0]
    assert leftovers(layout) == []


def test_a_part_that_ends_early_is_never_taken_for_whole(layout: Layout) -> None:
    class Short(Slow):
        @contextmanager
        def open_range(self, *, offset: int, length: int, is_exact: bool) -> Iterator[BinaryIO]:
            with super().open_range(offset=offset, length=length // 2, is_exact=is_exact) as stream:
                yield stream

    with pytest.raises(SizeMismatch):
        layout.push(DESC, Short(CONTENT, several()))

    assert not layout.exists(DESC)
    assert leftovers(layout) == []
