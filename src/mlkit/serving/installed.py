"""Which of a runtime's programs is installed on this machine."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import NotFoundError
from mlkit.serving.runtimes import Local, Runtime


@dataclass(frozen=True, slots=True)
class Installed:
    """A way to run a runtime that is there."""

    local: Local
    program: str | None
    """Absolute path; None where it is a module of this Python."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where programs and modules are looked for."""

    path: str
    """As in PATH."""
    python: str
    """The interpreter that modules are run with; programs beside it are found too."""
    has_module: Callable[[str], bool]

    @classmethod
    def of(cls, environ: Mapping[str, str], python: str) -> Machine:
        """This machine, with the PATH of an environment."""
        return cls(environ.get("PATH", os.defpath), python, lambda name: importlib.util.find_spec(name) is not None)

    def find(self, runtime: Runtime) -> Installed | None:
        """The first way to run a runtime that is there, None where there is none."""
        path = f"{Path(self.python).parent}{os.pathsep}{self.path}"
        for local in runtime.local:
            program = shutil.which(local.program, path=path) if local.program else None
            if (program or not local.program) and all(self.has_module(name) for name in local.modules):
                return Installed(local, program)
        return None

    def has(self, runtime: Runtime) -> bool:
        """Whether a runtime can be run here; a command of one's own always can."""
        return not runtime.local or self.find(runtime) is not None

    def require(self, runtime: Runtime) -> Installed:
        """Like `find`. Raises: NotFoundError with the line that installs it."""
        found = self.find(runtime)
        if found is not None:
            return found
        lines = [f"pip install {shlex.join(local.pip.split())}" for local in runtime.local if local.pip]
        missing = [local.program or f"the Python module {' and '.join(local.modules)}" for local in runtime.local]
        where = f"the image {runtime.image} has it" if runtime.image else "--runtime names another"
        raise NotFoundError(
            f"{runtime.title} is not installed: there is no {', nor '.join(missing)}",
            hint=f"`{'` or `'.join(lines)}` installs it" if lines else where,
        )
