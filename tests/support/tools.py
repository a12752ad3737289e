"""Real programs that the tests talk to, wherever they are on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlkit-tests" / "bin"
"""Where `install_tools` puts what it builds: outside the repository, so that every clone finds it."""

NODE = FOLDER.parent / "node/node_modules"
"""Where it puts packages of npm."""


def find_tool(name: str) -> Path | None:
    """The program, from the folder of built tools first: a current build is faster than a distribution's."""
    found = shutil.which(name, path=f"{FOLDER}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return None if found is None else Path(found)
