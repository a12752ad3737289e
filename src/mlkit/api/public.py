"""The public Python API: the operations of the command line, with a session made from the environment.

Every function takes references as text, paths as text or Path, and `session=` to share stores and connections:

    with mlkit.session(progress=my_progress) as session:
        mlkit.pull("registry.example/team/digits:1.2", filters=["datasets"], session=session)

Errors are `mlkit.MlkitError` and its kinds; `error.hint` says what to do about it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mlkit.api import copying, indexes, listing, loading, looking, moving, packing, saving, store, transfer
from mlkit.api.named_signer import named_signer
from mlkit.api.session import Session
from mlkit.api.settings import load_settings
from mlkit.api.variants import Choice, Select
from mlkit.content.prune import PruneResult
from mlkit.packing.diff import KitDiff
from mlkit.packing.generate import GeneratedKitfile
from mlkit.packing.plan import PackOptions
from mlkit.progress import Progress
from mlkit.spec.digest import Digest
from mlkit.spec.kit_index import LabelEdits
from mlkit.spec.reference import Reference

PathLike = str | os.PathLike[str]
Tags = str | Sequence[str] | None


def session(*, progress: Progress | None = None, **settings: Any) -> Session:
    """A session with settings from environment and files; those given here (`home=`, `plain_http=`, …) come first."""
    return Session(load_settings(os.environ, Path.cwd(), settings), progress=progress)


def pack(
    directory: PathLike = ".",
    *,
    tag: Tags = None,
    kitfile: PathLike | None = None,
    kitfile_text: str | None = None,
    format: Literal["modelpack", "kitops"] = "modelpack",  # the name of the flag
    layers: Literal["auto", "tar", "raw"] = "auto",
    compression: Literal["none", "gzip", "zstd"] = "none",
    annotations: Mapping[str, str] | None = None,
    follow_links: PathLike | None = None,
    captures: bool = True,
    push: bool = False,
    sign: PathLike | None = None,
    session: Session | None = None,
    progress: Progress | None = None,
) -> packing.Packed:
    """Pack a directory into a kit. `tag` is one reference, several, or `repo:tag1,tag2`.

    `sign` is a private key in a file: the kit is signed, and how it was packed is attached as provenance.
    """
    options = PackOptions(
        format=format,
        layers=layers,
        compression=compression,
        annotations=annotations or {},
        follow_links=Path(follow_links) if follow_links is not None else None,
    )
    with _using(session, progress) as using:
        prepared = packing.plan(
            using,
            Path(directory),
            kitfile=Path(kitfile) if kitfile is not None else None,
            kitfile_text=kitfile_text,
            options=options,
            captures=captures,
        )
        return packing.pack(using, prepared, _references(tag), push=push, signer=named_signer(using, sign))


def init(
    directory: PathLike = ".", *, name: str | None = None, version: str | None = None, depth: int | None = None
) -> GeneratedKitfile:
    """A Kitfile for what lies in a directory, `depth` levels of directories deep; nothing is written."""
    with _using(None, None) as using:
        return packing.init(using, Path(directory), name=name, version=version, depth=depth)


def push(
    reference: str,
    destination: str | None = None,
    *,
    referrers: bool = True,
    if_match: str | Digest | None = None,
    dry_run: bool = False,
    sign: PathLike | None = None,
    session: Session | None = None,
    progress: Progress | None = None,
) -> moving.Moved:
    """Send a local kit to a registry, as `destination` or under its own name.

    Its signatures and other `referrers` go along. With `if_match` the tag is moved only from that digest. `sign` is a
    private key in a file, that signs the kit first.
    """
    target = Reference.parse(destination) if destination is not None else None
    with _using(session, progress) as using:
        return transfer.push(
            using,
            Reference.parse(reference),
            target,
            referrers=referrers,
            if_match=_digest(if_match),
            dry_run=dry_run,
            signer=named_signer(using, sign),
        )


def pull(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    filters: Iterable[str] = (),
    include_remote: bool = False,
    unpack_to: PathLike | None = None,
    existing: transfer.Existing = "refuse",
    referrers: bool = True,
    dry_run: bool = False,
    session: Session | None = None,
    progress: Progress | None = None,
) -> moving.Moved:
    """Fetch a kit, or the selected layers of it, into the local store; its signatures and `referrers` come along.

    Of an index, `labels` such as `["quantization=q4_0", "vram<=24GB"]` name the one kit that is fetched. Where they
    leave several, `select` decides: "auto" by this machine's GPU, or a function that takes the variants and gives one.
    `include_remote` brings kits that datasets are, and with `unpack_to` objects in S3.
    """
    directory = Path(unpack_to) if unpack_to is not None else None
    with _using(session, progress) as using:
        return transfer.pull(
            using,
            Reference.parse(reference),
            choice=Choice.parse(labels, select),
            filters=tuple(filters),
            include_remote=include_remote,
            unpack_to=directory,
            existing=existing,
            referrers=referrers,
            dry_run=dry_run,
        )


def copy(
    source: str,
    destination: str,
    *,
    referrers: bool = True,
    if_match: str | Digest | None = None,
    dry_run: bool = False,
    session: Session | None = None,
    progress: Progress | None = None,
) -> moving.Moved:
    """Copy a kit, or anything else, from registry to registry; nothing lands on this disk."""
    with _using(session, progress) as using:
        return copying.copy(
            using,
            Reference.parse(source),
            Reference.parse(destination),
            referrers=referrers,
            if_match=_digest(if_match),
            dry_run=dry_run,
        )


def save(
    references: str | Sequence[str],
    file: PathLike,
    *,
    referrers: bool = True,
    remote: bool = False,
    overwrite: bool = False,
    session: Session | None = None,
    progress: Progress | None = None,
) -> saving.Saved:
    """Write kits into one file for a place without a network; the same kits give the same bytes."""
    with _using(session, progress) as using:
        return saving.save(
            using, _references(references), Path(file), referrers=referrers, remote=remote, overwrite=overwrite
        )


def load(
    file: PathLike, *, tag: Tags = None, session: Session | None = None, progress: Progress | None = None
) -> loading.Loaded:
    """Take the kits of such a file into the local store, verified; `tag` names the only kit of a file anew."""
    with _using(session, progress) as using:
        return loading.load(using, Path(file), names=_references(tag))


def unpack(
    reference: str,
    directory: PathLike,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    filters: Iterable[str] = (),
    include_remote: bool = False,
    existing: transfer.Existing = "refuse",
    session: Session | None = None,
    progress: Progress | None = None,
) -> moving.Unpacked:
    """Write the files of a kit, or the selected ones, into a directory: all of them verified, or none.

    `labels` and `select` name a kit of an index, as in `pull`. `include_remote` fetches datasets that are elsewhere.
    """
    with _using(session, progress) as using:
        return transfer.unpack(
            using,
            Reference.parse(reference),
            Path(directory),
            choice=Choice.parse(labels, select),
            filters=tuple(filters),
            include_remote=include_remote,
            existing=existing,
        )


@contextmanager
def open(  # mlkit.open reads like gzip.open
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    remote: bool = False,
    session: Session | None = None,
) -> Iterator[looking.OpenKit]:
    """A kit to read single files from: `with mlkit.open(ref) as kit: kit.read("params.yaml")`."""
    with _using(session, None) as using:
        yield looking.open_kit(using, Reference.parse(reference), choice=Choice.parse(labels, select), remote=remote)


def list_kits(repository: str | None = None, *, session: Session | None = None) -> tuple[listing.Listed, ...]:
    """The kits of the local store, or, for a repository with a host, the tags of the remote one."""
    with _using(session, None) as using:
        reference = Reference.parse(repository) if repository is not None else None
        if reference is not None and reference.host is not None:
            return listing.list_remote(using, reference)
        return listing.list_local(using, repository)


def inspect(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    remote: bool = False,
    session: Session | None = None,
) -> looking.Inspected:
    """Look at a manifest, kit or not; with `labels` or `select`, at a kit of an index."""
    with _using(session, None) as using:
        return looking.inspect(using, Reference.parse(reference), choice=Choice.parse(labels, select), remote=remote)


def resolve(reference: str, *, session: Session | None = None) -> Digest:
    """The digest that a reference has now, in the local store or else in its registry."""
    with _using(session, None) as using:
        return using.locate(Reference.parse(reference)).desc.digest


def info(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    part: str | None = None,
    session: Session | None = None,
) -> looking.Info:
    """The Kitfile as packed, or a part of it such as `datasets[0].path`."""
    with _using(session, None) as using:
        return looking.info(using, Reference.parse(reference), choice=Choice.parse(labels, select), part=part)


def files(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    filters: Iterable[str] = (),
    session: Session | None = None,
) -> tuple[looking.ListedFile, ...]:
    """Every file of a kit with size and digest; layers are not fetched."""
    choice = Choice.parse(labels, select)
    with _using(session, None) as using:
        return looking.files(using, Reference.parse(reference), choice=choice, filters=tuple(filters))


def cat(
    reference: str,
    path: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    session: Session | None = None,
) -> bytes:
    """One file of a kit, whole, in memory; use `open` for large ones."""
    sink = io.BytesIO()
    with _using(session, None) as using:
        looking.cat(using, Reference.parse(reference), path, sink, choice=Choice.parse(labels, select))
    return sink.getvalue()


def diff(before: str, after: str, *, session: Session | None = None) -> KitDiff:
    """What differs between two kits."""
    with _using(session, None) as using:
        return looking.diff(using, before, after)


def create_index(reference: str, *, session: Session | None = None) -> indexes.Indexed:
    """Make an index without kits in the local store: variants of one kit under one name, told apart by labels."""
    with _using(session, None) as using:
        return indexes.create(using, Reference.parse(reference))


def add_to_index(
    reference: str,
    kit: str,
    *,
    labels: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
    session: Session | None = None,
) -> indexes.Indexed:
    """Enter a kit in an index, or change what it is labelled with there; `labels` may have any JSON value."""
    edits = LabelEdits.of(labels or {}, without)
    with _using(session, None) as using:
        return indexes.add(using, Reference.parse(reference), Reference.parse(kit), edits)


def remove_from_index(reference: str, kit: str, *, session: Session | None = None) -> indexes.Indexed:
    """Take a kit out of an index; the kit stays."""
    with _using(session, None) as using:
        return indexes.remove(using, Reference.parse(reference), Reference.parse(kit))


def list_index(reference: str, *, remote: bool = False, session: Session | None = None) -> indexes.ListedIndex:
    """The kits of an index with their labels."""
    with _using(session, None) as using:
        return indexes.show(using, Reference.parse(reference), remote=remote)


def tag(source: str, destinations: Tags, *, remote: bool = False, session: Session | None = None) -> store.Tagged:
    """Give a kit further names."""
    with _using(session, None) as using:
        return store.tag(using, Reference.parse(source), _references(destinations), remote=remote)


def remove(reference: str, *, remote: bool = False, session: Session | None = None) -> store.Removed:
    """Take a name away."""
    with _using(session, None) as using:
        return store.remove(using, Reference.parse(reference), remote=remote)


def prune(
    *, dry_run: bool = False, grace_seconds: float = store.GRACE_SECONDS, session: Session | None = None
) -> PruneResult:
    """Delete the local blobs that no name reaches and that are older than the grace."""
    with _using(session, None) as using:
        return store.prune(using, dry_run=dry_run, grace_seconds=grace_seconds)


@contextmanager
def _using(given: Session | None, progress: Progress | None) -> Iterator[Session]:
    """The given session, left open, or one for this call alone."""
    if given is not None:
        yield given
        return
    with session(progress=progress) as own:
        yield own


def _digest(given: str | Digest | None) -> Digest | None:
    return Digest.parse(given) if isinstance(given, str) else given


def _references(tags: Tags) -> tuple[Reference, ...]:
    texts = [tags] if isinstance(tags, str) else list(tags or ())
    references: list[Reference] = []
    for text in texts:
        reference, names = Reference.parse_tags(text)
        # The first as it stands: a digest beside the tag says which kit is meant.
        references += [reference, *(reference.with_tag(name) for name in names[1:])]
    return tuple(references)
