"""The error tree, with the exit code of each kind beside it.

Split by who must act:

    MlkitError
    ├── UsageError        2   the caller: a flag, a reference, a Kitfile
    ├── NotFoundError     3   the caller: a reference, tag, file or filter that matches nothing
    ├── IntegrityError    4   the content: digest, size or format does not match
    ├── UnsafeError       5   the content: archive, path, link or serialized code refused
    ├── AuthError         6   the caller or the registry: who may do what
    ├── NetworkError      7   the network or the registry, after retries
    ├── PolicyError       8   the trust: a signature or requirement not met
    ├── ConflictError     9   somebody else: exists, locked, changed while packing, tag moved
    ├── StoreError       10   this machine: space, I/O, corruption
    ├── LimitError       11   a limit was exceeded
    └── ProgramError     12   a program that mlkit runs for the caller: it died, or was never ready

A message is one sentence with the offending value and the expected one. What to do about it is the hint.
Exit code 1 is no error: it is the negative answer to a check or query.
"""

from __future__ import annotations

from typing import ClassVar


class MlkitError(Exception):
    """Base of everything that mlkit raises on purpose; `str(error)` is the message without the hint."""

    exit_code: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlkitError):
    """A bad flag, reference or Kitfile."""

    exit_code = 2
    code = "E_USAGE"


class NotFoundError(MlkitError):
    """A reference, tag, file or filter that matches nothing."""

    exit_code = 3
    code = "E_NOTFOUND"


class IntegrityError(MlkitError):
    """Bytes that do not match their digest, size or format."""

    exit_code = 4
    code = "E_INTEGRITY"

    def __init__(self, message: str, *, hint: str | None = None, content: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.content = content
        """The digest of the blob whose bytes are not its own, where that is known."""


class DigestMismatch(IntegrityError):
    """Bytes of the right size whose digest is another one."""


class SizeMismatch(IntegrityError):
    """Fewer or more bytes than the descriptor promises."""


class UnsafeError(MlkitError):
    """An archive, path, link or serialized code that mlkit refuses to handle."""

    exit_code = 5
    code = "E_UNSAFE"


class AuthError(MlkitError):
    """Credentials that are missing, malformed or not accepted."""

    exit_code = 6
    code = "E_AUTH"


class NetworkError(MlkitError):
    """A network or registry that failed, after retries."""

    exit_code = 7
    code = "E_NETWORK"


class PolicyError(MlkitError):
    """A signature or requirement that is not met."""

    exit_code = 8
    code = "E_POLICY"


class ConflictError(MlkitError):
    """Something exists, is locked, or changed under us."""

    exit_code = 9
    code = "E_CONFLICT"


class StoreError(MlkitError):
    """The store or the disk failed: space, I/O, corruption."""

    exit_code = 10
    code = "E_STORE"


class LimitError(MlkitError):
    """A limit on size, depth or count was exceeded."""

    exit_code = 11
    code = "E_LIMIT"


class ProgramError(MlkitError):
    """A program that mlkit runs, such as a model server, died or was never ready."""

    exit_code = 12
    code = "E_PROGRAM"
