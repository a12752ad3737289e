"""The scan of a checkpoint, of which only the pickle matters."""

from __future__ import annotations

import os
import statistics
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, peak_bytes, random_file
from tests.trust.scan.checkpoints import state_dict

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_STORAGES = 256
_SECONDS = 2.0
_MEMORY = 256.0  # MiB


def measure(bench: Bench) -> Iterator[Result]:
    environ = os.environ | {"MLKIT_HOME": str(bench.folder / "store")}
    size = min(bench.size, 1024 * MIB)
    checkpoint = _checkpoint(bench.folder, size)
    runs = [peak_bytes([MLKIT, "scan", checkpoint, "--quiet"], environ=environ) for _ in range(bench.rounds)]
    seconds = statistics.median(seconds for _, seconds in runs)
    memory = max(peak for peak, _ in runs) / MIB
    what = f"scan of a checkpoint of {size // MIB} MiB"
    yield Result(what, seconds, _SECONDS, "s", f"median of {bench.rounds}")
    # The largest of the processes: that of the scan is a child of the one that is measured.
    yield Result(f"{what}, memory", memory, _MEMORY, "MiB", "the most that one of its processes held")


def _checkpoint(folder: Path, size: int) -> Path:
    """As `torch.save` lays it out, with storages that do not repeat."""
    count = size // _STORAGES
    tensors = {f"layers.{number}.weight": ("FloatStorage", [count // 4]) for number in range(_STORAGES)}
    storage = random_file(folder / "storage", count).read_bytes()
    path = folder / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", state_dict(tensors))
        for number in range(_STORAGES):
            archive.writestr(f"model/data/{number}", number.to_bytes(8, "big") + storage[8:])
        archive.writestr("model/version", b"3\n")
    return path
