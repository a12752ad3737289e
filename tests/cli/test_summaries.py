"""What commands say at the end, and what they print where there is nothing to print."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli import CommandLine


def test_unpack_that_wrote_nothing_prints_nothing(packed: CommandLine, tmp_path: Path) -> None:
    packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out")

    again = packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out", "--ignore-existing")

    assert again.stdout == ""
    assert again.stderr.rstrip().endswith("0 files, 0 B, 6 files left alone")


def test_remove_says_whether_space_can_be_freed(packed: CommandLine) -> None:
    packed.ok("tag", "digits:1.2", "digits:a,b")

    told = [packed.ok("remove", f"digits:{tag}").stderr for tag in ("1.2", "a", "b")]

    assert told[0].startswith("removed digits:1.2; the kit stays as digits:a and 1 more")
    assert told[1].startswith("removed digits:a; the kit stays as digits:b")
    assert "`mlkit prune`" in told[2]
    assert packed.ok("prune", "--grace", "0", "--json").json["freed_bytes"] > 2000


def test_remove_by_digest_leaves_no_name(packed: CommandLine) -> None:
    packed.ok("tag", "digits:1.2", "digits:a")
    digest = packed.ok("inspect", "digits:a", "--json").json["digest"]

    assert packed.ok("remove", f"digits@{digest}", "--json").json["names"] == []
