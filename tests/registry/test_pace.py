"""How fast bytes move: one measure for every connection, in both directions."""

from __future__ import annotations

import pytest
from tests.content.contract import blob, push_blob, read
from tests.support.registry import simulated_registry

from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.pace import Pace

RATE = 64 * 1024
SLICE = RATE // 8


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps.append(seconds)


def test_bytes_take_the_time_that_the_rate_gives_them() -> None:
    clock = Clock()
    pace = Pace(RATE, clock=lambda: clock.now, sleep=clock.sleep)

    for _ in range(80):
        pace.spend(SLICE)

    assert clock.now - 1000.0 == pytest.approx(80 * SLICE / RATE)


def test_a_pause_is_not_made_up_for_by_a_flood() -> None:
    clock = Clock()
    pace = Pace(RATE, clock=lambda: clock.now, sleep=clock.sleep)
    pace.spend(SLICE)
    clock.now += 3600
    clock.naps.clear()

    for _ in range(9):
        pace.spend(SLICE)

    assert sum(clock.naps) == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "size"), [(1024, 4096), (RATE, SLICE), (1 << 30, 256 * 1024)])
def test_bytes_move_in_pieces_that_fit_the_rate(rate: int, size: int) -> None:
    assert Pace(rate).slice == size


def test_two_registries_share_one_rate_for_what_they_send_and_receive() -> None:
    clock = Clock()
    pace = Pace(RATE, clock=lambda: clock.now, sleep=clock.sleep)
    content = bytes(100_000)

    with simulated_registry() as one, simulated_registry() as two:
        for server in (one, two):
            with Registry(Connection(server.host, plain_http=True), lambda _: None, pace=pace) as registry:
                store = registry.repository("a")
                push_blob(store, content)
                assert read(store, blob(content)) == content

    # Heads are little beside four times the content.
    assert (clock.now - 1000.0) * RATE == pytest.approx(4 * len(content), rel=0.05)
    assert max(clock.naps) <= 2 * SLICE / RATE
