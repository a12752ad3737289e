"""What a start imports; the ratios of time are in tests/benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.support.cli import CommandLine

from mlkit import __version__

_SHOW_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv = ["mlkit", *sys.argv[1:]]
from mlkit.cli.main import run
run()
"""
_HEAVY = {"httpx", "cryptography", "pydantic", "rich", "yaml", "zstandard", "sqlite3", "asyncio"}


def _modules(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_MODULES, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["--help"], ["-h"], []], ids=" ".join)
def test_quick_answers_do_not_import_the_parser(arguments: list[str]) -> None:
    modules = _modules(*arguments)

    assert not modules & ({"typer", "click", "mlkit.errors"} | _HEAVY)


@pytest.mark.parametrize("arguments", [["config", "--help"], ["registry", "--help"]], ids=" ".join)
def test_help_of_a_family_imports_no_command(arguments: list[str]) -> None:
    modules = _modules(*arguments)

    assert not modules & _HEAVY
    assert not {name for name in modules if name.startswith("mlkit.cli.commands.")}


def test_a_command_imports_no_other_command() -> None:
    modules = _modules("list", "--help")

    assert {name for name in modules if name.startswith("mlkit.cli.commands.")} == {"mlkit.cli.commands.list"}


def test_listing_kits_imports_no_http_no_cryptography_and_no_bars(packed: CommandLine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_MODULES, "list"], env=packed.environ, capture_output=True, text=True, check=True
    )
    modules = set(json.loads(done.stderr.splitlines()[-1]))

    assert not modules & {"httpx", "cryptography", "rich", "sqlite3", "asyncio"}
    assert "digits:1.2" in done.stdout


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["version", "-q"]], ids=" ".join)
def test_version_prints_the_version_alone(mlkit: CommandLine, arguments: list[str]) -> None:
    assert mlkit.ok(*arguments).stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["version", "--json"], ["--json", "version"], ["--json", "--version"]], ids=" ".join
)
def test_version_as_json_is_the_same_wherever_the_flag_stands(mlkit: CommandLine, arguments: list[str]) -> None:
    found = mlkit.ok(*arguments).json

    assert found["version"] == __version__
    assert set(found) == {"version", "python", "platform"}


def test_reading_a_kit_looks_for_no_plugins_and_for_nothing_that_other_tools_write(packed: CommandLine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_MODULES, "unpack", "digits:1.2", "-d", "out"],
        cwd=packed.cwd,
        env=packed.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(json.loads(done.stderr.splitlines()[-1]))

    assert "pydantic" in modules
    assert not modules & {"importlib.metadata", "mlkit.packing.artifacts", "mlkit.packing.recognise"}


def test_a_push_imports_nothing_that_looks_into_kits(packed: CommandLine) -> None:
    environ = {**packed.environ, "MLKIT_RETRY_BUDGET": "0", "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    arguments = ["push", "digits:1.2", "127.0.0.1:1/team/digits:1.2"]
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_MODULES, *arguments], env=environ, capture_output=True, text=True, check=False
    )
    modules = set(json.loads(done.stderr.splitlines()[-1]))

    assert done.returncode == 7, done.stderr
    assert "mlkit.registry.store" in modules
    assert not modules & {"pydantic", "yaml", "pygments", "rich", "mlkit.packing.kit"}
