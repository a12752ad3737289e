"""Errors that two kinds of programs understand: those of mlkit, and those that were written against oras-py.

oras-py raises ValueError for nearly everything, and lets requests' ConnectionError through. What leaves this
integration is the error of mlkit, of the same kind and with the same exit code, and that as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests

from mlkit.errors import MlkitError, NetworkError

_KINDS: dict[type[MlkitError], type[MlkitError]] = {}


@contextmanager
def oras_errors() -> Iterator[None]:
    """The wall of this integration: around everything that a program calls, and around nothing of mlkit's own rooms.

    For what comes out is an OSError too where it is a NetworkError, and the rooms take an OSError for the disk's.
    """
    try:
        yield
    except MlkitError as error:
        if isinstance(error, ValueError):
            raise
        raise as_oras_error(error) from error


def as_oras_error(error: MlkitError) -> MlkitError:
    """The same error, that is also a ValueError, and requests' ConnectionError where the network or registry failed."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == MlkitError.__module__)
    return _made(kind, error.message, error.hint)


def _made(kind: type[MlkitError], message: str, hint: str | None) -> MlkitError:
    if kind not in _KINDS:
        _KINDS[kind] = _both(kind)
    return _KINDS[kind](message, hint=hint)


def _both(kind: type[MlkitError]) -> type[MlkitError]:
    others = (requests.ConnectionError, ValueError) if issubclass(kind, NetworkError) else (ValueError,)

    def reduce(self: MlkitError) -> object:
        """For programs that hand errors from process to process: a class that is made here has no place to be found."""
        return _made, (kind, self.message, self.hint)

    return type(kind.__name__, (kind, *others), {"__module__": __name__, "__doc__": kind.__doc__, "__reduce__": reduce})
