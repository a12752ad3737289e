"""What is left out of a kit: rules with the meaning of `.dockerignore`, matched in linear time.

One pattern a line: `*` and `?` within a component, `**` for any number of components, `[a-z]` and `[^a-z]`, a backslash
to take the next character as it is, `#` for a comment, `!` to take something back in. Patterns start at the root; the
last one that matches a path, or a directory above it, decides. `**` beside other characters is read as `*`, except in
front of them (`**.pyc` is `**/*.pyc`).

A pattern is a sequence of components, and a path runs through it one component at a time; the state that a directory
has reached is kept, so a file costs one component. Nothing here does I/O.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mlkit.archive.glob import any_of, is_literal, matcher
from mlkit.archive.names import shown
from mlkit.errors import LimitError, UsageError

MAX_RULES_SIZE = 256 * 1024
"""Characters of a `.kitignore`, as many as a Kitfile may have; it bounds the work for one directory."""
MAX_PATTERNS = 2_000

ALWAYS_IGNORED = ("Kitfile", "kitfile", ".kitfile", ".kitignore")
"""What describes a kit is not part of it; only at the root, and no exception takes it back in."""

DEFAULT_IGNORES = (
    "**/.git",
    "**/.hg",
    "**/.svn",
    "**/.bzr",
    "**/__pycache__",
    "**/*.pyc",
    "**/*.pyo",
    "**/*.egg-info",
    "**/.venv",
    "**/venv",
    "**/node_modules",
    "**/.ipynb_checkpoints",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.tox",
    "**/.nox",
    "**/.coverage",
    "**/.idea",
    "**/.vscode",
    "**/.DS_Store",
    "**/._*",
    "**/Thumbs.db",
    "**/desktop.ini",
    "**/*.swp",
    "**/*.swo",
    "**/*~",
    "**/.nfs*",
    "**/.dvc/cache",
    "**/.dvc/tmp",
    "**/.cache/huggingface/download",
    "**/.*.mlkit-partial-*",
    "**/.mlkit.toml",
)
"""Junk: what tools leave in a tree and nobody wants in a kit. Comes before the rules of the user."""

SECRET_PATTERNS: Mapping[str, str] = {
    "**/.env": "environment files hold credentials",
    "**/.env.*": "environment files hold credentials",
    "**/*.env": "environment files hold credentials",
    "!**/example.env": "an example of an environment file",
    "!**/sample.env": "an example of an environment file",
    "!**/template.env": "an example of an environment file",
    "!**/.env.example": "an example of an environment file",
    "!**/.env.sample": "an example of an environment file",
    "!**/.env.template": "an example of an environment file",
    "**/.envrc": "environment files hold credentials",
    "**/.ssh": "SSH keys",
    "**/id_rsa*": "an SSH private key",
    "**/id_dsa*": "an SSH private key",
    "**/id_ecdsa*": "an SSH private key",
    "**/id_ed25519*": "an SSH private key",
    "!**/id_*.pub": "the public half of an SSH key",
    "**/*.ppk": "a PuTTY private key",
    "**/.gnupg": "GnuPG keys",
    "**/*.key": "a private key",
    "**/*.pem": "often a private key",
    "!**/*cert*.pem": "a certificate is public",
    "!**/*chain*.pem": "certificates are public",
    "!**/*bundle*.pem": "certificates are public",
    "!**/ca.pem": "a certificate is public",
    "!**/ca-*.pem": "a certificate is public",
    "**/*key*.pem": "a private key",
    "!**/*pub*.pem": "a public key",
    "**/*.p12": "a private key with its certificate",
    "**/*.pfx": "a private key with its certificate",
    "**/*.jks": "a Java key store",
    "**/*.keystore": "a Java key store",
    "**/.netrc": "passwords of hosts",
    "**/_netrc": "passwords of hosts",
    "**/.git-credentials": "passwords of Git hosts",
    "**/.npmrc": "npm tokens",
    "**/.pypirc": "PyPI tokens",
    "**/.pgpass": "PostgreSQL passwords",
    "**/.my.cnf": "MySQL passwords",
    "**/.htpasswd": "hashed passwords",
    "**/.aws/credentials": "AWS credentials",
    "**/.azure": "Azure credentials",
    "**/.config/gcloud": "Google Cloud credentials",
    "**/application_default_credentials.json": "Google Cloud credentials",
    "**/client_secret*.json": "OAuth client secrets",
    "**/.docker/config.json": "registry credentials",
    "**/.dockercfg": "registry credentials",
    "**/.kube/config": "Kubernetes credentials",
    "**/kubeconfig": "Kubernetes credentials",
    "**/*.kubeconfig": "Kubernetes credentials",
    "**/.vault-token": "a Vault token",
    "**/.terraformrc": "Terraform tokens",
    "**/*.tfstate": "Terraform state holds credentials",
    "**/huggingface/token": "a Hugging Face token",
    "**/huggingface/stored_tokens": "Hugging Face tokens",
    "**/.huggingface/token": "a Hugging Face token",
    "**/.kaggle/kaggle.json": "a Kaggle token",
    "**/kaggle.json": "a Kaggle token",
    "**/.streamlit/secrets.toml": "Streamlit secrets",
    "**/.dvc/config.local": "credentials of DVC remotes",
}
"""Patterns of files that look like credentials, in order, each with what to tell the user about what it keeps out.

