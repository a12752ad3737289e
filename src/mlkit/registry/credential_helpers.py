"""Credential helpers: programs named `docker-credential-NAME` that keep secrets elsewhere."""

from __future__ import annotations

import re
import subprocess
import tempfile

from mlkit.errors import AuthError
from mlkit.registry.redaction import printable

_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_SECONDS = 10.0
_OUTPUT_LIMIT = 1024 * 1024  # bytes
_NOT_FOUND = b"credentials not found"  # docker-credential-helpers, credentials/error.go


class HelperNotFoundError(AuthError):
    """A helper that works and has nothing for this host."""


def run_helper(name: str, action: str, given: bytes) -> bytes:
    """What the helper prints. Raises: HelperNotFoundError; AuthError where it fails, hangs or talks too much."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise AuthError(f"{ascii(name)[:100]} is not the name of a credential helper", hint="mend the credentials file")
    program = f"docker-credential-{name}"
    # Into a file: a pipe that nobody may read to its end would have to be bounded by a thread.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [program, action], input=given, stdout=output, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False
            )
        except FileNotFoundError as error:
            raise AuthError(f"{program}: no such program", hint="install it, or log in without it") from error
        except subprocess.TimeoutExpired as error:
            raise AuthError(f"{program}: no answer within {_SECONDS:.0f} s") from error
        except OSError as error:
            raise AuthError(f"{program}: cannot be run: {error.strerror}") from error
        output.seek(0)
        printed = output.read(_OUTPUT_LIMIT + 1)
    if done.returncode:
        if _NOT_FOUND in printed[:4096].lower():
            raise HelperNotFoundError(f"{program}: has nothing")
        said = printable(printed[:200].decode("utf-8", "replace").strip())
        raise AuthError(f"{program}: {action} failed with {done.returncode}: {said}")
    if len(printed) > _OUTPUT_LIMIT:
        raise AuthError(f"{program}: printed more than {_OUTPUT_LIMIT} bytes")
    return printed
