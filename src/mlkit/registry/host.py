"""A registry as a whole: its connections, what it lists, and the repositories in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

import httpx

from mlkit.errors import NetworkError
from mlkit.progress import NoProgress, Progress
from mlkit.registry.auth import Scope
from mlkit.registry.catalog import list_repositories, state
from mlkit.registry.connection import Connection
from mlkit.registry.credentials import Credential
from mlkit.registry.forward import Forwarded, forward, forward_pages
from mlkit.registry.memory import Memory
from mlkit.registry.pace import Pace
from mlkit.registry.retry import RetryPolicy
from mlkit.registry.store import RegistryStore
from mlkit.registry.upload import Uploader
from mlkit.registry.wire import Body, Call, Wire
from mlkit.spec.limits import DEFAULT_LIST_LIMITS, ListLimits


class Registry:
    """One host. Thread-safe; keeps connections and tokens, so there is one of these for each host and run."""

    def __init__(
        self,
        connection: Connection,
        credentials: Callable[[str], Credential | None],
        *,
        progress: Progress | None = None,
        retries: RetryPolicy | None = None,
        log: Callable[[str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
        pace: Pace | None = None,
        memory: Memory | None = None,
        limits: ListLimits = DEFAULT_LIST_LIMITS,
    ) -> None:
        """`credentials` is asked with `host/repository`, or with `host` for the registry itself.

        `log` is given a line for each request, without secrets. `transport` takes the place of the network. `pace` may
        be shared with other registries. `memory` is what this run has of earlier ones, and leaves to later ones.
        `limits` bound what the registry lists.
        """
        self._wire = Wire(
            connection,
            credentials,
            policy=retries or RetryPolicy(),
            progress=progress or NoProgress(),
            log=log,
            transport=transport,
            pace=pace,
            limits=limits,
        )
        memory = memory or Memory()
        self._places = memory.places
        self._uploader = Uploader(self._wire, memory.uploads)
        self._stores: dict[str, RegistryStore] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and remember what was seen; transfers that go on in other threads fail."""
        self._wire.close()
        for store in self._stores.values():
            store.remember()

    def repository(self, name: str) -> RegistryStore:
        """A repository of this registry; nothing is asked for yet."""
        if self._wire.base_url.host == "registry-1.docker.io" and "/" not in name:
            name = f"library/{name}"
        return self._stores.setdefault(name, RegistryStore(self._wire, name, self._uploader, self._places))

    def check(self) -> None:
        """Ask whether this is a registry that lets us in. Raises: AuthError, NetworkError."""
        answer = self._wire.document(Call("GET", self._wire.base_url, Scope(), self._wire.host))
        if answer.status == 404:
            raise NetworkError(
                f"{self._wire.host}: no registry there ({self._wire.base_url} is not found)",
                hint="a registry answers under /v2/ of its host",
            )
        if answer.status != 200:
            raise self._wire.refusal(answer, self._wire.host)

    def repositories(self) -> Iterator[str]:
        """The repositories that it lists; see `mlkit.registry.catalog`."""
        return list_repositories(self._wire)

    def state(self) -> str | None:
        """A text that stays the same as long as nothing in the registry changes; None where it tells none."""
        return state(self._wire)

    def forward(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Forwarded:
        """Send a request that somebody else has made; see `mlkit.registry.forward`."""
        return forward(self._wire, method, target, headers=headers, body=body)

    def forward_pages(self, target: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Forwarded]:
        """Ask for a list that somebody else wants, page by page; see `mlkit.registry.forward`."""
        return forward_pages(self._wire, target, headers=headers)
