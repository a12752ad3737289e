"""What commands print with `--json`, held against the schemas in `schemas/`: by the example in the help of each."""

from __future__ import annotations

import json
import shlex

import jsonschema
import pytest
from tests.cli.test_catalogue import ENTRIES
from tests.cli.test_help_examples import EXAMPLES, registry, world
from tests.support.cli import CommandLine
from tests.support.report_schemas import REPORTS, WRITTEN, report_schemas
from tests.support.report_schemas import check_report as check

__all__ = ["registry", "world"]  # fixtures

SCHEMAS = report_schemas()
_ASKED_OTHERWISE = {"verify --dir", "verify --bundle", "init", "deploy render", "registry serve", "serve", "profile"}
"""The last five below and in test_serve.py, test_profile.py and test_help_examples.py."""
_LATE = ("rollback", "mark", "index remove", "logout", "prune", "remove")
_OPERATORS = {"|", "||", "&&", ";", ">"}


def simple(example: str) -> list[str] | None:
    """The arguments of an example that is one run of mlkit, perhaps piped to something else."""
    words = shlex.split(example)
    end = next((at for at, word in enumerate(words) if word in _OPERATORS), len(words))
    return words[1:end] if words[0] == "mlkit" and "mlkit" not in words[1:] else None


def test_every_report_is_of_a_command() -> None:
    assert {name for name in (*REPORTS, *WRITTEN) if name not in _ASKED_OTHERWISE} <= set(ENTRIES)


def test_the_reports_of_the_examples_fit_their_schemas(world: CommandLine, registry: str) -> None:
    """One after the other in one place: making it is most of the work. What changes much for the others comes last."""
    names = [name for name in (*REPORTS, *WRITTEN, "verify") if name not in _ASKED_OTHERWISE]
    runs = {name: simple(EXAMPLES[name].replace("localhost:5000", registry)) for name in names}

    for name in sorted(names, key=lambda name: (_LATE.index(name) if name in _LATE else -1, name)):
        arguments = runs[name]
        if arguments is not None:
            done = world(*arguments, "--json", "--quiet", env={"MLKIT_PLAIN_HTTP_HOSTS": "loopback"})
            assert done.code in (0, 1), f"{name}: {done.stderr}"
            check(name, done.json)
    assert len([name for name in names if runs[name] is not None]) > 25


def test_dry_runs_and_other_ways_of_asking_fit_too(world: CommandLine, registry: str) -> None:
    kit = f"{registry}/team/digits:1.2"
    (world.cwd / "policy.yaml").write_text(
        "version: 1\nkeys: {me: {file: my.pub}}\nrules:\n"
        "  - {scope: '**', licenses: [MIT], require: [{type: signature, keys: [me]}, {scan: clean, max_age: 1d}]}\n"
    )
    world.ok("unpack", "digits:1.2", "-d", "compared")
    (world.cwd / "compared/README.md").write_text("x")
    (world.cwd / "compared/extra").write_text("x")
    signed = world("verify", "digits:1.2", "--key", "my.pub", "--json")
    cases = {
        "pull": world.ok("pull", kit, "--plain-http", "--filter", "docs", "--json"),
        "push": world.ok("push", "digits:1.2", kit, "--plain-http", "--dry-run", "--json"),
        "list": world.ok("list", f"{registry}/team/digits", "--plain-http", "--json"),
        "inspect": world.ok("inspect", "digits:all", "--json"),
        "policy explain": world("policy", "explain", "digits:1.2", "--policy", "policy.yaml", "--json"),
        "verify": world("verify", "digits:1.2", "--policy", "policy.yaml", "--json"),
        "verify --dir": world("verify", "digits:1.2", "--dir", "compared", "--json"),
        "unpack": world.ok("unpack", kit, "-d", "part", "--filter", "docs", "--plain-http", "--json"),
    }

    check("verify", json.loads(signed.stdout))
    for name, done in cases.items():
        check(name, done.json)


def test_what_people_make_of_files_and_kits_fits_too(mlkit: CommandLine, registry: str) -> None:
    (mlkit.cwd / "llm").mkdir()
    (mlkit.cwd / "llm/m.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    kit = f"{registry}/team/llm:1"

    check("init", mlkit.ok("init", "llm", "-o", "-", "--json").json)
    check("init", mlkit.ok("init", "llm", "--json").json)
    mlkit.ok("pack", "llm", "-t", kit, "--push", "--plain-http")
    for target in ("kubernetes", "systemd"):
        arguments = (
            "--to",
            target,
            "--init-image",
            "registry.example/mlkit:1",
            "--gpus",
            "1",
            "--plain-http",
            "--json",
        )
        check("deploy render", mlkit.ok("deploy", "render", kit, *arguments).json)


def test_every_command_that_prints_a_result_has_a_schema() -> None:
    without = set(ENTRIES) - {*REPORTS, *WRITTEN, "verify"}

    assert without == {
        "cat",  # the file
        "fsck",  # fsck-report-v1.json
        "policy schema",  # a schema
        "sbom",  # CycloneDX's
    }


def test_a_report_that_lacks_something_or_has_more_does_not_fit(packed: CommandLine) -> None:
    document = packed.ok("inspect", "digits:1.2", "--json").json
    check("inspect", document)

    with pytest.raises(AssertionError, match="surprise"):
        check("inspect", {**document, "surprise": 1})
    with pytest.raises(AssertionError, match="'digest' is a required property"):
        check("inspect", {name: value for name, value in document.items() if name != "digest"})
    # Others are told that more may come.
    assert jsonschema.Draft202012Validator(SCHEMAS["report-inspect-v1.json"]).is_valid({**document, "surprise": 1})
