"""SIGKILL, EIO and ENOSPC at the system calls of each command that writes (threats.md, faults 1 to 8).

Some points of each here, the first and the last among them; every one of them in `make soak`. Then kills at random
moments, in one world that is never made new.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.crash.conftest import World, make_world
from tests.support.crash.checker import tree
from tests.support.crash.machine import MUTATING, Machine, Outcome, injecting, points_of, spread, tracing
from tests.support.scale import SCALE

from mlkit.server import RunningRegistry

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

FAULTS = {"signal=KILL": 5, "error=ENOSPC": 2, "error=EIO": 2}
"""How many points of each are tried in a slice."""


def nothing(_: World) -> None:
    pass


@dataclass(frozen=True)
class Scenario:
    """A command in a world, what may be after it was cut off, and what must be after it was done again."""

    arguments: tuple[str, ...]
    judge: Callable[[World], None] = nothing
    """Asked after every cut, beside the checker."""
    finished: Callable[[World], None] = nothing
    """Asked after the rerun."""


def break_everywhere(template: World, scenario: Scenario, folder: Path) -> int:
    """Run it with each fault at the chosen points; the number of runs that were hit, which need not be all of them:
    what happens in threads, or is found in its place already, comes in another order or not at all.
    """
    dry = template.copied_to(folder / "dry")
    done = dry.run(*scenario.arguments, strace=tracing(f"{MUTATING},openat"))
    assert done.code == 0, done.stderr
    everything, hits = points_of(done.trace), 0
    changing = [point for point in everything if point.call != "openat"]
    assert len(changing) > 3
    scenario.finished(dry)
    shutil.rmtree(dry.root)
    for fault, sample in FAULTS.items():
        # A disk that does not give a file is tried too; death before a file is opened is death after what was before.
        points = everything if fault == "error=EIO" else changing
        for point in spread(points, sample) if SCALE == 1 else points:
            broken = template.copied_to(folder / "broken")
            outside = broken.surroundings()
            done = broken.run(*scenario.arguments, strace=injecting(fault, point.number, point.call))
            where = f"{fault} at {point.call} {point.number}: exit {done.code}\n{done.stderr}\n{done.trace[-2000:]}"
            try:
                hits += "INJECTED" in done.trace or done.is_killed
                check(done, fault)
                broken.names()
                scenario.judge(broken)
                again = broken.run(*scenario.arguments)
                assert again.code == 0, f"the rerun failed: {again.stderr}"
                broken.names()
                scenario.finished(broken)
                assert broken.surroundings() == outside
            except (AssertionError, ValueError, OSError) as error:
                raise AssertionError(f"{where}\n{error}") from error
            shutil.rmtree(broken.root)
    return hits


def check(done: Outcome, fault: str) -> None:
    """A run that was not killed says in a sentence what went wrong, or got by."""
    assert "Traceback" not in done.stderr, done.stderr
    if fault == "signal=KILL":
        assert done.is_killed or done.code == 0
    else:
        assert done.code in (0, 3, 6, 7, 9, 10), done.code
        assert done.code == 0 or done.stderr.count("error: ") == 1


@pytest.fixture
def template(tmp_path: Path, tracer: Machine) -> World:
    """A store with a kit under two names, and a project that has changed since."""
    found = make_world(tmp_path / "template", tracer)
    found.ok("pack", "project", "-t", "digits:old,kept")
    (found.project / "data" / "train.csv").write_text("a,b\n" + "5,6\n" * 300)
    return found


def names_are(*choices: dict[str, str]) -> Callable[[World], None]:
    def judge(world: World) -> None:
        assert world.names() in choices

    return judge


def no_leftovers(world: World) -> None:
    left = [path.name for path in (world.store / ".mlkit" / "ingest").glob("*")]
    assert left == []


def test_fault01_a_pack_that_is_cut_off_leaves_old_names_and_can_be_done_again(template: World, tmp_path: Path) -> None:
    before = template.names()
    dry = template.copied_to(tmp_path / "dry")
    digest = dry.ok("pack", "project", "-t", "digits:new", "--quiet").stdout.strip()
    after = {**before, "digits:new": digest}

    def finished(world: World) -> None:
        assert world.names() == after
        no_leftovers(world)

    scenario = Scenario(("pack", "project", "-t", "digits:new"), names_are(before, after), finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault02_a_tag_that_is_cut_off_leaves_the_old_index_or_the_new(template: World, tmp_path: Path) -> None:
    before = template.names()
    after = {**before, "digits:more": before["digits:old"]}
    scenario = Scenario(("tag", "digits:old", "digits:more"), names_are(before, after), names_are(after))

    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault03_a_pull_that_is_cut_off_keeps_what_is_whole_and_goes_on(
    template: World, tmp_path: Path, registry: RunningRegistry
) -> None:
    name = f"{registry.host}/team/digits:1"
    template.ok("tag", "digits:old", name)
    template.ok("push", name)
    digest = template.names()[name]
    shutil.rmtree(template.store)
    template.ok("pack", "project", "-t", "digits:other")
    before = template.names()
    after = {**before, name: digest}

    def finished(world: World) -> None:
        assert world.names() == after
        no_leftovers(world)

    scenario = Scenario(("pull", name), names_are(before, after), finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault04_an_unpack_that_is_cut_off_leaves_the_destination_alone(template: World, tmp_path: Path) -> None:
    dry = template.copied_to(tmp_path / "dry")
    dry.ok("unpack", "digits:old", "-d", "out")
    whole = tree(dry.root / "out")

    def judge(world: World) -> None:
        out = world.root / "out"
        assert not out.exists() or tree(out) == whole
        shutil.rmtree(out, ignore_errors=True)  # so that the rerun has something to do

    def finished(world: World) -> None:
        assert tree(world.root / "out") == whole
        assert [path.name for path in world.root.glob(".out*")] == []

    scenario = Scenario(("unpack", "digits:old", "-d", "out"), judge, finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault05_a_prune_that_is_cut_off_takes_nothing_that_is_needed(template: World, tmp_path: Path) -> None:
    template.ok("pack", "project", "-t", "digits:gone")
    template.ok("remove", "digits:gone")
    names = template.names()
    needed = len(list((template.store / "blobs" / "sha256").iterdir()))

    def finished(world: World) -> None:
        assert world.names() == names
        assert len(list((world.store / "blobs" / "sha256").iterdir())) < needed

    scenario = Scenario(("prune", "--grace", "0"), names_are(names), finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 3


def test_fault06_a_remove_that_is_cut_off_has_removed_the_name_or_not(template: World, tmp_path: Path) -> None:
    before = template.names()
    after = {"digits:kept": before["digits:kept"]}
    blobs = {path.name for path in (template.store / "blobs" / "sha256").iterdir()}

    def judge(world: World) -> None:
        assert world.names() in (before, after)
        assert {path.name for path in (world.store / "blobs" / "sha256").iterdir()} == blobs
        if world.names() == after:
            world.ok("tag", "digits:kept", "digits:old")

    scenario = Scenario(("remove", "digits:old"), judge, names_are(after))
    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault07_a_signature_that_is_cut_off_is_there_or_not(template: World, tmp_path: Path) -> None:
    template.ok("keygen", "-o", "key", "--no-password")
    names = template.names()

    def signatures(world: World) -> int:
        return len(json.loads(world.ok("inspect", "digits:old", "--json").stdout)["referrers"])

    def judge(world: World) -> None:
        assert world.names() == names
        assert signatures(world) in (0, 1)

    def finished(world: World) -> None:
        assert world.names() == names
        assert signatures(world) in (1, 2)
        world.ok("verify", "digits:old", "--key", "key.pub")

    scenario = Scenario(("sign", "digits:old", "--key", "key.key"), judge, finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 5


def test_fault08_a_login_that_is_cut_off_leaves_the_old_credentials_or_the_new(
    template: World, tmp_path: Path, registry: RunningRegistry
) -> None:
    config = template.root / "home" / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {"old.example": {"auth": "eDp5"}}, "unknown": {"kept": 1}}))
    config.chmod(0o600)

    def read(world: World) -> set[str]:
        path = world.root / "home" / ".docker" / "config.json"
        found = json.loads(path.read_bytes())
        assert found["unknown"] == {"kept": 1}
        assert path.stat().st_mode & 0o777 == 0o600
        return set(found["auths"])

    def judge(world: World) -> None:
        assert read(world) in ({"old.example"}, {"old.example", registry.host})

    def finished(world: World) -> None:
        assert read(world) == {"old.example", registry.host}
        there = {path.name for path in (world.root / "home" / ".docker").iterdir()}
        assert there == {"config.json", ".config.json.lock"}

    template.environ_more["MLKIT_TEST_PASSWORD"] = "secret"
    scenario = Scenario(("login", registry.host, "-u", "someone", "-p", "secret"), judge, finished)
    assert break_everywhere(template, scenario, tmp_path / "runs") > 3


def test_a_store_survives_kills_at_random_moments_of_everything_that_writes(
    template: World, registry: RunningRegistry
) -> None:
    """The mix of ostree's tests: mostly SIGKILL, at any time of a run or just after it."""
    chosen = random.Random(3)
    name = f"{registry.host}/team/digits:1"
    template.ok("tag", "digits:kept", name)
    template.ok("push", name)
    template.ok("keygen", "-o", "key", "--no-password")
    kept = template.names()["digits:kept"]
    commands: list[tuple[str, ...]] = [
        ("pack", "project", "-t", "digits:new"),
        ("tag", "digits:kept", "digits:more,other"),
        ("remove", "digits:more"),
        ("pull", name),
        ("push", name),
        ("prune", "--grace", "0"),
        ("sign", "digits:kept", "--key", "key.key"),
        ("fsck", "--repair", "--deep"),
        ("unpack", "digits:kept", "-d", "out", "--overwrite"),
    ]
    outside = template.surroundings()
    del outside["project/data/train.csv"]
    for turn in range(25 * SCALE):
        (template.project / "data" / "train.csv").write_text(f"{turn}\n" * 100)
        arguments = commands[turn % len(commands)]
        number = signal.SIGKILL if chosen.random() < 0.85 else signal.SIGTERM
        done = template.run(*arguments, send=number, after=chosen.uniform(0, 0.15))

        assert "Traceback" not in done.stderr, (arguments, done.stderr)
        names = template.names()
        assert names["digits:kept"] == kept, (turn, arguments)
        assert set(names) <= {"digits:old", "digits:kept", "digits:new", "digits:more", "digits:other", name}
        found = template.surroundings()
        del found["project/data/train.csv"]
        assert found == outside
    for arguments in commands:
        done = template.run(*arguments)
        assert done.code in (0, 3), (arguments, done.stderr)
    template.names()
    no_leftovers(template)
    assert [path.name for path in template.root.glob(".out*")] == []
