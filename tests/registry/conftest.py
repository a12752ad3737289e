"""Registries to talk to, and clients that do not wait between tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.registry.connection import Connection
from mlkit.registry.credentials import Credential
from mlkit.registry.host import Registry
from mlkit.registry.memory import Memory
from mlkit.registry.retry import RetryPolicy
from mlkit.registry.store import RegistryStore
from mlkit.spec.limits import DEFAULT_LIST_LIMITS, ListLimits

ADA = Credential("ada", "lovelace")

Connect = Callable[..., Registry]


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were waited between tries, none of them really."""
    return []


@pytest.fixture
def policy(waits: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=waits.append, random=lambda: 0.5, now=lambda: 1_700_000_000.0)


@pytest.fixture
def connect(policy: RetryPolicy) -> Iterator[Connect]:
    """Makes registries; they are closed when the test ends."""
    opened: list[Registry] = []

    def make(
        host: str,
        credential: Credential | None = None,
        *,
        log: Callable[[str], None] | None = None,
        memory: Memory | None = None,
        limits: ListLimits = DEFAULT_LIST_LIMITS,
        **more: object,
    ) -> Registry:
        connection = Connection(host, **{"plain_http": True, **more})  # type: ignore[arg-type]  # a table of fields
        opened.append(Registry(connection, lambda _: credential, retries=policy, log=log, memory=memory, limits=limits))
        return opened[-1]

    yield make
    for registry in opened:
        registry.close()


@pytest.fixture
def store(server: SimulatedRegistry, connect: Connect) -> RegistryStore:
    return connect(server.host).repository("team/digits")
