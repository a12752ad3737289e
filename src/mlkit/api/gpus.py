"""The GPUs of this machine, as NVIDIA's management library tells them through `nvidia-smi`."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Iterator

from mlkit.errors import NotFoundError
from mlkit.packing.variants import Gpu

_QUERY = ("--query-gpu=memory.total,compute_cap,name", "--format=csv,noheader,nounits")
_USED = ("--query-gpu=memory.used", "--format=csv,noheader,nounits")
_TIMEOUT = 30.0  # seconds; a driver that wakes up many GPUs takes ten
_MIB = 1 << 20
_HINT = "-l KEY=VALUE names a kit of the index whatever this machine has"


def nvidia_gpus() -> tuple[Gpu, ...]:
    """Every NVIDIA GPU with its whole memory. Raises: NotFoundError where there is none, or none that answers."""
    program, text = _ask(_QUERY)
    gpus = tuple(gpu for row in _rows(text) if (gpu := _gpu(row)) is not None)
    if not gpus:
        raise _no_answer(program, text)
    return gpus


def used_gpu_bytes() -> int | None:
    """Bytes that all GPUs hold now, whoever uses them; None where there is no GPU to ask."""
    try:
        _, text = _ask(_USED)
    except NotFoundError:
        return None
    found = [int(row[0]) for row in _rows(text) if row and re.fullmatch(r"[0-9]{1,12}", row[0], re.ASCII)]
    return sum(found) * _MIB if found else None


def _ask(query: tuple[str, ...]) -> tuple[str, str]:
    """The program that was asked, and what it answered. Raises: NotFoundError."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NotFoundError("this machine has no NVIDIA GPU: there is no nvidia-smi", hint=_HINT)
    try:
        done = subprocess.run(
            [program, *query], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise NotFoundError(f"{program} gave no answer in {_TIMEOUT:.0f} seconds", hint=_HINT) from error
    except OSError as error:
        raise NotFoundError(f"{program} cannot be run: {error.strerror}", hint=_HINT) from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise _no_answer(program, text + done.stderr.decode("utf-8", "replace"))
    return program, text


def _no_answer(program: str, text: str) -> NotFoundError:
    told = next((line for line in text.splitlines() if line.strip()), "")
    return NotFoundError(
        f"this machine has no NVIDIA GPU that could be asked: {program} says {ascii(told.strip())[:200]}", hint=_HINT
    )


def _rows(text: str) -> Iterator[list[str]]:
    return csv.reader(text.splitlines(), skipinitialspace=True)


def _gpu(row: list[str]) -> Gpu | None:
    if len(row) < 3 or not re.fullmatch(r"[0-9]{1,12}", row[0], re.ASCII):
        return None
    compute = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})", row[1], re.ASCII)
    return Gpu(", ".join(row[2:]), int(row[0]) * _MIB, (int(compute[1]), int(compute[2])) if compute else None)
