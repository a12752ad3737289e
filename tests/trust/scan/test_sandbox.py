"""E30 of threats.md: what ends the scanner is never clean, and ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trust.scan.pickles import BAD_PICKLE, text

from mlkit.errors import IntegrityError, NetworkError
from mlkit.trust.scan import wire
from mlkit.trust.scan.findings import FileResult, Verdict, verdict_on
from mlkit.trust.scan.sandbox import Limits, Sandbox, Task
from mlkit.trust.scan.source import BytesSource

MIB = 1 << 20


def _task(raw: bytes, path: str = "m.pkl") -> Task:
    return Task(path, len(raw), source=BytesSource(raw))


def _verdict(found: FileResult) -> Verdict:
    return verdict_on(found.findings, is_complete=found.is_complete)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


SLOW = b"\x80\x04" + b"N0" * 6_000_000 + b"."
LARGE = b"\x80\x04" + b"".join(text(f"{number:020}") + b"\x94" for number in range(900_000)) + b"."


@pytest.mark.parametrize(
    ("raw", "limits", "reason"),
    [
        pytest.param(SLOW, Limits(seconds=1), "signal 24|more than 1 seconds", id="time"),
        pytest.param(LARGE, Limits(memory=150 * MIB), "status 1", id="memory"),
    ],
)
def test_e30_a_file_that_ends_the_scanner_is_unknown(raw: bytes, limits: Limits, reason: str) -> None:
    with Sandbox(limits=limits, secrets=False) as sandbox:
        (finding,) = sandbox.scan(_task(raw))[0].findings
        after = sandbox.scan(_task(BAD_PICKLE))[0]

    assert finding.rule == "scanner-failed"
    assert any(part in finding.message for part in reason.split("|"))
    assert _verdict(FileResult("m.pkl", 1, "unknown", (finding,), False)) is Verdict.UNKNOWN
    assert _verdict(after) is Verdict.FINDINGS, "the next file gets a new process"


def test_a_scanner_that_is_killed_is_started_again(sandbox: Sandbox) -> None:
    sandbox.scan(_task(b"x"))
    process = sandbox._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)

    first, second = sandbox.scan(_task(BAD_PICKLE))[0], sandbox.scan(_task(BAD_PICKLE))[0]

    assert _verdict(first) is Verdict.UNKNOWN
    assert _verdict(second) is Verdict.FINDINGS


def test_a_scanner_that_hangs_is_given_up() -> None:
    with Sandbox(limits=Limits(seconds=1)) as sandbox:
        sandbox.scan(_task(b"x"))
        assert sandbox._process is not None
        os.kill(sandbox._process.pid, signal.SIGSTOP)

        (finding,) = sandbox.scan(_task(BAD_PICKLE))[0].findings

    assert "more than 1 seconds" in finding.message


def test_what_reading_raises_goes_through_and_leaves_nothing_behind(sandbox: Sandbox) -> None:
    class Broken:
        size = 100

        def read_at(self, offset: int, length: int) -> bytes:
            raise NetworkError("the registry is gone")

    with pytest.raises(NetworkError):
        sandbox.scan(Task("m.pkl", 100, source=Broken()))

    assert _verdict(sandbox.scan(_task(BAD_PICKLE))[0]) is Verdict.FINDINGS


def test_a_file_is_handed_over_open_and_read_from_its_place(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(b"in front" + BAD_PICKLE + b"behind")
    with (tmp_path / "layer").open("rb") as stream:
        task = Task("m.pkl", len(BAD_PICKLE), descriptor=stream.fileno(), offset=8)

        found = sandbox.scan(task)[0]

    assert [finding.message for finding in found.findings] == ["names os.system"]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 5},
        {"complete": "yes"},
        {"findings": {}},
        {"findings": [["pickle-code", 4, "a"]]},
        {"findings": [["no-such-rule", 4, "a", "b", None]]},
        {"findings": [["pickle-code", 9, "a", "b", None]]},
        {"findings": [["pickle-code", True, "a", "b", None]]},
        {"findings": [["pickle-code", 4, "a", 5, None]]},
        {"findings": [["pickle-code", 4, "a", "b", "c"]]},
        {"opinion": 5},
    ],
)
def test_a_result_that_is_none_is_refused(change: dict[str, Any]) -> None:
    """Who takes over the process by a mistake in a decompressor can still only say what it found."""
    sound = {"kind": "pickle", "complete": True, "opinion": None, "findings": [["pickle-code", 4, "a", "b", None]]}
    assert wire.parsed(sound, "m.pkl", 9)[0].kind == "pickle"

    with pytest.raises(IntegrityError):
        wire.parsed(sound | change, "m.pkl", 9)


def test_the_process_imports_no_library_of_machine_learning() -> None:
    script = """
import sys
import mlkit.trust.scan.worker
from tests.trust.scan.checkpoints import torch_zip
from tests.trust.scan.pickles import called, look
look(torch_zip(), "m.pt")
look(called("sklearn.svm._classes", "SVC"), "m.pkl")
print(sorted(set(sys.modules) & {"torch", "numpy", "sklearn", "joblib", "onnx", "scipy", "pandas", "httpx", "typer"}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_process_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLKIT_KEY_PASSWORD", "secret")
    with Sandbox() as sandbox:
        sandbox.scan(_task(b"x"))
        assert sandbox._process is not None
        environ = Path(f"/proc/{sandbox._process.pid}/environ")
        if not environ.exists():
            pytest.skip("no /proc here")

        assert b"secret" not in environ.read_bytes()
