"""Moving a graph: what goes, in which order, and what happens when it cannot go on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.content.contract import blob, push_blob, push_manifest, read
from tests.content.far import Far

from mlkit.content.copy import copy, missing
from mlkit.content.graph import is_document
from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent, Content, LostContent, Target
from mlkit.errors import DigestMismatch, MlkitError, NetworkError, NotFoundError
from mlkit.progress import Outcome
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_INDEX, PARTIAL, TITLE

MIB = 1 << 20


class Logged(MemoryStore):
    """A store that remembers what was asked of it, and refuses what it is told to."""

    def __init__(self, *, refused: Descriptor | None = None) -> None:
        super().__init__()
        self.refused = refused
        self.pushed: list[str] = []
        self.opened: Counter[str] = Counter()

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        self.opened[str(desc.digest)] += 1
        return super().open(desc, offset=offset)

    def push(self, desc: Descriptor, content: Content) -> None:
        if self.refused is not None and desc.digest == self.refused.digest:
            raise NetworkError("the registry is down")
        super().push(desc, content)
        self.pushed.append(str(desc.digest))


class Listener:
    """Progress that is written down."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[str, int | None]] = {}
        self.bytes: Counter[str] = Counter()
        self.resumed: dict[str, int] = {}
        self.finished: dict[str, Outcome] = {}
        self._lock = threading.Lock()

    def start(self, key: str, label: str, total: int | None) -> None:
        self.started[key] = (label, total)

    def advance(self, key: str, count: int) -> None:
        with self._lock:
            self.bytes[key] += count

    def resume(self, key: str, count: int) -> None:
        with self._lock:
            self.bytes[key] = count
            self.resumed[key] = count

    def finish(self, key: str, outcome: Outcome) -> None:
        self.finished[key] = outcome

    def warn(self, message: str) -> None:
        raise AssertionError(message)


@pytest.fixture(params=["memory", "layout"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return MemoryStore() if request.param == "memory" else Layout.create(tmp_path / "target")


def test_a_kit_arrives_whole(target: Target) -> None:
    source = MemoryStore()
    layers = [os.urandom(size) for size in (0, 1, 5000, 9 << 20)]
    manifest = push_manifest(source, *layers)

    result = copy(source, target, manifest.descriptor)

    assert [read(target, blob(layer)) for layer in layers] == layers
    assert read(target, manifest.descriptor) == manifest.raw
    assert result.root == manifest.descriptor
    assert [desc.digest for desc in result.moved] == [
        blob(b"{}").digest,
        *(blob(layer).digest for layer in layers),
        manifest.descriptor.digest,
    ]
    assert result.moved_bytes == manifest.size
    assert result.present == ()


def test_a_second_copy_moves_and_reads_nothing(target: Target) -> None:
    source = Logged()
    manifest = push_manifest(source, b"one", b"two")
    copy(source, target, manifest.descriptor)
    source.opened.clear()

    again = copy(source, target, manifest.descriptor)

    assert again.moved == ()
    assert again.present_bytes == manifest.size
    assert source.opened == {str(manifest.descriptor.digest): 1}


def test_content_that_occurs_twice_is_moved_once() -> None:
    source, target = Logged(), Logged()
    manifest = push_manifest(source, b"same", b"same", b"{}")

    copy(source, target, manifest.descriptor)

    assert sorted(target.pushed) == sorted(
        str(digest) for digest in (blob(b"same").digest, blob(b"{}").digest, manifest.descriptor.digest)
    )


def test_an_index_arrives_with_all_its_manifests_children_first() -> None:
    source, target = MemoryStore(), Logged()
    inner = [push_manifest(source, name).descriptor for name in (b"one", b"two")]
    raw = render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [desc.render() for desc in inner]})
    root = Descriptor.of(raw, OCI_INDEX)
    source.push(root, BytesContent(raw))

    copy(source, target, root)

    assert target.pushed[-3:] == [str(desc.digest) for desc in (*inner, root)]
    assert missing(target, root) == ()


def test_what_is_not_wanted_is_left_behind(tmp_path: Path) -> None:
    source, layout = Logged(), Layout.create(tmp_path / "store")
    manifest = push_manifest(source, b"wanted", b"unwanted")
    unwanted = blob(b"unwanted")

    result = copy(source, layout, manifest.descriptor, wanted=lambda desc: desc.digest != unwanted.digest)

    assert not layout.exists(unwanted)
    assert source.opened[str(unwanted.digest)] == 0
    assert unwanted.digest not in {desc.digest for desc in (*result.moved, *result.present)}
    assert [desc.digest for desc in missing(layout, manifest.descriptor)] == [unwanted.digest]
    layout.tag(manifest.descriptor.with_annotations({PARTIAL: "true"}), "digits:1")


def test_the_first_error_is_raised_and_no_manifest_arrives() -> None:
    source = MemoryStore()
    manifest = push_manifest(source, *(b"layer %d" % number for number in range(40)))
    target = Logged(refused=blob(b"layer 3"))

    with pytest.raises(NetworkError, match="registry is down"):
        copy(source, target, manifest.descriptor)

    assert not target.exists(manifest.descriptor)
    target.refused = None
    copy(source, target, manifest.descriptor)
    assert missing(target, manifest.descriptor) == ()


