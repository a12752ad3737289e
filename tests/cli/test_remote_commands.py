"""The commands that speak to a registry, against the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.cli import CommandLine

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """host:port of an empty registry."""
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


@pytest.fixture
def pushed(packed: CommandLine, registry: str, tmp_path: Path) -> tuple[CommandLine, str]:
    """A command line with an empty store, and the reference of a kit in the registry."""
    reference = f"{registry}/team/digits:1.2"
    packed.ok("push", "digits:1.2", reference, "--plain-http")
    other = tmp_path / "other"
    other.mkdir()
    return replace(packed, home=other), reference


def test_push_prints_the_digest_and_the_second_one_moves_nothing(packed: CommandLine, registry: str) -> None:
    reference = f"{registry}/team/digits:1.2"

    rehearsed = packed.ok("push", "digits:1.2", reference, "--plain-http", "--dry-run", "--json").json
    first = packed.ok("push", "digits:1.2", reference, "--plain-http", "--json").json
    second = packed.ok("push", "digits:1.2", reference, "--plain-http")

    assert rehearsed["dry_run"] is True
    assert rehearsed["moved_bytes"] == first["moved_bytes"] > 2000
    assert second.stdout == f"{first['digest']}\n"
    assert second.stderr.startswith(f"pushed {reference}: moved 0 B, already there ")


def test_pull_brings_the_whole_kit(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed

    done = mlkit.ok("pull", reference, "--plain-http")

    assert done.stdout.startswith("sha256:")
    assert done.stderr.startswith(f"pulled {reference}: moved ")
    assert [kit["reference"] for kit in mlkit.ok("list", "--json").json] == [reference]


def test_a_partial_kit_is_understood_by_every_command(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed

    moved = mlkit.ok("pull", reference, "--plain-http", "--filter", "datasets", "--json").json

    assert moved["is_partial"] is True
    assert moved["moved_bytes"] < moved["size"]
    assert "(partial)" in mlkit.ok("list").stdout
    assert "local, partial" in mlkit.ok("inspect", reference).stdout
    assert len(mlkit.ok("files", reference, "--json").json) == 5
    assert mlkit.ok("info", reference, "--filter", "package.version").stdout == "1.2\n"
    assert mlkit.ok("cat", reference, "data/test.csv").stdout == "a,b\n3,4\n"


def test_what_a_partial_kit_lacks_is_fetched_when_it_is_asked_for(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed
    mlkit.ok("pull", reference, "--plain-http", "--filter", "datasets")

    assert mlkit.ok("cat", reference, "README.md", "--plain-http").stdout == "# Digits\n"


def test_a_dry_run_of_pull_moves_nothing(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed

    moved = mlkit.ok("pull", reference, "--plain-http", "--dry-run", "--json").json

    assert moved["moved_bytes"] > 2000
    assert mlkit.ok("list", "--json").json == []


def test_pull_unpacks_without_a_second_copy(pushed: tuple[CommandLine, str], tmp_path: Path) -> None:
    mlkit, reference = pushed

    done = mlkit.ok("pull", reference, "--plain-http", "--unpack", tmp_path / "out", "--json")

    assert (tmp_path / "out/data/train.csv").read_bytes() == (mlkit.cwd / "data/train.csv").read_bytes()
    assert len(done.json["unpacked"]["files"]) >= 5
    assert done.json["is_partial"] is True


def test_unpack_streams_from_the_registry_and_leaves_nothing_in_the_store(
    pushed: tuple[CommandLine, str], tmp_path: Path
) -> None:
    mlkit, reference = pushed

    done = mlkit.ok("unpack", reference, "-d", tmp_path / "out", "--plain-http", "--filter", "docs", "--json")

    assert done.json["source"] == "remote"
    assert (tmp_path / "out/README.md").read_text() == "# Digits\n"
    assert mlkit.ok("list", "--json").json == []


def test_list_of_a_remote_repository_shows_its_tags(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed
    mlkit.ok("tag", reference, reference.replace("1.2", "stable"), "--remote", "--plain-http")

    listed = mlkit.ok("list", reference.rpartition(":")[0], "--plain-http", "--json").json

    assert [kit["reference"].rpartition(":")[2] for kit in listed] == ["1.2", "stable"]


def test_remove_in_the_registry(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed

    mlkit.ok("remove", reference, "--remote", "--plain-http")

    assert mlkit("inspect", reference, "--plain-http", "--json").error["exit"] == 3


def test_pack_pushes_straight_to_the_registry(mlkit: CommandLine, registry: str) -> None:
    reference = f"{registry}/team/digits:1.2"

    done = mlkit.ok("pack", ".", "-t", reference, "--push", "--plain-http")

    assert done.stderr.startswith(f"packed and pushed {reference}")
    assert mlkit.ok("list", "--json").json == []
    assert mlkit.ok("inspect", reference, "--plain-http", "--json").json["digest"] == done.stdout.strip()


def test_diff_compares_the_store_with_the_registry(packed: CommandLine, registry: str) -> None:
    reference = f"{registry}/team/digits:1.2"
    packed.ok("push", "digits:1.2", reference, "--plain-http")

    done = packed.ok("diff", "local://digits:1.2", f"remote://{reference}", "--plain-http", "--json")

    assert done.json["is_same"] is True


def test_requests_are_shown_at_vv_and_not_before(pushed: tuple[CommandLine, str]) -> None:
    mlkit, reference = pushed

    once = mlkit.ok("inspect", reference, "--plain-http", "-v")
    twice = mlkit.ok("inspect", reference, "--plain-http", "-vv")

    assert "GET" not in once.stderr
    assert "/v2/team/digits/manifests/" in twice.stderr


def test_a_registry_that_is_down_is_exit_7(mlkit: CommandLine) -> None:
    done = mlkit("pull", "127.0.0.1:1/team/digits:1.2", "--plain-http", "--json")

    assert done.code == done.error["exit"] == 7
    assert "127.0.0.1:1" in done.error["message"]


@pytest.mark.parametrize("command", ["pull", "push"])
def test_a_reference_without_a_host_cannot_move(packed: CommandLine, command: str) -> None:
    done = packed(command, "digits:1.2", "--json")

    assert done.error["exit"] == 2
    assert "registry.example" in done.error["hint"]


def test_a_registry_that_is_only_read_denies_a_push(packed: CommandLine, tmp_path: Path) -> None:
    with RunningRegistry(Layout.create(tmp_path / "registry"), read_only=True) as running:
        done = packed("push", "digits:1.2", f"{running.host}/team/digits:1.2", "--plain-http")

    assert done.code == 6
    assert "read-only" in done.stderr
