"""Callers and what they see; what a server uses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlkit.errors import ProgramError
from mlkit.serving.footprint import Footprint
from mlkit.serving.load import ask_once, run_load
from mlkit.serving.requests import Request


class Server(ThreadingHTTPServer):
    """Counts who is inside at once."""

    status = 200
    delay = 0.01
    body = b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.inside = self.most = self.count = self.connections = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.count += 1
            self.server.inside += 1
            self.server.most = max(self.server.most, self.server.inside)
        time.sleep(self.server.delay)
        with self.server.lock:
            self.server.inside -= 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


REQUEST = Request("POST", "/infer", b"{}")


def load(server: Server, *, concurrency: int, requests: int, seconds: float = 60.0) -> tuple[int, list[str]]:
    host, port = str(server.server_address[0]), int(server.server_address[1])
    answers = run_load(host, port, REQUEST, concurrency=concurrency, requests=requests, seconds=seconds, timeout=10)
    return len(answers.latencies), answers.failures


def test_every_request_is_sent_once_and_never_more_at_once_than_asked_for(server: Server) -> None:
    assert load(server, concurrency=4, requests=50) == (50, [])
    assert server.count == 50
    assert 2 <= server.most <= 4
    assert server.connections == 4  # kept alive


def test_answers_that_are_errors_are_counted_with_what_they_say(server: Server) -> None:
    server.status, server.body = 503, b"no \x1b[31mGPU"

    count, failures = load(server, concurrency=1, requests=2)

    assert (count, failures) == (0, ["status 503: no \\x1b[31mGPU"] * 2)


def test_nobody_begins_another_request_after_the_time_is_up(server: Server) -> None:
    server.delay = 0.3

    count, failures = load(server, concurrency=1, requests=1000, seconds=0.1)

    assert (count, failures) == (1, [])


def test_a_server_that_has_gone_is_a_failure_of_each_request_and_hangs_nobody(server: Server) -> None:
    server.server_close()
    answers = run_load("127.0.0.1", 1, REQUEST, concurrency=2, requests=4, seconds=10, timeout=1)

    assert (len(answers.latencies), len(answers.failures)) == (0, 4)
    assert "Connection refused" in answers.failures[0]


def test_a_first_request_that_is_refused_says_how_to_ask_otherwise(server: Server) -> None:
    server.status, server.body = 422, b"wrong shape"
    with pytest.raises(ProgramError, match="does not answer POST /infer: status 422: wrong shape") as caught:
        ask_once("127.0.0.1", int(server.server_address[1]), REQUEST, timeout=10)

    assert "--request FILE" in str(caught.value.hint)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the kernel tells nothing in /proc")  # noqa: PTH112
def test_the_footprint_is_that_of_all_processes_of_the_server_and_of_no_other() -> None:
    code = """
import subprocess, sys, time
code = "import time; data = b'x' * (64 << 20); print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code])
sum(range(10**7))
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = iter([10, 30, 20])
        with Footprint(process.pid, gpu_bytes=lambda: next(used, 0)) as footprint:
            time.sleep(0.3)
            cpu = footprint.cpu_seconds()
        os.killpg(process.pid, 9)

    assert footprint.peak_memory is not None
    assert 64 << 20 < footprint.peak_memory < 200 << 20
    assert footprint.peak_gpu in (10, 30)
    assert cpu > 0
    with Footprint(2**22 + 1, gpu_bytes=lambda: None) as nobody:
        pass
    assert (nobody.peak_memory, nobody.peak_gpu, nobody.cpu_seconds()) == (None, None, 0)
