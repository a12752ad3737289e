"""Credentials, from the files and helpers that Docker and Podman use (containers-auth.json(5))."""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.content.lock import StoreLock
from mlkit.errors import AuthError, IntegrityError, LimitError, NotFoundError, StoreError
from mlkit.registry.credential_helpers import HelperNotFoundError, run_helper
from mlkit.spec.json_text import parse_object

HelperRunner = Callable[[str, str, bytes], bytes]
"""From a helper's name, an action and its input: what it prints. Raises: AuthError, HelperNotFoundError."""

_FILE_LIMIT = 1024 * 1024  # bytes; a file of credentials beyond it is something else
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105  # a helper's way to say that the secret is an identity token
_UUID_USER = "00000000-0000-0000-0000-000000000000"  # what registries give as user beside an identity token


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What a registry may ask for; never shown, not even by `repr`."""

    username: str | None = None
    password: str | None = None
    identity_token: str | None = None
    """Exchanged for access tokens at the token server (OAuth2 refresh token)."""
    registry_token: str | None = None
    """Sent to the registry as it is."""

    def __repr__(self) -> str:
        return "Credential(***)"


class CredentialFiles:
    """Files in order of preference; the last one is where new credentials go."""

    def __init__(self, paths: Sequence[Path], helpers: HelperRunner = run_helper) -> None:
        self._paths = tuple(paths)
        self._helpers = helpers

    def lookup(self, key: str) -> Credential | None:
        """Credentials for `host` or `host/repository`: of the first file that has any, its longest prefix of the key.

        Raises: AuthError naming the file or helper that cannot be used.
        """
        for path in self._paths:
            credential = self._in_file(path, key)
            if credential is not None:
                return credential
        return None

    def store(self, host: str, credential: Credential) -> None:
        """Keep credentials for a host, with the helper that the file names for it, else in the file itself.

        Raises: AuthError for a malformed file, which then stays as it is; StoreError where it cannot be written.
        """
        path = self._login_path()
        name = _file_key(host)
        helper = _helper_for(_read(path), host, path)
        if helper is not None:
            secret = credential.identity_token or credential.password or ""
            user = _TOKEN_USER if credential.identity_token else credential.username or ""
            entry = {"ServerURL": name, "Username": user, "Secret": secret}
            self._helpers(helper, "store", json.dumps(entry).encode("utf-8"))
            return
        with _locked(path):
            config = _read(path)
            auths = _section(config, "auths", path)
            for known in _entries_of(auths, host):
                del auths[known]
            auths[name] = _render_entry(credential)
            config["auths"] = auths
            _write(path, config)

    def erase(self, host: str) -> None:
        """Forget the credentials of a host, in every file and helper. Raises: NotFoundError where there are none."""
        has_erased = False
        for path in self._paths:
            config = _read(path)
            helper = _helper_for(config, host, path)
            if helper is not None:
                has_erased |= self._erase_in_helper(helper, host)
            if _entries_of(_section(config, "auths", path), host):
                has_erased |= _erase_in_file(path, host)
        if not has_erased:
            raise NotFoundError(f"{host}: no credentials are stored")

    def _login_path(self) -> Path:
        if not self._paths:
            raise AuthError("there is no file to keep credentials in", hint="--authfile names one")
        return self._paths[-1]

    def _in_file(self, path: Path, key: str) -> Credential | None:
        config = _read(path)
        host = key.partition("/")[0]
        helper = _helper_for(config, host, path)
        if helper is not None:
            credential = self._from_helper(helper, host)
            if credential is not None:
                return credential
        auths = {_normal(name): entry for name, entry in _section(config, "auths", path).items()}
        for prefix in _prefixes(key):
            entry = auths.get(prefix)
            if isinstance(entry, dict):
                credential = _parse_entry(entry, f"{path}: {prefix}")
                if credential is not None:
                    return credential
        return None

    def _from_helper(self, helper: str, host: str) -> Credential | None:
        try:
            raw = self._helpers(helper, "get", _file_key(host).encode("utf-8"))
        except HelperNotFoundError:
            return None
        what = f"docker-credential-{helper}"
        try:
            value = parse_object(raw, what=what, limit=_FILE_LIMIT)
        except (IntegrityError, LimitError) as error:
            raise AuthError(error.message) from error
        user, secret = value.get("Username"), value.get("Secret")
        if not isinstance(user, str) or not isinstance(secret, str):
            raise AuthError(f"{what}: gave no Username and Secret for {host}")
        # An answer for another server than the one asked for would send its password to the wrong door.
        server = value.get("ServerURL")
        if isinstance(server, str) and server and _normal(server) != _normal(_file_key(host)):
            raise AuthError(f"{what}: answered for {ascii(server)[:100]} (asked for {host})")
        if not secret:
            return None
        return Credential(identity_token=secret) if user == _TOKEN_USER else Credential(user, secret)

    def _erase_in_helper(self, helper: str, host: str) -> bool:
        try:
            self._helpers(helper, "get", _file_key(host).encode("utf-8"))
        except HelperNotFoundError:
            return False
        self._helpers(helper, "erase", _file_key(host).encode("utf-8"))
        return True


def is_same_host(one: str, other: str) -> bool:
    """Whether two names are of one registry, which the names of Docker Hub all are."""
    return _normal(one) == _normal(other)


def _prefixes(key: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host`: the longest first."""
    while key:
        yield _normal(key) if "/" not in key else key
        key = key.rpartition("/")[0]


