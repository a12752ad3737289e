from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, UsageError
from mlkit.server import RunningRegistry, application, listener, serve

SERVE = """
import sys
from pathlib import Path
from mlkit.content.layout import Layout
from mlkit.server import serve

layout = Layout.at(Path(sys.argv[1]))
serve(layout, host="127.0.0.1", port=0, read_only=True, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""

WITHOUT_EXTRA = """
import sys
from pathlib import Path
sys.modules[sys.argv[2]] = None
import mlkit.server
from mlkit.content.layout import Layout
from mlkit.errors import UsageError

try:
    mlkit.server.serve(
        Layout.at(Path(sys.argv[1])), host="127.0.0.1", port=0, read_only=True, on_ready=lambda url: None
    )
except UsageError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_quietly_on_a_signal(layout: Layout, stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(layout.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        answer = httpx.get(f"{url}/v2/", trust_env=False)

        os.kill(server.pid, stop)
        out, err = server.communicate(timeout=20)

    assert answer.status_code == 200
    assert out == "stopped\n"
    assert err == ""
    assert server.returncode == 0


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_without_the_extra_serving_says_what_to_install(layout: Layout, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, str(layout.root), module], capture_output=True, text=True, check=True
    )

    assert "which is not installed | pip install 'mlkit[server]'" in done.stdout


def test_importing_the_room_does_not_import_the_framework() -> None:
    code = "import mlkit.server, sys; print(sorted({'starlette', 'uvicorn', 'asyncio'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_port_that_is_taken_is_a_conflict(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConflictError, match=f"127.0.0.1:{port} is in use"):
            serve(layout, host="127.0.0.1", port=port, read_only=True, on_ready=lambda url: None)


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 70_000), ("127.0.0.1", -1), ("\ud800", 0)]
)
def test_an_address_that_cannot_be_served_is_a_usage_error(layout: Layout, host: str, port: int) -> None:
    with pytest.raises(UsageError):
        serve(layout, host=host, port=port, read_only=True, on_ready=lambda url: None)


def test_serving_beyond_loopback_is_warned_about(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    answers = []

    def look(url: str) -> None:
        def ask() -> None:
            answers.append(httpx.get(url.replace("0.0.0.0", "127.0.0.1") + "/v2/", headers={"Host": "any.example"}))
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=ask).start()

    with caplog.at_level(logging.WARNING, logger="mlkit.server"):
        serve(layout, host="0.0.0.0", port=0, read_only=False, on_ready=look)

    assert "whoever reaches this machine can read the store and write to it" in caplog.text
    assert answers[0].status_code == 200


def test_serve_gives_the_signals_back(layout: Layout) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    serve(layout, host="127.0.0.1", port=0, read_only=True, on_ready=lambda url: os.kill(os.getpid(), signal.SIGTERM))

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_running_registry_names_itself_and_frees_its_port(layout: Layout) -> None:
    with RunningRegistry(layout) as registry:
        assert registry.url == f"http://{registry.host}"
        assert httpx.get(f"{registry.url}/v2/", trust_env=False).status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{registry.url}/v2/", trust_env=False)


def test_sessions_that_are_open_when_the_registry_stops_leave_nothing(layout: Layout) -> None:
    with RunningRegistry(layout) as registry:
        answer = httpx.post(f"{registry.url}/v2/a/blobs/uploads/", trust_env=False)
        httpx.patch(registry.url + answer.headers["Location"], content=b"x" * 100_000, trust_env=False)

    left = [path for path in (layout.root / ".mlkit").rglob("*") if path.is_file() and path.stat().st_size >= 100_000]
    assert left == []


def test_a_stop_cuts_off_requests_that_outlast_the_grace(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_GRACE", 1)
    with RunningRegistry(layout) as registry:
        location = httpx.post(f"{registry.url}/v2/a/blobs/uploads/", trust_env=False).headers["Location"]
        host, port = registry.host.split(":")
        hanging = socket.create_connection((host, int(port)))
        head = f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nContent-Length: 5000000\r\n\r\n"
        hanging.sendall(head.encode() + b"x" * 2_000_000)
    hanging.close()

    assert "a request was cut off, for the registry stops" in caplog.text
    assert "Traceback" not in caplog.text
    assert not [path for path in layout.root.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_the_application_can_be_given_to_another_server(tmp_path: Path) -> None:
    app = application(Layout.create(tmp_path / "store"), read_only=True)

    assert callable(app)


def test_what_a_killed_server_had_of_uploads_is_gone_when_the_next_one_starts(layout: Layout) -> None:
    left = layout.ingest_area.folder / "1-0123456789abcdef"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half a blob")

    with RunningRegistry(layout):
        assert not left.exists()