By name only: a certificate in PEM is public and a key is not, and both end in `.pem`, so what is not known to be a
certificate or a public key is left out. A `!` in `.kitignore` takes it in.
"""

_ANY = "**"


class IgnoreRules:
    """Patterns in order, the last match wins. Not for use by several threads at once."""

    def __init__(self, patterns: Iterable[str] = (), *, closed: int = 0) -> None:
        """A directory that one of the first `closed` patterns leaves out is entered only by an exception that names it.

        Raises: UsageError for a pattern that cannot be read, LimitError for too many.
        """
        self._patterns = tuple(
            pattern for text in patterns if (pattern := _Pattern.parse(text, where=shown(text))) is not None
        )
        if len(self._patterns) > MAX_PATTERNS:
            raise LimitError(f"{len(self._patterns)} ignore patterns (at most {MAX_PATTERNS})")
        self._closed = closed
        self._states = {"": _root_state(self._patterns)}

    @classmethod
    def parse(
        cls, text: str, *, before: Iterable[str] = (), after: Iterable[str] = (), what: str = ".kitignore"
    ) -> IgnoreRules:
        """Read the text of a `.kitignore`. Patterns `before` it can be taken back by it, those `after` it cannot.

        `!**/*.md` does not reach into a directory that `before` leaves out (`.git`), `!.venv/pyvenv.cfg` does: one who
        writes the former has not thought of every README below `node_modules`.
        Raises: UsageError that names the line, LimitError.
        """
        if len(text) > MAX_RULES_SIZE:
            raise LimitError(f"{what}: {len(text)} characters (at most {MAX_RULES_SIZE})")
        lines: list[str] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            if line.startswith("#"):
                continue
            pattern = _Pattern.parse(line, where=f"{what}, line {number}: {shown(line.strip())}")
            if pattern is not None:
                lines.append(line)
        before = tuple(before)
        return cls((*before, *lines, *after), closed=len(before))

    def ignored(self, path: str, is_dir: bool) -> bool:
        """Whether a file is left out; of a directory, whether all that could be below it is left out too."""
        state, name = self._parent(path)
        if not is_dir:
            index = state.decide(name)
            return index >= 0 and not self._patterns[index].is_exception
        below = self._state(path)
        if below.best < 0 or self._patterns[below.best].is_exception:
            return False
        return not any(index > below.best and self._patterns[index].is_exception for index, _ in below.alive)

    def decided_by(self, path: str) -> str | None:
        """The pattern that has the last word on a path, without its `!`; None where none matches."""
        state, name = self._parent(path)
        index = state.decide(name)
        return None if index < 0 else self._patterns[index].text

    def _parent(self, path: str) -> tuple[_State, str]:
        parent, _, name = path.rpartition("/")
        return self._state(parent), name

    def _state(self, directory: str) -> _State:
        state = self._states.get(directory)
        if state is None:
            parent, name = self._parent(directory)
            state = self._states[directory] = parent.entered(name, self._patterns, self._closed)
        return state


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    components: tuple[str, ...]
    is_exception: bool

    @classmethod
    def parse(cls, line: str, *, where: str) -> _Pattern | None:
        text = line.strip()
        if not text or text.startswith("#"):
            return None
        is_exception = text.startswith("!")
        if is_exception:
            text = text[1:].strip()
            if not text:
                raise UsageError(f"{where}: an exception of nothing (expected a pattern after the !)")
        # As Go's filepath.Clean, which collapses "a/./b/../c"; what climbs out of the root can match nothing.
        clean = posixpath.normpath(text).lstrip("/")
        components = _components(clean)
        for component in components:
            if component != _ANY:
                try:
                    matcher(component)
                except ValueError as error:
                    raise UsageError(f"{where}: {error}") from error
        return cls(text, components, is_exception)


@dataclass(frozen=True, slots=True)
class _State:
    """How far the patterns have come in one directory."""

    best: int
    """The last pattern that matches the directory or one above it, -1 for none."""
    alive: tuple[tuple[int, tuple[int, ...]], ...]
    """Patterns after `best` that can match something below, each with the components that may come next."""
    names: dict[str, int]
    """Names in this directory that a pattern ends with, each with the last such pattern."""
    globs: tuple[tuple[int, Callable[[str], bool]], ...]
    """Wildcards that a pattern ends with, the last pattern first."""
    may_match: Callable[[str], object]
    """False for a name that none of `globs` matches: most names, found out by one call."""

    def decide(self, name: str) -> int:
        """The last pattern that matches an entry of this directory, -1 for none."""
        best = max(self.best, self.names.get(name, -1))
        if not self.may_match(name):
            return best
        for index, matches in self.globs:
            if index <= best:
                break
            if matches(name):
                return index
        return best

    def entered(self, name: str, patterns: tuple[_Pattern, ...], closed: int) -> _State:
        best = self.decide(name)
        is_closed = 0 <= best < closed and not patterns[best].is_exception
        alive: list[tuple[int, tuple[int, ...]]] = []
        for index, positions in self.alive:
            if index <= best:
                continue
            components = patterns[index].components
            reached: set[int] = set()
            for position in positions:
                component = components[position]
                if is_closed:
                    if component == name and position + 1 < len(components):
                        reached.add(position + 1)
                elif component == _ANY:
                    reached.add(position)
                elif position + 1 < len(components) and matcher(component)(name):
                    reached.add(position + 1)
            if reached:
                alive.append((index, _with_skipped(components, reached)))
        # Most directories change nothing, and then they share one state.
        return self if best == self.best and tuple(alive) == self.alive else _state(best, alive, patterns)


def _root_state(patterns: tuple[_Pattern, ...]) -> _State:
    alive = [(index, _with_skipped(pattern.components, {0})) for index, pattern in enumerate(patterns)]
    return _state(-1, alive, patterns)


def _state(best: int, alive: list[tuple[int, tuple[int, ...]]], patterns: tuple[_Pattern, ...]) -> _State:
    names: dict[str, int] = {}
    globs: list[tuple[int, Callable[[str], bool]]] = []
    wild: list[str] = []
    for index, positions in alive:
        components = patterns[index].components
        if positions[-1] != len(components) - 1:
            continue
        last = components[-1]
        if last == _ANY:
            globs.append((index, matcher("*")))
            wild.append("*")
        elif is_literal(last):
            names[last] = index
        else:
            globs.append((index, matcher(last)))
            wild.append(last)
    return _State(best, tuple(alive), names, tuple(reversed(globs)), any_of(tuple(wild)))


def _with_skipped(components: tuple[str, ...], positions: set[int]) -> tuple[int, ...]:
    """The positions and those behind a `**` that stands for nothing; at the end it stands for one component or more."""
    reached = set(positions)
    for position in positions:
        # Runs of ** are collapsed, so at most one is passed over.
        if components[position] == _ANY and position + 1 < len(components):
            reached.add(position + 1)
    return tuple(sorted(reached))


def _components(clean: str) -> tuple[str, ...]:
    components: list[str] = []
    for component in clean.split("/"):
        if component != _ANY and component.startswith(_ANY) and component.strip("*"):
            _append(components, _ANY)
        if component.startswith(_ANY) and not component.strip("*"):
            _append(components, _ANY)
        else:
            components.append(re.sub(r"\*\*+", "*", component))
    return tuple(components)


def _append(components: list[str], component: str) -> None:
    if components[-1:] != [component]:
        components.append(component)
