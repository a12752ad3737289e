"""Secrets that come in environment variables: credentials for registries, and what opens the signing key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import UsageError


@dataclass(frozen=True, slots=True, repr=False)
class GivenCredential:
    """What the environment says to show to registries; never shown to people, not even by `repr`."""

    username: str | None
    password: str | None
    token: str | None
    """Sent to the registry as it is."""
    source: str
    """Name of the variable that holds the secret."""

    def __repr__(self) -> str:
        return f"GivenCredential({self.source})"


@dataclass(frozen=True, slots=True, repr=False)
class KeyPassword:
    """What opens the signing key; never shown to people, not even by `repr`."""

    text: str | None
    file: Path | None
    """Where it is, if not in `text`."""
    source: str
    """Name of the variable."""

    def __repr__(self) -> str:
        return f"KeyPassword({self.source})"


def read_given_credential(environ: Mapping[str, str]) -> GivenCredential | None:
    """Raises: UsageError for half a credential, or two; the values are never shown."""
    user, password, token = (environ.get(f"MLKIT_REGISTRY_{name}") or None for name in ("USER", "PASSWORD", "TOKEN"))
    if token is not None and (user is not None or password is not None):
        raise UsageError("MLKIT_REGISTRY_TOKEN excludes MLKIT_REGISTRY_USER and MLKIT_REGISTRY_PASSWORD")
    if (user is None) != (password is None):
        there, absent = ("PASSWORD", "USER") if user is None else ("USER", "PASSWORD")
        raise UsageError(f"MLKIT_REGISTRY_{there} is set, and MLKIT_REGISTRY_{absent} is not")
    if user is not None and ":" in user:
        raise UsageError("MLKIT_REGISTRY_USER has a colon in it", hint="the password has a variable of its own")
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError("MLKIT_REGISTRY_TOKEN has characters in it that no token has")
    if token is None and password is None:
        return None
    source = "MLKIT_REGISTRY_TOKEN" if token is not None else "MLKIT_REGISTRY_PASSWORD"
    return GivenCredential(user, password, token, source)


def read_key_password(environ: Mapping[str, str]) -> KeyPassword | None:
    """Raises: UsageError for two. An empty one is one: it is what a key without a password has in other tools."""
    text, file = environ.get("MLKIT_KEY_PASSWORD"), environ.get("MLKIT_KEY_PASSWORD_FILE")
    if text is not None and file:
        raise UsageError("MLKIT_KEY_PASSWORD excludes MLKIT_KEY_PASSWORD_FILE")
    if text is not None:
        return KeyPassword(text, None, "MLKIT_KEY_PASSWORD")
    return KeyPassword(None, Path(file), "MLKIT_KEY_PASSWORD_FILE") if file else None
