"""From a directory to a kit: plan, pack, init."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.api.capturing import capture, stated_inputs
from mlkit.api.pack_scan import warn_of_pickles
from mlkit.api.session import Located, Session, Source, without_damage
from mlkit.content.stat_cache import StatCache
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import LimitError, NotFoundError, StoreError, UsageError
from mlkit.packing.pack import PackResult, prepare
from mlkit.packing.pack import pack as pack_plan
from mlkit.packing.plan import PackOptions, PackPlan
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile import parse_kitfile
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from mlkit.api.pack_evidence import Vouched
    from mlkit.packing.generate import GeneratedKitfile
    from mlkit.trust.signer import Signer

KITFILE_LIMIT = 256 * 1024
"""Bytes of a Kitfile (the limit of KitOps is the same order; a list of entries does not need more)."""
KITFILE_NAMES = ("Kitfile", "kitfile", ".kitfile")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a pack would write, decided before anything is."""

    plan: PackPlan
    generated: GeneratedKitfile | None
    """The Kitfile that was made because the directory has none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: sentences, about the plan and about a Kitfile that nobody wrote."""
        return (*self.plan.notes, *(self.generated.notes if self.generated else ()))


@dataclass(frozen=True, slots=True)
class Packed:
    """A kit that was packed."""

    digest: Digest
    references: tuple[str, ...]
    size: int
    """Bytes of the whole kit."""
    layers: int
    files: int
    read_bytes: int
    reused_bytes: int
    """Bytes that were known from an earlier pack and not read again."""
    pushed: bool
    generated: str | None
    notes: tuple[str, ...]
    ignored_secrets: tuple[str, ...]
    provenance: Digest | None = None
    """Of the statement of how it was packed, where it was signed and no such statement was there."""
    signature: Digest | None = None
    """Likewise."""


