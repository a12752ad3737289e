"""Channels on a registry on loopback: what a move takes and what of it goes over the wire, and a look at many."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MLKIT, Result, random_file, run
from tests.support.docker_registry import docker_registry
from tests.support.fault_proxy import fault_proxy

import mlkit
from mlkit.api import releases
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_REPOSITORIES = 100
_CHANNELS = 5


def measure(bench: Bench) -> Iterator[Result]:
    environ = os.environ | {"MLKIT_HOME": str(bench.folder / "store"), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    with docker_registry(bench.folder / "registry") as host, fault_proxy(host) as proxy:
        kit = f"{proxy.host}/team/large"
        project = bench.folder / "project"
        project.mkdir()
        random_file(project / "model.bin", bench.size)
        for version in ("1.0", "1.1"):
            (project / "params.yaml").write_text(f"version: {version}\n", encoding="utf-8")
            (project / "Kitfile").write_text(_KITFILE.format(version=version), encoding="utf-8")
            run([MLKIT, "pack", project, "-t", f"{host}/team/large:{version}", "--quiet"], environ=environ)
            run([MLKIT, "push", f"{host}/team/large:{version}", "--quiet"], environ=environ)
        run([MLKIT, "promote", f"{kit}:1.0", "production", "--quiet"], environ=environ)
        moves = {"promote": [f"{kit}:1.1", "production"], "rollback": [kit, "production"]}
        seconds: dict[str, list[float]] = {name: [] for name in moves}
        moved: dict[str, list[int]] = {name: [] for name in moves}
        for _ in range(bench.rounds):
            for name, words in moves.items():
                before = proxy.received + proxy.sent
                seconds[name].append(run([MLKIT, name, *words, "--quiet"], environ=environ).seconds)
                moved[name].append(proxy.received + proxy.sent - before)
        for name in moves:
            detail = f"docker-registry, a kit of {bench.size >> 20} MiB (medians of {bench.rounds})"
            yield Result(f"mlkit {name}", statistics.median(seconds[name]), 2.0, "s", detail)
            yield Result(f"bytes of mlkit {name}", statistics.median(moved[name]) / 1024, 256.0, "KiB", detail)
        yield _status(bench.folder, host)


def _status(folder: Path, host: str) -> Result:
    names = [f"{host}/team/kit{number}" for number in range(_REPOSITORIES)]
    environ = os.environ | {"MLKIT_HOME": str(folder / "store"), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    with mlkit.session(home=folder / "store", plain_http_hosts=("loopback",)) as session:

        def fill(name: str) -> None:
            for version in ("1.0", "1.1"):
                mlkit.copy(f"{host}/team/large:{version}", f"{name}:{version}", session=session)
            for channel in range(_CHANNELS):
                releases.promote(session, Reference.parse(f"{name}:1.{channel % 2}"), f"channel{channel}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(fill, names))
    spent = run([MLKIT, "status", *names, "--json"], environ=environ)
    detail = f"docker-registry, {_REPOSITORIES} repositories, {_CHANNELS} channels each"
    return Result("mlkit status of many", spent.seconds, 5.0, "s", detail)


_KITFILE = """\
manifestVersion: "1.0.0"
package: {{name: large, version: "{version}"}}
model: {{path: model.bin, version: "{version}"}}
parameters: [{{path: params.yaml, version: "{version}"}}]
"""
