"""Get the real registries and clients that the interop tests use, where this machine lets us.

`python -m tests.support.install_tools` never fails: it says what it could not get, and the tests that need it are
skipped. All of it together is given three minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.tools import FOLDER, find_tool

BUDGET = 170.0
"""Seconds for everything."""

DEBIAN = {
    **{name: name for name in ("docker-registry", "skopeo", "umoci", "curl", "zstd", "runc", "podman")},
    "bwrap": "bubblewrap",
    "busybox": "busybox-static",
}
"""Program, then the package it is in."""
GO = {
    "oras": ("oras.land/oras", "v1.2.3", "./cmd/oras"),
    "crane": ("github.com/google/go-containerregistry", "v0.20.3", "./cmd/crane"),
    "distribution": ("github.com/distribution/distribution/v3", "v3.0.0", "./cmd/registry"),
    "kit": ("github.com/kitops-ml/kitops", "v1.15.0", "."),
    "modctl": ("github.com/modelpack/modctl", "v0.2.2", "."),
}
"""Program, then module, version and package of it; the quickest to build first, because time may run out."""

OWN_MAIN = {
    "distribution": """\
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
"""
}
"""Programs that are built with a `main.go` of ours: without the drivers of three clouds, 400 packages fewer."""


def main() -> None:
    deadline = time.monotonic() + BUDGET
    wanted = [name for name in DEBIAN if find_tool(name) is None]
    if wanted:
        _install_packages([DEBIAN[name] for name in wanted], deadline)
    for name, (module, version, package) in GO.items():
        if find_tool(name) is None:
            _build(name, module, version, package, deadline)
    missing = [name for name in (*DEBIAN, *GO) if find_tool(name) is None]
    if missing:
        print(f"tests: without {', '.join(missing)}; the tests that need them are skipped")


def _install_packages(names: list[str], deadline: float) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    if _run([*command, *names], deadline, environment) is None:
        _run(["apt-get", "update", "-qq"], deadline, environment)
        # One by one: a package that this release does not have must not cost the others.
        for name in names:
            _run([*command, name], deadline, environment)


def _build(name: str, module: str, version: str, package: str, deadline: float) -> None:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Not `go install module@version`: that asks the proxy for the list of all versions, which some proxies refuse.
    # Inside the module its own go.mod decides, and only pinned versions are fetched; -mod=readonly passes over the
    # vendor folder that some modules carry.
    downloaded = _run([go, "mod", "download", "-json", f"{module}@{version}"], deadline, cwd=FOLDER)
    if downloaded is None:
        return
    source = Path(json.loads(downloaded)["Dir"])
    staged = FOLDER / f".{name}.new"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0", "GOWORK": "off"}
    command = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(staged), package]
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=FOLDER) as folder:
        if name in OWN_MAIN:
            # The copies of modules that Go keeps are read-only, and so is what is copied from them.
            source = Path(shutil.copytree(source, Path(folder) / "source", copy_function=shutil.copyfile))
            main = source / package / "main.go"
            main.parent.chmod(0o755)
            main.write_text(OWN_MAIN[name])
        if _run(command, deadline, environment, cwd=source) is not None:
            staged.rename(FOLDER / name)


def _run(
    command: list[str], deadline: float, environment: dict[str, str] | None = None, *, cwd: Path | None = None
) -> str | None:
    """What the command printed, None where it failed; its complaint goes to stderr."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=max(deadline - time.monotonic(), 1),
            check=True,
        )
    except subprocess.CalledProcessError as error:
        print(f"tests: {' '.join(command[:4])}: {error.stderr.strip()[-300:]}", file=sys.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"tests: {' '.join(command[:4])}: {error}", file=sys.stderr)
    else:
        return done.stdout
    return None


if __name__ == "__main__":
    main()
