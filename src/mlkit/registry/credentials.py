"""Credentials, from the files and helpers that Docker and Podman use (containers-auth.json(5))."""

from __future__ import annotations

from dataclasses import dataclass


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
