"""Writing records and moving tags on a repository in memory that can be disturbed between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from mlkit.content.storage import BytesContent, Content, LostContent
from mlkit.errors import ConflictError, IntegrityError, NotFoundError
from mlkit.release import append as appending
from mlkit.release.append import Appended, Timing, append, settle
from mlkit.release.chain import Chain, open_chain
from mlkit.release.claims import Claim, Phase, value_of
from mlkit.release.records import Record, make_record, push_record, read_record
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_MANIFEST
from mlkit.spec.release import Release

NO_WAIT = Timing(sleep=lambda _: None, random=lambda: 0.5)


class MemoryRepository:
    """A `Repository`; `before` is asked before every tag that is written, and may do what others would."""

    name = "memory/team/digits"

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, Descriptor] = {}
        self.names: dict[str, Digest] = {}
        self.before: Callable[[str], None] = lambda _: None

    def tags(self) -> Iterable[str]:
        return list(self.names)

    def find(self, name: str) -> Descriptor | None:
        digest = Digest.parse(name) if ":" in name else self.names.get(name)
        return self.manifests.get(digest) if digest else None

    def raw(self, desc: Descriptor) -> bytes:
        if desc.digest not in self.blobs:
            raise NotFoundError(f"{desc.digest}: not here")
        return self.blobs[desc.digest]

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.blobs

    def push(self, desc: Descriptor, content: Content) -> None:
        with content.open() as stream:
            raw = stream.read()
        if desc.media_type == OCI_MANIFEST:
            manifest = parse_manifest(raw)
            assert isinstance(manifest, Manifest)
            lost = {layer.digest for layer in manifest.layers} - set(self.blobs)
            if lost:
                raise LostContent("blob unknown", frozenset(lost))
            self.manifests[desc.digest] = desc
        self.blobs[desc.digest] = raw

    def tag(self, desc: Descriptor, name: str) -> None:
        self.before(name)
        self.names[name] = desc.digest

    def move(self, desc: Descriptor, name: str, *, expected: Digest | None) -> None:
        self.before(name)
        self.names[name] = desc.digest

    def kit(self, name: str) -> Digest:
        """A manifest that a channel can point at."""
        config = Descriptor.of(b"{}", OCI_EMPTY)
        self.push(config, BytesContent(b"{}"))
        found = render_manifest(config=config, layers=(), annotations={"name": name})
        self.push(found.descriptor, BytesContent(found.raw))
        return found.descriptor.digest


def release(to: Digest, by: str = "ada") -> Release:
    return Release("team/digits", "production", "promote", 1, None, to, None, "2026-03-03T00:00:00Z", by)


def chain_of(store: MemoryRepository) -> Chain:
    return open_chain(store, "team/digits", "production")


def promote(store: MemoryRepository, to: Digest, by: str = "ada") -> Appended:
    appended = promote_only(store, to, by)
    settle(chain_of(store))
    return appended


def promote_only(store: MemoryRepository, to: Digest, by: str = "ada") -> Appended:
    """Without moving the tag."""
    chain = chain_of(store)
    made = release(to, by)
    return append(
        chain,
        lambda sequence, previous: replace(made, sequence=sequence, previous=previous),
        before=chain.head(),
        seal=None,
        timing=NO_WAIT,
    )


def once(store: MemoryRepository, name: str, act: Callable[[], object]) -> None:
    """Do something right before a tag that begins with `name` is written, the first time."""

    def before(tag: str) -> None:
        if tag.startswith(name):
            store.before = lambda _: None
            act()

    store.before = before


def test_a_slow_promoter_who_puts_the_tag_back_finds_that_out_himself() -> None:
    store = MemoryRepository()
    first, second, third = (store.kit(name) for name in ("1", "2", "3"))
    promote(store, first)
    once(store, "production", lambda: promote(store, third, "bob"))

    promote(store, second)

    assert store.names["production"] == third
    assert [record.release.to for record in chain_of(store).walk()] == [third, second, first]


def test_who_comes_second_is_given_the_winner() -> None:
    store = MemoryRepository()
    first, second, third = (store.kit(name) for name in ("1", "2", "3"))
    promote(store, first)
    once(store, "mlkit-history.production.2-", lambda: promote(store, third, "bob"))

    appended = promote(store, second)

    assert not appended.is_ours
    assert appended.record.release.by == "bob"
    assert store.names["production"] == third
    assert [record.release.sequence for record in chain_of(store).walk()] == [2, 1]
    assert [loser.release.by for loser in chain_of(store).losers(2, appended.record)] == ["ada"]


def test_a_record_is_written_where_earlier_ones_are_lost() -> None:
    store = MemoryRepository()
    for name in ("1", "2", "3"):
        promote(store, store.kit(name))
    oldest = list(chain_of(store).walk())[-1]
    del store.blobs[oldest.digest]

    appended = promote(store, store.kit("4"))

    assert appended.is_ours
    assert len(appended.record.window) == 1
    assert [record.release.sequence for record in chain_of(store).walk()] == [4, 3, 2, 1], "manifests hold it too"


def forge(store: MemoryRepository, previous: Digest, *phases: Phase) -> None:
    """Claim number 2 for a record that nobody agreed on."""
    made = replace(release(store.kit("x"), "mallory"), sequence=2, previous=previous)
    forged = make_record(made, seal=None, before=None)
    push_record(store, forged, None)
    assert forged.manifest is not None
    for phase in phases:
        store.names[Claim("production", 2, 0, phase, value_of(forged.digest)).tag] = forged.manifest.descriptor.digest


def test_a_claim_that_follows_another_record_wins_no_race() -> None:
    store = MemoryRepository()
    promote(store, store.kit("1"))
    once(store, "mlkit-history.production.2-0a", lambda: forge(store, Digest.of(b"elsewhere"), "a", "c"))

    appended = promote_only(store, store.kit("2"))

    assert appended.is_ours


def test_two_records_that_were_agreed_on_are_one_too_many() -> None:
    store = MemoryRepository()
    first = promote(store, store.kit("1")).record.digest
    promote(store, store.kit("2"))
    before = dict(store.names)
    forge(store, first, "a", "c")

    with pytest.raises(IntegrityError, match="agreed on twice"):
        chain_of(store).head()

    assert store.names["production"] == before["production"]


def test_a_tag_that_others_keep_moving_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "_SETTLING_TRIES", 3)
    store = MemoryRepository()
    other = store.kit("other")
    promote(store, store.kit("1"))

    class Restless(MemoryRepository):
        def move(self, desc: Descriptor, name: str, *, expected: Digest | None) -> None:
            self.names[name] = other

    store.__class__ = Restless
    store.names["production"] = other

    with pytest.raises(ConflictError, match="keep moving"):
        settle(chain_of(store))


def test_a_kit_that_is_gone_is_not_pointed_at() -> None:
    store = MemoryRepository()
    promote(store, store.kit("1"))
    store.names.pop("production")
    kit = next(iter(chain_of(store).walk())).release.to
    del store.manifests[kit]

    with pytest.raises(NotFoundError, match="is not there"):
        settle(chain_of(store))


def test_a_record_is_read_as_it_was_made() -> None:
    store = MemoryRepository()
    appended = promote(store, store.kit("1"))

    found = read_record(store, next(tag for tag in store.names if "-0c-" in tag))

    assert isinstance(found, Record)
    assert (found.release, found.digest, found.envelope) == (
        appended.record.release,
        appended.record.digest,
        None,
    )
    assert found.manifest is not None
    assert found.manifest.layers[0].data == found.content, "one request is enough"
