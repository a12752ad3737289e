"""What a registry's refusals and a network's failures mean to people: foreign errors end here."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import httpx

from mlkit.errors import AuthError, LimitError, MlkitError, NetworkError, NotFoundError
from mlkit.registry.origin import Origin
from mlkit.registry.redaction import Secrets, printable
from mlkit.spec.json_text import parse_json

ERROR_LIMIT = 64 * 1024
"""Bytes of an error's body that are read."""

_ERRORS_SHOWN = 3


def refusal(status: int, raw: bytes, *, host: str, what: str, secrets: Secrets, retry_after: str | None) -> MlkitError:
    """The error for a response that is none of those that were hoped for; `what` names the thing that was asked for."""
    said = registry_words(raw, secrets)
    told = f": {said}" if said else ""
    if status == 401:
        asked_for = "" if what == host else f"{what}: "
        return AuthError(f"{asked_for}{host} wants credentials, or others than these{told}", hint=f"mlkit login {host}")
    # 405: a registry that is there to be read, for this caller or for all.
    if status == 403 or (status == 405 and "DENIED" in error_codes(raw)):
        return AuthError(f"{what}: {host} denies access{told}", hint=f"mlkit login {host}, as someone who may do this")
    if status == 404:
        return NotFoundError(f"{what}: not found{told}")
    if status == 413:
        return LimitError(f"{what}: too large for {host}{told}")
    if status == 429:
        wait = f" (retry after {printable(retry_after, limit=60)})" if retry_after else ""
        return NetworkError(f"{what}: {host} allows no more requests for now{wait}{told}")
    if status == 405:
        return NetworkError(f"{what}: {host} does not allow this{told}")
    return NetworkError(f"{what}: {host} answered {status}{told}")


def registry_words(raw: bytes, secrets: Secrets) -> str:
    """Code and message of the errors in a body (OCI distribution, "Error Codes"), fit to be shown; else ""."""
    try:
        value = parse_json(raw, what="error", limit=ERROR_LIMIT)
    except MlkitError:
        return ""
    return printable(secrets.hide("; ".join(_error_texts(value))))


def error_codes(raw: bytes) -> frozenset[str]:
    """The codes of the errors in a body."""
    try:
        value = parse_json(raw, what="error", limit=ERROR_LIMIT)
    except MlkitError:
        return frozenset()
    return frozenset(error["code"] for error in _errors(value) if isinstance(error.get("code"), str))


def network_failure(error: httpx.TransportError, *, host: str, what: str) -> NetworkError:
    """The error for a request that came to no response, with the hop that failed, or `host` where that is unknown."""
    cause = error.__cause__
    host = _hop(error) or host
    words = printable(str(error) or type(error).__name__, limit=300)
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = printable(cause.verify_message, limit=200)
        return NetworkError(
            f"{host}: its certificate is not trusted: {reason}",
            hint="--ca-file names the authority that signed it",
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return NetworkError(f"{host}: does not speak TLS", hint="--plain-http, if this registry speaks http on purpose")
    if isinstance(cause, socket.gaierror):
        return NetworkError(f"{host}: no such host ({words})", hint="check the name and the network")
    if isinstance(cause, ConnectionRefusedError):
        return NetworkError(f"{host}: refuses connections ({words})", hint="is the registry running, on this port?")
    return NetworkError(f"{what}: {host}: {words}")


def _hop(error: httpx.TransportError) -> str | None:
    try:
        return Origin.of(error.request.url).authority
    except RuntimeError:  # httpx: no request was set on this error
        return None


def _error_texts(value: Any) -> list[str]:
    texts = []
    for error in _errors(value)[:_ERRORS_SHOWN]:
        code, message = error.get("code"), error.get("message")
        texts.append(": ".join(text for text in (code, message) if isinstance(text, str) and text))
    return [text for text in texts if text]


def _errors(value: Any) -> list[dict[str, Any]]:
    errors = value.get("errors") if isinstance(value, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
