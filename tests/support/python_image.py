"""The Python that runs the tests as a base image, and mlkit with what it needs as the folder `pip install --target`
writes: both without a network.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from tests.support.base_images import Base

import mlkit

_LEFT_OUT = re.compile(
    r"(?:^|/)(?:__pycache__|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|"
    r"dist-packages|config-[^/]*|sitecustomize\.py)(?:/|$)|\.a$"
)


def python_base() -> Base:
    """An image with a Python, at the path that it has here, and nothing else. Skips where its libraries are not told
    by ldd."""
    if shutil.which("ldd") is None:
        pytest.skip("ldd is not installed")
    prefix = Path(sys.base_prefix).resolve()
    program = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]  # what a venv was made from
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = prefix / "lib" / version
    found = [program, *(path for path in library.rglob("*") if path.is_file() and not _is_left_out(path, library))]
    binaries = [path for path in found if path == program or path.suffix == ".so"]
    # What the packages of mlkit are linked with, every image of a Python has.
    binaries += [file for name in _needed("mlkit") for file in _files(name) if file.suffix == ".so"]
    files = {str(path): path for path in (*found, *_libraries(binaries))}
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, path in sorted(files.items()):
            member = tarfile.TarInfo(name.lstrip("/"))
            member.size, member.mode = path.stat().st_size, 0o755
            with path.open("rb") as stream:
                archive.addfile(member, stream)
        for name in ("usr/bin/python3", f"usr/local/bin/{version}"):
            if f"/{name}" not in files:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, str(program)
                archive.addfile(member)
        for name in ("proc", "dev", "tmp", "models"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
    return Base((sink.getvalue(),), container={"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["python3"]}, is_compressed=False)


def install_mlkit(target: Path) -> None:
    """What `pip install --target TARGET mlkit` gives, from the packages that are installed here."""
    shutil.copytree(Path(mlkit.__file__).parent, target / "mlkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _needed("mlkit"):
        root = Path(str(distribution(name).locate_file("")))
        for file in _files(name):
            copied = target / file.relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


def _files(name: str) -> Iterator[Path]:
    for file in distribution(name).files or ():
        path = Path(str(file.locate()))
        if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
            yield path


def _needed(root: str) -> set[str]:
    """The packages that one needs, by name, without itself."""
    found: set[str] = set()
    todo = [root]
    while todo:
        name = todo.pop()
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # one for other platforms
        if name != root:
            found.add(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                needed = re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0]
                if needed.lower() not in {one.lower() for one in (*found, root)}:
                    todo.append(needed)
    return found


def _is_left_out(path: Path, library: Path) -> bool:
    return _LEFT_OUT.search(str(path.relative_to(library))) is not None


def _libraries(binaries: list[Path]) -> Iterator[Path]:
    """What the loader needs for them, under the names that it looks for."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    named = {found for line in done.stdout.splitlines() for found in re.findall(r"(/\S+) \(0x", line)}
    yield from (Path(name) for name in sorted(named) if Path(name).is_file())
