from __future__ import annotations

from pathlib import Path

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.content.subjects import Subjects
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