def test_an_error_stops_the_transfers_that_are_under_way() -> None:
    source = MemoryStore()
    slow, bad = b"slow" * 1000, b"bad"
    manifest = push_manifest(source, slow, bad)
    is_reading, has_failed = threading.Event(), threading.Event()

    class Target(Logged):
        def push(self, desc: Descriptor, content: Content) -> None:
            if desc.digest == blob(bad).digest:
                is_reading.wait(30)
                has_failed.set()
                raise NetworkError("the registry is down")
            if desc.digest == blob(slow).digest:
                with content.open() as stream:
                    stream.read(10)
                    is_reading.set()
                    has_failed.wait(30)
                    for _ in range(1000):
                        stopped.wait(0.01)
                        stream.read(1)
                    raise AssertionError("the transfer was not stopped")
            super().push(desc, content)

    stopped = threading.Event()

    with pytest.raises(NetworkError):
        copy(source, Target(), manifest.descriptor, concurrency=3)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlkit-copy")]


def test_a_missing_layer_is_named(target: Target) -> None:
    source = MemoryStore()
    config = push_blob(source, b"{}")
    manifest = render_manifest(config=config, layers=(blob(b"absent"),))
    source.push(manifest.descriptor, BytesContent(manifest.raw))

    with pytest.raises(NotFoundError, match=blob(b"absent").digest.hex):
        copy(source, target, manifest.descriptor)

    assert not target.exists(manifest.descriptor)


def test_a_broken_layer_never_arrives(tmp_path: Path, target: Target) -> None:
    source = Layout.create(tmp_path / "source")
    content = os.urandom(9 << 20)
    manifest = push_manifest(source, content)
    path = source.blobs.path(blob(content).digest)
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(DigestMismatch):
        copy(source, target, manifest.descriptor)

    assert not target.exists(blob(content))
    assert not target.exists(manifest.descriptor)


def test_progress_tells_every_byte_and_every_outcome(target: Target) -> None:
    source = MemoryStore()
    large = os.urandom(9 << 20)
    config = push_blob(source, b"{}")
    layers = (
        push_blob(source, large).with_annotations({TITLE: "weights.bin"}),
        push_blob(source, b"there already"),
        push_blob(source, b"small"),
    )
    manifest = render_manifest(config=config, layers=layers)
    source.push(manifest.descriptor, BytesContent(manifest.raw))
    push_blob(target, b"there already")
    listener = Listener()

    copy(source, target, manifest.descriptor, progress=listener)

    assert listener.started[str(blob(large).digest)] == ("weights.bin", 9 << 20)
    assert listener.started[str(config.digest)] == (config.digest.short, 2)
    assert listener.finished == {
        str(desc.digest): "present" if desc.digest == blob(b"there already").digest else "done"
        for desc in (config, *layers, manifest.descriptor)
    }
    assert {key: count for key, count in listener.bytes.items() if count} == {
        key: total for key, (_, total) in listener.started.items() if listener.finished[key] == "done"
    }


def test_a_transfer_that_starts_over_takes_its_bytes_back() -> None:
    source = MemoryStore()
    manifest = push_manifest(source, b"0123456789")
    listener = Listener()

    class Restarting(MemoryStore):
        def push(self, desc: Descriptor, content: Content) -> None:
            if desc.size == 10:
                with content.open() as stream:
                    stream.read(7)
                with content.open(offset=4) as stream:
                    stream.read(3)
            super().push(desc, content)

    copy(source, Restarting(), manifest.descriptor, progress=listener)

    assert listener.bytes[str(blob(b"0123456789").digest)] == 10


class Distant(MemoryStore):
    """A store whose connections break off where they are told to."""

    def __init__(self, breaks_at: int) -> None:
        super().__init__()
        self.breaks_at: int | None = breaks_at

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        with super().open(desc) as stream:
            content = stream.read()
        breaks_at = () if desc.size < MIB or self.breaks_at is None else (self.breaks_at,)
        return Far(content, breaks_at=breaks_at).open(offset=offset)


def test_a_copy_tells_what_it_moved_and_what_an_earlier_one_had(tmp_path: Path) -> None:
    source, layout = Distant(10 * MIB), Layout.create(tmp_path / "store")
    large = os.urandom(20 * MIB)
    manifest = push_manifest(source, large, b"small")
    with pytest.raises(NetworkError):
        copy(source, layout, manifest.descriptor, concurrency=1)
    source.breaks_at = None
    listener = Listener()

    result = copy(source, layout, manifest.descriptor, concurrency=1, progress=listener)

    key = str(blob(large).digest)
    assert result.resumed_bytes == listener.resumed[key] == 10 * MIB
    assert result.moved_bytes == sum(desc.size for desc in result.moved) - 10 * MIB
    assert listener.bytes[key] == 20 * MIB


