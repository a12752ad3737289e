"""The commit of a Git working tree, as `git` tells it.

A project may come from anybody, and its `.git/config` can name programs that `git status` runs (filters, fsmonitor).
None of them is run: what only such a program could tell is unknown.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_PROBE_SECONDS = 10
"""For each question: `git status` of a large tree takes seconds, and packing does not wait longer for it."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[A-Za-z0-9.-]+):(?!//)(?P<path>[^\s]+)")
"""git-clone(1), "Git URLs": the scp-like form."""
_RUNS_PROGRAMS = r"^(filter\..*\.(clean|process)|core\.fsmonitor)$"
_SAFE = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True, slots=True)
class Revision:
    """What a directory of a working tree is a checkout of."""

    commit: str
    """In hex, whole."""
    remote: str | None
    """`https://host/path` of `origin`, the same for everybody however they cloned it, without credentials."""
    path: str
    """Of the directory in the repository; empty at its root."""
    is_dirty: bool | None
    """Whether tracked files in the directory differ from the commit; None where Git could not say."""

    @property
    def uri(self) -> str | None:
        """In the form that SLSA and pip use, RFC 3986: `git+https://host/path@commit`."""
        return f"git+{self.remote}@{self.commit}" if self.remote else None


def revision(directory: Path) -> Revision | None:
    """The commit that is checked out; None without a repository, without a commit, or without `git`."""
    told = _git(directory, "rev-parse", "--show-prefix", "HEAD")
    lines = told.split("\n") if told is not None else []
    if len(lines) < 2 or not _COMMIT.fullmatch(lines[1]):
        return None
    return Revision(
        commit=lines[1],
        remote=public_remote(_git(directory, "config", "--get", "remote.origin.url") or ""),
        path=lines[0].strip("/"),
        is_dirty=_is_dirty(directory),
    )


def public_remote(url: str) -> str | None:
    """`https://host/path` of what `git clone` was given; None for a path of this machine."""
    url = url.strip()
    try:
        parts = urlsplit(url) if "://" in url else None
    except ValueError:
        return None  # anybody may have written it, and Git itself would fail over it
    if parts is not None:
        host, path = parts.hostname, parts.path
        if parts.scheme not in ("https", "http", "ssh", "git", "git+ssh"):
            return None
    else:
        matched = _SCP.fullmatch(url)
        host, path = (matched["host"], matched["path"]) if matched else (None, "")
    path = path.strip("/").removesuffix(".git")
    return f"https://{host}/{path}" if host and path else None


def _is_dirty(directory: Path) -> bool | None:
    # Configured in the repository itself, where its author could have put it; the user's own config is the user's.
    if _git(directory, "config", "--local", "--get-regexp", _RUNS_PROGRAMS):
        return None
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", "--", ".")
    return None if changed is None else bool(changed.strip())


def _git(directory: Path, *question: str) -> str | None:
    """Git's answer; None where it has none, or there is no Git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *_SAFE, *question],  # noqa: S607  # the user's own git, wherever it is
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "surrogateescape")
