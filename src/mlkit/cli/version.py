"""What `mlkit version` says, made without importing anything of weight."""

from __future__ import annotations

import sys

from mlkit import __version__


def version_text(*, as_json: bool) -> str:
    """The version alone, or a JSON document that also names the Python and the platform."""
    if not as_json:
        return __version__
    import json

    python = ".".join(map(str, sys.version_info[:3]))
    return json.dumps({"version": __version__, "python": python, "platform": sys.platform}, indent=2)
