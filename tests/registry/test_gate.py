"""A registry that says "too many requests" gets fewer at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.content.contract import blob, read
from tests.registry.conftest import Connect
from tests.support.registry_http import Answer, Request, serving

from mlkit.registry.gate import Gate, Slot

Fill = Callable[[Gate, int], list[Slot]]


@pytest.fixture
def fill() -> Iterator[Fill]:
    """Takes the places of requests of as many threads, which live until the test ends."""
    has_ended = threading.Event()
    threads: list[threading.Thread] = []

    def enter(gate: Gate, entered: queue.SimpleQueue[Slot]) -> None:
        entered.put(gate.enter())
        has_ended.wait(60)

    def take(gate: Gate, count: int) -> list[Slot]:
        entered: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for _ in range(count):
            threads.append(threading.Thread(target=enter, args=(gate, entered)))
            threads[-1].start()
        return [entered.get(timeout=20) for _ in range(count)]

    yield take
    has_ended.set()
    for thread in threads:
        thread.join()


def test_a_refusal_halves_what_is_under_way_once_for_all_that_were_sent_before_it(fill: Fill) -> None:
    gate = Gate()
    slots = fill(gate, 8)

    for slot in slots:
        slot.told(is_refused=True)
        slot.leave()
    assert gate.limit == 4

    for slot in fill(gate, 3):
        slot.told(is_refused=True)
    assert gate.limit == 1


def test_it_grows_by_one_for_a_round_without_refusals_and_never_beyond_the_start(fill: Fill) -> None:
    gate = Gate()
    start = gate.limit
    slots = fill(gate, 8)
    slots[0].told(is_refused=True)
    for slot in slots:
        slot.leave()

    limits = []
    for _ in range(20):
        for slot in fill(gate, gate.limit):
            slot.told(is_refused=False)
            slot.leave()
        limits.append(gate.limit)
    assert limits[:10] == sorted(set(limits[:10]))
    assert limits[9] - limits[0] in (8, 9)
    for _ in range(10_000):
        slot = gate.enter()
        slot.told(is_refused=False)
        slot.leave()
    assert gate.limit == start


def test_a_request_waits_for_a_place_and_gets_it_when_another_ends(fill: Fill) -> None:
    gate = Gate(longest=60)
    first, *others = fill(gate, 2)
    first.told(is_refused=True)
    for slot in others:
        slot.leave()
    has_entered = threading.Event()

    def enter() -> None:
        gate.enter()
        has_entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    assert not has_entered.wait(0.1)
    first.leave()
    assert has_entered.wait(20)


def test_a_thread_that_reads_may_also_send() -> None:
    gate = Gate(longest=60)
    slots = [gate.enter()]
    slots[0].told(is_refused=True)

    slots.append(gate.enter())

    assert gate.limit == 1
    assert len(slots) == 2


def test_nobody_is_held_back_for_good(fill: Fill) -> None:
    gate = Gate(longest=0.05)
    (slot,) = fill(gate, 1)
    slot.told(is_refused=True)

    assert len(fill(gate, 3)) == 3


def test_closing_lets_everybody_pass(fill: Fill) -> None:
    gate = Gate(longest=60)
    (slot,) = fill(gate, 1)
    slot.told(is_refused=True)
    gate.open()

    assert len(fill(gate, 3)) == 3


def test_a_place_is_given_back_once(fill: Fill) -> None:
    gate = Gate()
    one, two = fill(gate, 2)
    one.leave()
    one.leave()
    two.told(is_refused=True)

    assert gate.limit == 1


def test_a_registry_that_allows_two_requests_gives_every_blob_to_eight_threads(connect: Connect) -> None:
    contents = {str(blob(content).digest): content for content in (bytes([number]) * 50_000 for number in range(16))}
    lock, busy, refused = threading.Lock(), [0], [0]
    first = threading.Barrier(8)

    def handle(request: Request) -> Answer:
        with lock:
            busy[0] += 1
        if not first.broken:
            with suppress(threading.BrokenBarrierError):
                first.wait(20)
            first.abort()  # only the first eight come together for certain
        with lock:
            is_too_much = busy[0] > 2
            refused[0] += is_too_much
        time.sleep(0.01)
        with lock:
            busy[0] -= 1
        if is_too_much:
            return Answer(429, headers={"Retry-After": "0"})
        return Answer(200, contents[request.path.rpartition("/")[2]])

    found: list[bytes] = []
    with serving(handle) as host:
        store = connect(host).repository("a")

        def fetch(mine: list[bytes]) -> None:
            found.extend(read(store, blob(content)) for content in mine)

        threads = [threading.Thread(target=fetch, args=([*contents.values()][number::8],)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(found) == sorted(contents.values())
    assert refused[0] >= 6
