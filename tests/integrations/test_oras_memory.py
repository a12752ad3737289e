"""The memory of a program of oras-py on our engine does not grow with what it moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.docker_registry import docker_registry

MIB = 1024 * 1024

_PROGRAM = """
import sys
from pathlib import Path
from mlkit.integrations.oras import Registry

target, file, out = sys.argv[1:]
with Registry(insecure=True) as client:
    client.push(target, files=[file], disable_path_validation=True, quiet=True)
    client.pull(target, outdir=out)
    digest = client.get_manifest(target)["layers"][0]["digest"]
    with client.get_blob(target, digest, stream=True) as response:
        size = sum(len(chunk) for chunk in response.iter_content(1 << 20))
assert size == Path(file).stat().st_size == (Path(out) / Path(file).name).stat().st_size
# Of this process alone: what getrusage(2) tells includes the parent at its fork.
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print("peak", int(line.split()[1]) * 1024)
"""


def peak(host: str, folder: Path, size: int) -> int:
    """The most bytes that the program held while it pushed, pulled and streamed a file of this size."""
    folder.mkdir()
    with (folder / "file").open("wb") as file:
        file.truncate(size)
    command = [sys.executable, "-c", _PROGRAM, f"{host}/team/large:{size}", str(folder / "file"), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stderr
    (folder / "out/file").unlink()
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_half_a_gibibyte_takes_no_more_memory_than_a_little(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as host:
        small = peak(host, tmp_path / "small", 16 * MIB)
        large = peak(host, tmp_path / "large", 512 * MIB)

    assert large < 120 * MIB
    assert large - small < 16 * MIB
