"""The commands about channels: what they print, and what they exit with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.registry import simulated_registry
from tests.support.releases import write_keys


@pytest.fixture
def released(packed: CommandLine) -> CommandLine:
    """`digits:1.2` and `digits:1.3`, both promoted to production."""
    (packed.cwd / "README.md").write_text("# Another page\n")
    packed.ok("pack", ".", "-t", "digits:1.3")
    for version in ("1.2", "1.3"):
        packed.ok("promote", f"digits:{version}", "production", "-m", f"release {version}")
    return packed


def test_promote_prints_the_digest_and_tells_the_rest(packed: CommandLine) -> None:
    done = packed.ok("promote", "digits:1.2", "production")

    assert done.stdout.startswith("sha256:")
    assert done.stdout.count("\n") == 1
    assert "from nothing" in done.stderr
    assert "not signed: no key was given" in done.stderr
    assert packed.ok("promote", "digits:1.2", "production", "--quiet").stderr == ""


def test_promote_again_says_that_it_is_there(released: CommandLine) -> None:
    assert "already (record 2)" in released.ok("promote", "digits:1.3", "production").stderr


def test_a_conflict_is_exit_9_and_a_missing_requirement_8(released: CommandLine) -> None:
    digest = "sha256:" + "0" * 64

    assert released("promote", "digits:1.2", "production", "--expect", digest).code == 9
    assert released("promote", "digits:1.2", "production", "--require", "checks").code == 8
    assert released("promote", "digits:1.2", "production", "--require", "luck").code == 2
    assert released("promote", "digits:1.2", "a b").code == 2
    assert released("promote", "digits:9", "production").code == 3


def test_rollback_prints_from_and_to_and_asks_nothing(released: CommandLine) -> None:
    done = released.ok("rollback", "digits", "production", "--mark-bad", "-m", "slow")

    lines = done.stdout.splitlines()
    assert lines[0] == "rolled back digits:production"
    assert lines[1].startswith("  from 1.2 sha256:")
    assert lines[2].startswith("  to   1.2 sha256:")
    assert max(map(len, lines)) <= 90
    again = released("rollback", "digits", "production")
    assert again.code == 3
    assert "no good version" in again.stderr
    assert released("rollback", "digits", "canary").code == 3


def test_what_a_policy_on_the_command_line_refuses_is_neither_gone_back_to_nor_rendered(released: CommandLine) -> None:
    refusing, allowing = released.cwd.parent / "refuses.yaml", released.cwd.parent / "allows.yaml"
    refusing.write_text("version: 1\nrules: [{scope: elsewhere/**, level: skip}]\n")
    allowing.write_text("version: 1\nrules: [{scope: digits, level: skip}]\n")
    plain = {"MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    back = ("rollback", "digits", "production", "--to", "digits:1.2", "--dry-run")

    assert released(*back, "--policy", refusing).code == 8
    assert released("rollback", "digits", "production", "--policy", refusing).code == 3
    assert released(*back, "--policy", allowing, env={"MLKIT_POLICY": str(refusing)}).code == 0
    with simulated_registry() as server:
        remote = f"{server.host}/team/digits:1.2"
        allowing.write_text(f"version: 1\nrules: [{{scope: '{server.host}/team/digits', level: skip}}]\n")
        released.ok("push", "digits:1.2", remote, env=plain)
        render = ("deploy", "render", remote, "--to", "compose", "--source", "csi")
        refused = released(*render, "--policy", refusing, env=plain)
        passed = released(*render, "--policy", allowing, env={**plain, "MLKIT_POLICY": str(refusing)})

    assert (refused.code, passed.code) == (8, 3)
    assert "no model that a server could read" in passed.stderr


def test_a_move_is_one_document(released: CommandLine) -> None:
    found = released.ok("rollback", "digits", "production", "--dry-run", "--json").json

    assert (found["action"], found["dry_run"], found["sequence"]) == ("rollback", True, None)
    assert found["digest"] != found["before"]
    assert found["passed_over"] == []


def test_mark_and_history_and_status_show_it(released: CommandLine) -> None:
    assert released.ok("mark", "digits:1.3", "bad", "-m", "fails on \x1b[31mempty").stdout.startswith("sha256:")
    history = released.ok("history", "digits")
    status = released.ok("status", "digits")

    assert "mark bad" in history.stdout
    assert "why: release 1.3" in history.stdout
    assert "\x1b" not in history.stdout
    assert "production: marked bad" in status.stdout
    for text in (history.stdout, status.stdout):
        assert max(map(len, text.splitlines())) <= 80
    found = released.ok("status", "digits", "--json").json
    assert found[0]["channels"][0]["mark"] == "bad"
    assert found[0]["channels"][0]["release"]["sequence"] == 2
    records = released.ok("history", "digits", "production", "--json").json
    assert [entry["release"]["sequence"] for entry in records[0]["entries"]] == [2, 1]
    assert released("promote", "digits:1.3", "staging").code == 8


def test_status_tells_a_check_that_failed_since_from_those_of_the_promotion(
    packed: CommandLine, tmp_path: Path
) -> None:
    write_keys(tmp_path / "keys", "k")
    trusting = {"MLKIT_TRUSTED_KEYS": str(tmp_path / "keys/k.pub"), "MLKIT_SIGNING_KEY": str(tmp_path / "keys/k.key")}
    check = "{name: bounded, run: [python3, -c, \"import os; exit(int(os.environ['BOUND']))\"]}"
    with (packed.cwd / "Kitfile").open("a") as kitfile:
        kitfile.write(f"checks:\n  - {check}\n")
    packed.ok("pack", ".", "-t", "digits:1.4")
    packed.ok("check", "digits:1.4", "--env", "BOUND", env=trusting | {"BOUND": "0"})
    packed.ok("promote", "digits:1.4", "production", "--require", "checks", env=trusting)
    passed = " ".join(packed.ok("status", "digits", env=trusting).stdout.split())
    assert packed("check", "digits:1.4", "--env", "BOUND", env=trusting | {"BOUND": "1"}).code == 1

    failed = packed.ok("status", "digits", "--html", "out.html", env=trusting).stdout

    assert "promoted with checks; last check passed 20" in passed
    assert "production: promoted with checks; last check FAILED 20" in " ".join(failed.split())
    assert max(map(len, failed.splitlines())) <= 80
    assert "last check failed 20" in (packed.cwd / "out.html").read_text()
    found = packed.ok("status", "digits", "--json", env=trusting).json[0]["channels"][0]["check"]
    assert (found["passed"], found["signed_by"]) == (False, ["k"])


def test_status_shows_the_versions_of_the_entries_of_each_channel_within_80_columns(packed: CommandLine) -> None:
    (packed.cwd / "Kitfile").write_text(
        'manifestVersion: "1.0.0"\npackage: {name: digits, version: "2"}\n'
        'model: {name: "net of digits\\e[31m", path: model/weights.safetensors, version: "6"}\ndatasets:\n'
        + "".join(f'  - {{name: part{number}, path: part{number}.csv, version: "{number}"}}\n' for number in range(14))
        + "docs: [{path: README.md}]\n"
    )
    for number in range(14):
        (packed.cwd / f"part{number}.csv").write_text(f"{number}\n")
    packed.ok("pack", ".", "-t", "digits:2")
    for channel in ("production", "staging"):
        packed.ok("promote", "digits:2", channel)

    shown = packed.ok("status", "digits").stdout

    words = " ".join(shown.split())
    for channel in ("production", "staging"):
        assert f"{channel}: model net of digits\\x1b[31m 6, datasets[0] part0 0, datasets[1] part1 1" in words
    assert "and 3 more (--json shows them)" in words
    assert "docs" not in words
    assert max(map(len, shown.splitlines())) <= 80


def test_status_of_what_is_not_there_is_exit_1_and_its_history_3(released: CommandLine) -> None:
    done = released("status", "digits", "nothing")

    assert done.code == 1
    assert "no channel has a history here" in done.stdout
    assert released("history", "nothing").code == 3


def test_status_writes_a_page(released: CommandLine) -> None:
    released.ok("status", "digits", "--html", "out.html")
    released.ok("status", "digits", "--html", "out.html")

    assert "What runs where" in (released.cwd / "out.html").read_text()


def test_an_untrusted_history_is_exit_8_and_shown_all_the_same(released: CommandLine, tmp_path: Path) -> None:
    write_keys(tmp_path / "keys", "ci")
    trusting = {"MLKIT_TRUSTED_KEYS": str(tmp_path / "keys/ci.pub")}

    done = released("history", "digits", "production", env=trusting)

    assert done.code == 8
    assert "#2" in done.stdout
    assert released("rollback", "digits", "production", env=trusting).code == 8
    released.ok(
        "promote", "digits:1.2", "production", "--accept-untrusted", "--key", tmp_path / "keys/ci.key", env=trusting
    )
    verified = released.ok("history", "digits", "production", env=trusting)
    assert "signed by ci" in verified.stdout
    assert "vouched for by a later record" in verified.stdout


def test_check_exits_with_1_where_a_check_fails_and_shows_its_output(packed: CommandLine) -> None:
    with (packed.cwd / "Kitfile").open("a") as kitfile:
        kitfile.write("checks:\n  - {name: good, run: [python3, -c, pass]}\n")
        kitfile.write("  - {name: bad, run: [python3, -c, \"print('too slow'); exit(4)\"]}\n")
    packed.ok("pack", ".", "-t", "digits:1.4")

    done = packed("check", "digits:1.4")

    assert done.code == 1
    assert "FAILED" in done.stdout
    assert "| too slow" in done.stderr
    assert "it exited with 4" in done.stderr
    assert packed.ok("check", "digits:1.4", "--only", "good", "--json").json["passed"] is True
    assert packed("check", "digits:1.2").code == 3


def test_a_promotion_that_is_watched_exits_with_1_where_it_was_taken_back(released: CommandLine) -> None:
    watching = ("--for", "0s", "--every", "10ms", "--failures", "1")
    (released.cwd / "README.md").write_text("# A third page\n")
    released.ok("pack", ".", "-t", "digits:1.4")

    failed = released("promote", "digits:1.4", "production", "--watch", "false", *watching)
    held = released.ok("promote", "digits:1.4", "production", "--watch", "true", *watching, "--json")

    assert failed.code == 1
    assert "ROLLED BACK: it exited with 1" in failed.stderr
    assert held.json["rollback"] is None
    assert held.json["probes"] == 1
    assert released("promote", "digits:1.4", "production", "--watch", "true", "--every", "soon").code == 2


def test_pruning_a_repository_wants_a_rule_and_a_registry(packed: CommandLine) -> None:
    assert packed("prune", "--remote", "digits", "--keep", "1").code == 2
    assert packed("prune", "--remote", "localhost:1/digits").code == 2
    assert packed("prune", "--keep", "1").code == 2
