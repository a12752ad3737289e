"""Kits out of one file, which an enemy may have made."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.test_moving import sign
from tests.content.oracle import names_of_sound_layout, tree
from tests.support import tars
from tests.support.cli import WEIGHTS, write_project

import mlkit
from mlkit.api.loading import Loaded, read_bundle
from mlkit.api.session import Session
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, UnsafeError, UsageError
from mlkit.progress import NoProgress
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

Members = dict[str, bytes]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture
def bundle(project: Path, session: Session, tmp_path: Path) -> Path:
    """`digits:1.2` with a note and a note on the note."""
    mlkit.pack(project, tag="digits:1.2", session=session)
    sign(session, "digits:1.2")
    mlkit.save("digits:1.2", tmp_path / "bundle.tar", session=session)
    return tmp_path / "bundle.tar"


def members(file: Path) -> Members:
    """The regular files of a tar."""
    with tarfile.open(file) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


def packed(found: Members) -> bytes:
    return tars.archive(*(tars.file(name, content) for name, content in found.items())).getvalue()


def take(session: Session, raw: bytes, *names: str) -> Loaded:
    references = [Reference.parse(name) for name in names]
    return read_bundle(session, io.BytesIO(raw), what="bundle.tar", names=references)


def changed_index(found: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    index = json.loads(found["index.json"])
    change(index)
    return {**found, "index.json": json.dumps(index).encode()}


def test_what_was_saved_is_there_again(bundle: Path, session: Session, other: Session, tmp_path: Path) -> None:
    loaded = mlkit.load(bundle, session=other)
    again = mlkit.load(bundle, session=other)
    mlkit.unpack("digits:1.2", tmp_path / "files", session=other)

    kit = other.local(Reference.parse("digits:1.2"))
    (note,) = other.layout.referrers(kit)
    assert len(list(other.layout.referrers(note))) == 1
    assert (loaded.kits[0].reference, loaded.kits[0].digest, loaded.referrers) == ("digits:1.2", kit.digest, 2)
    assert loaded.moved_bytes == again.present_bytes > 0
    assert loaded.present_bytes == again.moved_bytes == 0
    assert (tmp_path / "files/README.md").read_text() == "# Digits\n"
    assert names_of_sound_layout(other.layout.root) == {"digits:1.2": str(kit.digest)}


@pytest.mark.parametrize("seed", range(4))
def test_members_may_come_in_any_order(seed: int, bundle: Path, other: Session) -> None:
    found = list(members(bundle).items())
    random.Random(seed).shuffle(found)

    take(other, packed(dict(found)))

    assert list(names_of_sound_layout(other.layout.root)) == ["digits:1.2"]


def test_a_pipe_will_do(bundle: Path, other: Session) -> None:
    receiver, sender = os.pipe()

    def send() -> None:
        with os.fdopen(sender, "wb") as stream:
            stream.write(bundle.read_bytes())

    thread = threading.Thread(target=send)
    thread.start()
    with os.fdopen(receiver, "rb") as stream:
        read_bundle(other, stream, what="stdin")
    thread.join()

    assert list(names_of_sound_layout(other.layout.root)) == ["digits:1.2"]


def _flip(found: Members) -> Members:
    name = f"blobs/sha256/{Digest.of(WEIGHTS).hex}"
    return {**found, name: b"W" + found[name][1:]}


def _without_weights(found: Members) -> Members:
    return {name: content for name, content in found.items() if not name.endswith(Digest.of(WEIGHTS).hex)}


def _without_kit(found: Members) -> Members:
    digest = json.loads(found["index.json"])["manifests"][0]["digest"]
    return {name: content for name, content in found.items() if not name.endswith(digest[7:])}


def _of_size(size: int) -> Callable[[Members], Members]:
    return lambda found: changed_index(found, lambda index: index["manifests"][0].update(size=size))


def _of_type(media_type: str) -> Callable[[Members], Members]:
    return lambda found: changed_index(found, lambda index: index["manifests"][0].update(mediaType=media_type))


def _with_digest(digest: str) -> Callable[[Members], Members]:
    return lambda found: changed_index(found, lambda index: index["manifests"][0].update(digest=digest))


def _twice(index: dict[str, Any]) -> None:
    other = dict(index["manifests"][1])
    index["manifests"].append({**other, "annotations": index["manifests"][0]["annotations"]})


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (_flip, IntegrityError, "the content is"),
        (_without_weights, IntegrityError, "lists what the bundle does not hold"),
        (_without_kit, IntegrityError, "lists what the bundle does not hold"),
        (_of_size(7), IntegrityError, "expected 7"),
        (_of_size(-1), IntegrityError, "not a whole number"),
        (_of_type("application/octet-stream"), IntegrityError, "lists what is no manifest"),
        (_of_type("application/vnd.oci.image.index.v1+json"), IntegrityError, "announced as"),
        (_with_digest("sha256:../../../etc/passwd"), IntegrityError, "not a digest"),
        (lambda found: changed_index(found, _twice), IntegrityError, "gives this name to two manifests"),
        (lambda found: {**found, "index.json": b"{"}, IntegrityError, "index.json"),
        (lambda found: {**found, "index.json": b" " * (4 << 20) + b"{}"}, LimitError, "index.json: 4194306 bytes"),
        (lambda found: {name: found[name] for name in found if name != "index.json"}, IntegrityError, "no index.json"),
        (lambda found: {name: found[name] for name in found if name != "oci-layout"}, IntegrityError, "no oci-layout"),
        (lambda found: {**found, "oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}, IntegrityError, "version '2.0.0'"),
        (lambda found: {**found, "oci-layout": b" " * 5000}, LimitError, "5000 bytes"),
        (lambda found: {**found, "blobs/sha256/abc": b""}, IntegrityError, "not a digest"),
        (lambda found: {**found, "blobs/md5/" + "0" * 32: b""}, IntegrityError, "not a digest"),
        (lambda found: {**found, "blobs/sha256/" + "0" * 64: b"x"}, IntegrityError, "the content is"),
        (lambda found: {**found, "../escaped": b"x"}, UnsafeError, "escaped"),
        (lambda found: {**found, "/etc/escaped": b"x"}, UnsafeError, "escaped"),
        (lambda found: changed_index(found, lambda index: index["manifests"].clear()), NotFoundError, "no kit"),
    ],
    ids=[
        "bit-flip", "no-blob", "no-manifest", "wrong-size", "negative-size", "no-manifest-type", "another-type",
        "digest-as-path", "one-name-twice", "broken-index", "huge-index", "no-index", "no-marker", "another-version",
        "huge-marker", "no-digest", "md5", "lying-name", "dots", "absolute", "empty",
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_sound_changes_no_name(
    change: Callable[[Members], Members],
    kind: type[MlkitError],
    said: str,
    bundle: Path,
    other: Session,
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("# Mine\n")
    mlkit.pack(tmp_path / "mine", tag="digits:1.2", session=other)
    before = names_of_sound_layout(other.layout.root)
    index = (other.layout.root / "index.json").read_bytes()
    outside = {path.name for path in tmp_path.iterdir()}

    with pytest.raises(kind, match=said) as caught:
        take(other, packed(change(members(bundle))))

    assert caught.value.message.startswith("bundle.tar: ")
    assert names_of_sound_layout(other.layout.root) == before
    assert (other.layout.root / "index.json").read_bytes() == index
    assert {path.name for path in tmp_path.iterdir()} == outside
    assert list((other.layout.root / ".mlkit/ingest").iterdir()) == []


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (tars.link("index.json", "/etc/passwd"), UnsafeError),
        (tars.link("blobs/sha256/" + "0" * 64, "/etc/passwd", typeflag=b"1"), UnsafeError),
        (tars.header("blobs/sha256/" + "0" * 64, typeflag=b"6"), UnsafeError),
        (tars.file("index.json", b"{}"), UnsafeError),
        (tars.file("INDEX.json", b"{}"), UnsafeError),
        (tars.header("blobs/sha256/" + "0" * 64, size=b"\x80" + b"\xff" * 11), IntegrityError),
        (tars.header("blobs/sha256/" + "0" * 64, size=1 << 30), IntegrityError),
    ],
    ids=["symbolic-link", "hard-link", "pipe", "duplicate", "other-case", "size-beyond-all", "size-beyond-the-end"],
)
def test_a_tar_that_is_not_honest_is_refused(part: bytes, kind: type[MlkitError], bundle: Path, other: Session) -> None:
    files = [tars.file(name, content) for name, content in members(bundle).items()]

    with pytest.raises(kind, match=r"^bundle\.tar: "):
        take(other, tars.archive(*files, part).getvalue())

    assert names_of_sound_layout(other.layout.root) == {}


def test_what_the_store_has_is_not_taken_from_a_bundle(bundle: Path, session: Session) -> None:
    loaded = take(session, packed(_flip(members(bundle))))

    assert loaded.moved_bytes == 0
    assert list(names_of_sound_layout(session.layout.root)) == ["digits:1.2"]


def test_a_bundle_that_breaks_off_anywhere_changes_no_name(bundle: Path, other: Session) -> None:
    raw = bundle.read_bytes()
    cuts = [*range(0, 2048, 512), *random.Random(7).sample(range(1, len(raw) - 1024), 20), len(raw) - 1024]

    for cut in cuts:
        with pytest.raises(IntegrityError):
            take(other, raw[:cut])
        assert other.layout.is_absent or names_of_sound_layout(other.layout.root) == {}

    take(other, raw)
    assert list(names_of_sound_layout(other.layout.root)) == ["digits:1.2"]


def test_what_a_bundle_says_of_being_partial_is_not_believed(bundle: Path, other: Session) -> None:
    def lie(index: dict[str, Any]) -> None:
        index["manifests"][0]["annotations"].update(
            {"dev.mlkit.partial": "true", "dev.mlkit.origin": "attacker.example/x"}
        )

    with pytest.raises(IntegrityError, match="does not hold"):
        take(other, packed(_without_weights(changed_index(members(bundle), lie))))
    take(other, packed(changed_index(members(bundle), lie)))

    assert other.local(Reference.parse("digits:1.2")).annotations == {}


def test_what_is_not_part_of_a_layout_is_passed_over(bundle: Path, other: Session, tmp_path: Path) -> None:
    take(other, packed({"manifest.json": b"[]", ".mlkit/journal": b"theirs", **members(bundle), "repositories": b"{}"}))

    names_of_sound_layout(other.layout.root)
    assert {name for name in tree(other.layout.root) if not name.startswith("blobs/")} == {"oci-layout", "index.json"}
    assert b"theirs" not in (other.layout.root / ".mlkit/journal").read_bytes()


class _Warnings(NoProgress):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def warn(self, message: str) -> None:
        self.heard.append(message)


@pytest.mark.parametrize(
    "name",
    ["1.2", "digits", "../../x:1", "Team/Digits:1", "digits:sha256-" + "0" * 64, "digits:\x1b[31m"],
    ids=["bare-tag", "bare-repository", "path", "capitals", "reserved", "escape"],
)
def test_a_name_that_no_reference_can_be_is_told_and_left_out(name: str, bundle: Path, other: Session) -> None:
    other.progress = warnings = _Warnings()
    found = changed_index(
        members(bundle),
        lambda index: index["manifests"][0]["annotations"].update({"org.opencontainers.image.ref.name": name}),
    )

    loaded = take(other, packed(found))
    take(other, packed(found))

    digest = loaded.kits[0].digest
    assert loaded.kits[0].reference is None
    assert "is no name of a kit" in warnings.heard[0]
    assert "\x1b" not in warnings.heard[0]
    assert other.layout.names() == {}
    assert [desc.digest for desc in other.layout.manifests()].count(digest) == 1
    assert mlkit.inspect(f"digits@{digest}", session=other).digest == digest


def test_a_kit_gets_the_names_that_were_asked_for(bundle: Path, other: Session) -> None:
    loaded = mlkit.load(bundle, tag="team/digits:1,latest", session=other)

    assert [kit.reference for kit in loaded.kits] == ["team/digits:1", "team/digits:latest"]
    assert sorted(other.layout.names()) == ["team/digits:1", "team/digits:latest"]


def test_names_for_several_kits_are_refused(
    bundle: Path, project: Path, session: Session, other: Session, tmp_path: Path
) -> None:
    (project / "README.md").write_text("# Another\n")
    mlkit.pack(project, tag="digits:2", session=session)
    mlkit.save(["digits:1.2", "digits:2"], tmp_path / "two.tar", session=session)

    with pytest.raises(UsageError, match="holds several kits"):
        mlkit.load(tmp_path / "two.tar", tag="digits:3", session=other)

    assert other.layout.names() == {}


def test_a_name_that_moves_says_where_it_was(bundle: Path, project: Path, other: Session) -> None:
    (project / "README.md").write_text("# Mine\n")
    mine = mlkit.pack(project, tag="digits:1.2", session=other).digest

    loaded = mlkit.load(bundle, session=other)

    assert loaded.kits[0].replaced == mine
    assert mlkit.load(bundle, session=other).kits[0].replaced is None


@pytest.mark.parametrize("magic", [gzip.compress(b""), b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"], ids=["gzip", "zstd", "xz"])
def test_a_compressed_bundle_says_how_to_read_it(magic: bytes, other: Session) -> None:
    with pytest.raises(UsageError, match="is compressed") as caught:
        take(other, magic)

    assert "-dc FILE | mlkit load -" in (caught.value.hint or "")


def test_a_file_that_is_none(other: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        mlkit.load(tmp_path / "absent.tar", session=other)
    with pytest.raises(UsageError, match="is a directory"):
        mlkit.load(tmp_path, session=other)
