"""copy, save, load, and what push and pull say of tags and referrers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.content.contract import ARTIFACT, push_manifest
from tests.content.oracle import names_of_sound_layout
from tests.support.cli import CommandLine, Completed

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """host:port of an empty registry."""
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


@pytest.fixture
def other(packed: CommandLine, tmp_path: Path) -> CommandLine:
    """A command line with an empty store."""
    (tmp_path / "other").mkdir()
    return replace(packed, home=tmp_path / "other")


def annotate(mlkit: CommandLine, name: str) -> None:
    """Attach a note to a kit in the local store."""
    layout = Layout.at(mlkit.home / "store")
    push_manifest(layout, b"a note", subject=layout.resolve(name).bare, artifact_type=ARTIFACT)


def repacked(mlkit: CommandLine, name: str) -> str:
    """The digest of another kit that now has this name."""
    (mlkit.cwd / "README.md").write_text("# Another\n")
    return mlkit.ok("pack", ".", "-t", name).stdout.strip()


def test_push_and_pull_take_referrers_along_or_leave_them(
    packed: CommandLine, other: CommandLine, registry: str
) -> None:
    reference = f"{registry}/team/digits:1.2"
    annotate(packed, "digits:1.2")

    pushed = packed.ok("push", "digits:1.2", reference, "--plain-http")
    alone = other.ok("pull", reference, "--plain-http", "--no-referrers", "--json").json
    pulled = other.ok("pull", reference, "--plain-http", "--json").json

    assert pushed.stderr.endswith(", with 1 referrer\n")
    assert (alone["referrers"], pulled["referrers"]) == (0, 1)


def test_push_says_where_the_tag_was(packed: CommandLine, registry: str) -> None:
    reference = f"{registry}/team/digits:1.2"
    old = packed.ok("push", "digits:1.2", reference, "--plain-http")
    new = repacked(packed, "digits:1.2")

    rehearsed = packed.ok("push", "digits:1.2", reference, "--plain-http", "--dry-run")
    moved = packed.ok("push", "digits:1.2", reference, "--plain-http")

    assert "the tag" not in old.stderr
    assert rehearsed.stderr.splitlines()[1].strip() == f"the tag would move: {old.stdout.strip()} -> {new}"
    assert moved.stderr.splitlines()[1].strip() == f"the tag moved: {old.stdout.strip()} -> {new}"
    assert moved.stdout == f"{new}\n"


def test_a_condition_that_does_not_hold_is_exit_9(packed: CommandLine, registry: str) -> None:
    reference = f"{registry}/team/digits:1.2"
    old = packed.ok("push", "digits:1.2", reference, "--plain-http").stdout.strip()
    new = repacked(packed, "digits:1.2")
    packed.ok("push", "digits:1.2", reference, "--plain-http", "--if-match", old)
    (packed.cwd / "README.md").write_text("# A third\n")
    packed.ok("pack", ".", "-t", "digits:1.2")

    done = packed("push", "digits:1.2", reference, "--plain-http", "--if-match", old, "--json")

    assert done.code == done.error["exit"] == 9
    assert done.error["message"] == f"{reference}: it points at {new} (expected {old})"
    assert packed.ok("inspect", reference, "--remote", "--plain-http", "--json").json["digest"] == new


def test_a_condition_that_is_no_digest_is_exit_2(packed: CommandLine, registry: str) -> None:
    done = packed("push", "digits:1.2", f"{registry}/team/digits", "--plain-http", "--if-match", "latest", "--json")

    assert done.code == 2
    assert "'latest' is not a digest" in done.error["message"]


def test_copy_prints_the_digest_and_leaves_nothing_here(packed: CommandLine, other: CommandLine, registry: str) -> None:
    annotate(packed, "digits:1.2")
    digest = packed.ok("push", "digits:1.2", f"{registry}/team/digits:1.2", "--plain-http").stdout

    done = other.ok("copy", f"{registry}/team/digits:1.2", f"{registry}/prod/digits", "--plain-http")

    assert done.stdout == digest
    assert done.stderr.startswith(f"copied {registry}/prod/digits:1.2: moved ")
    assert done.stderr.endswith(", with 1 referrer\n")
    assert other.ok("list", "--json").json == []


def test_save_and_load_bring_a_kit_to_a_place_without_a_network(
    packed: CommandLine, other: CommandLine, tmp_path: Path
) -> None:
    annotate(packed, "digits:1.2")

    saved = packed.ok("save", "digits:1.2", "-o", tmp_path / "a.tar")
    as_json = packed.ok("save", "digits:1.2", "-o", tmp_path / "b.tar", "--json").json
    loaded = other.ok("load", tmp_path / "a.tar")
    again = other.ok("load", tmp_path / "a.tar", "--json").json

    assert saved.stdout == f"{as_json['kits'][0]['digest']}\n"
    assert saved.stderr.startswith(f"saved 1 kit with 1 referrer to {tmp_path / 'a.tar'}: ")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert loaded.stdout == "digits:1.2\n"
    assert loaded.stderr.startswith("loaded 1 kit with 1 referrer: new ")
    assert again["kits"] == [{"reference": "digits:1.2", "digest": saved.stdout.strip(), "replaced": None}]
    assert list(names_of_sound_layout(other.home / "store")) == ["digits:1.2"]


def piped(mlkit: CommandLine, script: str) -> Completed:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=mlkit.cwd,
        env=mlkit.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_pipe_carries_a_bundle_and_nothing_else(packed: CommandLine, other: CommandLine) -> None:
    load = f"MLKIT_HOME={other.home}/store mlkit load"

    done = piped(packed, f"mlkit save digits:1.2 -o - | {load} - -t team/digits:1,latest")
    compressed = piped(packed, f"mlkit save digits:1.2 -o - | gzip | gzip -dc | {load} -")
    broken = piped(packed, f"mlkit save digits:1.2 -o - | head -c 9000 | {load} -")

    assert (done.code, done.stdout) == (0, "team/digits:1\nteam/digits:latest\n"), done.stderr
    assert (compressed.code, compressed.stdout) == (0, "digits:1.2\n"), compressed.stderr
    assert broken.code == 4
    assert "error: stdin: " in broken.stderr
    assert sorted(names_of_sound_layout(other.home / "store")) == ["digits:1.2", "team/digits:1", "team/digits:latest"]


def test_a_name_that_a_bundle_moves_is_told(packed: CommandLine, other: CommandLine, tmp_path: Path) -> None:
    packed.ok("save", "digits:1.2", "-o", tmp_path / "a.tar")
    theirs = packed.ok("inspect", "digits:1.2", "--json").json["digest"]
    mine = repacked(other, "digits:1.2")

    loaded = other.ok("load", tmp_path / "a.tar")

    assert loaded.stderr.splitlines()[1].strip() == f"digits:1.2 moved: {mine} -> {theirs}"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("save", "absent:1", "-o", "a.tar"), 3, "absent:1: no such kit"),
        (("save", "digits:1.2", "-o", "README.md"), 9, "README.md: exists"),
        (("save", "digits:1.2"), 2, "Missing option '-o' / '--output'"),
        (("save", "digits:1.2", "-o", "absent/a.tar"), 10, "absent/a.tar: cannot be written"),
        (("load", "absent.tar"), 3, "absent.tar: no such file"),
        (("load", "README.md"), 4, "README.md: "),
        (("copy", "digits:1.2", "registry.example/digits:1.2"), 2, "digits:1.2: no registry host"),
    ],
    ids=["no-kit", "exists", "no-output", "no-folder", "no-file", "no-bundle", "no-host"],
)
def test_what_goes_wrong_has_its_exit_code(
    packed: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = packed(*arguments, "--json")

    assert (done.code, done.stdout) == (code, "")
    assert done.error["message"].startswith(said)


def test_datasets_that_are_elsewhere_come_when_they_are_asked_for(packed: CommandLine, tmp_path: Path) -> None:
    (packed.cwd / "Kitfile").write_text(
        "model: {path: model/weights.safetensors}\ndatasets: [{name: rows, path: rows, remotePath: 'digits:1.2'}]\n"
    )
    packed.ok("pack", ".", "-t", "tuned:1")

    without = packed.ok("unpack", "tuned:1", "-d", tmp_path / "without")
    packed.ok("unpack", "tuned:1", "-d", tmp_path / "with", "--include-remote")

    assert "left where it is: digits:1.2@sha256:" in without.stderr
    assert not (tmp_path / "without/rows").exists()
    assert sorted(path.name for path in (tmp_path / "with/rows/data").iterdir()) == ["test.csv", "train.csv"]
