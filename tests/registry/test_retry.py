"""How often, how long, and how long in all."""

from __future__ import annotations

import pytest
from tests.content.contract import blob
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.errors import NetworkError
from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.retry import Patience, RetryPolicy
from mlkit.registry.store import RegistryStore


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7.0), ("1000000000", 60.0), ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
     ("soon", 0.125), ("-5", 0.125), ("1.5", 0.125), ("", 0.125)],
)  # fmt: skip
def test_fault33_a_registry_says_how_long_to_wait_within_reason(
    asked: str, waited: float, server: SimulatedRegistry, store: RegistryStore, waits: list[float]
) -> None:
    server.fail_times(429, 1, headers={"Retry-After": asked})

    store.exists(blob(b"x"))

    assert waits == [waited]


def test_waiting_has_a_budget() -> None:
    waits: list[float] = []
    with simulated_registry() as server:
        server.fail_times(429, 100, headers={"Retry-After": "55"})
        policy = RetryPolicy(tries=50, sleep=waits.append)
        connection = Connection(server.host, plain_http=True)

        with (
            Registry(connection, lambda _: None, retries=policy) as registry,
            pytest.raises(NetworkError, match="retry after 55"),
        ):
            registry.check()

    assert waits == [55.0] * 5


def test_tries_that_take_long_are_part_of_the_budget() -> None:
    waits: list[float] = []
    clock = iter([0.0, 100.0, 200.0, 299.0, 400.0])
    patience = Patience(
        RetryPolicy(tries=50, budget=300, sleep=waits.append, random=lambda: 1.0, clock=lambda: next(clock))
    )

    assert [patience.pause() for _ in range(4)] == [True, True, True, False]
    assert waits == [0.25, 0.5, 1.0]


def test_progress_gives_the_whole_budget_back() -> None:
    waits: list[float] = []
    patience = Patience(RetryPolicy(budget=100, sleep=waits.append, clock=lambda: 0.0))
    for _ in range(3):
        assert patience.pause(retry_after="60")
        assert not patience.pause(retry_after="60")
        patience.renew()

    assert waits == [60.0] * 3


def test_a_budget_of_nothing_means_one_try(server: SimulatedRegistry) -> None:
    server.fail_times(503, 100)
    policy = RetryPolicy(budget=0, sleep=pytest.fail)
    with (
        Registry(Connection(server.host, plain_http=True), lambda _: None, retries=policy) as registry,
        pytest.raises(NetworkError),
    ):
        registry.check()

    assert len(server.requests) == 1


def test_waits_are_random_below_a_bound_that_doubles() -> None:
    policy = RetryPolicy(random=lambda: 1.0)

    assert [policy.wait(failures) for failures in (1, 2, 3, 8, 200)] == [0.25, 0.5, 1.0, 30.0, 30.0]
