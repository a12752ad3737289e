"""Push and pull against curl and skopeo on a real registry, and the memory that mlkit holds at most."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, Run, compare, peak_bytes, run, shell
from tests.benchmarks.packing import pack, project
from tests.support.docker_registry import docker_registry

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_MEMORY_LIMIT = 120.0  # MiB

_CURL_PUSH = """
location=$(curl -sSf -X POST -o /dev/null -D - -H 'Content-Length: 0' "http://$HOST/v2/$REPO/blobs/uploads/" \
  | tr -d '\\r' | awk 'tolower($1) == "location:" {print $2}')
case "$location" in /*) location="http://$HOST$location" ;; esac
case "$location" in *\\?*) location="$location&digest=$DIGEST" ;; *) location="$location?digest=$DIGEST" ;; esac
curl -sSf -X PUT -H 'Content-Type: application/octet-stream' -T "$F" "$location"
"""


def measure(bench: Bench) -> Iterator[Result]:
    one, eight, store = bench.folder / "one", bench.folder / "eight", bench.folder / "store"
    project(one, [bench.size])
    project(eight, [bench.size // 8] * 8)
    pack(one, store, reference="bench:one")
    pack(eight, store, reference="bench:eight")
    yield from _pushes(bench, store, one / "data/part-0.bin")
    yield from _pulls(bench, store)
    yield from _memory(bench)


def _pushes(bench: Bench, store: Path, large: Path) -> Iterator[Result]:
    digest = layers(store, "bench:one")[0]
    number = iter(range(1_000_000))

    def push(tag: str) -> Run:
        with docker_registry(bench.folder / f"registry-{next(number)}") as host:
            return mlkit(store, "push", f"bench:{tag}", f"{host}/bench:{tag}")

    def curl() -> Run:
        with docker_registry(bench.folder / f"registry-{next(number)}") as host:
            return shell(_CURL_PUSH, HOST=host, REPO="bench", DIGEST=digest, F=large)

    def clean() -> None:
        for folder in bench.folder.glob("registry-*"):
            shutil.rmtree(folder)

    yield compare(
        "push of one blob", 1.1, lambda: push("one"), curl, rounds=bench.rounds, labels=["curl -T"], between=clean
    )
    yield compare(
        "push of eight blobs, against one",
        1.0,
        lambda: push("eight"),
        lambda: push("one"),
        rounds=bench.rounds,
        labels=["one blob"],
        between=clean,
    )
    clean()


def _pulls(bench: Bench, store: Path) -> Iterator[Result]:
    here, target, copied = bench.folder / "pulled", bench.folder / "layout", bench.folder / "blob"
    digest = layers(store, "bench:one")[0]

    def clean() -> None:
        for path in (here, target):
            shutil.rmtree(path, ignore_errors=True)
        copied.unlink(missing_ok=True)

    with docker_registry(bench.folder / "registry") as host:
        for tag in ("one", "eight"):
            mlkit(store, "push", f"bench:{tag}", f"{host}/bench:{tag}")
        yield compare(
            "pull of one blob",
            1.1,
            lambda: mlkit(here, "pull", f"{host}/bench:one"),
            lambda: shell(
                'curl -sSf "$URL" | tee "$F" | sha256sum >/dev/null',
                URL=f"http://{host}/v2/bench/blobs/{digest}",
                F=copied,
            ),
            rounds=bench.rounds,
            labels=["curl | tee | sha256sum"],
            between=clean,
        )
        if shutil.which("skopeo"):
            for tag in ("one", "eight"):
                yield compare(
                    f"pull of {tag} blob{'' if tag == 'one' else 's'}, against skopeo",
                    1.0,
                    lambda tag=tag: mlkit(here, "pull", f"{host}/bench:{tag}"),
                    lambda tag=tag: run(
                        [
                            "skopeo",
                            "copy",
                            "-q",
                            "--src-tls-verify=false",
                            f"docker://{host}/bench:{tag}",
                            f"oci:{target}:{tag}",
                        ]
                    ),
                    rounds=bench.rounds,
                    labels=["skopeo copy"],
                    between=clean,
                )
    clean()


def _memory(bench: Bench) -> Iterator[Result]:
    """Twice the size of the other measurements, in one file and in four."""
    folder, store, other = bench.folder / "double", bench.folder / "double-store", bench.folder / "double-pulled"
    project(folder, [bench.size] + [bench.size // 4] * 4)
    size = f"{bench.size * 2 // MIB} MiB"
    yield _peak("pack", size, store, "pack", str(folder), "-t", "bench:1")
    with docker_registry(bench.folder / "registry-memory") as host:
        yield _peak("push", size, store, "push", "bench:1", f"{host}/bench:1")
        shutil.rmtree(store)
        yield _peak("pull", size, other, "pull", f"{host}/bench:1")
        yield _peak("unpack", size, other, "unpack", f"{host}/bench:1", "-d", str(bench.folder / "double-files"))


def _peak(verb: str, size: str, store: Path, *arguments: str) -> Result:
    peak, seconds = peak_bytes([MLKIT, *arguments, "--quiet"], environ=environ(store))
    return Result(f"peak memory, {verb} of {size}", peak / MIB, _MEMORY_LIMIT, "MiB", f"{seconds:.1f} s")


def environ(store: Path) -> dict[str, str]:
    """What a command of these benchmarks runs with."""
    return os.environ | {"MLKIT_HOME": str(store), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}


def mlkit(store: Path, *arguments: str) -> Run:
    return run([MLKIT, *arguments, "--quiet"], environ=environ(store))


def layers(store: Path, reference: str) -> list[str]:
    """Digests of a kit's layers, largest first."""
    done = subprocess.run(
        [MLKIT, "inspect", reference, "--json"],
        env=os.environ | {"MLKIT_HOME": str(store)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)["layers"]
    return [layer["digest"] for layer in sorted(found, key=lambda layer: -layer["size"])]
