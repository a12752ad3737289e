"""Images really run: as nobody in particular, on a root that cannot be written.

Each way of running is skipped, with the reason, where this machine does not have it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.programs import Ended, Program
from tests.support.tools import find_tool

_TIMEOUT = 120.0  # seconds; a hang guard
_FORBIDDEN = re.compile(
    r"(?:unable to start container process|creating new namespace|bwrap: .*namespace|error creating .*|mount).*"
    r"(?:operation not permitted|permission denied)|cannot statfs cgroup root",
    re.IGNORECASE,
)


def _ended(command: Sequence[str], *, cwd: Path | None = None) -> Ended:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT, cwd=cwd
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def need(*programs: str) -> None:
    """Skip the test where these cannot be run here."""
    if os.geteuid() != 0:
        pytest.skip("containers are run by root here")
    missing = [name for name in programs if find_tool(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed")


def _allowed(ended: Ended) -> Ended:
    """Skip the test where the kernel, or what this machine runs in, lets nobody start a container."""
    if ended.code and _FORBIDDEN.search(ended.stderr):
        pytest.skip(f"no container can be started here: {ended.stderr.strip()[-200:]}")
    return ended


def unpack_image(layout: Path, tag: str, bundle: Path) -> Path:
    """The runtime bundle of an image, by umoci."""
    need("umoci")
    Program("umoci")("unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle


def runc(
    bundle: Path,
    name: str,
    *argv: str,
    arguments: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    tmpfs: Mapping[str, str] | None = None,
    binds: Mapping[str, Path] | None = None,
    is_networked: bool = False,
) -> Ended:
    """Run a bundle; without `argv` what the image says, with `arguments` in the place of its last word.

    `tmpfs`: mount points with the options of their mounts; `binds`: with folders of this machine.
    """
    need("runc")
    path = bundle / "config.json"
    original = bundle / "config.json.of-the-image"
    if not original.exists():
        shutil.copyfile(path, original)
    config = json.loads(original.read_text())
    process = config["process"]
    process["terminal"] = False
    if arguments is not None:
        process["args"] = [*process["args"][:-1], *arguments]
    process["args"] = list(argv) or process["args"]
    process["env"] = [*process.get("env", ()), *(f"{key}={value}" for key, value in (env or {}).items())]
    process.setdefault("capabilities", {}).clear()
    process["noNewPrivileges"] = True
    config["root"]["readonly"] = True
    for place, options in (tmpfs or {}).items():
        config["mounts"].append(
            {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", *options.split(",")]}
        )
    for place, folder in (binds or {}).items():
        config["mounts"].append(
            {"destination": place, "type": "bind", "source": str(folder), "options": ["bind", "rw", "nosuid"]}
        )
    if is_networked:
        config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "network"]
    path.write_text(json.dumps(config))
    state = str(bundle.parent / "runc")
    return _allowed(_ended([str(find_tool("runc")), "--root", state, "run", "-b", str(bundle), name]))


def bubblewrap(rootfs: Path, *argv: str) -> Ended:
    """Run a program of an unpacked image."""
    need("bwrap")
    options = ["--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all"]
    return _allowed(_ended([str(find_tool("bwrap")), *options, "--uid", "65532", "--gid", "65532", *argv]))


@contextmanager
def podman(folder: Path) -> Iterator[Program]:
    """Podman with a storage of the test's own, which is gone afterwards."""
    need("podman", "runc")
    # Podman takes no longer path than fifty characters for what runs.
    with tempfile.TemporaryDirectory(prefix="podman-") as running:
        flags = ("--root", str(folder / "root"), "--runroot", running, "--storage-driver", "overlay")
        program = Program("podman", (*flags, "--runtime", "runc", "--cgroup-manager", "cgroupfs"), folder / "home")
        try:
            if (found := program.end("info")).code:
                pytest.skip(f"podman finds no storage here: {found.stderr.strip()[-200:]}")
            yield program
        finally:
            program.end("rmi", "--all", "--force")
            # What is mounted there would outlive the test's folder.
            subprocess.run(["umount", "-l", str(folder / "root" / "overlay")], capture_output=True, check=False)


PODMAN_RUN = (
    *("run", "--rm", "--network", "host", "--read-only"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
)
"""Where containers may not raise their limits, podman starts none without both."""
