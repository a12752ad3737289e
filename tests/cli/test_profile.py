"""`mlkit profile`, with a server that does as it is told."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from pathlib import Path

import jsonschema
import pytest
from tests.support.cli import CommandLine
from tests.support.report_schemas import check_report

from mlkit.cli.application import declaration_of
from mlkit.cli.catalogue import COMMANDS

ROOT = Path(__file__).parents[2]
FAKE = f"{shlex.quote(sys.executable)} -m tests.support.fake_server --port {{port}}"
ENV = {"PYTHONPATH": str(ROOT)}


def test_the_example_in_the_help_prints_a_table_and_what_follows_from_it(packed: CommandLine) -> None:
    example = shlex.split(declaration_of(COMMANDS["profile"]).example)[1:]  # type: ignore[arg-type]

    done = packed.process(*example, "--command", FAKE, env=ENV)

    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "AT",
        "ONCE",
        "ANSWERS",
        "FAILED",
        "PER",
        "SECOND",
        "P50",
        "MS",
        "P95",
        "MS",
        "P99",
        "MS",
        "CPUS",
    ]
    assert [line.split()[:3] for line in lines[1:4]] == [["1", "200", "0"], ["4", "200", "0"], ["16", "200", "0"]]
    assert "requests      cpu " in done.stdout
    assert all(len(line) <= 80 for line in lines)
    assert "not attached: no --key" in done.stderr
    assert list((packed.home / "store/.mlkit/serve").iterdir()) == []


def test_the_result_is_signed_attached_drawn_and_fits_its_schema(packed: CommandLine) -> None:
    packed.ok("keygen", "-o", "my", "--no-password")
    arguments = ["profile", "digits:1.2", "--command", FAKE, "--concurrency", "1,2", "--requests", "5", "--json"]

    done = packed.process(*arguments, "--key", "my.key", "--svg", "p.svg", "--html", "p.html", env=ENV)

    assert done.code == 0, done.stderr
    schema = json.loads((ROOT / "schemas/profile-v1.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(done.json["profile"])
    check_report("profile", done.json)
    assert done.json["attached"].startswith("sha256:")
    verified = packed.ok(
        "verify", "digits:1.2", "--key", "my.pub", "--type", "https://mlkit.dev/attestation/profile/v1", "--json"
    )
    assert verified.code == 0
    assert (packed.cwd / "p.svg").read_text().startswith("<svg")
    assert "Profile of digits:1.2" in (packed.cwd / "p.html").read_text()


def test_a_request_of_ones_own_is_sent_where_it_belongs(packed: CommandLine) -> None:
    (packed.cwd / "request.json").write_text('{"prompt": "Hello"}')
    arguments = ["profile", "digits:1.2", "--command", FAKE, "--concurrency", "1", "--requests", "3", "--json"]

    done = packed.process(*arguments, "--request", "request.json", "--request-path", "/v1/completions", env=ENV)

    assert done.json["profile"]["request"] == "POST /v1/completions"
    assert done.json["profile"]["levels"][0]["requests"] == 3


def test_the_memory_of_gpus_is_what_came_on_top(packed: CommandLine, tmp_path: Path) -> None:
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase $1 in *memory.used*) n=$(cat {tmp_path}/n 2>/dev/null || echo 1000); echo $n; echo 500; "
        f"echo $((n + 2000)) > {tmp_path}/n;; *) echo '81920, 9.0, NVIDIA H200';; esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    arguments = ["profile", "digits:1.2", "--command", FAKE, "--concurrency", "1", "--requests", "3", "--json", "--gpu"]

    done = packed.process(*arguments, env={**ENV, "PATH": f"{program.parent}:{packed.environ['PATH']}"})

    assert done.json["profile"]["peak_gpu_bytes"] >= 2000 << 20
    assert done.json["profile"]["suggestion"]["gpus"] == 1
    assert done.json["profile"]["machine"]["gpus"] == ["NVIDIA H200"]


@pytest.mark.parametrize("text", ["", "0", "1,x", "1,,2", "257", "-1", "9999999"])
def test_levels_that_are_none_are_refused_before_anything_starts(packed: CommandLine, text: str) -> None:
    done = packed("profile", "digits:1.2", "--command", FAKE, "--concurrency", text)

    assert done.code == 2
    assert "--concurrency" in done.stderr