def _normal(name: str) -> str:
    """A key without the scheme and path that Docker puts around hosts; namespaces have no scheme and stay."""
    scheme, separator, rest = name.partition("://")
    plain = rest.partition("/")[0] if separator and scheme in ("http", "https") else name.rstrip("/")
    host, slash, namespace = plain.partition("/")
    host = host.lower()
    return f"{'docker.io' if host in _DOCKER_HUB else host}{slash}{namespace}"


def _file_key(host: str) -> str:
    return _DOCKER_HUB_KEY if host in _DOCKER_HUB else host


def _entries_of(auths: dict[str, Any], host: str) -> list[str]:
    return [name for name in auths if _normal(name) == _normal(host)]


def _helper_for(config: dict[str, Any], host: str, path: Path) -> str | None:
    """The name of the helper: the one for this host, else the one for all."""
    named = _section(config, "credHelpers", path)
    found = next((named[name] for name in named if _normal(name) == _normal(host)), config.get("credsStore"))
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise AuthError(f"{path}: the name of a credential helper is not text")
    return found


def _section(config: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = config.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AuthError(f"{path}: {name} is not an object")
    return value


def _parse_entry(entry: dict[str, Any], what: str) -> Credential | None:
    """Raises: AuthError for an `auth` that is not base64 of `user:password`."""
    identity, registry = _text(entry, "identitytoken", what), _text(entry, "registrytoken", what)
    user, password = _text(entry, "username", what), _text(entry, "password", what)
    auth = _text(entry, "auth", what)
    if auth:
        try:
            user, colon, password = base64.b64decode(auth, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError) as error:
            raise AuthError(f"{what}: auth is not base64 of user:password") from error
        if not colon:
            raise AuthError(f"{what}: auth is not base64 of user:password")
        password = password.rstrip("\0")  # old Docker clients padded it
    if user == _UUID_USER and identity:
        user = password = None
    if not (user or identity or registry):
        return None
    return Credential(user or None, password, identity or None, registry or None)


def _text(entry: dict[str, Any], name: str, what: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise AuthError(f"{what}: {name} is not text")
    return value


def _render_entry(credential: Credential) -> dict[str, str]:
    entry: dict[str, str] = {}
    if credential.username is not None:
        pair = f"{credential.username}:{credential.password or ''}".encode()
        entry["auth"] = base64.b64encode(pair).decode("ascii")
    if credential.identity_token is not None:
        entry["identitytoken"] = credential.identity_token
    if credential.registry_token is not None:
        entry["registrytoken"] = credential.registry_token
    return entry


def _erase_in_file(path: Path, host: str) -> bool:
    with _locked(path):
        config = _read(path)
        auths = _section(config, "auths", path)
        found = _entries_of(auths, host)
        for known in found:
            del auths[known]
        if found:
            _write(path, config)
    return bool(found)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Whoever changes the file does so alone, from reading it on: of two logins at once none is lost.

    Other programs know nothing of this lock, and the file of it, which is empty, is nothing to them.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, os.strerror(error.errno or 0)) from error
    with ExitStack() as stack:
        try:
            stack.enter_context(StoreLock(target.with_name(f".{target.name}.lock")).exclusive())
        except StoreError as error:
            raise _unwritable(path, error.message) from error
        yield


def _unwritable(path: Path, why: str) -> StoreError:
    return StoreError(f"{path}: credentials cannot be written: {why}")


def _read(path: Path) -> dict[str, Any]:
    """The file's object, {} where there is no file. Raises: AuthError naming the file."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_FILE_LIMIT + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AuthError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    if not raw.strip():
        return {}
    try:
        return parse_object(raw, what=str(path), limit=_FILE_LIMIT)
    except (IntegrityError, LimitError) as error:
        raise AuthError(error.message, hint="mend or remove the file, then log in again") from error


def _write(path: Path, config: dict[str, Any]) -> None:
    """Replace the file's content in one step, readable by its owner only; a link keeps pointing where it points."""
    target = Path(os.path.realpath(path))
    staged = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}")
    raw = json.dumps(config, indent="\t", ensure_ascii=False).encode("utf-8") + b"\n"
    try:
        _reap(target)
        file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with suppress(OSError):  # no locks here: then it is reaped by nobody who could tell
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(file, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            staged.replace(target)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, os.strerror(error.errno or 0)) from error


def _reap(target: Path) -> None:
    """Delete what runs left behind that died while they wrote: it holds passwords. A living one has its file locked."""
    left = re.compile(re.escape(f".{target.name}.") + "[0-9]+-[0-9a-f]{8}")
    for path in target.parent.iterdir():
        if left.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
