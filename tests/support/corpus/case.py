"""One hostile input, and the world that it must not get out of."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 5
"""Of a processor, for one input."""
PATIENCE = 60
"""Seconds of the clock after which it hangs: other tests run meanwhile, and take their share of the processors."""
MEMORY = 256 << 20
"""Bytes beyond what the process had before it met the input."""

NAME = "team/kit:1"
"""What the kit of a case is called in its store."""


@dataclass(frozen=True, slots=True)
class World:
    """Folders of one case. All but `out` must be as they were when the command is over."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def work(self) -> Path:
        """The working directory, with a project or nothing in it."""
        return self.root / "work"

    @property
    def out(self) -> Path:
        """Where `unpack` is to put files."""
        return self.work / "out"

    @classmethod
    def make(cls, root: Path) -> World:
        """With files around that a hostile input would like to change."""
        world = cls(root)
        for place in (world.store, world.work, root / "outside"):
            place.mkdir(parents=True)
        (root / "outside/precious.txt").write_text("precious\n")
        (root / "precious.txt").write_text("precious\n")
        (world.work / "precious.txt").write_text("precious\n")
        return world


@dataclass(frozen=True, slots=True)
class Case:
    """An input: what makes it, the command that meets it, and how that must end."""

    name: str
    """Begins with the row of the catalogue."""
    make: Callable[[World], Sequence[str]]
    """Builds it in a fresh world, and gives the arguments."""
    codes: frozenset[int]
    keeps: bool = True
    """Whether everything must be as before; False for what is taken, tamed."""
    heals: bool = False
    """Whether what is wrong in the store may be put aside."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended."""

    code: int
    """Negative: the signal that ended it."""
    stdout: str
    stderr: str
    grown: int
    """Bytes of memory at the peak, beyond those at the start."""


def meet(case: Case, world: World, arguments: Sequence[str]) -> Outcome:
    """Run the command in a process of its own, forked so that nothing is imported again, within the limits."""
    started = _resident()
    child = os.fork()
    if child == 0:
        _child(world, arguments)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    streams = [
        (world.root / name).read_text(encoding="utf-8", errors="surrogateescape") for name in ("stdout", "stderr")
    ]
    for name in ("stdout", "stderr"):
        (world.root / name).unlink()
    return Outcome(code, streams[0], streams[1], usage.ru_maxrss * 1024 - started)


def surroundings(world: World) -> dict[str, str]:
    """Every file, link and directory around, and what is in it; the store's own notes do not count."""
    found = {}
    for place, directories, files in os.walk(world.root):
        if Path(place) == world.store and ".mlkit" in directories:
            directories.remove(".mlkit")
        for name in (*directories, *files):
            path = Path(place) / name
            found[str(path.relative_to(world.root))] = _told(path)
    return found


def _told(path: Path) -> str:
    info = path.lstat()
    kind = stat.S_IFMT(info.st_mode)
    if stat.S_ISREG(info.st_mode):
        return f"{info.st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    if stat.S_ISLNK(info.st_mode):
        return f"link {path.readlink()}"
    return f"{kind:o} {info.st_mode:o}"


def _child(world: World, arguments: Sequence[str]) -> None:
    """Never returns."""
    code = 99
    try:
        os.chdir(world.work)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(world.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, m, encoding="utf-8") for n, m in ((0, "r"), (1, "w"), (2, "w"))
        )
        os.environ.update({"HOME": str(world.root / "outside"), "MLKIT_HOME": str(world.store), "COLUMNS": "80"})
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        sys.argv = ["mlkit", *arguments]
        from mlkit.cli.main import run

        try:
            run()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  # whatever it is, it is what the test is about
        traceback.print_exc()
    finally:
        os._exit(code)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def digest_of(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def put_blob(world: World, raw: bytes) -> str:
    """Store bytes under their digest."""
    name = digest_of(raw)
    folder = world.store / "blobs/sha256"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name[7:]).write_bytes(raw)
    return name


def descriptor(raw: bytes, media_type: str, **annotations: str) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)}
    if annotations:
        found["annotations"] = {name.replace("__", "."): text for name, text in annotations.items()}
    return found


def write_index(world: World, entries: Sequence[Mapping[str, Any]]) -> None:
    """The files that make a folder an OCI image layout."""
    (world.store / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": list(entries)}
    (world.store / "index.json").write_text(json.dumps(index))


def put_manifest(world: World, raw: bytes, *, media_type: str = "application/vnd.oci.image.manifest.v1+json") -> None:
    """Store a manifest, and give it the name of the case."""
    put_blob(world, raw)
    entry = descriptor(raw, media_type, org__opencontainers__image__ref__name=NAME)
    write_index(world, [entry])
