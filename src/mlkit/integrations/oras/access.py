"""Whose credentials go where, in the words of oras-py.

oras-py shows what it was given to every registry that asks, and to every token server that one of them names. Here
credentials are for one registry: the client's `hostname`; without one, the first registry that is spoken to after they
were given. It is the program that names it, for a registry leads elsewhere only by answering. Which token server sees
them is the engine's to decide.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import oras.utils
from oras.auth.base import AuthBackend

from mlkit.errors import AuthError, UsageError
from mlkit.registry.credentials import Credential, CredentialFiles, is_same_host


class Access(AuthBackend):  # type: ignore[misc]  # oras-py has no types
    """What stands as `auth` of a client. Thread-safe."""

    def __init__(
        self, host: str | None, fallback: Callable[[str], Credential | None], *, changed: Callable[[], None]
    ) -> None:
        """`fallback` is asked where the program has given nothing; `changed` is called when there is something new."""
        super().__init__()
        self._host = host
        self._fallback = fallback
        self._changed = changed
        self._lock = threading.Lock()
        self._given: dict[str, Credential | None] = {}
        self._unbound: Credential | None = None
        self._files: tuple[Path, ...] = ()

    def set_basic_auth(self, username: str, password: str) -> None:
        """Use these for the registry that they are for."""
        self.give(Credential(username, password))

    def set_token_auth(self, token: str) -> None:
        """Show this token to the registry as it is."""
        self.give(Credential(registry_token=token))

    def set_header_auth(self, value: str, host: str | None = None) -> None:
        """Use the value of an Authorization header. Raises: AuthError for one that is neither Basic nor Bearer."""
        self.give(_parse_header(value), host)

    def give(self, credential: Credential, host: str | None = None) -> None:
        """Use a credential for `host`, by default for the registry that it is for."""
        host = host or self._host
        with self._lock:
            if host is None:
                self._unbound = credential
            elif self._given.get(host) == credential:
                return
            else:
                self._given[host] = credential
        self._changed()

    def bind(self, host: str) -> None:
        """A registry is about to be spoken to: credentials that were for no registry yet are for this one."""
        with self._lock:
            if self._unbound is not None:
                self._given[host], self._unbound = self._unbound, None

    def load_configs(self, container: Any, configs: Sequence[str | Path] | None = None) -> None:
        """Look into these files too; those of Docker and Podman are looked into anyway, when a registry asks."""
        named = tuple(Path(config) for config in configs or ())
        with self._lock:
            new = tuple(path for path in dict.fromkeys(named) if path not in self._files)
            self._files += new
        if new:
            self._changed()

    def logout(self, hostname: str) -> None:
        """Forget the credentials of a registry for the rest of this client's life; no file is changed."""
        with self._lock:
            self._unbound = None
            for host in (hostname, *(host for host in self._given if is_same_host(host, hostname))):
                self._given[host] = None
        self._changed()

    def get_auth_header(self) -> dict[str, str]:
        """Nothing: only the engine signs requests."""
        return {}

    def authenticate_request(
        self, original: Any, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """Leave the headers as they are: the engine has done what can be done."""
        return headers, False

    def lookup(self, key: str) -> Credential | None:
        """What to show to `host` or `host/repository`. Raises: AuthError naming a file or helper."""
        host = key.partition("/")[0]
        with self._lock:
            given = [credential for known, credential in self._given.items() if is_same_host(known, host)]
            files = self._files
        if given:
            return given[-1]
        return CredentialFiles(files).lookup(key) or self._fallback(key)


def asked_for(username: str, password: str, password_stdin: bool) -> Credential:
    """The credentials of a login. Raises: UsageError where something is missing and there is no terminal to ask at."""
    if password_stdin:
        password = oras.utils.readline()
    if not (username and password) and not sys.stdin.isatty():
        raise UsageError("user name and password are both needed", hint="pass them, or the password on standard input")
    return Credential(username or input("Username: "), password or getpass.getpass("Password: "))


def _parse_header(value: str) -> Credential:
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() == "bearer" and rest:
        return Credential(registry_token=rest.strip())
    if scheme.lower() == "basic":
        try:
            user, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if colon:
            return Credential(user, password)
    raise AuthError("the Authorization header that was set is neither `Basic` with user and password nor `Bearer`")
