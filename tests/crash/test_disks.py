"""Disks that are full, broken, read-only or small, and systems with tight limits (threats.md, 9 and 11 to 21)."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash.conftest import World, make_world
from tests.support.crash.checker import tree
from tests.support.crash.machine import Machine, injecting, points_of, spread, tracing
from tests.support.scale import SCALE

from mlkit.server import RunningRegistry

MIB = 1 << 20


@pytest.fixture
def packed(tmp_path: Path, tracer: Machine) -> World:
    """A store with a kit, in which system calls can be made to fail."""
    found = make_world(tmp_path / "world", tracer)
    found.ok("pack", "project", "-t", "digits:1")
    return found


def blob_of(world: World, content: bytes) -> Path:
    return next(path for path in (world.store / "blobs" / "sha256").iterdir() if path.read_bytes() == content)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A mount as root can make it; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault09_whoever_is_interrupted_cleans_up_and_says_so(
    world: World, tmp_path: Path, registry: RunningRegistry, number: int
) -> None:
    """What an upload or a download has brought stays for the next run on purpose."""
    chosen = random.Random(9)
    (world.project / "model" / "weights.safetensors").write_bytes(chosen.randbytes(4 * MIB))
    name = f"{registry.host}/team/digits:1"
    whole = world.copied_to(tmp_path / "whole")
    for turn in range(2 * SCALE):
        for arguments in (("pack", "project", "-t", name), ("push", name), ("unpack", name, "-d", "out")):
            if arguments[0] != "pack":
                world.ok("pack", "project", "-t", name)
            took = whole.run(*arguments).took if turn == 0 else 0.2
            shutil.rmtree(whole.root / "out", ignore_errors=True)
            done = world.run(*arguments, send=number, after=chosen.uniform(0, 1.1) * took)

            assert done.code in (0, 128 + number), (arguments, done.code, done.stderr)
            assert "Traceback" not in done.stderr
            # Written last: what has none is not a store yet.
            if (world.store / "oci-layout").exists():
                assert set(world.names()) <= {name}
            assert list(world.root.glob(".out*")) == []
            if arguments[0] == "unpack" and done.code:
                assert not (world.root / "out").exists()
            world.ok(*arguments, *(["--overwrite"] if arguments[0] == "unpack" else []))
            assert arguments[0] != "pack" or list((world.store / ".mlkit" / "ingest").glob("*")) == []
            shutil.rmtree(world.root / "out", ignore_errors=True)
        shutil.rmtree(world.store)


@pytest.mark.soak
def test_fault11_a_disk_that_is_full_from_some_write_on_is_told_and_leaves_a_valid_store(
    packed: World, tmp_path: Path
) -> None:
    (packed.project / "data" / "train.csv").write_bytes(os.urandom(100_000))
    before = packed.names()
    dry = packed.copied_to(tmp_path / "dry")
    command = ("pack", "project", "-t", "digits:2")
    trace = dry.run(*command, strace=tracing("write,copy_file_range")).trace
    inside = "\n".join(line for line in trace.splitlines() if str(dry.store) in line)

    for point in spread(points_of(inside), 6 * SCALE):
        done = packed.run(*command, strace=injecting("error=ENOSPC", f"{point.number}+", point.call, paths=()))

        if done.code == 0:  # a cache that could not be written
            continue
        assert packed.names() == before
        assert done.code == 10, done.stderr
    full = packed.run(*command, strace=injecting("error=ENOSPC", "1+", "copy_file_range,write", paths=[packed.store]))
    assert full.code in (0, 10)
    assert set(packed.ok(*command).stdout.split()) <= set(packed.names().values()) | {packed.names()["digits:2"]}


@pytest.mark.soak
def test_a_small_disk_at_any_fill_level_says_how_much_it_needs_and_works_when_there_is_room(
    tmp_path: Path, warm: Machine
) -> None:
    chosen = random.Random(11)
    small = make_world(tmp_path / "world", warm)
    (small.project / "model" / "weights.safetensors").write_bytes(chosen.randbytes(2 * MIB))
    with mounted(small.root / "home", "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        small.ok("pack", "project/src", "-t", "digits:0")
        told = 0
        for turn in range(4 * SCALE):
            before = small.names()
            filler = small.root / "home" / "filler"
            free = shutil.disk_usage(small.root / "home").free
            filler.write_bytes(bytes(max(0, free - chosen.randrange(3 * MIB))))
            done = small.run("pack", "project", "-t", f"digits:{turn + 1}")

            assert done.code in (0, 10), done.stderr
            if done.code == 10:
                told += 1
                assert "no space left" in done.stderr
                assert small.names() == before
            filler.unlink()
            small.ok("pack", "project", "-t", f"digits:{turn + 1}")
            assert f"digits:{turn + 1}" in small.names()
            small.ok("remove", f"digits:{turn + 1}")
            small.ok("prune", "--grace", "0")
        assert told


@pytest.mark.parametrize("fault", ["ENOSPC", "EDQUOT", "EIO"])
def test_fault12_an_index_that_cannot_be_written_stays_the_old_one(packed: World, fault: str) -> None:
    index = (packed.store / "index.json").read_bytes()
    journal = (packed.store / ".mlkit" / "journal").read_bytes()
    new = packed.store / ".mlkit" / "index.json.new"

    done = packed.run("tag", "digits:1", "digits:2", strace=injecting(f"error={fault}", "1+", "write", paths=[new]))

    assert done.code == 10, done.stderr
    assert "index.json" in done.stderr
    assert fault == "EIO" or re.search(r"no space left for \d+ bytes", done.stderr)
    assert (packed.store / "index.json").read_bytes() == index
    assert (packed.store / ".mlkit" / "journal").read_bytes() == journal
    packed.ok("tag", "digits:1", "digits:2")


@pytest.mark.parametrize("command", ["unpack", "cat", "push"])
def test_fault13_a_blob_that_the_disk_does_not_give_is_a_bad_disk_and_no_tampering(
    packed: World, registry: RunningRegistry, command: str
) -> None:
    content = (packed.project / "data" / "train.csv").read_bytes()
    blob = blob_of(packed, content)
    arguments = {
        "unpack": ("unpack", "digits:1", "-d", "out"),
        "cat": ("cat", "digits:1", "data/train.csv"),
        "push": ("push", "digits:1", f"{registry.host}/team/digits:1"),
    }[command]

    reads = "read,pread64,preadv,copy_file_range,sendfile"
    done = packed.run(*arguments, strace=injecting("error=EIO", "1+", reads, paths=[blob]))

    assert done.code == 10, done.stderr
    assert blob.name in done.stderr or "data/train.csv" in done.stderr
    assert "Input/output error" in done.stderr
    assert blob.exists()
    assert not (packed.root / "out").exists()
    packed.ok(*arguments)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_fault14_an_fsync_that_fails_fails_the_command_and_is_never_tried_again(
    packed: World, tmp_path: Path, fault: str
) -> None:
    (packed.project / "data" / "train.csv").write_bytes(os.urandom(5000))
    before = packed.names()
    command = ("pack", "project", "-t", "digits:2")
    dry = packed.copied_to(tmp_path / "dry")
    points = [point for point in points_of(dry.run(*command, strace=tracing()).trace) if point.call == "fsync"]
    assert len(points) >= 5

    for point in spread(points, 5) if SCALE == 1 else points:
        broken = packed.copied_to(tmp_path / "broken")
        done = broken.run(*command, strace=injecting(f"error={fault}", point.number, "fsync"))

        assert done.code == 10, done.stderr
        _, separator, later = done.trace.partition("(INJECTED)")
        assert separator, done.trace
        failed = re.findall(r"fsync\(\d+<([^>]*)>\)[^\n]*\(INJECTED\)", done.trace)
        assert len(failed) == 1
        assert f"<{failed[0]}>" not in "\n".join(re.findall(r"fsync\([^)]*\)", later))
        assert not re.search(rf"rename[a-z0-9]*\([^)]*{re.escape(Path(failed[0]).name)}\"", later)
        assert broken.names() in (before, {**before, "digits:2": broken.names().get("digits:2")})
        broken.ok(*command)
        shutil.rmtree(broken.root)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["EXDEV", "EACCES", "EROFS"])
def test_fault15_a_rename_that_fails_leaves_all_as_it_was(packed: World, tmp_path: Path, fault: str) -> None:
    """What is staged lies in the folder that it goes to, so that EXDEV takes two file systems in one folder."""
    (packed.project / "data" / "train.csv").write_bytes(os.urandom(5000))
    before = packed.names()
    for command in (("pack", "project", "-t", "digits:2"), ("unpack", "digits:1", "-d", "out")):
        dry = packed.copied_to(tmp_path / "dry")
        trace = dry.run(*command, strace=tracing("rename,renameat,renameat2")).trace
        points = points_of(trace)
        assert points
        for point in spread(points, 4) if SCALE == 1 else points:
            broken = packed.copied_to(tmp_path / "broken")
            done = broken.run(*command, strace=injecting(f"error={fault}", point.number, point.call))

            assert done.code in (0, 10), done.stderr
            assert "Traceback" not in done.stderr
            if done.code:
                assert broken.names() == before
                assert not (broken.root / "out").exists()
                assert list(broken.root.glob(".out*")) == []
                broken.ok(*command)
            shutil.rmtree(broken.root)
        shutil.rmtree(dry.root)


@pytest.mark.parametrize("fault", ["EINVAL", "EOPNOTSUPP", "ENOSYS"])
def test_fault16_a_file_system_without_fsync_is_written_to_with_one_warning(packed: World, fault: str) -> None:
    (packed.project / "data" / "train.csv").write_bytes(os.urandom(5000))

    done = packed.run("pack", "project", "-t", "digits:2,3,4", strace=injecting(f"error={fault}", "1+", "fsync"))

    assert done.code == 0, done.stderr
    assert done.stderr.count("has no fsync") == 1
    assert {"digits:2", "digits:3", "digits:4"} < set(packed.names())


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """The store as nobody can write to it: root needs a mount for that."""
    if os.geteuid() == 0:
        with mounted(world.store, "--bind", str(world.store)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(world.store)], check=True, capture_output=True)
            yield
        return
    paths = [world.store, *world.store.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def test_fault17_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(
    world: World, registry: RunningRegistry
) -> None:
    world.ok("pack", "project", "-t", "digits:1")
    name = f"{registry.host}/team/digits:1"
    world.ok("tag", "digits:1", name)
    world.ok("push", name)

    with read_only(world):
        before = tree(world.store)
        for arguments in (
            ("list",),
            ("inspect", "digits:1"),
            ("files", "digits:1"),
            ("cat", "digits:1", "README.md"),
            ("unpack", "digits:1", "-d", "out"),
            ("push", name),
            ("fsck", "--deep"),
            ("doctor",),
        ):
            world.ok(*arguments)
        for arguments in (
            ("pack", "project/src", "-t", "digits:2"),
            ("tag", "digits:1", "digits:2"),
            ("remove", "digits:1"),
            ("prune", "--grace", "0"),
        ):
            done = world.run(*arguments)
            assert done.code == 10, (arguments, done.stderr)
            assert "cannot be written" in done.stderr
        assert tree(world.store) == before


@pytest.mark.soak
def test_fault18_a_target_without_permission_somewhere_is_left_as_it_was(packed: World, tmp_path: Path) -> None:
    (packed.root / "out" / "data").mkdir(parents=True)
    (packed.root / "out" / "data" / "mine.txt").write_text("mine")
    command = ("unpack", "digits:1", "-d", "out")
    denied = "mkdir,mkdirat,link,linkat,rename,renameat,renameat2"
    dry = packed.copied_to(tmp_path / "dry")
    points = points_of(dry.run(*command, strace=tracing(denied)).trace)
    before = tree(packed.root / "out")

    for point in spread(points, 6) if SCALE == 1 else points:
        done = packed.run(*command, strace=injecting("error=EACCES", point.number, point.call))

        assert done.code in (2, 10), done.stderr
        assert tree(packed.root / "out") == before, point
    packed.ok(*command)


@pytest.mark.soak
def test_fault19_many_files_need_few_descriptors(world: World, registry: RunningRegistry) -> None:
    """Fifty thousand files in `make soak`, with 64 descriptors."""
    few, many = {"RLIMIT_NOFILE": 64}, 1200 if SCALE == 1 else 50_000
    for folder, count in (("src", many), ("data/parts", 60)):
        (world.project / folder).mkdir(exist_ok=True)
        for number in range(count):
            (world.project / folder / f"{number:06}.txt").write_bytes(b"%d" % number)
    kitfile = world.project / "Kitfile"
    kitfile.write_text(kitfile.read_text() + "parameters:\n  - name: parts\n    path: data/parts\n")
    name = f"{registry.host}/team/many:1"

    for arguments in (("pack", "project", "-t", name), ("push", name), ("unpack", name, "-d", "out")):
        done = world.run(*arguments, limits=few)
        assert done.code == 0, (arguments, done.stderr)
    shutil.rmtree(world.store)
    done = world.run("pull", name, "--unpack", "out2", limits=few)
    assert done.code == 0, done.stderr

    assert len(list((world.root / "out" / "src").iterdir())) == many + 1
    assert tree(world.root / "out") == tree(world.root / "out2")


@pytest.mark.soak
def test_fault20_a_blob_that_is_larger_than_the_memory_is_streamed(world: World, registry: RunningRegistry) -> None:
    size, memory = (330 * MIB, 320 * MIB) if SCALE == 1 else (3000 * MIB, 512 * MIB)
    with (world.project / "model" / "weights.safetensors").open("wb") as file:
        file.truncate(size)
    little = {"RLIMIT_AS": memory}
    name = f"{registry.host}/team/large:1"

    for arguments in (("pack", "project", "-t", name), ("unpack", name, "-d", "out")):
        done = world.run(*arguments, limits=little)
        assert done.code == 0, (arguments, done.stderr)

    assert (world.root / "out" / "model" / "weights.safetensors").stat().st_size == size


def test_fault21_a_limit_on_file_sizes_is_an_error_of_the_store_and_no_death(world: World) -> None:
    (world.project / "model" / "weights.safetensors").write_bytes(bytes(3 * MIB))
    world.ok("pack", "project/src", "-t", "digits:0")
    before = world.names()

    packing = world.run("pack", "project", "-t", "digits:1", limits={"RLIMIT_FSIZE": MIB})
    world.ok("pack", "project", "-t", "digits:2")
    unpacking = world.run("unpack", "digits:2", "-d", "out", limits={"RLIMIT_FSIZE": MIB})

    for done in (packing, unpacking):
        assert done.code == 10, done.stderr
        assert "larger than this system allows" in done.stderr
    assert set(world.names()) == {*before, "digits:2"}
    assert not (world.root / "out").exists()
