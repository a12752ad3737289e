"""Recording a run: what a training script or notebook reads and writes, pinned to digests while it runs.

    with run("train") as this:
        this.uses("data/train.parquet")
        ...
        this.produces("model.safetensors")

The record lies in `.mlkit/runs/` of the project. `mlkit pack` puts it into every kit that holds one of the files that
the run wrote, as long as the file is as the run wrote it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mlkit.archive.digests import file_digests
from mlkit.errors import IntegrityError, NotFoundError, StoreError, UsageError
from mlkit.spec.addresses import public_address
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile_fields import as_reference
from mlkit.spec.run_record import RUNS, Produced, RunRecord, Used, check_run_name, render_run_record

PathLike = str | os.PathLike[str]
Resolve = Callable[[str], Digest]
"""Finds the digest that a reference to a kit has now."""

_WEIGHTS = (".safetensors", ".gguf", ".onnx", ".pt", ".pth", ".bin", ".ckpt", ".h5", ".keras", ".npz", ".joblib")
_SCRIPTS = (".py", ".ipynb", ".sh", ".r", ".jl", ".scala", ".sql")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Run:
    """A run that is going on. Made by `run`."""

    def __init__(self, name: str, directory: Path, resolve: Resolve | None) -> None:
        """Raises: UsageError for a name that is none, and for what is no directory."""
        try:
            check_run_name(name)
        except IntegrityError as error:
            raise UsageError(error.message) from error
        if not directory.is_dir():
            raise UsageError(f"{directory}: not a directory")
        self._name = name
        self._directory = directory
        self._resolve = resolve
        self._uses: list[Used] = []
        self._produces: list[Path] = []
        self._parameters: dict[str, str] = {}
        self._metrics: dict[str, str] = {}

    def uses(self, what: PathLike, *, role: str | None = None, digest: str | None = None) -> None:
        """Say that the run reads a file, a directory, a kit (`repo:tag`, `repo@digest`) or a URI.

        Files are hashed now, so call it before the training changes them. `role` is `dataset`, `base-model`,
        `adapter-base`, `code`, `run` or `other`; without it weights are a base model, scripts code, the rest datasets.
        `digest` pins a URI. Raises: NotFoundError; UsageError; LimitError beyond 10,000 files in a directory.
        """
        text = os.fspath(what)
        given = Digest.parse(digest) if digest is not None else None
        path = self._directory / text
        if path.exists():
            base = self._name_of(path)
            for file in file_digests(path):
                name = "/".join(part for part in (base, file.path) if part)
                self._uses.append(Used(role or _role(name), name, file.digest))
            return
        if _SCHEME.match(text):
            # The kit goes to others, and presigned URLs and passwords do not.
            address = public_address(text)
            if address is None:
                raise UsageError("an address that the run uses cannot be read as a URI")
            self._uses.append(Used(role or _role(address), address, given, uri=address))
            return
        reference = as_reference(text)
        if reference is None:
            raise NotFoundError(f"{text}: no such file or directory", hint="a kit is named with a tag or a digest")
        pinned = reference.digest or given or (self._resolve(text) if self._resolve is not None else None)
        ref = str(reference.with_digest(pinned)) if pinned is not None else text
        self._uses.append(Used(role or "dataset", text, pinned, ref=ref))

    def produces(self, path: PathLike) -> None:
        """Say that the run writes a file or directory; it is hashed when the run is over."""
        self._produces.append(self._directory / os.fspath(path))

    def parameter(self, name: str, value: object) -> None:
        """A parameter of the run, as text."""
        self._parameters[name] = str(value)

    def metric(self, name: str, value: float) -> None:
        """A result of the run; the last value of a name counts."""
        self._metrics[name] = repr(value)

    def finished(self, started: datetime, ended: datetime, outcome: Literal["succeeded", "failed"]) -> RunRecord:
        """The record. What a failed run did not come to write is passed over. Raises: NotFoundError; LimitError."""
        written = []
        for path in self._produces:
            if outcome == "failed" and not path.exists():
                continue
            base = self._name_of(path)
            for file in file_digests(path):
                name = "/".join(part for part in (base, file.path) if part)
                written.append(Produced(name, file.digest, file.size))
        return RunRecord(
            name=self._name,
            started=_rfc3339(started),
            ended=_rfc3339(ended),
            outcome=outcome,
            uses=tuple(dict.fromkeys(self._uses)),
            produces=tuple(dict.fromkeys(written)),
            parameters=self._parameters,
            metrics=self._metrics,
        )

    def _name_of(self, path: Path) -> str:
        """As it is called in the project; by its own name alone outside, where paths are a matter of the machine."""
        # Links are not followed: what is linked to from elsewhere is known by the name it has here.
        resolved, root = (Path(os.path.normpath(one.absolute())) for one in (path, self._directory))
        if resolved == root:
            return ""
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else resolved.name


@contextmanager
def run(
    name: str,
    *,
    directory: PathLike = ".",
    resolve: Resolve | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Run]:
    """Record what happens inside of the `with`, in the project at `directory`; an exception makes it a failed run.

    Without `resolve` a kit that is named by a tag stays named by it.
    Raises: what `Run` and its methods raise; StoreError.
    """
    project = Path(directory)
    this, started = Run(name, project, resolve), clock()
    try:
        yield this
    except BaseException:
        write_record(project, this.finished(started, clock(), "failed"))
        raise
    write_record(project, this.finished(started, clock(), "succeeded"))


def write_record(project: Path, record: RunRecord) -> Path:
    """Put a record where `mlkit pack` finds it, in the place of an earlier one of its name. Raises: StoreError."""
    raw = render_run_record(record)
    folder = project / RUNS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file, temporary = tempfile.mkstemp(prefix=f".{record.name}-", dir=folder)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(raw)
            Path(temporary).replace(folder / f"{record.name}.json")
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {os.strerror(error.errno or 0)}") from error
    return folder / f"{record.name}.json"


def _role(name: str) -> str:
    if name.lower().endswith(_SCRIPTS):
        return "code"
    return "base-model" if name.lower().endswith(_WEIGHTS) else "dataset"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
