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

from tests.support.tools import FOLDER, MAGIKA, NODE, find_tool

BUDGET = 170.0
"""Seconds for everything."""

DEBIAN = {
    **{
        name: name
        for name in ("docker-registry", "skopeo", "umoci", "curl", "zstd", "strace", "faketime", "runc", "podman")
    },
    "bwrap": "bubblewrap",
    "busybox": "busybox-static",
    "initdb": "postgresql",
    "chromium": "chromium",
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
LATER = {"cosign": "trixie", "cosign3": "forky"}
"""Programs that are taken out of the package `cosign` of a later Debian, and not installed: the program alone."""
NPM = {"@sigstore/verify": "3.1.0"}
"""Packages of npm, for the tests' own scripts."""

PIP = {"model_signing": ("model-signing==1.1.1", "pyopenssl>=24,<27")}
"""Programs of PyPI, each in an environment of its own: its packages are no business of ours. This one forgets to say
that it needs the second."""

MODEL = "magika==1.0.3 --hash=sha256:938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803"
"""Its wheel for any platform: those for one bring a program of 34 MB along, the same model and the same library."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

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
    for name, release in LATER.items():
        if find_tool(name) is None:
            _unpack_later(name, release, deadline)
    for name, version in NPM.items():
        if not (NODE / name).is_dir():
            _install_node_package(name, version, deadline)
    if not MAGIKA.is_dir():
        _install_model(deadline)
    for name, packages in PIP.items():
        if find_tool(name) is None:
            _install_environment(name, packages, deadline)
    for name, (module, version, package) in GO.items():
        if find_tool(name) is None:
            _build(name, module, version, package, deadline)
    missing = [name for name in (*DEBIAN, *LATER, *PIP, *GO) if find_tool(name) is None]
    missing += [name for name in NPM if not (NODE / name).is_dir()]
    missing += [] if MAGIKA.is_dir() else ["magika"]
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


def _unpack_later(name: str, release: str, deadline: float) -> None:
    """With lists of packages of its own, so that nothing of this system changes; no root is needed."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None or not KEYRING.is_file():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=FOLDER) as text:
        folder = Path(text)
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {release} main\n")
        for made in ("lists/partial", "cache/archives/partial"):
            (folder / made).mkdir(parents=True)
        options = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": folder / "none",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        apt = ["apt-get", "-qq", *(f"-o{option}={value}" for option, value in options.items())]
        if _run([*apt, "update"], deadline) is None or _run([*apt, "download", "cosign"], deadline, cwd=folder) is None:
            return
        (package,) = folder.glob("cosign_*.deb")
        if _run(["dpkg-deb", "-x", str(package), str(folder / "unpacked")], deadline) is None:
            return
        program = folder / "unpacked/usr/bin/cosign"
        # One of a later release may want a C library that is not here.
        if _run([str(program), "version"], deadline) is not None:
            program.rename(FOLDER / name)


def _install_node_package(name: str, version: str, deadline: float) -> None:
    npm = shutil.which("npm")
    if npm is not None:
        NODE.parent.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        _run([*command, "--prefix", str(NODE.parent), f"{name}@{version}"], deadline, cwd=NODE.parent)


def _install_environment(name: str, packages: tuple[str, ...], deadline: float) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER.parent / "pip" / name
    if _run([sys.executable, "-m", "venv", "--clear", str(folder)], deadline) is None:
        return
    if _run([str(folder / "bin/pip"), "install", "--quiet", *packages], deadline) is not None:
        (FOLDER / name).unlink(missing_ok=True)
        (FOLDER / name).symlink_to(folder / "bin" / name)


def _install_model(deadline: float) -> None:
    """The files of the wheel alone: what it would run on is `mlkit[onnx]`'s."""
    MAGIKA.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".magika-", dir=MAGIKA.parent) as text:
        wanted = Path(text) / "requirements.txt"
        wanted.write_text(f"{MODEL}\n")
        target = Path(text) / "package"
        where = ["--no-deps", "--only-binary=:all:", "--platform=any", f"--target={target}"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *where]
        if _run([*command, "--require-hashes", "-r", str(wanted)], deadline) is not None:
            target.rename(MAGIKA)


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
