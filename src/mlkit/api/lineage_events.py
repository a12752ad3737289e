"""A file of OpenLineage events as a target of the lineage index, read again whenever the index is made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mlkit.errors import LimitError, NotFoundError, StoreError
from mlkit.lineage.exchange.told import ToldRun, told_runs
from mlkit.lineage.facts import ReleaseFacts, StatementFacts
from mlkit.lineage.scan import Found
from mlkit.spec.digest import Digest

SCHEME = "openlineage:"
_FILE_LIMIT = 256 * 1024 * 1024  # bytes; a hundred thousand events of a few kilobytes


class EventsPlace:
    """The completed runs of one file, each under the id that it has there."""

    is_local = True

    def __init__(self, path: Path) -> None:
        self.name = f"{SCHEME}{os.path.realpath(path)}"
        self._path = path
        self._runs: dict[str, ToldRun] = {}

    def tags(self) -> Iterator[str]:
        """Raises: NotFoundError without the file; IntegrityError, LimitError."""
        self._runs = {run.run_id: run for run in told_runs(_lines(self._path), what=str(self._path))}
        return iter(sorted(self._runs))

    def told(self, tag: str) -> Digest | None:
        return self._runs[tag].facts.digest

    def read(self, tag: str, is_known: Callable[[Digest], bool]) -> Found:
        facts = self._runs[tag].facts
        return Found(facts.digest) if is_known(facts.digest) else Found(facts.digest, (facts,))

    def statements(self, _: Digest) -> tuple[StatementFacts, ...]:
        return ()

    def releases(self) -> Iterator[ReleaseFacts]:
        return iter(())


def state_of(path: Path) -> str | None:
    """What changes when the file does."""
    try:
        info = path.stat()
    except OSError:
        return None
    return f"{info.st_size} {info.st_mtime_ns} {info.st_ino}"


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > _FILE_LIMIT:
                raise LimitError(f"{path}: more than {_FILE_LIMIT} bytes of events")
            yield from stream
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file of events") from error
    except OSError as error:
        raise StoreError(f"{path}: {os.strerror(error.errno or 0)}") from error
