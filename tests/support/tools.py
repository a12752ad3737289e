"""Real programs that the tests talk to, wherever they are on this machine."""

from __future__ import annotations

import os
import shutil
from glob import glob
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlkit-tests" / "bin"
"""Where `install_tools` puts what it builds: outside the repository, so that every clone finds it."""

NODE = FOLDER.parent / "node/node_modules"
"""Where it puts packages of npm."""


def find_tool(name: str) -> Path | None:
    """The program, from the folder of built tools first: a current build is faster than a distribution's."""
    # Debian keeps the programs of PostgreSQL apart, a folder for each version.
    folders = [
        str(FOLDER),
        os.environ.get("PATH", os.defpath),
        *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True),
    ]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return None if found is None else Path(found)


MAGIKA = FOLDER.parent / "magika-1.0.3"
"""Where it puts magika, a package of PyPI that brings a small model for text; a folder to import from."""
