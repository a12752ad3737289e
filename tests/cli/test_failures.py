"""Where errors end: the words, the one object, the exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest
import typer
from tests.support.cli import PROGRAM, CommandLine

from mlkit import errors
from mlkit.cli.failures import Terminated, report
from mlkit.cli.main import asks_for_json

_HINT = "hint: `ulimit -n` shows the limit\n"
_KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_its_exit_code_and_its_object(
    kind: type[errors.MlkitError], capsys: pytest.CaptureFixture[str]
) -> None:
    code = report(kind("it broke", hint="mend it"), as_json=True)

    assert code == kind.exit_code
    assert json.loads(capsys.readouterr().err) == {
        "error": {"code": kind.code, "exit": kind.exit_code, "message": "it broke", "hint": "mend it"}
    }


def test_an_error_is_a_line_and_a_hint_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(errors.NotFoundError("no \x1b[31mtag", hint="one\ntwo"), as_json=False) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no \\x1b[31mtag\nhint: one\n  two\n"


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (typer.Abort(), 130, "error: interrupted\n"),
        (Terminated(), 143, "error: terminated\n"),
        (BrokenPipeError(errno.EPIPE, "x"), 141, ""),
        (typer.Exit(1), 1, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(None), 0, ""),
        (OSError(errno.ENOSPC, "x"), 10, "error: No space left on device\n"),
        (
            OSError(errno.EMFILE, "x", "a\nb"),
            10,
            "error: a\n  b: Too many open files\nhint: `ulimit -n` shows the limit\n",
        ),
    ],
    ids=repr,
)
def test_what_is_no_error_of_ours_has_its_code_too(
    error: BaseException, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, as_json=False) == code
    assert capsys.readouterr().err == word


def test_a_defect_looks_like_one_and_is_no_negative_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValueError("x"), as_json=False) == 70
    assert "a defect in mlkit: ValueError: x" in capsys.readouterr().err

    assert report(ValueError("x"), as_json=True) == 70
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "E_DEFECT"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["list", "--json"], True), (["--json"], True), (["cat", "x", "--", "--json"], False), ([], False)],
    ids=str,
)
def test_json_is_asked_for_before_the_arguments_are_parsed(arguments: list[str], expected: bool) -> None:
    assert asks_for_json(arguments) is expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list", "--sorted"], "No such option: --sorted"),
        (["list", "--sort", "colour"], "'colour' is not one of"),
        (["--colour", "list"], "No such option: --colour"),
        (["cat", "digits:1"], "Missing argument 'PATH'"),
        (["config"], "Missing command"),
        (["config", "shwo"], "No such command 'shwo'. Did you mean 'show'?"),
        (["inspect", "Not A Reference"], "is not a repository name"),
        (["pack", "-t", "a:b@sha256:0"], "a:b@sha256:0"),
        (["pack", "-t", "a:b", "--annotation", "x"], "'x' is not an annotation"),
        (["unpack", "a", "--overwrite", "--ignore-existing"], "exclude each other"),
        (["pull", "a.example/b", "--concurrency", "0"], "0 is not in the range"),
    ],
    ids=" ".join,
)
def test_a_usage_error_is_exit_2_with_a_sentence_or_an_object(
    mlkit: CommandLine, arguments: list[str], message: str
) -> None:
    told = mlkit(*arguments)
    asked = mlkit(*arguments, "--json")

    assert told.code == asked.code == 2
    assert told.stdout == asked.stdout == ""
    assert told.stderr.startswith("error: ")
    assert message in told.stderr
    assert asked.error["code"] == "E_USAGE"
    assert asked.error["exit"] == 2
    assert message in asked.error["message"]


def test_a_current_directory_that_is_gone_is_a_usage_error(mlkit: CommandLine, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    done = subprocess.run(
        ["sh", "-c", f'rmdir "$PWD"; exec "{PROGRAM}" list'],
        cwd=gone,
        env=mlkit.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "error: the current directory is gone\nhint: change to one that exists\n"


@pytest.mark.parametrize("arguments", ["version", "--help", "list", "list --json", "cat digits:1.2 README.md"])
def test_a_reader_that_has_gone_ends_it_quietly(packed: CommandLine, arguments: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PROGRAM, *arguments.split()],
        env=packed.environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", ["version", "list"])
def test_a_full_disk_behind_stdout_is_exit_10(packed: CommandLine, arguments: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, *arguments.split()],
            env=packed.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (10, "error: No space left on device\n")


def _run_into(sink: TextIO, mlkit: CommandLine, arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, *arguments.split()]
    return subprocess.run(command, env=mlkit.environ, stdout=sink, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.parametrize(("arguments", "code"), [("nonsense", 2), ("inspect digits:9", 3)], ids=["usage", "absent"])
def test_a_full_disk_behind_stderr_leaves_the_exit_code(packed: CommandLine, arguments: str, code: int) -> None:
    done = subprocess.run(["sh", "-c", f'exec "{PROGRAM}" {arguments} 2>/dev/full'], env=packed.environ, check=False)

    assert done.returncode == code


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_nothing(packed: CommandLine, closed: str) -> None:
    for arguments in ("version", "list", "files digits:1.2"):
        done = subprocess.run(
            ["sh", "-c", f'exec "{PROGRAM}" {arguments} {closed}'], env=packed.environ, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_utf8_is_answered_in_one_sentence(mlkit: CommandLine) -> None:
    done = subprocess.run(
        [os.fsencode(PROGRAM), b"inspect", b"caf\xe9"], env=mlkit.environ, capture_output=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_odd_locales_time_zones_and_a_missing_home_work(packed: CommandLine, locale: str) -> None:
    environ = {**packed.environ, "LC_ALL": locale, "TZ": "Asia/Kathmandu"}
    del environ["HOME"]

    done = subprocess.run([PROGRAM, "list"], env=environ, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert b"digits:1.2" in done.stdout


@pytest.mark.parametrize("mask", ["077", "000", "777"])
def test_fault50_odd_surroundings_work_and_secrets_stay_secret(packed: CommandLine, tmp_path: Path, mask: str) -> None:
    """Others are above: no current directory, no reader, closed streams, odd names, locales and time zones, no HOME."""
    first = packed.ok("pack", ".", "-t", "digits:0", "--quiet").stdout
    script = f"""
        umask {mask}
        exec </dev/null
        "{PROGRAM}" pack . -t digits:9 --quiet && "{PROGRAM}" unpack digits:9 -d "{tmp_path}/out{mask}" --quiet
        "{PROGRAM}" keygen -o "{tmp_path}/{mask}" --no-password --quiet
    """
    done = subprocess.run(
        ["sh", "-ec", script], env=packed.environ, cwd=packed.cwd, capture_output=True, text=True, check=False
    )

    if mask == "777":  # nobody may do anything with what is made; that root still may is no matter of ours
        assert "Traceback" not in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(first)
    assert (tmp_path / f"out{mask}" / "README.md").stat().st_mode & 0o777 == 0o666 & ~int(mask, 8) & 0o644
    assert (tmp_path / f"{mask}.key").stat().st_mode & 0o777 == 0o600


def test_fault51_interpreter_and_terminal_change_no_byte_of_a_kit(packed: CommandLine) -> None:
    digests = set()
    for flags, environ in (
        ([], {"PYTHONHASHSEED": "0"}),
        (["-O"], {"PYTHONHASHSEED": "1"}),
        (["-OO"], {"NO_COLOR": "1", "COLUMNS": "1", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}),
        (["-X", "dev", "-W", "ignore"], {"PYTHONHASHSEED": "4294967295", "COLUMNS": "0"}),
    ):
        done = subprocess.run(
            [sys.executable, *flags, "-m", "mlkit", "pack", ".", "-t", "digits:5"],
            env=packed.environ | environ,
            cwd=packed.cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
        refused = subprocess.run(
            [sys.executable, *flags, "-m", "mlkit", "unpack", "digits:5", "-d", str(packed.home / "store")],
            env=packed.environ | environ,
            capture_output=True,
            check=False,
        )
        assert refused.returncode == 2  # no check is an assert

    assert len(digests) == 1


def test_a_locale_that_cannot_spell_a_name_is_answered_in_one_sentence(mlkit: CommandLine, tmp_path: Path) -> None:
    (mlkit.cwd / "data/gr\u00f6\u00dfe.csv").write_text("a,b\n")
    (mlkit.cwd / "Kitfile").unlink()
    mlkit.ok("pack", ".", "-t", "sizes:1")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    packed = mlkit.process("pack", ".", "-t", "sizes:2", "--json", env=ascii_only)
    unpacked = mlkit.process("unpack", "sizes:1", "-d", tmp_path / "out", "--json", env=ascii_only)

    assert (packed.error["exit"], unpacked.error["exit"]) == (2, 2)
    assert not (tmp_path / "out").exists()


_SWALLOWING = """
import sys, time
from mlkit.cli import application, main
def dispatch(arguments):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except BaseException as error:
        raise ValueError(f"error building a schema: {type(error).__name__}") from None
application.dispatch = dispatch
sys.argv = ["mlkit", "list"]
main.run()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_signal_that_an_extension_module_made_another_error_of_is_still_a_signal(
    number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SWALLOWING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, told = process.communicate(timeout=30)

    assert process.returncode == code
    assert "Traceback" not in told


_WAITING = """
import sys, time
from mlkit.cli import application, main
def dispatch(arguments):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
application.dispatch = dispatch
sys.argv = ["mlkit", "list", *sys.argv[1:]]
main.run()
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")], ids=str
)
def test_a_signal_unwinds_everything_and_has_its_exit_code(number: signal.Signals, code: int, word: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        rest, talk = process.communicate(timeout=30)

    assert process.returncode == code
    assert rest == "cleaned up\n"
    assert talk == f"error: {word}\n"
