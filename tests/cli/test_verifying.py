"""`verify --policy`, `--dir` and `--bundle`, and `policy explain`, as people and scripts run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.cli import CommandLine

POLICY = """
version: 1
keys: {me: {file: my.pub}}
rules:
  - scope: digits
    require: [{type: signature, keys: [me]}]
  - {scope: "**", level: audit, serialization: {allow: [gguf]}}
"""


@pytest.fixture
def keyed(packed: CommandLine) -> CommandLine:
    """A command line with a kit, a key and a policy."""
    packed.ok("keygen", "-o", "my", "--no-password")
    (packed.cwd / "policy.yaml").write_text(POLICY)
    return packed


def test_a_policy_is_verified_with_its_exit_code_and_its_report(keyed: CommandLine) -> None:
    refused = keyed("verify", "digits:1.2", "--policy", "policy.yaml", "--json")
    explained = keyed("policy", "explain", "digits:1.2", "--policy", "policy.yaml", "--json")

    assert (refused.code, explained.code) == (8, 1)
    assert refused.json == explained.json
    assert (refused.json["verdict"], refused.json["is_verified"]) == ("not met", False)

    keyed.ok("sign", "digits:1.2", "--key", "my.key")
    report = keyed.ok("verify", "digits:1.2", "--policy", "policy.yaml", "--json").json
    text = keyed.ok("verify", "digits:1.2", "--policy", "policy.yaml")

    assert (report["verdict"], report["is_verified"]) == ("met", True)
    assert report["rule"] == {"scope": "digits", "line": 5, "level": "enforce"}
    assert report["others"] == [{"scope": "**", "line": 7, "level": "audit"}]
    assert report["checks"][0]["evidence"][0]["keys"] == ["me"]
    assert "ok  signature by me" in text.stdout
    assert text.stderr.startswith("verified digits:1.2: sha256:")
    assert max(map(len, text.stdout.splitlines())) <= 84


def test_a_policy_that_is_configured_is_what_verify_asks(keyed: CommandLine) -> None:
    env = {"MLKIT_POLICY": str(keyed.cwd / "policy.yaml")}

    assert keyed("verify", "digits:1.2", env=env).code == 8
    assert "refused by the policy" in keyed("cat", "digits:1.2", "README.md", env=env).stderr
    keyed.ok("sign", "digits:1.2", "--key", "my.key")
    assert keyed.ok("verify", "digits:1.2", env=env).stderr.startswith("verified")
    assert keyed.ok("verify", "digits:1.2", "--key", "my.pub", env=env).stdout.startswith("SIGNED BY")
    assert keyed.ok("cat", "digits:1.2", "README.md", env=env).stdout == "# Digits\n"


def test_what_is_only_audited_or_skipped_is_not_verified(keyed: CommandLine) -> None:
    keyed.ok("tag", "digits:1.2", "other:1", "local/skipped:1")
    (keyed.cwd / "policy.yaml").write_text(POLICY + "  - {scope: local/skipped, level: skip}\n")

    audited = keyed("verify", "other:1", "--policy", "policy.yaml")
    skipped = keyed("verify", "local/skipped:1", "--policy", "policy.yaml")

    assert (audited.code, skipped.code) == (8, 8)
    assert "verified" not in audited.stderr + skipped.stderr
    assert keyed("policy", "explain", "other:1", "--policy", "policy.yaml").code == 0
    unpacked = keyed.ok("unpack", "other:1", "-d", "out", "--policy", "policy.yaml")
    assert "does not meet the policy" in unpacked.stderr


def test_formats_alone_are_allowed_and_not_verified(keyed: CommandLine) -> None:
    (keyed.cwd / "policy.yaml").write_text("version: 1\nrules: [{scope: digits, serialization: {deny: [pickle]}}]\n")

    done = keyed.ok("verify", "digits:1.2", "--policy", "policy.yaml")

    assert done.stderr.startswith("allowed digits:1.2")


def test_a_directory_is_compared_with_its_exit_code(keyed: CommandLine) -> None:
    keyed.ok("unpack", "digits:1.2", "-d", "out")

    same = keyed.ok("verify", "digits:1.2", "--dir", "out")
    (keyed.cwd / "out/README.md").write_text("# Changed\n")
    (keyed.cwd / "out/\x1b[31m").write_text("x")
    differs = keyed("verify", "digits:1.2", "--dir", "out")
    report = keyed("verify", "digits:1.2", "--dir", "out", "--json")

    assert same.stdout == ""
    assert same.stderr.startswith("out is digits:1.2: ")
    assert (differs.code, report.code) == (4, 4)
    assert "extra   \\x1b[31m" in differs.stdout
    assert "changed README.md: 10 bytes (expected 9)" in differs.stdout
    assert [one["path"] for one in report.json["changed"]] == ["README.md"]
    assert report.json["is_same"] is False


@pytest.mark.parametrize(
    "flags",
    [
        ("--dir", "out", "--key", "my.pub"),
        ("--dir", "out", "--policy", "policy.yaml"),
        ("--policy", "policy.yaml", "--key", "my.pub"),
        ("--policy", "policy.yaml", "--type", "sign"),
        ("--bundle", "b.json", "--type", "sign"),
    ],
)
def test_two_questions_at_once_are_a_mistake(keyed: CommandLine, flags: tuple[str, ...]) -> None:
    assert keyed("verify", "digits:1.2", *flags).code == 2


def test_a_bundle_in_a_file_is_verified_against_the_kit(keyed: CommandLine) -> None:
    attested = keyed.ok(
        "attest", "digits:1.2", "--type", "model-signing", "--key", "my.key", "-o", "model.sig", "--json"
    ).json
    bundle = json.loads((keyed.cwd / "model.sig").read_text())

    found = keyed.ok("verify", "digits:1.2", "--bundle", "model.sig", "--key", "my.pub", "--json").json
    attached = keyed.ok("verify", "digits:1.2", "--type", "model-signing", "--key", "my.pub", "--json").json

    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert found["files"] == 6
    assert found["signed_by"] == ["my.pub"]
    assert attached["matched"][0]["digest"] == attested["attached"]
    names = [one["name"] for one in attached["matched"][0]["predicate"]["resources"]]
    assert names == [
        "Kitfile",
        "README.md",
        "data/test.csv",
        "data/train.csv",
        "model/weights.safetensors",
        "src/train.py",
    ]

    # Another kit, another key, other bytes.
    (keyed.cwd / "README.md").write_text("# Another\n")
    keyed.ok("pack", ".", "-t", "digits:2")
    other = keyed("verify", "digits:2", "--bundle", "model.sig", "--key", "my.pub")
    assert (other.code, "it is about other files than digits:2 has: README.md" in other.stderr) == (8, True)
    keyed.ok("keygen", "-o", "other", "--no-password")
    assert keyed("verify", "digits:1.2", "--bundle", "model.sig", "--key", "other.pub").code == 8
    text = (keyed.cwd / "model.sig").read_text()
    (keyed.cwd / "model.sig").write_text(text.replace('"payload":"e', '"payload":"f'))
    assert keyed("verify", "digits:1.2", "--bundle", "model.sig", "--key", "my.pub").code == 8
    assert keyed("verify", "digits:1.2", "--bundle", "absent", "--key", "my.pub").code == 3
    assert keyed("verify", "digits:1.2", "--bundle", "policy.yaml", "--key", "my.pub").code == 8


def test_a_bill_of_materials_is_attested_in_one_flag(keyed: CommandLine) -> None:
    keyed.ok("attest", "digits:1.2", "--type", "cyclonedx", "--key", "my.key")

    (matched,) = keyed.ok("verify", "digits:1.2", "--type", "cyclonedx", "--key", "my.pub", "--json").json["matched"]

    assert matched["predicate"] == keyed.ok("sbom", "digits:1.2", "--json").json
    assert keyed("attest", "digits:1.2", "--type", "slsaprovenance1", "--key", "my.key").code == 2


def test_sbom_writes_a_file_where_it_is_told_to(keyed: CommandLine) -> None:
    keyed.ok("sbom", "digits:1.2", "-o", "bom.json", "--spec-version", "1.7")

    assert json.loads((keyed.cwd / "bom.json").read_text())["specVersion"] == "1.7"
    assert keyed("sbom", "digits:1.2", "--spec-version", "1.5").code == 2
    assert Path(keyed.cwd / "bom.json").read_text() == keyed.ok("sbom", "digits:1.2", "--spec-version", "1.7").stdout
