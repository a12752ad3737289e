"""What a kit was made from, found out when it is packed and pinned: the facts that lineage stands on.

What the author says in `inputs:`, and what Git, DVC, MLflow, Hugging Face, Delta Lake and records of runs left in the
project. Only what follows from the project's own files goes into a kit: packing it elsewhere gives the same digest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlkit.api.session import Session
from mlkit.archive.digests import file_digests
from mlkit.errors import IntegrityError, LimitError, UnsafeError
from mlkit.packing.plan import EntryPaths, PackPlan
from mlkit.sources import delta, dvc, git, huggingface, mlflow
from mlkit.sources.small_files import read_small
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import TEXT_LIMIT, InputRecord, check_kit_path
from mlkit.spec.kitfile import Kitfile, dataset_reference, entries, model_reference, remote_entries
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference
from mlkit.spec.run_record import RECORD_LIMIT, RUNS, RunRecord, parse_run_record

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_RUN_FILES = 100
_SCRIPTS = (".py", ".ipynb", ".sh", ".r", ".jl", ".scala", ".sql")


@dataclass(frozen=True, slots=True)
class Captured:
    """What was found."""

    inputs: tuple[InputRecord, ...]
    runs: tuple[RunRecord, ...]
    """All that the project has a record of; those count whose files are in the kit."""
    notes: tuple[str, ...]
    """What a person should know: sentences."""


def stated_inputs(session: Session, directory: Path, kitfile: Kitfile) -> tuple[InputRecord, ...]:
    """What the Kitfile names, kits pinned to the digests they have now, and local files to those of their bytes.

    Raises: NotFoundError for a kit or file that is not there and has no digest in the Kitfile; UsageError for kits
    that come back to themselves; LimitError for a chain that does not end.
    """
    found: list[InputRecord] = []
    # First what the kit consists of: it is found again by its name, which an older origin may have borne too.
    kits = [("base-model", model_reference(kitfile))]
    kits += [("dataset", dataset_reference(path)) for _, path, _ in remote_entries(kitfile)]
    for role, reference in kits:
        if reference is not None:
            # Most kits name none; what reads kits is not imported for them.
            from mlkit.api.parents import check_references

            found.append(_pinned(InputRecord(role), reference, check_references(session, reference).desc.digest))
    for item in kitfile.inputs:
        digest = Digest.parse(item.digest) if item.digest is not None else None
        record = InputRecord(item.role, item.ref, item.uri, digest, name=item.name)
        if digest is not None:
            found.append(record)
        elif item.ref is not None:
            named = Reference.parse(item.ref)
            found.append(_pinned(record, named, named.digest or session.locate(named).desc.digest))
        elif item.uri is not None and (path := _local_path(directory, item.uri)) is not None:
            found.extend(_files(record, path))
        else:
            found.append(record)
    return tuple(dict.fromkeys(found))


def capture(directory: Path, plan: PackPlan) -> Captured:
    """What other tools left in a project about where its files come from. Asks no network, and never fails a pack."""
    owners = EntryPaths(entries(plan.kitfile))
    files = [file.path for layer in plan.layers for file in layer.files]

    def role(path: str) -> str:
        if path.lower().endswith(_SCRIPTS):
            return "code"
        owner = None if path.startswith("..") else owners.owner(path)
        return "dataset" if owner is None or owner.cls in (Class.DATASETS, Class.CODE) else "other"

    notes: list[str] = []
    records = [
        *_git(directory),
        *_dvc(directory, plan, files, role),
        *_mlflow(directory, files),
        *_hugging_face(directory, plan, files),
        *_delta(directory, plan),
    ]
    runs = tuple(_runs(directory, notes))
    return Captured(tuple(dict.fromkeys(record for record in records if _is_sound(record))), runs, tuple(notes))


def _pinned(record: InputRecord, reference: Reference, digest: Digest) -> InputRecord:
    return replace(record, ref=str(reference.with_digest(digest)), digest=digest)


def _local_path(directory: Path, uri: str) -> Path | None:
    """The file or directory of this machine that a URI means; None for one that is elsewhere."""
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return None if _SCHEME.match(uri) else directory / uri


def _files(record: InputRecord, path: Path) -> Iterator[InputRecord]:
    for file in file_digests(path):
        uri = f"{(record.uri or '').rstrip('/')}/{file.path}" if file.path else record.uri
        # Without a name of its own a file of a directory is called as it is there.
        yield replace(record, uri=uri, digest=file.digest, name=record.name or file.path or None)


def _git(directory: Path) -> Iterator[InputRecord]:
    found = git.revision(directory)
    if found is not None:
        facts = {"git.commit": found.commit}
        if found.remote:
            facts["git.remote"] = found.remote
        if found.path:
            facts["git.path"] = found.path
        facts["git.dirty"] = {True: "true", False: "false", None: "unknown"}[found.is_dirty]
        yield InputRecord("code", uri=found.uri, facts=_facts(facts))


def _dvc(directory: Path, plan: PackPlan, files: list[str], role: Callable[[str], str]) -> Iterator[InputRecord]:
    if not dvc.is_repository(directory):
        return
    packed = [entry.path for entry in plan.entries]
    tracked = [*dvc.added(directory, [*packed, *files]), *dvc.pipeline(directory, packed)]
    for item in tracked:
        facts = {"dvc.md5": item.md5, "dvc.path": item.path}
        if item.stage is not None:
            facts["dvc.stage"] = item.stage
        inside = None if item.path.startswith("..") else item.path
        yield InputRecord(role(item.path), name=item.path, path=inside, facts=_facts(facts))


def _mlflow(directory: Path, files: list[str]) -> Iterator[InputRecord]:
    named = [path for path in files if path == "MLmodel" or path.endswith("/MLmodel")]
    for run_id in dict.fromkeys(mlflow.run_of_model(directory / path) for path in named):
        if run_id is None:
            continue
        run = mlflow.run(directory, run_id)
        facts = {"mlflow.run": run_id}
        if run.experiment_id is not None:
            facts["mlflow.experiment"] = run.experiment_id
        facts |= {f"mlflow.parameter.{name}": text for name, text in run.parameters.items()}
        facts |= {f"mlflow.metric.{name}": text for name, text in run.metrics.items()}
        yield InputRecord("run", uri=f"mlflow:runs/{run_id}", facts=_facts(facts))
        for dataset in run.datasets:
            facts = {"mlflow.digest": dataset.digest, "mlflow.run": run_id}
            yield InputRecord("dataset", uri=dataset.uri, name=dataset.name, facts=_facts(facts))


def _hugging_face(directory: Path, plan: PackPlan, files: list[str]) -> Iterator[InputRecord]:
    snapshot = huggingface.snapshot(directory)
    if snapshot is not None:
        yield InputRecord("dataset" if snapshot.startswith("hf://datasets/") else "base-model", uri=snapshot)
    commits = huggingface.downloaded(directory, files)
    data = {file.path for layer in plan.layers if layer.cls is Class.DATASETS for file in layer.files}
    for role, commit in dict.fromkeys(("dataset" if path in data else "base-model", commits[path]) for path in commits):
        yield InputRecord(role, facts=(("huggingface.commit", commit),))


def _delta(directory: Path, plan: PackPlan) -> Iterator[InputRecord]:
    for entry in plan.entries:
        found = delta.table(directory / entry.path) if entry.cls is Class.DATASETS else None
        if found is not None:
            facts = {"delta.version": str(found.version)}
            if found.table_id is not None:
                facts["delta.table"] = found.table_id
            yield InputRecord("dataset", name=entry.name, path=entry.path, facts=_facts(facts))


def _runs(directory: Path, notes: list[str]) -> Iterator[RunRecord]:
    try:
        names = sorted(name for name in os.listdir(directory / RUNS) if name.endswith(".json"))
    except OSError:
        return
    for name in names[:_RUN_FILES]:
        raw = read_small(directory / RUNS / name, limit=RECORD_LIMIT)
        try:
            yield parse_run_record(raw or b"", what=f"{RUNS}/{name}")
        except (IntegrityError, LimitError) as error:
            notes.append(f"{error.message}; it is left out")
    if len(names) > _RUN_FILES:
        notes.append(f"{RUNS} holds {len(names)} records of runs, and only the first {_RUN_FILES} are looked at")


def _facts(facts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, text) for name, text in facts.items() if len(text) <= TEXT_LIMIT))


def _is_sound(record: InputRecord) -> bool:
    """Whether the record can stand in a kit: names of files may be anything, those in a kit may not."""
    try:
        for text in (record.name, record.uri, *(part for fact in record.facts for part in fact)):
            (text or "").encode("utf-8")
        if record.path not in (None, "."):
            check_kit_path(record.path or "", what="input")
    except (UnicodeEncodeError, UnsafeError):
        return False
    return True
