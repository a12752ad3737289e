"""The example in the help of each command, run as it stands: in a project with a Kitfile, beside a registry."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.cli.test_catalogue import ENTRIES
from tests.support.cli import CommandLine
from tests.support.report_schemas import check_report

from mlkit.cli.application import declaration_of
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

RUN_ELSEWHERE = ("init", "registry serve", "serve", "profile", "deploy render")
"""Below, and in test_serve.py, test_profile.py and test_deploying.py."""

EXAMPLES = {name: declaration_of(entry).example for name, entry in ENTRIES.items()}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a registry on loopback."""
    with RunningRegistry(Layout.create(tmp_path_factory.mktemp("registry"))) as running:
        yield running.host


@pytest.fixture
def world(packed: CommandLine, registry: str) -> CommandLine:
    """What the examples take for granted: two versions and an index in the store, one in the registry, and a login."""
    with (packed.cwd / "Kitfile").open("a") as kitfile:
        kitfile.write("checks:\n  - {name: loads, run: [python3, -c, pass]}\n")
    packed.ok("pack", ".", "-t", "digits:1.2")
    packed.ok("push", "digits:1.2", f"{registry}/team/digits:1.2", "--plain-http")
    (packed.cwd / "README.md").write_text("# An earlier page\n")
    packed.ok("pack", ".", "-t", "digits:1.1")
    packed.ok("index", "create", "digits:all")
    packed.ok("index", "add", "digits:all", "digits:1.1", "-l", "vram=8GB")
    (packed.cwd / "mlkit-policy.yaml").write_text(
        "version: 1\nrules: [{scope: digits, serialization: {allow: [safetensors]}}]\n"
    )
    for version in ("1.1", "1.2"):
        packed.ok("promote", f"digits:{version}", "staging")
    packed.ok("keygen", "-o", "my", "--no-password")
    packed.ok("sign", "digits:1.2", "--key", "my.key")
    (packed.cwd / "bom.json").write_text('{"reviewer": "alice"}')
    packed.ok("login", registry, "-u", "alice", "--password-stdin", "--plain-http", input="secret\n")
    return packed


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in RUN_ELSEWHERE])
def test_the_example_in_the_help_works(world: CommandLine, registry: str, name: str) -> None:
    example = EXAMPLES[name].replace("localhost:5000", registry)

    done = subprocess.run(
        ["sh", "-ec", example], cwd=world.cwd, env=world.environ, capture_output=True, text=True, check=False
    )

    # Exit 1 is an answer: the kits differ, and there is no kit without an origin.
    assert done.returncode == (1 if name in ("diff", "lineage unprovenanced") else 0), done.stderr
    assert done.stdout


def test_the_example_of_init_writes_a_kitfile_that_packs(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()

    subprocess.run(["sh", "-ec", EXAMPLES["init"]], cwd=mlkit.cwd, env=mlkit.environ, check=True, capture_output=True)

    assert "name: digits" in (mlkit.cwd / "Kitfile").read_text()
    assert mlkit.ok("pack", ".", "-t", "digits:1.2").stdout.startswith("sha256:")


def test_the_example_of_registry_serve_serves_until_it_is_told_to_end(packed: CommandLine) -> None:
    # A free port: 5000 may be somebody else's on the machine that tests.
    example = EXAMPLES["registry serve"].replace("5000", "0")
    with subprocess.Popen(
        ["sh", "-ec", f"exec {example} --json"], cwd=packed.cwd, env=packed.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        check_report("registry serve", json.loads(process.stdout.readline()))
        os.kill(process.pid, signal.SIGINT)
    with subprocess.Popen(
        ["sh", "-ec", f"exec {example}"], cwd=packed.cwd, env=packed.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        host = url.removeprefix("http://").rstrip("/")
        listed = packed("list", f"{host}/digits", "--plain-http", "--json")
        os.kill(process.pid, signal.SIGINT)
        process.wait(timeout=30)

    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/?", url)
    assert [kit["reference"] for kit in listed.json] == [f"{host}/digits:1.2"]
    # To be stopped is how serving ends, and no failure of it.
    assert process.returncode == 0
