"""oras-py's `Registry` on mlkit's engine: for programs that are written against oras-py.

    >>> from mlkit.integrations.oras import Registry       # instead of: from oras.provider import Registry
    >>> client = Registry(hostname="registry.example")
    >>> client.push("registry.example/team/notes:1", files=["notes.txt"])   # doctest: +SKIP

Needs the extra `oras`. The command line does not import it.
"""

from __future__ import annotations

try:
    from mlkit.integrations.oras.client import Registry
except ModuleNotFoundError as error:
    # Still an ImportError, for programs that fall back to something else.
    if (error.name or "").partition(".")[0] not in ("oras", "requests", "jsonschema"):
        raise
    raise ModuleNotFoundError(
        f"mlkit.integrations.oras needs the package {error.name}: pip install 'mlkit[oras]'", name=error.name
    ) from error

OrasClient = Registry
"""The name that `oras.client` gives it."""

__all__ = ["OrasClient", "Registry"]
