"""The shared contract of stores against the simulated registry, with each of its knobs that must not matter."""

from __future__ import annotations

import pytest
from tests.content.contract import StorageContract
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry

from mlkit.registry.store import RegistryStore


class TestRegistry(StorageContract):
    """A registry with everything."""


class TestRegistryThatWantsTokens(StorageContract):
    """Bearer tokens, each good for seven requests."""

    @pytest.fixture
    def store(self, server: SimulatedRegistry, connect: Connect) -> RegistryStore:
        server.auth = "bearer"
        server.uses_left = 7
        return connect(server.host, ADA).repository("team/digits")


class TestRegistryOfTheOldSchool(StorageContract):
    """No referrers, no ranges, no mount; Basic auth; absolute locations."""

    @pytest.fixture
    def store(self, server: SimulatedRegistry, connect: Connect) -> RegistryStore:
        server.auth = "basic"
        server.without_referrers_api = True
        server.without_ranges = True
        server.without_mount = True
        server.location_is_absolute = True
        return connect(server.host, ADA).repository("team/digits")
