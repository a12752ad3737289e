"""Telling other programs that a channel was moved: what is told, and how they know that it was us."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from collections.abc import Callable, Sequence

from mlkit.spec.json_text import render_json

SIGNATURE_HEADER = "X-Mlkit-Signature-256"
"""`sha256=` and the HMAC of the body in hexadecimal, under the secret that both sides know."""
EVENT_HEADER = "X-Mlkit-Event"
_TRIES = 3
_PAUSE = 1.0  # seconds, doubled each time
_TIMEOUT = 30.0  # seconds that a program may take: somebody waits for the channel to be moved
_SHOWN = 300  # characters of what a program says


def body_of(event: dict[str, object]) -> bytes:
    """What is sent: canonical JSON, so that it can be signed as it is."""
    return render_json({name: value for name, value in event.items() if value is not None})


def signature_of(body: bytes, secret: bytes) -> str:
    """The value of the header with the signature."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


def headers_of(event: str, body: bytes, secret: bytes | None) -> dict[str, str]:
    """The headers of a call."""
    headers = {"Content-Type": "application/json", EVENT_HEADER: event}
    return headers if secret is None else {**headers, SIGNATURE_HEADER: signature_of(body, secret)}


def call_url(post: Callable[[], str | None], sleep: Callable[[float], None]) -> str | None:
    """Post, again where that fails; gives why it failed in the end, or None."""
    reason = None
    for number in range(_TRIES):
        if number:
            sleep(_PAUSE * 2 ** (number - 1))
        reason = post()
        if reason is None:
            return None
    return reason


def run_program(argv: Sequence[str], body: bytes) -> str | None:
    """Run a program with the body on its stdin; gives why that failed, or None."""
    try:
        done = subprocess.run(
            list(argv), input=body, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_TIMEOUT:g} s, and was killed"
    except OSError as error:
        return f"it cannot be run: {error.strerror}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip()[-_SHOWN:]
    return f"it exited with {done.returncode}" + (f": {ascii(said)[1:-1]}" if said else "")
