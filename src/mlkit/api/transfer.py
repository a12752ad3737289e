"""Kits on the move: push, pull, unpack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlkit.api.moving import Moved, Movement, Unpacked, by_entry, check_condition, everything, kit_size, move, move_tag
from mlkit.api.partial import how_to_complete
from mlkit.api.policies import Gate, gate_of
from mlkit.api.run_report import reported, version_of
from mlkit.api.session import Located, Session, explained_trouble, without_damage
from mlkit.api.variants import ANY, Choice, Chosen, choose_in, find
from mlkit.content.copy import missing
from mlkit.content.counted import Counted
from mlkit.content.graph import is_document
from mlkit.content.overlay import Overlay
from mlkit.content.pace import Connections
from mlkit.errors import NotFoundError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import ORIGIN, PARTIAL, VERSION
from mlkit.spec.reference import Reference

# What looks into kits is imported where that is done: a push, and a pull of all there is, move content as it is, and
# start in half the time without the models of a Kitfile.
if TYPE_CHECKING:
    from mlkit.api.remotes import FoundKit, FoundUrl
    from mlkit.packing.kit import Kit
    from mlkit.packing.select import Selection
    from mlkit.trust.signer import Signer

Existing = Literal["refuse", "overwrite", "ignore"]


def push(
    session: Session,
    reference: Reference,
    destination: Reference | None = None,
    *,
    referrers: bool = True,
    if_match: Digest | None = None,
    dry_run: bool = False,
    signer: Signer | None = None,
) -> Moved:
    """Send a local kit, with what refers to it, to a registry; the tag moves last.

    A `signer` signs it here first, unless he has, and the signature goes along.

    With `if_match` the tag must point at that digest, or at this kit already, when the push begins and when it ends.
    Raises: NotFoundError for a kit that is not here, or that is partial where the registry lacks the rest;
    ConflictError where the tag points elsewhere.
    """
    desc = session.local(reference)
    destination = destination or reference
    if destination.host is None:
        raise UsageError(
            f"{destination}: no registry host to push to",
            hint=f"name where it goes: mlkit push {reference} registry.example/{destination.repository}",
        )
    if destination.digest is not None and destination.digest != desc.digest:
        raise UsageError(f"{destination}: the kit has another digest, {desc.digest}")
    repository = session.registry(destination)
    tag = destination.tag or "latest"
    check_condition(repository, desc, tag, if_match)
    absent = missing(session.layout, desc)
    for blob in absent:
        if not repository.exists(blob):
            raise NotFoundError(
                f"{reference}: this kit is partial here, and {destination.name} lacks {blob.digest} too",
                hint=how_to_complete(reference, desc),
            )
    not_here = {blob.digest for blob in absent}
    if signer is not None and not dry_run:
        if not referrers:
            raise UsageError("a signature refers to the kit, and would stay here without its referrers")
        _sign(session, session.here(reference, desc), signer)

    def is_here(blob: Descriptor) -> bool:
        return blob.digest not in not_here

    def is_known(blob: Descriptor) -> bool:
        return not is_document(blob) or is_here(blob)

    with explained_trouble(Located(reference, desc, session.layout, "local")):
        movement = move(
            session,
            session.layout,
            repository,
            desc.bare,
            referred=session.layout if referrers else None,
            wanted=is_here,
            dry_run=dry_run,
        )
        if referrers:
            from mlkit.api.cosign_tags import carry

            older = carry(
                session,
                session.layout,
                repository,
                desc.bare,
                repository=destination.name,
                wanted=is_here,
                dry_run=dry_run,
            )
            movement = movement.and_of([older])
    return movement.moved(
        str(Reference(destination.host, destination.repository, tag)),
        kit_size(session.layout, desc, wanted=is_known),
        is_partial=bool(absent),
        dry_run=dry_run,
        replaced=move_tag(repository, desc.bare, tag, if_match=if_match, dry_run=dry_run),
    )


def pull(
    session: Session,
    reference: Reference,
    *,
    choice: Choice = ANY,
    filters: Sequence[str] = (),
    include_remote: bool = False,
    unpack_to: Path | None = None,
    existing: Existing = "refuse",
    referrers: bool = True,
    dry_run: bool = False,
) -> Moved:
    """Fetch a kit, or the selected layers of it, into the local store under its full name, with what refers to it.

    An index comes with every kit that it lists; with a `choice`, it comes with that one, and is kept as partial.
    `unpack_to` writes the selected files there while they arrive, and keeps only the small documents in the store.
    `include_remote` brings the kits that the selected datasets are too, by digest and without a name; objects in other
    storage have no place in the store, and come where `unpack_to` is given.
    A document that is damaged here is fetched again. Raises: NotFoundError for an unknown reference or a filter that
    matches nothing; what `variants.locate` raises; PolicyError, before anything is fetched, for what the configured
    policy refuses.
    """
    with reported(session, "pull", reference) as run:
        moved = without_damage(
            session,
            lambda: _pull(
                session,
                reference,
                choice=choice,
                filters=filters,
                include_remote=include_remote,
                unpack_to=unpack_to,
                existing=existing,
                referrers=referrers,
                dry_run=dry_run,
            ),
        )
        run.brought(moved, None if dry_run else version_of(session, moved.variant or moved.digest))
    return moved


def _pull(
    session: Session,
    reference: Reference,
    *,
    choice: Choice,
    filters: Sequence[str],
    include_remote: bool,
    unpack_to: Path | None,
    existing: Existing,
    referrers: bool,
    dry_run: bool,
) -> Moved:
    repository = session.remote(reference)
    with session.tracer.span("resolve", reference=str(reference)):
        desc = repository.resolve(reference.target)
    store = Overlay(session.layout, repository)
    named = Located(reference, desc, store, "remote")
    chosen = Chosen(named, named)
    if choice.is_made or filters or include_remote or unpack_to is not None:
        chosen = choose_in(session, chosen.located, choice)
    kit_desc = chosen.located.desc
    gate = gate_of(session)
    report = gate.check(named, purpose="pull", kits=_chosen_kits(chosen)) if gate else None
    wanted: Callable[[Descriptor], bool] = everything
    unpacked = None
    streamed = 0
    found: tuple[FoundKit, ...] = ()
    if filters or include_remote or unpack_to is not None:
        from mlkit.packing.kit import load_kit

        kit = load_kit(store, kit_desc)
        selection, remotes = _select(session, kit, filters, gate, include_remote=include_remote)
        found = _kits_of(remotes)
        if unpack_to is not None and not dry_run:
            counted = Counted(repository)
            located = Located(reference, kit_desc, Overlay(session.layout, counted), "remote")
            unpacked = _unpack(session, located, kit, selection, unpack_to, existing, remotes, gate)
            streamed = counted.read_bytes
        wanted = _documents_of(kit) if unpack_to is not None else _documents_and(kit, selection)
    if dry_run and unpack_to:
        wanted = everything
    movement = move(
        session,
        store,
        session.layout,
        desc,
        referred=repository if referrers else None,
        wanted=lambda blob: blob.digest not in chosen.others and wanted(blob),
        dry_run=dry_run,
    )
    if referrers:
        from mlkit.api.cosign_tags import carry

        older = carry(
            session,
            repository,
            session.layout,
            desc.bare,
            repository=reference.name,
            wanted=lambda blob: blob.digest not in chosen.others,
            dry_run=dry_run,
        )
        movement = movement.and_of([older])
    documents_only = unpack_to is not None and not dry_run
    movement = movement.and_of(
        [_fetch(session, one, referrers=referrers, documents_only=documents_only, dry_run=dry_run) for one in found]
    )
    if not dry_run:
        _name(session, reference, desc)
    absent = missing(session.layout, desc) if not dry_run else ()
    moved = movement.moved(str(reference), kit_size(store, kit_desc), is_partial=bool(absent), dry_run=dry_run)
    return replace(
        moved,
        moved_bytes=moved.moved_bytes + streamed,
        unpacked=unpacked,
        variant=kit_desc.digest if kit_desc.digest != desc.digest else None,
        policy=report.verdict if report else None,
    )


def unpack(
    session: Session,
    reference: Reference,
    destination: Path,
    *,
    choice: Choice = ANY,
    filters: Sequence[str] = (),
    include_remote: bool = False,
    existing: Existing = "refuse",
    remote: bool = False,
) -> Unpacked:
    """Write the files of a kit, or the selected ones, into a directory: all of them verified, or none.

    A kit that is not in the local store streams from its registry, each byte once, and leaves nothing in the store.
    Of an index, `choice` says which kit. `include_remote` fetches the selected datasets that are elsewhere, too.
    Raises: ConflictError for files that exist; UnsafeError, IntegrityError for content that is refused; PolicyError.
    """
    from mlkit.packing.kit import load_kit

    with reported(session, "unpack", reference) as run:
        chosen = find(session, reference, choice, remote=remote)
        located = chosen.located
        gate = gate_of(session)
        report = gate.check(chosen.named, purpose="unpack", kits=_chosen_kits(chosen)) if gate else None
        with explained_trouble(located):
            kit = load_kit(located.store, located.desc)
            selection, remotes = _select(session, kit, filters, gate, include_remote=include_remote)
            unpacked = _unpack(session, located, kit, selection, destination, existing, remotes, gate)
        run.wrote(unpacked)
    return replace(unpacked, policy=report.verdict) if report else unpacked


def _sign(session: Session, located: Located, signer: Signer) -> None:
    from mlkit.api.signing import is_signed_by, sign_located

    if not is_signed_by(session, located, signer):
        sign_located(session, located, signer=signer)


def _chosen_kits(chosen: Chosen) -> tuple[Located, ...]:
    """The kit of an index that was asked for; none where all of it was."""
    return () if chosen.located is chosen.named else (chosen.located,)


def _select(
    session: Session, kit: Kit, filters: Sequence[str], gate: Gate | None, *, include_remote: bool
) -> tuple[Selection | None, tuple[FoundKit | FoundUrl, ...]]:
    """What filters select of a kit, None for everything, and of what it names elsewhere."""
    from mlkit.api.parents import remote_datasets
    from mlkit.api.remotes import find_remotes
    from mlkit.packing.select import select

    elsewhere = tuple(dataset.entry for dataset in remote_datasets(kit)) if include_remote else ()
    selection = select(kit, filters, elsewhere=elsewhere) if filters else None
    parsed = selection.filters if selection else ()
    return selection, tuple(find_remotes(session, kit, parsed, gate)) if include_remote else ()


def _kits_of(remotes: Sequence[FoundKit | FoundUrl]) -> tuple[FoundKit, ...]:
    """Those that a store of content can hold."""
    from mlkit.api.remotes import FoundKit

    return tuple(one for one in remotes if isinstance(one, FoundKit))


def _fetch(session: Session, found: FoundKit, *, referrers: bool, documents_only: bool, dry_run: bool) -> Movement:
    """Bring a kit that a dataset is into the local store, under no name."""
    located = found.located
    is_remote = located.source == "remote"
    movement = move(
        session,
        located.store,
        session.layout,
        located.desc.bare,
        referred=session.remote(found.reference) if referrers and is_remote else None,
        wanted=_documents_of(found.kit) if documents_only else _documents_and(found.kit, found.selection),
        dry_run=dry_run,
    )
    if is_remote and not dry_run:
        nameless = Reference(found.reference.host, found.reference.repository, None, located.desc.digest)
        _name(session, nameless, located.desc)
    return movement


def _unpack(
    session: Session,
    located: Located,
    kit: Kit,
    selection: Selection | None,
    destination: Path,
    existing: Existing,
    remotes: Sequence[FoundKit | FoundUrl],
    gate: Gate | None,
) -> Unpacked:
    from mlkit.api.parents import parents_of
    from mlkit.api.remotes import for_unpacking, wanted_remotes
    from mlkit.archive.extract import check_destination
    from mlkit.packing.unpack import unpack as unpack_kit

    check_destination(destination, store=session.settings.home, home=session.settings.user_home)
    with session.tracer.span("unpack files", reference=str(located.reference), digest=str(located.desc.digest)) as span:
        result = unpack_kit(
            kit,
            located.store,
            destination,
            selection=selection,
            existing=existing,
            concurrency=session.settings.concurrency,
            progress=session.progress,
            parents=parents_of(session, gate),
            remotes=for_unpacking(session, remotes),
            limits=session.settings.limits,
            connections=Connections.of(session.settings.ranges, blobs_at_once=session.settings.concurrency),
        )
        span.note(files=len(result.files), size=result.size)
    elsewhere = () if remotes else wanted_remotes(kit, selection.filters if selection else ())
    return Unpacked(
        reference=str(located.reference),
        digest=located.desc.digest,
        directory=destination,
        files=result.files,
        size=result.size,
        skipped=result.skipped,
        source=located.source,
        version=kit.manifest.annotations.get(VERSION),
        left=tuple(str(dataset.reference or dataset.remote_path) for dataset in elsewhere),
        entries=by_entry(kit.entries, zip(result.files, result.sizes, strict=True)),
    )


def _documents_of(kit: Kit) -> Callable[[Descriptor], bool]:
    """Only what tells about the kit: everything but its layers of files."""
    layers = {layer.desc.digest for layer in kit.layers}
    return lambda blob: blob.digest not in layers


def _documents_and(kit: Kit, selection: Selection | None) -> Callable[[Descriptor], bool]:
    if selection is None:
        return everything
    layers = {layer.desc.digest for layer in kit.layers}
    selected = {chosen.layer.desc.digest for chosen in selection.layers}
    return lambda blob: blob.digest not in layers or blob.digest in selected


def _name(session: Session, reference: Reference, desc: Descriptor) -> None:
    """Enter the pulled kit in the local index, as partial where layers are absent on purpose."""
    entry = desc.bare.with_annotations({ORIGIN: reference.name})
    if missing(session.layout, desc):
        entry = entry.with_annotations({PARTIAL: "true"})
    if reference.digest is not None and reference.tag is None:
        session.layout.record(entry)
    else:
        session.layout.tag(entry, reference.local_name)