def plan(
    session: Session,
    directory: Path,
    *,
    kitfile: Path | None = None,
    kitfile_text: str | None = None,
    options: PackOptions | None = None,
    captures: bool = True,
) -> Prepared:
    """Decide what a pack of `directory` writes; `kitfile_text` wins over `kitfile`, and that over `directory/Kitfile`.

    What holds a credential or a token is left out where no Kitfile names it.

    With `captures` the kit says what Git, DVC, MLflow, Hugging Face, Delta Lake and records of runs tell of its files.

    Raises: UsageError for a bad Kitfile or directory, and where the store would be packed; UnsafeError for links and
    files that have no place in a kit; NotFoundError for a path or a parent kit that is not there.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: not a directory")
    text = kitfile_text if kitfile_text is not None else _read_kitfile(directory, kitfile)
    generated = None
    if text is None:
        from mlkit.packing.generate import generate_kitfile

        generated = generate_kitfile(directory, name=directory.resolve().name)
        _check_swept(generated.swept)
        text = generated.text
    options = options or PackOptions()
    if options.created is None:
        options = replace(options, created=session.settings.created)
    if options.concurrency is None and session.settings.sources.get("concurrency", "default") != "default":
        options = replace(options, concurrency=session.settings.concurrency)
    kitfile_read = parse_kitfile(text.encode("utf-8"))
    planned = prepare(directory, text, options, inputs=stated_inputs(session, directory, kitfile_read))
    if captures:
        captured = capture(directory, planned)
        inputs = tuple(dict.fromkeys((*planned.inputs, *captured.inputs)))
        planned = replace(planned, inputs=inputs, runs=captured.runs, notes=(*planned.notes, *captured.notes))
    prepared = Prepared(planned, generated)
    _check_store_is_outside(prepared.plan, session.settings.home)
    return prepared


def pack(
    session: Session,
    prepared: Prepared,
    references: Sequence[Reference] = (),
    *,
    push: bool = False,
    signer: Signer | None = None,
    scan: bool | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Packed:
    """Write the kit and give it its names; without a name it stays in the store by digest.

    `push` writes straight to the registry that the references name, and keeps no copy of the data here. With a `signer`
    the kit is signed, and with it how it was packed, before it has its names. `scan` says whether to warn of pickles
    that run code; None leaves it to the setting.
    Raises: ConflictError for files that changed meanwhile, and then no name has moved.
    """
    for reference in references:
        if reference.digest is not None:
            raise UsageError(f"{reference}: a kit that is yet to be packed has no digest")
    if session.settings.scan_on_pack if scan is None else scan:
        warn_of_pickles(session, prepared.plan)
    vouching = _Vouching(session, prepared.plan, references, signer, clock) if signer is not None else None
    if push:
        result = _push_plan(session, prepared.plan, references, vouching)
    else:
        result = without_damage(session, lambda: _store_plan(session, prepared.plan, references, vouching))
    vouched = vouching.done if vouching is not None else None
    return Packed(
        digest=result.manifest.descriptor.digest,
        references=tuple(f"{reference.name}:{reference.tag or 'latest'}" for reference in references),
        size=result.manifest.size,
        layers=len(result.manifest.layers),
        files=prepared.plan.file_count,
        read_bytes=result.read_bytes,
        reused_bytes=result.reused_bytes,
        pushed=push,
        generated=prepared.generated.text if prepared.generated else None,
        notes=(*prepared.notes, *result.notes),
        ignored_secrets=prepared.plan.ignored_secrets,
        provenance=vouched.provenance if vouched else None,
        signature=vouched.signature if vouched else None,
    )


@dataclass(frozen=True, slots=True)
class WrittenKitfile:
    """A Kitfile that was made, and where it was put."""

    path: Path | None
    """None where it was only shown."""
    kitfile: str
    """Its text."""
    notes: tuple[str, ...]
    """What it is unsure of, and what it left out: sentences."""


def init(
    session: Session,  # noqa: ARG001  # every operation takes the session first
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    description: str | None = None,
    author: str | None = None,
    depth: int | None = None,
) -> GeneratedKitfile:
    """A Kitfile for what lies in `directory`, `depth` directories deep; nothing is written. Raises: UsageError."""
    if not directory.is_dir():
        raise UsageError(f"{directory}: not a directory")
    from mlkit.packing.generate import generate_kitfile

    return generate_kitfile(
        directory,
        name=name or directory.resolve().name,
        version=version,
        description=description,
        author=author,
        depth=depth,
    )


def _check_swept(paths: Sequence[str]) -> None:
    """Nobody wrote down that these are to be in a kit. Raises: UsageError."""
    if paths:
        raise UsageError(
            f"{paths[0]!a} holds what looks like a credential, and there are too many files to leave it out by name",
            hint="name it in .kitignore, or write a Kitfile with `mlkit init` and look at it",
        )


class _Vouching:
    """What is signed between the content of a kit and its names: whoever sees a name finds the signature."""

    def __init__(
        self,
        session: Session,
        plan: PackPlan,
        references: Sequence[Reference],
        signer: Signer,
        clock: Callable[[], datetime],
    ) -> None:
        self._session = session
        self._plan = plan
        self._references = references
        self._signer = signer
        self._clock = clock
        self._started = clock()
        self.done: Vouched | None = None

    def __call__(self, desc: Descriptor, store: ReadOnlyStorage, source: Source) -> None:
        from mlkit.api.pack_evidence import vouch

        nameless = Reference(None, "kit", None, desc.digest)
        self.done = vouch(
            self._session,
            Located(next(iter(self._references), nameless), desc.bare, store, source),
            self._plan,
            [str(reference) for reference in self._references],
            signer=self._signer,
            started=self._started,
            finished=self._clock(),
        )


def _store_plan(
    session: Session, plan: PackPlan, references: Sequence[Reference], vouching: _Vouching | None
) -> PackResult:
    layout = session.layout
    layout.make()  # the cache beside it needs the folder
    with StatCache.open(layout.root / ".mlkit" / "stat-cache.sqlite") as cache:
        result = pack_plan(plan, layout, cache=cache, progress=session.progress)
    desc = result.manifest.descriptor
    if vouching is not None:
        vouching(desc, layout, "local")
    for reference in references:
        layout.tag(desc, reference.local_name)
    if not references:
        layout.record(desc)
    return result


def _push_plan(
    session: Session, plan: PackPlan, references: Sequence[Reference], vouching: _Vouching | None
) -> PackResult:
    if len({reference.name for reference in references}) != 1:
        raise UsageError(
            "--push needs references in exactly one repository", hint="name it with -t host/repository:tag"
        )
    if plan.options.concurrency is None:
        plan = replace(plan, options=replace(plan.options, concurrency=session.settings.concurrency))
    repository = session.registry(references[0])
    result = pack_plan(plan, repository, cache=None, progress=session.progress)
    if vouching is not None:
        vouching(result.manifest.descriptor, repository, "remote")
    for reference in references:
        repository.tag(result.manifest.descriptor, reference.tag or "latest")
    return result


def _read_kitfile(directory: Path, kitfile: Path | None) -> str | None:
    path = kitfile or next((directory / name for name in KITFILE_NAMES if (directory / name).is_file()), None)
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            raw = stream.read(KITFILE_LIMIT + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such Kitfile", hint="`mlkit init` writes one") from error
    except (IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    if len(raw) > KITFILE_LIMIT:
        raise LimitError(f"{path}: more than {KITFILE_LIMIT} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from error


def _check_store_is_outside(plan: PackPlan, home: Path) -> None:
    """A store that is packed into itself grows with every pack. Raises: UsageError."""
    store = f"{os.path.realpath(home)}/"
    found = next((file for layer in plan.layers for file in layer.files if file.real.startswith(store)), None)
    if found is not None:
        raise UsageError(
            f"{found.path!a} belongs to the store of mlkit, {home}",
            hint="name the store's folder in .kitignore, or keep the store elsewhere (MLKIT_HOME)",
        )