def test_a_copy_between_folders_of_this_machine_leaves_nothing_for_later(tmp_path: Path) -> None:
    source, layout = Layout.create(tmp_path / "source"), Layout.create(tmp_path / "store")
    content = os.urandom(9 * MIB)
    manifest = push_manifest(source, content)
    path = source.blobs.path(blob(content).digest)
    path.chmod(0o644)
    path.write_bytes(b"X" + content[1:])

    with pytest.raises(DigestMismatch):
        copy(source, layout, manifest.descriptor)

    assert list((layout.root / ".mlkit" / "ingest").iterdir()) == []


def test_a_failed_item_is_told_as_failed() -> None:
    source = MemoryStore()
    manifest = push_manifest(source, b"layer")
    listener = Listener()

    with pytest.raises(MlkitError):
        copy(source, Logged(refused=blob(b"layer")), manifest.descriptor, progress=listener)

    assert listener.finished[str(blob(b"layer").digest)] == "failed"


@pytest.mark.parametrize(
    ("source_name", "target_name", "is_mounted"),
    [
        ("registry.example/team/a", "registry.example/team/b", True),
        ("registry.example/team/a", "registry.example/team/a", False),
        ("registry.example/team/a", "other.example/team/b", False),
    ],
    ids=["neighbours", "itself", "strangers"],
)
def test_neighbours_mount_blobs_and_are_sent_manifests(source_name: str, target_name: str, is_mounted: bool) -> None:
    mounted: list[tuple[str, str]] = []

    class Repository(Logged):
        name = ""

        def mount(self, desc: Descriptor, source_repository: str | None = None) -> bool:
            if source_repository is not None:
                mounted.append((str(desc.digest), source_repository))
            return source_repository is not None and desc.digest == blob(b"mountable").digest

    source, target = Repository(), Repository()
    source.name, target.name = source_name, target_name
    manifest = push_manifest(source, b"mountable", b"not mountable")

    copy(source, target, manifest.descriptor)

    assert (str(blob(b"mountable").digest) in target.pushed) is not is_mounted
    assert str(blob(b"not mountable").digest) in target.pushed
    assert str(manifest.descriptor.digest) in target.pushed
    assert {repository for _, repository in mounted} == ({"team/a"} if is_mounted else set())


def test_an_interrupt_ends_a_copy_whose_source_hangs() -> None:
    script = """
        import os, signal, threading, time
        from mlkit.content.copy import copy
        from mlkit.content.memory import MemoryStore
        from tests.content.contract import blob, push_manifest

        class Hanging(MemoryStore):
            def open(self, desc, *, offset=0):
                if desc.digest == blob(b"layer").digest:
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(600)
                return super().open(desc, offset=offset)

        source = Hanging()
        try:
            copy(source, MemoryStore(), push_manifest(source, b"layer").descriptor)
        except KeyboardInterrupt:
            print("interrupted")
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.returncode, result.stdout) == (0, "interrupted\n"), result.stderr


class _Forgetful(MemoryStore):
    """A registry that lost layers after it took them, and says so when it is given the manifest."""

    def __init__(self, lost: frozenset[Digest]) -> None:
        super().__init__()
        self.lost = lost
        self.pushed: list[Digest] = []

    def exists(self, desc: Descriptor) -> bool:
        # It believes to have what it lost.
        return desc.digest in self.lost or super().exists(desc)

    def push(self, desc: Descriptor, content: Content) -> None:
        self.pushed.append(desc.digest)
        if is_document(desc) and self.lost:
            raise LostContent("the registry lacks a layer", self.lost)
        self.lost -= {desc.digest}
        super().push(desc, content)


def test_what_a_target_lost_is_sent_once_more_and_then_the_manifest() -> None:
    source = MemoryStore()
    manifest = push_manifest(source, b"one", b"two")
    lost, kept = manifest.layers
    target = _Forgetful(frozenset({lost.digest}))

    result = copy(source, target, manifest.descriptor)

    assert target.pushed.count(lost.digest) == 1
    assert target.pushed.count(kept.digest) == 1
    assert target.pushed[-1] == manifest.descriptor.digest
    assert read(target, lost) == b"one"
    assert lost in result.moved


def test_what_a_target_lacks_and_the_kit_has_not_is_an_error() -> None:
    source = MemoryStore()
    manifest = push_manifest(source, b"one")
    target = _Forgetful(frozenset({blob(b"of another kit").digest}))

    with pytest.raises(LostContent, match="lacks a layer"):
        copy(source, target, manifest.descriptor)

    assert not MemoryStore.exists(target, manifest.descriptor)


def test_below_a_manifest_that_is_missing_nobody_knows_what_there_is() -> None:
    source, target = MemoryStore(), MemoryStore()
    here, gone = push_manifest(source, b"here"), push_manifest(source, b"gone")
    raw = render_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [here.descriptor.render(), gone.descriptor.render()],
        }
    )
    index = Descriptor.of(raw, OCI_INDEX)
    target.push(index, BytesContent(raw))
    target.push(here.descriptor, BytesContent(here.raw))

    assert {desc.digest for desc in missing(target, index)} == {
        gone.descriptor.digest,
        here.config.digest,
        here.layers[0].digest,
    }
    copy(source, target, here.descriptor)
    assert [desc.digest for desc in missing(target, index)] == [gone.descriptor.digest]
