"""A PostgreSQL server of Debian's, on a socket in a folder of its own, for as long as the tests run."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.tools import find_tool

_START_LIMIT = 60.0  # seconds
_NUMBERS = itertools.count(1)


@contextmanager
def postgres_server() -> Iterator[str]:
    """The folder of its socket. Skips the test where there is no server, or nobody to run it as."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    program, initdb = find_tool("postgres"), find_tool("initdb")
    if program is None or initdb is None:
        pytest.skip("PostgreSQL is not installed")
    # Not the folder of pytest: the path of a socket has 107 bytes at most, and that folder is closed to other users.
    with tempfile.TemporaryDirectory(prefix="mlkit-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        prefix = _as_somebody(folder)
        made = [str(initdb), "-D", f"{folder}/data", "-U", "mlkit", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        subprocess.run([*prefix, *made], cwd=folder, check=True, capture_output=True)
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "unix_socket_permissions=0777"]
        command = [*prefix, str(program), "-D", f"{folder}/data", "-k", name, *options]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server,
        ):
            try:
                _wait(folder, server)
                yield name
            finally:
                server.send_signal(signal.SIGINT)  # "fast": open connections are closed
                server.wait(timeout=30)


def new_database(socket: str) -> str:
    """The URL of an empty database."""
    import psycopg

    name = f"lineage{next(_NUMBERS)}"
    with psycopg.connect(host=socket, user="mlkit", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://mlkit@/{name}?host={socket}"


def _as_somebody(folder: Path) -> list[str]:
    """What to put before a command: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    users = [user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody")]
    if setpriv is None or not users:
        pytest.skip("PostgreSQL does not run as root, and there is nobody else")
    user = max(users, key=lambda one: one.pw_name)
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _wait(folder: Path, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + _START_LIMIT
    while True:
        try:
            psycopg.connect(host=str(folder), user="mlkit", dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"PostgreSQL does not start: {(folder / 'log').read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        else:
            return
