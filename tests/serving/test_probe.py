"""Ports, and waiting for a server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from mlkit.errors import ConflictError, ProgramError, UsageError
from mlkit.serving.probe import base_url, free_port, get, wait_until_ready
from mlkit.serving.process import ServerProcess

ROOT = Path(__file__).parents[2]


def fake(tmp_path: Path, *arguments: str) -> tuple[ServerProcess, int]:
    port = free_port("127.0.0.1", 0)
    argv = [sys.executable, "-m", "tests.support.fake_server", "--port", str(port), *arguments]
    return ServerProcess(argv, cwd=ROOT, environ=dict(os.environ)), port


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConflictError, match=f"port {port} of 127.0.0.1 is in use"):
            free_port("127.0.0.1", port)


def test_port_0_takes_a_free_one() -> None:
    assert free_port("127.0.0.1", 0) > 1024


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_an_address_that_is_not_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="is no address of this machine"):
        free_port(host, 0)


def test_a_server_that_listens_everywhere_is_asked_on_loopback() -> None:
    assert base_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert base_url("::", 80) == "http://[::1]:80"


def test_a_server_that_is_ready_answers(tmp_path: Path) -> None:
    server, port = fake(tmp_path)
    with server:
        assert wait_until_ready(server, host="127.0.0.1", port=port, path="/", seconds=30) < 30
        assert get("127.0.0.1", port, "/") == (200, b'{"ready": true}')

    assert get("127.0.0.1", port, "/") is None


def test_a_server_that_dies_while_it_loads_is_told_with_its_last_words(tmp_path: Path) -> None:
    server, port = fake(tmp_path, "--never-ready", "--die-after", "0.1")
    with server, pytest.raises(ProgramError, match=r"exit status 3; it said:\nloading None\nCUDA out of memory"):
        wait_until_ready(server, host="127.0.0.1", port=port, path="/", seconds=30)


def test_a_server_that_is_never_ready_is_stopped_and_what_it_answered_is_told(tmp_path: Path) -> None:
    server, port = fake(tmp_path, "--never-ready")
    waited: list[float] = []
    with server, pytest.raises(ProgramError, match=r"was not ready after 1 seconds: it (answered / with 503|did not)"):
        wait_until_ready(server, host="127.0.0.1", port=port, path="/", seconds=1, on_wait=waited.append)

    assert server.has_exited()


def test_the_answer_of_somebody_else_on_the_port_is_not_the_servers(tmp_path: Path) -> None:
    other, port = fake(tmp_path)
    with other:
        wait_until_ready(other, host="127.0.0.1", port=port, path="/", seconds=30)
        late = ServerProcess([sys.executable, "-c", "raise SystemExit(5)"], cwd=tmp_path, environ={})
        with late:
            assert late.wait(10)
            with pytest.raises(ProgramError, match="exit status 5"):
                wait_until_ready(late, host="127.0.0.1", port=port, path="/", seconds=5)
