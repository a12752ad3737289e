"""Is the local store sound, and making it so: what is damaged, which kits need it, and where a sound copy is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlkit.api.partial import NOT_HERE, how_to_complete
from mlkit.api.session import Session
from mlkit.content.check import Checked, Found, Kind, check
from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.overlay import Overlay
from mlkit.content.places import Places
from mlkit.content.repair import quarantined, rebuild, restore_lost, restore_marker, set_aside
from mlkit.errors import MlkitError, StoreError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import FILEPATH, ORIGIN, TITLE
from mlkit.spec.reference import Reference

_ROUNDS = 4
"""Of fetching: a manifest that came back may list more that is not here, as deep as indexes nest."""
_THREADS_LIMIT = 4  # hashing; more wait for the disk


@dataclass(frozen=True, slots=True)
class Affected:
    """A kit that needs what is damaged, and what of it that is."""

    reference: str
    """Its name in the store, or its digest."""
    entry: str | None
    """The entry of its Kitfile, for example `datasets[0]`; None for its documents, and where nobody can tell."""
    path: str | None
    """The file, or the path of the entry where the layer holds several."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    message: str
    digest: Digest | None
    kits: tuple[Affected, ...]
    is_damage: bool
    """False for what is only good to know."""
    hint: str | None
    """How to heal it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, what is wrong, and what was mended."""

    store: Path
    deep: bool
    kits: int
    blobs: int
    hashed_bytes: int
    findings: tuple[Finding, ...]
    """What is wrong now, after the repair if there was one."""
    mended: tuple[str, ...]
    """What was done, a sentence each."""
    quarantined: int
    """Things in `.mlkit/quarantine/`, which nobody but you deletes."""
    quarantined_bytes: int
    is_sound: bool


def fsck(session: Session, *, deep: bool = False, repair: bool = False, offline: bool = False) -> Report:
    """Look at the local store; `deep` reads every byte. `repair` mends what can be mended, and fetches what is missing
    from where it was seen, unless `offline`.

    Raises: StoreError where the folder cannot be read, or, for a repair, written.
    """
    home = session.settings.home
    layout = Layout(home, warn=session.progress.warn)
    if not home.is_dir() or not any((home / name).exists() for name in ("oci-layout", "index.json", "blobs")):
        return Report(home, deep, 0, 0, 0, (), (), 0, 0, is_sound=True)
    threads = min(_THREADS_LIMIT, session.settings.concurrency)
    checked = check(layout, deep=deep, threads=threads, progress=session.progress)
    mended: list[str] = []
    if repair and checked.found:
        mended = list(_repair(session, layout, checked, offline=offline))
        after = check(layout)
        # What was hashed a moment ago is not hashed again.
        checked = Checked(after.found, after.kits, after.blobs, checked.hashed_bytes)
    findings = tuple(_finding(session, layout, found, repair=repair, offline=offline) for found in checked.found)
    count, size = quarantined(layout)
    return Report(
        home,
        deep,
        checked.kits,
        checked.blobs,
        checked.hashed_bytes,
        findings,
        tuple(mended),
        count,
        size,
        is_sound=not any(finding.is_damage for finding in findings),
    )


def _repair(session: Session, layout: Layout, checked: Checked, *, offline: bool) -> Iterator[str]:
    kinds = {found.kind for found in checked.found}
    if "marker" in kinds:
        restore_marker(layout)
        yield "wrote oci-layout again"
    if "index" in kinds:
        rebuilt = rebuild(layout)
        nameless = f", and {rebuilt.nameless} kits without a name" if rebuilt.nameless else ""
        yield f"made index.json again: {rebuilt.names} names{nameless}"
    if "lost" in kinds:
        restore_lost(layout)
        lost = ", ".join(
            ascii(name)[1:-1][:200] for found in checked.found if found.kind == "lost" for name in found.names
        )
        yield f"put back what another program had written over: {lost}"
    for found in checked.found:
        if found.kind in ("damaged", "unreadable", "misplaced") and found.desc is not None:
            place = set_aside(layout, found.desc.digest)
            if place is not None:
                yield f"moved {_shown(found.desc.digest)} to {place}"
    if not offline:
        yield from _fetch_all(session, layout)


