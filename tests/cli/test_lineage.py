"""The commands of lineage: what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.lineage import POISON, Team, weights
from tests.support.registry import simulated_registry

import mlkit as api
from mlkit.cli.lineage_text import short_key, step_text, thing_text
from mlkit.lineage.answer import Step, Thing
from mlkit.lineage.graph import NodeKind


@pytest.fixture
def world(mlkit: CommandLine, tmp_path: Path) -> CommandLine:
    """A store with a dataset, a model of it, and a model of nothing."""
    with api.session(home=mlkit.home / "store") as session:
        team = Team(session, tmp_path / "projects")
        team.kit("data:1", datasets={"[red]x.csv": POISON})
        team.kit("model:1", model=weights("m"), inputs=["role: dataset, ref: 'data:1'"])
        team.kit("silent:1", model=weights("s"))
    (mlkit.cwd / "found.csv").write_bytes(POISON)
    return mlkit


def test_the_first_question_scans_the_local_store(world: CommandLine) -> None:
    done = world.ok("lineage", "trained-on", "found.csv")

    assert "STATED  model:1" in done.stdout
    assert "was used by model:1 as data:1 [stated]" in done.stdout
    assert "is in data:1 as [red]x.csv [stated]" in done.stdout
    assert "scanned: 3 kits in 1 target" in done.stdout
    # A path is told whole, however long the folders of a test are.
    assert max(len(line) for line in done.stdout.splitlines() if str(world.home) not in line) <= 80


def test_json_is_one_document_with_everything(world: CommandLine) -> None:
    found = world.ok("lineage", "trained-on", "found.csv", "--json").json

    assert {hit["thing"]["names"][0]: hit["standing"] for hit in found["hits"]} == {
        "data:1": "stated",
        "model:1": "stated",
    }
    assert found["counts"] == {"proved": 0, "stated": 2, "inferred": 0}
    assert found["scope"]["asked_at"].endswith("Z")
    assert found["hits"][0]["steps"][1]["evidence"]["digest"].startswith("sha256:")


def test_nothing_found_is_exit_1_and_says_what_was_scanned(world: CommandLine) -> None:
    (world.cwd / "other.csv").write_text("other\n")

    done = world("lineage", "trained-on", "other.csv")

    assert done.code == 1
    assert "nothing found for other.csv in what was scanned" in done.stdout
    assert "not resolved" in done.stdout


def test_what_does_not_exist_is_exit_3(world: CommandLine) -> None:
    assert world("lineage", "trained-on", "nobody:1", "--json").code == 3
    assert world("lineage", "index", "@missing.txt", "--json").error["code"] == "E_NOTFOUND"


def test_a_list_of_targets_is_read_and_what_fails_in_it_is_said(world: CommandLine) -> None:
    (world.cwd / "targets.txt").write_text(f"# ours\n{world.home / 'store'}\n\n")

    done = world.ok("lineage", "index", "@targets.txt")

    assert "whole, 3 new, 0 known" in done.stdout.replace("\n    ", " ")
    again = world.ok("lineage", "index", "@targets.txt", "--json").json
    assert [(scan["is_unchanged"], scan["problem"]) for scan in again["scans"]] == [(True, None)]


def test_a_registry_that_is_not_there_leaves_an_index_that_says_so(world: CommandLine) -> None:
    env = {"MLKIT_RETRY_BUDGET": "0", "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}

    done = world("lineage", "index", "127.0.0.1:1", env=env)
    asked = world.ok("lineage", "trained-on", "found.csv", "--refresh", env=env)

    assert (done.code, "NOT WHOLE" in done.stdout) == (7, True)
    assert "NOT WHOLE" in asked.stdout
    assert "127.0.0.1:1: not scanned whole" in asked.stdout


def test_a_target_that_cannot_be_reached_fails_the_run_after_the_others_were_scanned(world: CommandLine) -> None:
    env = {"MLKIT_RETRY_BUDGET": "0", "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    with simulated_registry() as closed:
        closed.auth = "basic"

        unreached = world("lineage", "index", "127.0.0.1:1", world.home / "store", "--json", env=env)
        refused = world("lineage", "index", "127.0.0.1:1", f"{closed.host}/team/digits", "--json", env=env)
        unnamed = world("lineage", "index", "--json", env=env)

    assert unreached.code == 7
    assert [(one["unreached"], one["read"]) for one in unreached.json["scans"]] == [("E_NETWORK", 0), (None, 3)]
    assert refused.code == 6
    assert [one["unreached"] for one in refused.json["scans"]] == ["E_NETWORK", "E_AUTH"]
    assert (unnamed.code, unnamed.json["is_whole"]) == (0, False)


def test_a_tree_shows_both_directions(world: CommandLine) -> None:
    done = world.ok("lineage", "tree", "model:1")

    assert "came from\n`-- used data:1 [stated]" in done.stdout
    assert "came of it\n  nothing that was scanned says" in done.stdout
    assert world.ok("lineage", "tree", "data:1", "--json").json["results"][0]["step"]["relation"] == "was used by"


def test_inputs_unprovenanced_and_diff_answer(world: CommandLine) -> None:
    assert "used data:1 [stated]" in world.ok("lineage", "inputs", "model:1").stdout
    assert world("lineage", "inputs", "silent:1").code == 1
    assert "silent:1: states no inputs" in world.ok("lineage", "unprovenanced").stdout
    differs = world("lineage", "diff", "silent:1", "model:1")
    assert (differs.code, "+ data:1 [stated]" in differs.stdout) == (1, True)
    assert world("lineage", "diff", "model:1", "model:1").code == 0


def test_where_it_ran_comes_from_histories(world: CommandLine) -> None:
    assert world("lineage", "deployed", "found.csv").code == 1
    world.ok("promote", "model:1", "production")

    done = world.ok("lineage", "deployed", "found.csv", "--refresh")

    assert "model:production: model:1" in done.stdout
    assert "and still" in done.stdout


def test_a_report_is_written_and_named(world: CommandLine) -> None:
    done = world.ok("lineage", "audit", "found.csv", "--view", "pci", "--report", "report.html")

    assert done.stdout.startswith("report.html\n")
    assert "Where is this data?" in (world.cwd / "report.html").read_text()
    assert world("lineage", "audit", "found.csv", "--report", "report.exe").code == 2


@pytest.mark.parametrize("key", ["sha256:\u202e" + "x" * 64, "s3://a/\u202e\x1b[2J", "\u200bname"])
def test_addresses_from_kits_cannot_steer_a_terminal(key: str) -> None:
    assert short_key(key).isprintable()
    assert thing_text(Thing(key, NodeKind.URI, names=(key,))).isprintable()
    assert step_text(Step(Thing(key, NodeKind.URI), "used", name=key, note=key)).isprintable()
