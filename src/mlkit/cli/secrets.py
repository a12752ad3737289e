"""Credentials as a person gives them: from stdin, or asked for on a terminal, never with an echo, nor in a crash."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from mlkit.cli.files import read_stdin
from mlkit.errors import UsageError
from mlkit.registry.credentials import Credential

_IN_URL = re.compile(r"(?:^|://)[^/\s:@]*:([^/\s]+)@")
_PASSWORD_LIMIT = 64 * 1024  # bytes; tokens of some clouds are several kilobytes


def ask_credential(username: str | None, password: str | None, *, from_stdin: bool) -> Credential:
    """Name and password, asked for where they are missing and somebody can answer. Raises: UsageError."""
    if from_stdin and password is not None:
        raise UsageError("--password and --password-stdin exclude each other")
    if username is None:
        _require_terminal("no user name", "give one with -u")
        username = input("Username: ")
    if from_stdin:
        # One line end is the shell's; anything else belongs to the password.
        password = read_stdin("the password", limit=_PASSWORD_LIMIT).removesuffix("\n").removesuffix("\r")
    if password is None:
        _require_terminal("no password", "pipe it in with --password-stdin")
        password = getpass.getpass("Password: ")
    if not username or not password:
        raise UsageError("neither user name nor password may be empty")
    return Credential(username=username, password=password, identity_token=None, registry_token=None)


def without_secrets(text: str, environ: Mapping[str, str], arguments: Sequence[str]) -> str:
    """A crash report without what the environment and the command line hold of secrets, and what looks like one."""
    from mlkit.registry import redaction

    known = [environ.get(name) for name in ("MLKIT_REGISTRY_PASSWORD", "MLKIT_REGISTRY_TOKEN", "MLKIT_KEY_PASSWORD")]
    urls = [value for name, value in environ.items() if name.upper().endswith("PROXY") or name == "MLKIT_INDEX_URL"]
    found = [secret for given in (*urls, *arguments) for secret in _IN_URL.findall(given)]
    known += [*found, *map(unquote, found)]
    for flag, value in zip(arguments, (*arguments[1:], ""), strict=True):
        if flag in ("-p", "--password"):
            known.append(value)
        elif flag.startswith(("-p", "--password=")):
            known.append(flag.removeprefix("--password=").removeprefix("-p"))
    return redaction.without_secrets(text, known)


def _require_terminal(what: str, hint: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{what}, and no terminal to ask on", hint=hint)
