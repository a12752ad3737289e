from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.content.subjects import Subjects
from mlkit.errors import IntegrityError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_MANIFEST

CONFIG = Descriptor.of(b"{}", OCI_EMPTY)


def manifest(name: str, subject: Descriptor | None = None) -> Manifest:
    return render_manifest(config=CONFIG, layers=(), artifact_type=f"application/x.{name}", subject=subject)


def keep(layout: Layout, found: Manifest) -> Descriptor:
    layout.push(CONFIG, BytesContent(b"{}"))
    layout.push(found.descriptor, BytesContent(found.raw))
    return found.descriptor


def test_a_referrer_that_comes_later_is_found_and_one_that_goes_is_not(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    kit = keep(layout, manifest("kit"))
    layout.tag(kit, "kit:1")
    assert list(layout.referrers(kit)) == []

    referrer = keep(layout, manifest("one", kit))
    assert [desc.digest for desc in layout.referrers(kit)] == [referrer.digest]

    layout.unrecord(referrer)
    assert list(layout.referrers(kit)) == []


def test_each_manifest_is_read_once_however_often_somebody_asks() -> None:
    subject = Digest.of(b"kit")
    listed = [Descriptor(OCI_MANIFEST, Digest.of(str(number).encode()), 1) for number in range(20)]
    asked: list[Digest] = []

    def subject_of(desc: Descriptor) -> Digest | None:
        asked.append(desc.digest)
        return subject if desc.digest == listed[3].digest else None

    subjects = Subjects()
    for version in (object(), object()):
        for _ in range(3):
            assert subjects.referring(subject, version, listed, subject_of) == (listed[3],)

    assert len(asked) == len(listed)


def test_a_referrer_that_cannot_be_read_is_told_of_and_hides_no_other(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    kit = keep(layout, manifest("kit"))
    good, bad = keep(layout, manifest("good", kit)), keep(layout, manifest("bad", kit))
    path = layout.blobs.path(bad.digest)
    path.chmod(0o644)
    path.write_bytes(b" " * bad.size)
    again = Layout.at(tmp_path)
    told: list[Digest] = []

    for _ in range(2):
        found = list(again.referrers(kit, broken=lambda listed, _: told.append(listed.digest)))
        assert [desc.digest for desc in found] == [good.digest]
    with pytest.raises(IntegrityError):
        list(again.referrers(kit))
    # Asked for one type, it may still be of that.
    with pytest.raises(IntegrityError):
        list(again.referrers(kit, "application/x.good"))

    assert told == [bad.digest, bad.digest]


def test_one_that_is_listed_twice_or_is_no_manifest_is_looked_at_once_or_never() -> None:
    subject = Digest.of(b"kit")
    listed = [Descriptor.of(b"a", OCI_MANIFEST)] * 2 + [Descriptor.of(b"b", "application/octet-stream")]
    asked: list[Digest] = []

    def subject_of(desc: Descriptor) -> Digest:
        asked.append(desc.digest)
        return subject

    found = Subjects().referring(subject, "1", listed, subject_of)

    assert [desc.digest for desc in found] == asked == [listed[0].digest]