def _fetch_all(session: Session, layout: Layout) -> Iterator[str]:
    tried: set[Digest] = set()
    for _ in range(_ROUNDS):
        wanted = [
            found
            for found in check(layout).found
            if found.kind == "missing" and found.desc is not None and found.desc.digest not in tried
        ]
        if not wanted:
            return
        for found in wanted:
            assert found.desc is not None, "chosen above"
            tried.add(found.desc.digest)
            where = _fetch(session, layout, found)
            if where is not None:
                yield f"fetched {_shown(found.desc.digest)} from {where}"


def _fetch(session: Session, layout: Layout, found: Found) -> str | None:
    """From where it came; None where nobody has it, or can be asked."""
    assert found.desc is not None, "only content is fetched"
    for reference in _places(session, found):
        try:
            source = Overlay(layout, session.remote(reference))
            copy(source, layout, found.desc.bare, wanted=lambda _: False, progress=session.progress)
        except StoreError:
            raise
        except MlkitError as error:
            session.progress.warn(
                f"{_shown(found.desc.digest)} could not be had from {reference.name}: {error.message}"
            )
        else:
            return reference.name
    return None


def _finding(session: Session, layout: Layout, found: Found, *, repair: bool, offline: bool) -> Finding:
    digest = None if found.desc is None else found.desc.digest
    return Finding(
        found.kind,
        found.message,
        digest,
        tuple(_affected(layout, found)),
        found.is_damage,
        _hint(session, found, repair=repair, offline=offline),
    )


def _hint(session: Session, found: Found, *, repair: bool, offline: bool) -> str | None:
    match found.kind:
        case "marker" | "index" | "lost":
            return "`mlkit fsck --repair` puts it right"
        case "name":
            return "`mlkit tag DIGEST NAME` says which it is, and replaces both" if found.is_damage else None
        case "partial":
            named = next(_parsed(found.names), None)
            return NOT_HERE if named is None else how_to_complete(named, found.roots[0])
        case "document":
            return f"`mlkit remove {found.names[0]}` takes its name away" if found.names else None
    if not found.roots:
        return None if repair else "no kit needs it: `mlkit fsck --repair` takes it out of use"
    place = next(iter(_places(session, found)), None)
    if place is not None and (offline or not repair):
        return f"`mlkit fsck --repair` fetches it from {place.name}"
    again = "pack the kit again under the same name, or take its name away with `mlkit remove`"
    return f"it could not be had again: {again}" if place is not None else f"it was seen in no registry: {again}"


def _places(session: Session, found: Found) -> Iterator[Reference]:
    """Repositories that may have it: of the kits' own names, where they were pulled from, and where it was seen."""
    texts = [*(name for name in found.names), *(root.annotations.get(ORIGIN, "") for root in found.roots)]
    known: set[str] = set()
    for reference in (*_parsed(texts), *_parsed(_seen(session, found.desc))):
        if reference.host is not None and reference.name not in known:
            known.add(reference.name)
            yield reference


def _seen(session: Session, desc: Descriptor | None) -> Iterator[str]:
    if desc is None:
        return
    places = Places(session.settings.home / ".mlkit" / "seen.sqlite")
    try:
        for origin, repository in places.everywhere(desc.digest):
            yield f"{urlsplit(origin).netloc}/{repository}"
    finally:
        places.close()


def _parsed(texts: Iterable[str]) -> Iterator[Reference]:
    for text in texts:
        try:
            yield Reference.parse(text)
        except UsageError:  # a digest, or what another tool wrote
            continue


def _affected(layout: Layout, found: Found) -> Iterator[Affected]:
    if found.desc is None or found.kind == "name":
        return
    paths = _paths(layout, found.desc, found.roots)
    for name in found.names:
        entry, path = next(iter(paths), (None, None))
        yield Affected(name, entry, path)


def _paths(layout: Layout, desc: Descriptor, roots: tuple[Descriptor, ...]) -> list[tuple[str | None, str | None]]:
    """Entry and path of the layer, by the kits that can be read; else by its own annotations."""
    from mlkit.packing.kit import load_kit

    for root in roots:
        try:
            kit = load_kit(layout, root)
        except MlkitError:
            continue
        found: list[tuple[str | None, str | None]] = [
            (layer.entry, layer.path) for layer in kit.layers if layer.desc.digest == desc.digest
        ]
        if found:
            return found
    path = desc.annotations.get(TITLE) or desc.annotations.get(FILEPATH)
    return [(None, path)] if path else []


def _shown(digest: Digest) -> str:
    return f"{digest.algorithm}:{digest.short}"
