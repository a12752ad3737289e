"""How often to try again, and how long to wait before it."""

from __future__ import annotations

import random
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})
"""What may pass by itself; every other 4xx stays what it is."""

_SECONDS = re.compile(r"[0-9]{1,10}", re.ASCII)
_NAME_TRIES = 2  # a name that is not known twice will not be known the third time


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full jitter between zero and a bound that doubles; what the registry asks for in Retry-After goes first."""

    tries: int = 5
    base: float = 0.25
    """Seconds, the bound of the first wait."""
    cap: float = 30.0
    """Seconds, the largest bound."""
    longest_wait: float = 60.0
    """Seconds, however much a registry asks for."""
    budget: float = 300.0
    """Seconds that one request or blob may go without progress, tries and waits together."""
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic

    def wait(self, failures: int, retry_after: str | None = None) -> float:
        """Seconds to wait after the given number of failures, at least one."""
        asked = self._asked(retry_after)
        if asked is not None:
            return min(max(asked, 0.0), self.longest_wait)
        return self.random() * min(self.cap, self.base * 2.0 ** min(failures - 1, 30))

    def _asked(self, retry_after: str | None) -> float | None:
        """Retry-After in both its forms (RFC 9110, section 10.2.3); None where it is missing or garbage."""
        if not retry_after:
            return None
        if _SECONDS.fullmatch(retry_after):
            return float(retry_after)
        try:
            return parsedate_to_datetime(retry_after).timestamp() - self.now()
        except (ValueError, OverflowError):
            return None


class Patience:
    """What is left of a policy while one thing is tried again and again."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._waited = 0.0
        self._failing_since: float | None = None

    def pause(self, *, retry_after: str | None = None, error: httpx.TransportError | None = None) -> bool:
        """Count a failure and wait; False, without a wait, where it makes no sense to try again."""
        self._failures += 1
        if self._failures >= min(self._policy.tries, _tries(error)):
            return False
        wait = self._policy.wait(self._failures, retry_after)
        now = self._policy.clock()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if max(self._waited, now - self._failing_since) + wait > self._policy.budget:
            return False
        self._waited += wait
        self._policy.sleep(wait)
        return True

    def renew(self) -> None:
        """Something worked meanwhile: the failures before it no longer count."""
        self._failures, self._waited, self._failing_since = 0, 0.0, None


def _tries(error: httpx.TransportError | None) -> float:
    cause = error.__cause__ if error is not None else None
    if isinstance(error, httpx.LocalProtocolError) or isinstance(cause, ssl.SSLCertVerificationError):
        return 1
    if isinstance(cause, socket.gaierror):
        return _NAME_TRIES
    return float("inf")
