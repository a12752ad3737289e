"""`mlkit scan` as people and pipelines use it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from tests.support.cli import CommandLine
from tests.support.schemas import SCHEMAS
from tests.trust.scan.checkpoints import plain_zip, torch_zip
from tests.trust.scan.pickles import BAD_PICKLE


@pytest.fixture
def bad(mlkit: CommandLine) -> Path:
    path = mlkit.cwd / "bad.pkl"
    path.write_bytes(BAD_PICKLE)
    return path


def test_a_clean_kit_is_exit_0_and_a_line(packed: CommandLine) -> None:
    done = packed.ok("scan", "digits:1.2")

    assert done.stdout.startswith("clean: ")
    assert "looked at" in done.stderr


def test_findings_are_exit_1_and_a_table_of_80_columns(mlkit: CommandLine, bad: Path) -> None:
    done = mlkit("scan", "bad.pkl")

    assert done.code == 1
    assert done.stdout.splitlines() == [
        "critical  pickle-code         bad.pkl",
        "          names os.system",
        "findings: 1 file, 1 critical",
    ]


def test_a_report_fits_its_schema(mlkit: CommandLine, bad: Path) -> None:
    (mlkit.cwd / "m.pt").write_bytes(torch_zip())
    (mlkit.cwd / "x.zip").write_bytes(plain_zip({"a.bin": b"\x04\x22\x4d\x18" + bytes(9)}))
    schema = json.loads((SCHEMAS / "report-scan-v1.json").read_text(encoding="utf-8"))

    done = mlkit("scan", ".", "--json", "--second-opinion")

    jsonschema.Draft202012Validator(schema).validate(done.json)
    assert done.code == 1
    assert done.json["verdict"] == "findings"
    verdicts = {file["path"]: file["verdict"] for file in done.json["files"]}
    assert (verdicts["bad.pkl"], verdicts["m.pt"], verdicts["x.zip"]) == ("findings", "clean", "unknown")


def test_what_counts_can_be_said(mlkit: CommandLine) -> None:
    (mlkit.cwd / "a.py").write_text("x = 1\n")

    assert mlkit("scan", "a.py").code == 0
    assert mlkit("scan", "a.py", "--fail-on", "note").code == 1
    assert mlkit("scan", "a.py", "--fail-on", "awful").code == 2


def test_a_name_of_a_file_cannot_act_on_the_terminal(mlkit: CommandLine) -> None:
    (mlkit.cwd / "a\x1b[2Jb.pkl").write_bytes(BAD_PICKLE)

    done = mlkit("scan", ".")

    assert "\x1b" not in done.stdout
    assert "a\\x1b[2Jb.pkl" in done.stdout


@pytest.mark.parametrize("flags", [("--attest",), ("--verify",), ("--filter", "model"), ("-l", "a=b")])
def test_flags_of_kits_are_refused_for_paths(mlkit: CommandLine, bad: Path, flags: tuple[str, ...]) -> None:
    assert mlkit("scan", "bad.pkl", *flags).code == 2


def test_a_path_and_a_reference_are_told_apart(packed: CommandLine) -> None:
    assert packed("scan", "./none").code == 3
    assert packed("scan", "none:1").code == 3
    assert packed("scan", "digits:1.2", "--json").json["digest"].startswith("sha256:")
    assert packed("scan", ".", "--json").json["digest"] is None


def test_an_attested_scan_meets_a_policy_and_one_with_findings_does_not(packed: CommandLine, tmp_path: Path) -> None:
    packed.ok("keygen", "-o", "ci", "--no-password")
    rules = 'rules: [{scope: "**", require: [{scan: clean, max_age: 90d, keys: [ci]}]}]\n'
    (packed.cwd / "mlkit-policy.yaml").write_text("version: 1\nkeys: {ci: {file: ci.pub}}\n" + rules)
    unpack = ("unpack", "digits:1.2", "--policy", "mlkit-policy.yaml", "-d")
    assert packed(*unpack, str(tmp_path / "before")).code == 8

    done = packed.ok("scan", "digits:1.2", "--attest", "--key", "ci.key", "--json")

    assert done.json["attached"].startswith("sha256:")
    packed.ok(*unpack, str(tmp_path / "after"))
    (packed.cwd / "src/model.pkl").write_bytes(BAD_PICKLE)
    packed.ok("pack", ".", "-t", "digits:1.2", "--quiet")
    assert packed("scan", "digits:1.2", "--attest", "--key", "ci.key").code == 1
    assert packed(*unpack, str(tmp_path / "worse")).code == 8


def test_an_attestation_is_of_a_whole_kit_and_needs_a_key(packed: CommandLine) -> None:
    assert packed("scan", "digits:1.2", "--attest").code == 2
    assert packed("scan", "digits:1.2", "--attest", "--filter", "model").code == 2
