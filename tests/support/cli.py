"""The command line in a home of its own, by its entry point: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from mlkit.cli.main import run

PROGRAM = Path(sys.executable).parent / "mlkit"


@dataclass(frozen=True, slots=True)
class Completed:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The one object on stderr."""
        found = json.loads(self.stderr)["error"]
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs of `mlkit` that share a home and a working directory."""

    home: Path
    cwd: Path

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of a run: nothing of the developer's own settings and credentials leaks in."""
        return {
            "PATH": f"{PROGRAM.parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "MLKIT_HOME": str(self.home / "store"),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
        }

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
    ) -> Completed:
        """Run to the end in this process, which saves the imports; `env` is added, `input` is stdin."""
        stdin, stdout, stderr = (_stream(text) for text in (input or "", "", ""))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with (
            mock.patch.dict(os.environ, {**self.environ, **(env or {})}, clear=True),
            contextlib.chdir(self.cwd),
            mock.patch.multiple(sys, argv=["mlkit", *map(str, arguments)], stdin=stdin, stdout=stdout, stderr=stderr),
        ):
            try:
                run()
                code = 0
            except SystemExit as left:
                code = int(left.code or 0)
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return Completed(code, _written(stdout), _written(stderr))

    def process(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Completed:
        """Run to the end in a process of its own, by the console script."""
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            env={**self.environ, **(env or {})},
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str | Path, env: Mapping[str, str] | None = None, input: str | None = None) -> Completed:
        """Run to the end, which must be a good one."""
        done = self(*arguments, env=env, input=input)
        assert done.code == 0, f"{arguments}: exit {done.code}\n{done.stdout}\n{done.stderr}"
        return done


def _stream(content: str | bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content.encode() if isinstance(content, str) else content), encoding="utf-8")


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


_HEADER = '{"w":{"dtype":"U8","shape":[1920],"data_offsets":[0,1920]}}'


WEIGHTS = f"{chr(72)}\0\0\0\0\0\0\0{_HEADER:<72}{'w' * 1920}".encode()
"""What the model of `write_project` is."""


def write_project(directory: Path) -> Path:
    """A small project with a Kitfile: a model, a dataset, parameters, code and a page of documentation."""
    files = {
        "Kitfile": """\
manifestVersion: "1.0.0"
package:
  name: digits
  version: "1.2"
  description: Handwritten digits
model:
  name: digits-model
  path: model/weights.safetensors
  version: "6"
datasets:
  - name: train
    path: data/train.csv
    version: "2"
  - name: test
    path: data/test.csv
    version: "2"
code:
  - path: src
docs:
  - path: README.md
""",
        "model/weights.safetensors": WEIGHTS.decode(),
        "data/train.csv": "a,b\n" + "1,2\n" * 100,
        "data/test.csv": "a,b\n3,4\n",
        "src/train.py": "print('train')\n",
        "README.md": "# Digits\n",
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory
