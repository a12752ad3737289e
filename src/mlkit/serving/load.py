"""Load on a server: callers that each send their next request when the last was answered."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field

from mlkit.errors import ProgramError
from mlkit.serving.probe import ANSWER_LIMIT, reachable
from mlkit.serving.requests import Request

_SHOWN = 300  # characters of an answer that says what was wrong


@dataclass(slots=True)
class Answers:
    """What callers got. Lists grow by single appends, which threads may do at once."""

    latencies: list[float] = field(default_factory=list)
    """Seconds, of answered requests."""
    failures: list[str] = field(default_factory=list)
    """What was wrong, of the others."""
    seconds: float = 0.0
    """From the first request to the last answer."""


def ask_once(host: str, port: int, request: Request, *, timeout: float) -> float:
    """Send one request, and give the seconds until its answer was read. Raises: ProgramError where it is refused."""
    answers = Answers()
    caller = _Caller(host, port, request, timeout)
    caller.send(answers)
    caller.close()
    if answers.failures:
        raise ProgramError(
            f"the server does not answer {request.method} {request.path}: {answers.failures[0]}",
            hint="--request FILE sends a request of your own, --request-path says where to",
        )
    return answers.latencies[0]


def run_load(
    host: str, port: int, request: Request, *, concurrency: int, requests: int, seconds: float, timeout: float
) -> Answers:
    """Send so many requests by so many callers at once; after `seconds` nobody begins another."""
    answers = Answers()
    left = iter(range(requests))
    lock = threading.Lock()
    start = threading.Barrier(concurrency + 1)
    ends = 0.0

    def call() -> None:
        caller = _Caller(host, port, request, timeout)
        start.wait()
        while time.monotonic() < ends:
            with lock:
                if next(left, None) is None:
                    break
            caller.send(answers)
        caller.close()

    callers = [threading.Thread(target=call, name="caller", daemon=True) for _ in range(concurrency)]
    for caller in callers:
        caller.start()
    began = time.monotonic()
    ends = began + seconds
    start.wait()
    for caller in callers:
        caller.join()
    answers.seconds = time.monotonic() - began
    return answers


class _Caller:
    """One connection, opened again where it breaks."""

    def __init__(self, host: str, port: int, request: Request, timeout: float) -> None:
        self._connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
        self._request = request

    def send(self, answers: Answers) -> None:
        began = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"} if self._request.body else {}
            self._connection.request(self._request.method, self._request.path, self._request.body or None, headers)
            answer = self._connection.getresponse()
            body = answer.read(ANSWER_LIMIT)
            if answer.read(1):
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            answers.failures.append(f"{type(error).__name__}: {error}"[:_SHOWN])
            return
        if answer.status >= 400:
            told = ascii(body.decode("utf-8", "replace"))[1:-1][:_SHOWN]
            answers.failures.append(f"status {answer.status}: {told}")
        else:
            answers.latencies.append(time.perf_counter() - began)

    def close(self) -> None:
        self._connection.close()
