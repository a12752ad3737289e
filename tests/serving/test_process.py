"""A server as a child: how it ends, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlkit.errors import ProgramError
from mlkit.serving.process import ServerProcess


def run(code: str, tmp_path: Path, *arguments: str, **options: object) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code, *arguments], cwd=tmp_path, environ=dict(os.environ), **options)  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(path: Path) -> str:
    for _ in range(500):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


CHILD = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
pathlib.Path(sys.argv[1]).write_text(str(subprocess.Popen([sys.executable, "-c", code]).pid))
"""


def test_what_a_server_started_ends_with_it_even_where_both_ignore_sigterm(tmp_path: Path) -> None:
    with run(CHILD + "time.sleep(600)", tmp_path, str(tmp_path / "pid")) as server:
        child = int(wait_for(tmp_path / "pid"))
        assert is_running(child)
        assert server.stop(grace=0.2) == -signal.SIGKILL

    assert not is_running(child)


def test_what_a_server_left_behind_when_it_ended_by_itself_ends_too(tmp_path: Path) -> None:
    with run(CHILD, tmp_path, str(tmp_path / "pid")) as server:
        child = int(wait_for(tmp_path / "pid"))
        assert server.wait(10)
        assert is_running(child)

    assert not is_running(child)


def test_a_server_that_listens_to_sigterm_is_not_killed(tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
    code += "print(1, flush=True); time.sleep(600)"
    lines: list[str] = []

    with run(code, tmp_path, on_line=lines.append) as server:
        while not lines:
            time.sleep(0.01)
        assert server.stop(grace=10) == 7


def test_the_error_for_a_server_that_ended_has_its_status_and_its_last_words(tmp_path: Path) -> None:
    with run("import sys; print('x' * 5000, flush=True); sys.exit('no such model')", tmp_path) as server:
        assert server.wait(10)
        error = server.failure("ended")

    assert isinstance(error, ProgramError)
    assert error.message.startswith("the server ended with exit status 1; it said:\nxxx")
    assert error.message.endswith("no such model")


def test_a_server_that_was_killed_is_said_to_have_been(tmp_path: Path) -> None:
    with run("import os; os.kill(os.getpid(), 9)", tmp_path) as server:
        server.wait(10)

        assert server.failure("ended").message == "the server was ended by SIGKILL and said nothing"


def test_only_the_end_of_a_long_output_is_kept(tmp_path: Path) -> None:
    with run("for number in range(1000): print(number)", tmp_path) as server:
        assert server.wait(10)
        server.stop()

        assert server.tail.split("\n") == [str(number) for number in range(970, 1000)]


def test_output_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    with run(r"import os; os.write(1, b'a\xff\n')", tmp_path) as server:
        server.wait(10)
        server.stop()

        assert server.tail == "a\\xff"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"'/no/such' cannot be started: No such file"):
        ServerProcess(["/no/such"], cwd=tmp_path, environ={})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel of Linux")
def test_a_server_does_not_outlive_an_mlkit_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, sys, time
from mlkit.serving.process import ServerProcess
server = ServerProcess([sys.executable, "-c", "import time; time.sleep(600)"], cwd=pathlib.Path({str(tmp_path)!r}),
                       environ=dict(os.environ))
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(server.pid))
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        server = int(wait_for(tmp_path / "pid"))
        parent.kill()

    for _ in range(500):
        if not is_running(server):
            break
        time.sleep(0.02)
    assert not is_running(server)
