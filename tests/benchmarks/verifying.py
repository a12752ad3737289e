"""Verifying beyond the network: a kit with ten more statements, in a store of a hundred kits, in milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Result

import mlkit
from mlkit.api.session import Session

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_LIMIT = 100.0  # milliseconds
_ROUNDS = 15
_STATEMENTS = 10


def measure(bench: Bench) -> Iterator[Result]:
    project = bench.folder / "project"
    project.mkdir()
    (project / "weights.bin").write_bytes(b"weights")
    (project / "Kitfile").write_text('manifestVersion: "1.0.0"\nmodel: {path: weights.bin}\n', encoding="utf-8")
    keys = {
        kind: mlkit.keygen(bench.folder / kind, type=kind, no_password=True)  # type: ignore[arg-type]
        for kind in ("ecdsa-p256", "ed25519")
    }
    with mlkit.session(home=bench.folder / "store") as session:
        for number in range(100):
            mlkit.pack(project, tag=f"team/kits:v{number}", annotations={"n": str(number)}, session=session)
        tag = "team/kits:v0"
        for key in keys.values():
            mlkit.sign(tag, key=key.private_key, session=session)
            for number in range(_STATEMENTS // len(keys)):
                mlkit.attest(tag, "urn:x:bench", {"n": number}, key=key.private_key, session=session)
        for kind, key in keys.items():
            near = _median(session, lambda fresh, key=key: mlkit.verify(tag, keys=key.public_key, session=fresh))
            detail = f"{_STATEMENTS} more statements, 100 kits beside it"
            yield Result(f"verify with a key, {kind}", near, _LIMIT, "ms", detail)


def _median(session: Session, verify: Callable[[Session], object]) -> float:
    """Milliseconds, each time with connections and caches of its own."""
    spent = []
    for _ in range(_ROUNDS):
        with Session(session.settings) as fresh:
            start = time.perf_counter()
            verify(fresh)
            spent.append((time.perf_counter() - start) * 1000)
    return statistics.median(spent)
