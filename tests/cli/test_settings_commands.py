"""config, doctor, login and logout."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator

import pytest
from tests.support.cli import PROGRAM, CommandLine
from tests.support.registry import simulated_registry

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path_factory.mktemp("registry"))) as running:
        yield running.host


def test_config_show_names_the_source_of_each_value(mlkit: CommandLine) -> None:
    (mlkit.cwd / ".mlkit.toml").write_text('proxy = "http://proxy.example:3128"\nconcurrency = 3\n')

    found = {
        entry["name"]: entry
        for entry in mlkit.ok("config", "show", "--json", "--insecure", env={"MLKIT_CONCURRENCY": "7"}).json
    }

    assert found["insecure"] == {"name": "insecure", "value": True, "source": "flag"}
    assert found["concurrency"] == {"name": "concurrency", "value": 7, "source": "MLKIT_CONCURRENCY"}
    assert found["proxy"]["source"].endswith(".mlkit.toml")
    assert found["home"]["source"] == "MLKIT_HOME"
    assert found["cert"] == {"name": "cert", "value": None, "source": "default"}


def test_config_show_is_a_table_for_people(mlkit: CommandLine) -> None:
    lines = mlkit.ok("config", "show").stdout.splitlines()

    assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
    assert ["insecure", "false", "default"] in [line.split() for line in lines]


def test_a_setting_that_does_not_exist_is_exit_2(mlkit: CommandLine) -> None:
    (mlkit.cwd / ".mlkit.toml").write_text("concurency = 3\n")

    assert "did you mean 'concurrency'?" in mlkit("config", "show", "--json").error["hint"]


def test_doctor_looks_at_store_disk_and_registries(mlkit: CommandLine, registry: str) -> None:
    found = mlkit.ok("doctor", registry, "--plain-http", "--json").json
    text = mlkit.ok("doctor").stdout

    assert {finding["status"] for finding in found} <= {"ok", "warn"}
    assert registry in {finding["name"] for finding in found}
    assert text.splitlines()[0].split() == ["STATUS", "WHAT", "DETAIL"]


def test_doctor_is_exit_1_when_a_registry_does_not_answer(mlkit: CommandLine) -> None:
    done = mlkit("doctor", "127.0.0.1:1", "--plain-http", "--json")

    assert done.code == 1
    assert done.json[-1]["status"] == "fail"


def test_doctor_puts_what_to_do_below_the_table(mlkit: CommandLine) -> None:
    done = mlkit("doctor", "127.0.0.1:1", "--plain-http")

    table, _, hints = done.stdout.partition("\n\n")
    assert table.splitlines()[-1].endswith(")")
    assert hints.splitlines()[-1].startswith("127.0.0.1:1: is the registry running")


def test_login_saves_and_logout_forgets(mlkit: CommandLine, registry: str) -> None:
    config = mlkit.home / ".docker/config.json"

    done = mlkit.ok("login", registry, "-u", "alice", "--password-stdin", "--plain-http", input="s3cret\n")
    assert done.stdout == f"{registry}\n"
    assert registry in json.loads(config.read_text())["auths"]
    assert config.stat().st_mode & 0o777 == 0o600

    mlkit.ok("logout", registry)
    assert registry not in json.loads(config.read_text()).get("auths", {})


def test_a_login_that_is_not_accepted_says_so_once_and_stores_nothing(mlkit: CommandLine) -> None:
    with simulated_registry() as guarded:
        guarded.auth = "basic"
        done = mlkit("login", guarded.host, "-u", "ada", "--password-stdin", "--plain-http", input="wrong\n")

    assert done.code == 6
    assert done.stderr.count(guarded.host) == 1
    assert "nothing was stored" in done.stderr
    assert not (mlkit.home / ".docker/config.json").exists()


def test_c06_a_password_on_the_command_line_is_warned_about_and_never_shown(mlkit: CommandLine, registry: str) -> None:
    done = mlkit.ok("login", registry, "-u", "alice", "-p", "s3cret", "--plain-http", "-vv")

    assert "--password-stdin" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ([], "give one with -u"),
        (["-u", "alice"], "pipe it in with --password-stdin"),
        (["-u", "", "-p", "x"], None),
        (["-u", "alice", "-p", "x", "--password-stdin"], None),
        (["-u", "alice", "--password-stdin"], None),
    ],
    ids=["nothing", "no password", "empty name", "two passwords", "empty password"],
)
def test_login_asks_nobody_without_a_terminal(mlkit: CommandLine, flags: list[str], hint: str | None) -> None:
    done = mlkit("login", "a.example", *flags, input="")

    assert done.code == 2
    assert hint is None or f"hint: {hint}\n" in done.stderr


def test_login_asks_on_a_terminal_and_does_not_echo(mlkit: CommandLine, registry: str) -> None:
    try:
        main, terminal = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine lends no terminal: {error}")
    with subprocess.Popen(
        [PROGRAM, "login", registry, "--plain-http", "--progress", "none"],
        env=mlkit.environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = _until(main, b"Username: ")
        os.write(main, b"alice\n")
        shown += _until(main, b"Password: ")
        os.write(main, b"s3cret\n")
        shown += _until(main, None)
        process.wait(timeout=30)
    os.close(main)

    assert process.returncode == 0
    assert b"s3cret" not in shown
    assert b"logged in to" in shown


def _until(terminal: int, word: bytes | None) -> bytes:
    shown = b""
    while word is None or word not in shown:
        try:
            chunk = os.read(terminal, 1024)
        except OSError:  # the other end of a pty is gone
            break
        if not chunk:
            break
        shown += chunk
    return shown


def test_the_insecure_flag_says_so_loudly_even_when_quiet(mlkit: CommandLine) -> None:
    done = mlkit.ok("list", "--insecure", "--quiet")

    assert "CERTIFICATES ARE NOT CHECKED" in done.stderr
