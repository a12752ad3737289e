"""What operators want to know of a run that brought a kit: spans and figures for a tracer, and a file for Prometheus.

The file is for the textfile collector of a node exporter: one set of series for the last pull or unpack, written whole
or not at all. A run does not fail because nobody can be told of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlkit import __version__
from mlkit.api.moving import Moved, Unpacked
from mlkit.api.session import Session
from mlkit.content.storage import read_blob
from mlkit.errors import MlkitError
from mlkit.progress import Fact
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.media_types import VERSION
from mlkit.spec.reference import Reference

_INTERRUPTED = 130

_SERIES: Mapping[str, str] = {
    "timestamp_seconds": "When the last run ended, in seconds since 1970.",
    "duration_seconds": "How long it took.",
    "success": "1 where it succeeded, else 0.",
    "exit_code": "The exit code that it ended with.",
    "moved_bytes": "What was fetched.",
    "present_bytes": "What was there already.",
    "files": "Files that were written.",
    "files_bytes": "Bytes of these files.",
}


@dataclass(slots=True)
class Run:
    """A run on its way, and what is to be told of it."""

    command: str
    reference: str
    digest: Digest | None = None
    version: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    """By names in _SERIES."""

    def brought(self, moved: Moved, version: str | None) -> None:
        """A kit is in the local store."""
        self.digest = moved.variant or moved.digest
        self.version = version
        self.figures |= {"moved_bytes": moved.moved_bytes, "present_bytes": moved.present_bytes}
        if moved.unpacked is not None:
            self.wrote(moved.unpacked)

    def wrote(self, unpacked: Unpacked) -> None:
        """A kit is in a directory."""
        self.digest, self.version = unpacked.digest, unpacked.version or self.version
        self.figures |= {"files": len(unpacked.files), "files_bytes": unpacked.size}


@contextmanager
def reported(
    session: Session, command: str, reference: Reference, *, now: Callable[[], float] = time.time
) -> Iterator[Run]:
    """Tell of everything inside, and how it ended."""
    run = Run(command, str(reference))
    began = time.monotonic()
    code = _INTERRUPTED
    with session.tracer.span(command, reference=run.reference) as span:
        try:
            yield run
            code = 0
        except MlkitError as error:
            code = error.exit_code
            raise
        finally:
            seconds = time.monotonic() - began
            run.figures |= {"duration_seconds": seconds, "exit_code": code, "success": float(code == 0)}
            known = {"digest": str(run.digest or ""), "version": run.version or ""}
            span.note(**{name: value for name, value in known.items() if value})
            facts: dict[str, Fact] = {"command": command, "success": code == 0}
            session.tracer.measure("duration", seconds, **facts)
            session.tracer.measure("moved", run.figures.get("moved_bytes", 0.0), **facts)
            if session.settings.metrics_file is not None:
                _write(session, session.settings.metrics_file, render_metrics(run, at=now()))


def version_of(session: Session, digest: Digest) -> str | None:
    """The version that a manifest in the local store tells; None where it tells none, or is none."""
    try:
        desc = session.layout.resolve(str(digest))
        annotations = parse_object(read_blob(session.layout, desc, limit=MANIFEST_LIMIT), what=str(digest)).get(
            "annotations"
        )
    except MlkitError:
        return None
    version = annotations.get(VERSION) if isinstance(annotations, dict) else None
    return version if isinstance(version, str) else None


def render_metrics(run: Run, *, at: float) -> str:
    """The exposition format of Prometheus, version 0.0.4; `at` is in seconds since 1970."""
    label = f'command="{_escaped(run.command)}"'
    figures = {**run.figures, "timestamp_seconds": at}
    lines = []
    for name, about in _SERIES.items():
        if name in figures:
            metric = f"mlkit_last_run_{name}"
            lines += [f"# HELP {metric} {about}", f"# TYPE {metric} gauge", f"{metric}{{{label}}} {figures[name]:.17g}"]
    told = {
        "command": run.command,
        "reference": run.reference,
        "digest": str(run.digest or ""),
        "version": run.version or "",
        "mlkit": __version__,
    }
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in told.items())
    metric = "mlkit_last_run_info"
    lines += [f"# HELP {metric} Which kit it was about.", f"# TYPE {metric} gauge", f"{metric}{{{labels}}} 1"]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    printable = "".join(character if character.isprintable() or character == "\n" else "?" for character in value)
    return printable.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")[:1000]


def _write(session: Session, path: Path, text: str) -> None:
    # The exporter reads files that end in .prom: it must not see half of one.
    written = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        written.write_text(text, encoding="utf-8")
        written.chmod(0o644)
        written.replace(path)
    except OSError as error:
        written.unlink(missing_ok=True)
        session.progress.warn(f"{path}: the figures of this run cannot be written: {error.strerror}")
