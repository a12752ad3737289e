"""The GPUs of this machine, as NVIDIA's management library tells them through `nvidia-smi`."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

from mlkit.errors import NotFoundError
from mlkit.packing.variants import Gpu

_QUERY = ("--query-gpu=memory.total,compute_cap,name", "--format=csv,noheader,nounits")
_TIMEOUT = 30.0  # seconds; a driver that wakes up many GPUs takes ten
_MIB = 1 << 20
_HINT = "-l KEY=VALUE names a kit of the index whatever this machine has"


def nvidia_gpus() -> tuple[Gpu, ...]:
    """Every NVIDIA GPU with its whole memory. Raises: NotFoundError where there is none, or none that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NotFoundError("this machine has no NVIDIA GPU: there is no nvidia-smi", hint=_HINT)
    try:
        done = subprocess.run(
            [program, *_QUERY], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise NotFoundError(f"{program} gave no answer in {_TIMEOUT:.0f} seconds", hint=_HINT) from error
    except OSError as error:
        raise NotFoundError(f"{program} cannot be run: {error.strerror}", hint=_HINT) from error
    text = done.stdout.decode("utf-8", "replace")
    gpus = tuple(gpu for row in csv.reader(text.splitlines(), skipinitialspace=True) if (gpu := _gpu(row)) is not None)
    if done.returncode != 0 or not gpus:
        told = next((line for line in (text + done.stderr.decode("utf-8", "replace")).splitlines() if line.strip()), "")
        raise NotFoundError(
            f"this machine has no NVIDIA GPU that could be asked: {program} says {ascii(told.strip())[:200]}",
            hint=_HINT,
        )
    return gpus


def _gpu(row: list[str]) -> Gpu | None:
    if len(row) < 3 or not re.fullmatch(r"[0-9]{1,12}", row[0], re.ASCII):
        return None
    compute = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})", row[1], re.ASCII)
    return Gpu(", ".join(row[2:]), int(row[0]) * _MIB, (int(compute[1]), int(compute[2])) if compute else None)
