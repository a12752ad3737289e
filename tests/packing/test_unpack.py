"""From kits to files: what is written, and that nothing is when anything is wrong."""

from __future__ import annotations

import os
import resource
import signal
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pytest
from tests.support.kits import (
    DIGITS_KITFILE,
    DIGITS_LAYERS,
    Layer,
    compressed,
    digits_kit,
    kitops_kit,
    modelpack_kit,
    own_kit,
    tar_of,
    tar_of_members,
)

from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import ReadOnlyStorage, StoredContent
from mlkit.errors import (
    ConflictError,
    DigestMismatch,
    IntegrityError,
    LimitError,
    NotFoundError,
    StoreError,
    UnsafeError,
)
from mlkit.packing.fetch import runs
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.select import select
from mlkit.packing.unpack import unpack
from mlkit.progress import NoProgress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord, InputRecord, KitDocument
from mlkit.spec.media_types import FILEPATH

DATA = "manifestVersion: 1.0.0\ndatasets:\n  - {name: train, path: data}\n"
BIG = bytes(range(256)) * 40_000  # 10 MB: beyond the size from which a second thread hashes


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, every directory and link with None."""
    found: dict[str, bytes | None] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            is_file = path.is_file() and not path.is_symlink()
            found[path.relative_to(root).as_posix()] = path.read_bytes() if is_file else None
    return found


def files(root: Path) -> dict[str, bytes]:
    return {path: content for path, content in tree(root).items() if content is not None}


def digits_files() -> dict[str, bytes]:
    named = {path: content for layer in DIGITS_LAYERS for path, content in layer.files.items()}
    return {path: content for path, content in named.items() if not path.endswith("/")}


def kit_of(store: MemoryStore, *layers: Layer, kitfile: str = DATA, **options: Any) -> Kit:
    return load_kit(store, own_kit(store, kitfile, layers, **options))


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """A test run in the background of a shell ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Watched:
    """A store that counts what is read from it."""

    def __init__(self, store: ReadOnlyStorage) -> None:
        self._store = store
        self.opened: list[tuple[Digest, int]] = []
        self.reads: list[int] = []

    @property
    def read(self) -> int:
        return sum(self.reads)

    def exists(self, desc: Descriptor) -> bool:
        return self._store.exists(desc)

    @contextmanager
    def open(self, desc: Descriptor, *, offset: int = 0) -> Iterator[BinaryIO]:
        self.opened.append((desc.digest, offset))
        with self._store.open(desc, offset=offset) as stream:
            yield _Watching(stream, self)  # type: ignore[misc]  # has what readers ask for


class _Watching:
    def __init__(self, stream: BinaryIO, store: Watched) -> None:
        self._stream = stream
        self._store = store

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._store.reads.append(len(chunk))
        return chunk


def test_a_kit_comes_back_as_it_was(tmp_path: Path) -> None:
    store = MemoryStore()

    result = unpack(digits_kit(store), store, tmp_path / "out")

    assert files(tmp_path / "out") == {**digits_files(), "Kitfile": DIGITS_KITFILE.encode()}
    assert result.files == tuple(sorted([*digits_files(), "Kitfile"]))
    assert result.size == sum(map(len, digits_files().values())) + len(DIGITS_KITFILE)
    assert result.skipped == ()
    assert os.listdir(tmp_path) == ["out"]


def test_only_what_is_selected_is_fetched_and_written(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = digits_kit(store)
    watched = Watched(store)

    result = unpack(kit, watched, tmp_path / "out", selection=select(kit, ["datasets:test", "parameters"]))

    assert files(tmp_path / "out") == {"data/test.csv": b"1,2\n", "params.yaml": b"lr: 1\n"}
    assert result.files == ("data/test.csv", "params.yaml")
    assert len(watched.opened) == 2
    assert watched.read == len(b"1,2\nlr: 1\n")


def test_b24_hostile_layers_that_are_not_selected_are_not_read(tmp_path: Path) -> None:
    store = MemoryStore()
    link = tarfile.TarInfo("src/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    layers = [
        layer if layer.entry != "code[0]" else replace(layer, raw=tar_of_members([link]), compression="none")
        for layer in DIGITS_LAYERS
    ]
    kit = kit_of(store, *layers, kitfile=DIGITS_KITFILE)
    watched = Watched(store)

    unpack(kit, watched, tmp_path / "out", selection=select(kit, ["model"]))

    assert set(files(tmp_path / "out")) == {"model/weights.bin", "model/config.json", "tokenizer.json"}
    assert {digest for digest, _ in watched.opened} == {Digest.of(next(iter(one.files.values()))) for one in layers[:3]}
    with pytest.raises(UnsafeError):
        unpack(kit, store, tmp_path / "all")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_part_of_a_tar_layer(compression: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    content = {f"data/{name}": name.encode() * 100 for name in ("one", "two", "three")}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar", compression=compression))

    unpack(kit, store, tmp_path / "out", selection=select(kit, ["datasets:data/one,data/three"]))

    assert files(tmp_path / "out") == {"data/one": b"one" * 100, "data/three": b"three" * 100}


def test_a_small_part_of_a_big_tar_is_read_by_ranges(tmp_path: Path) -> None:
    store = MemoryStore()
    content = {"data/a": b"a" * 10, "data/big": b"b" * 2_000_000, "data/y": b"y" * 20, "data/z": b"z" * 30}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar"))
    watched = Watched(store)

    unpack(kit, watched, tmp_path / "out", selection=select(kit, ["!data/big", "datasets"]))

    assert files(tmp_path / "out") == {path: raw for path, raw in content.items() if path != "data/big"}
    assert len(watched.opened) == 2
    assert watched.read < 5000


def test_a_range_that_holds_other_bytes_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    content = {"data/a": b"a" * 10, "data/big": b"b" * 2_000_000}
    tar = tar_of(content)
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar", stored=tar.replace(b"a" * 10, b"aaaaaaaaab")))

    with pytest.raises(DigestMismatch):
        unpack(kit, store, tmp_path / "out", selection=select(kit, ["data/a"]))
    assert os.listdir(tmp_path) == []


def test_runs_join_what_lies_close_together() -> None:
    def record(offset: int, size: int) -> FileRecord:
        return FileRecord(f"f{offset}", size, 0o644, Digest.of(b""), offset)

    far = record(5_000_000, 10)
    near, next_to_it = record(512, 100), record(1536, 0)

    assert runs([far, next_to_it, near]) == [[near, next_to_it], [far]]
    assert runs([]) == []


def test_equal_files_are_read_once(tmp_path: Path) -> None:
    store = MemoryStore()
    layers = [Layer("datasets[0]", {f"data/{name}": b"same"}) for name in "abc"]
    watched = Watched(store)

    unpack(kit_of(store, *layers), watched, tmp_path / "out")

    assert files(tmp_path / "out") == {
        "data/a": b"same", "data/b": b"same", "data/c": b"same", "Kitfile": DATA.encode()
    }  # fmt: skip
    assert watched.read == 4


def test_files_without_bytes_and_directories_without_files_come_back(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(
        store,
        Layer("datasets[0]", {"data/empty.bin": b""}),
        Layer("datasets[0]", {"data/also": b"", "data/tar/x": b"x"}, kind="tar"),
        directories={"datasets[0]": ("data/later/deep",)},
    )

    unpack(kit, store, tmp_path / "out", selection=select(kit, ["datasets"]))

    assert tree(tmp_path / "out") == {
        "data": None,
        "data/empty.bin": b"",
        "data/also": b"",
        "data/tar": None,
        "data/tar/x": b"x",
        "data/later": None,
        "data/later/deep": None,
    }


def test_an_entry_that_is_nothing_but_an_empty_directory_can_be_selected(tmp_path: Path) -> None:
    store = MemoryStore()
    layer = Layer("datasets[0]", {"data/": b""}, kind="tar")
    kit = kit_of(store, layer, directories={"datasets[0]": ("data/later",)})

    unpack(kit, store, tmp_path / "out", selection=select(kit, ["datasets"]))

    assert tree(tmp_path / "out") == {"data": None, "data/later": None}


def executable(document: KitDocument) -> KitDocument:
    layer = document.layers[0]
    changed = replace(layer, files=(replace(layer.files[0], mode=0o755),))
    return replace(document, layers=(changed, *document.layers[1:]))


def test_modes_are_those_of_the_kit(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(
        store,
        Layer("datasets[0]", {"data/run": b"#!"}),
        Layer("datasets[0]", {"data/plain": b"x"}),
        change=executable,
    )

    unpack(kit, store, tmp_path / "out")

    modes = {name: stat.S_IMODE((tmp_path / "out/data" / name).stat().st_mode) for name in ("run", "plain")}
    assert modes["run"] & 0o100
    assert not modes["plain"] & 0o111


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_big_layer_from_memory_and_from_disk(concurrency: int, tmp_path: Path) -> None:
    memory = MemoryStore()
    kit = kit_of(memory, Layer("datasets[0]", {"data/big": BIG}), Layer("datasets[0]", {"data/copy": BIG}))
    layout = Layout.create(tmp_path / "store")
    for desc in (layer.desc for layer in kit.layers):
        layout.push(desc, StoredContent(memory, desc))

    for store, name in ((memory, "one"), (layout, "two")):
        unpack(kit, store, tmp_path / name, concurrency=concurrency)

        assert files(tmp_path / name) == {"data/big": BIG, "data/copy": BIG, "Kitfile": DATA.encode()}


def damages() -> Iterator[tuple[str, Layer]]:
    """Layers whose stored bytes are not those that the kit was made of, and all other ways to be wrong."""
    raw = {"data/x": b"content" * 50}
    packed = tar_of(raw)
    yield "raw, a bit", Layer("datasets[0]", raw, stored=b"Content" + b"content" * 49)
    yield "raw, short", Layer("datasets[0]", raw, stored=b"content")
    yield "raw, long", Layer("datasets[0]", raw, stored=b"content" * 51)
    yield "raw, nothing", Layer("datasets[0]", raw, stored=b"")
    yield "big raw, a bit", Layer("datasets[0]", {"data/x": BIG}, stored=BIG[:-1] + b"x")
    yield "big raw, short", Layer("datasets[0]", {"data/x": BIG}, stored=BIG[:-1])
    yield "big raw, long", Layer("datasets[0]", {"data/x": BIG}, stored=BIG + b"x")
    yield "tar, a bit", Layer("datasets[0]", raw, kind="tar", stored=packed.replace(b"content", b"CONTENT"))
    yield "tar, short", Layer("datasets[0]", raw, kind="tar", stored=packed[:700])
    yield "tar, no tar", Layer("datasets[0]", raw, kind="tar", raw=b"PK\x03\x04" + bytes(2000))
    yield "tar, other file", Layer("datasets[0]", raw, kind="tar", raw=tar_of({"data/y": b"content" * 50}))
    yield "tar, one more file", Layer("datasets[0]", raw, kind="tar", raw=tar_of({**raw, "data/y": b""}))
    yield "tar, no file", Layer("datasets[0]", raw, kind="tar", raw=tar_of({}))
    yield "tar, other bytes", Layer("datasets[0]", raw, kind="tar", raw=tar_of({"data/x": b"CONTENT" * 50}))
    yield "tar, bytes after", Layer("datasets[0]", raw, kind="tar", raw=packed + b"x" * 512)
    yield "gzip, a bit", Layer("datasets[0]", raw, kind="tar", compression="gzip", stored=b"\x1f\x8b" + bytes(200))
    yield "two tars", Layer("datasets[0]", raw, kind="tar", raw=packed + packed)


@pytest.mark.parametrize("layer", [pytest.param(layer, id=name) for name, layer in damages()])
def test_a_damaged_layer_leaves_everything_as_it_was(layer: Layer, tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(store, Layer("datasets[0]", {"data/sound": b"sound"}), layer)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine").write_bytes(b"mine")

    for name in ("there", "new", "deep/new"):
        with pytest.raises(IntegrityError):
            unpack(kit, store, tmp_path / name)

        assert tree(tmp_path) == {"there": None, "there/mine": b"mine"}


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
def test_a_tar_that_differs_in_what_no_file_shows_is_refused_too(content: bytes, tmp_path: Path) -> None:
    raw = {"data/x": content}
    packed = bytearray(tar_of(raw))
    packed[136:147] = b"00000000001"  # the time of the first member, and the checksum that goes with it
    told = sum(packed[:148]) + sum(packed[156:512]) + 8 * ord(" ")
    packed[148:156] = b"%06o\0 " % told
    store = MemoryStore()
    kit = kit_of(store, Layer("datasets[0]", raw, kind="tar", stored=bytes(packed)))

    with pytest.raises(DigestMismatch):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a33_a_compressed_layer_that_expands_to_something_else_is_refused(compression: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    told = Digest.of(b"something else")
    kit = kit_of(store, Layer("datasets[0]", {"data/x": b"x"}, kind="tar", compression=compression, diff_id=told))

    with pytest.raises(IntegrityError, match="diffID"):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["../escape", "/escape", "data/../../escape", ".git/hooks/pre-commit"])
@pytest.mark.parametrize("filters", [[], ["datasets"], ["**/escape"]], ids=["all", "class", "pattern"])
def test_a_tar_that_climbs_out_is_refused(name: str, filters: list[str], tmp_path: Path) -> None:
    store = MemoryStore()
    kit = load_kit(store, modelpack_kit(store, [("dataset.v1.tar", tar_of({name: b"x"}), {FILEPATH: "data"})]))

    with pytest.raises(UnsafeError):
        unpack(kit, store, tmp_path / "deep/out", selection=select(kit, filters))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_of_another_tool_with_more_than_files_is_refused(kind: bytes, tmp_path: Path) -> None:
    store = MemoryStore()
    member = tarfile.TarInfo("data/link")
    member.type, member.linkname = kind, "../../outside"
    raw = tar_of_members([member])
    kit = load_kit(store, modelpack_kit(store, [("dataset.v1.tar", raw, {FILEPATH: "data"})]))

    with pytest.raises(UnsafeError):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_files_that_exist_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "out/data").mkdir(parents=True)
    (tmp_path / "out/data/test.csv").write_bytes(b"mine")
    watched = Watched(store)

    with pytest.raises(ConflictError, match=r"data/test\.csv"):
        unpack(digits_kit(store), watched, tmp_path / "out")

    assert tree(tmp_path / "out") == {"data": None, "data/test.csv": b"mine"}
    assert watched.opened == []


def test_files_that_exist_are_replaced_where_the_caller_says_so(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/test.csv").write_bytes(b"mine")
    (tmp_path / "data/other").write_bytes(b"other")

    result = unpack(digits_kit(store), store, tmp_path, existing="overwrite")

    assert files(tmp_path) == {**digits_files(), "Kitfile": DIGITS_KITFILE.encode(), "data/other": b"other"}
    assert result.skipped == ()


def test_files_that_exist_are_kept_and_not_fetched_where_the_caller_says_so(tmp_path: Path) -> None:
    store = MemoryStore()
    for path in ("data/test.csv", "model/weights.bin", "src/train.py", "Kitfile"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"mine")
    kit = digits_kit(store)
    watched = Watched(store)

    result = unpack(kit, watched, tmp_path, existing="ignore")

    kept = dict.fromkeys(("data/test.csv", "model/weights.bin", "src/train.py", "Kitfile"), b"mine")
    assert files(tmp_path) == {**digits_files(), **kept}
    assert result.skipped == tuple(sorted(kept))
    assert not set(result.files) & set(kept)
    assert Digest.of(b"w" * 3000) not in {digest for digest, _ in watched.opened}


def test_unpacking_twice_and_keeping_what_is_there_does_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = digits_kit(store)
    unpack(kit, store, tmp_path)
    watched = Watched(store)

    result = unpack(kit, watched, tmp_path, existing="ignore")

    assert result.files == ()
    assert len(result.skipped) == 12
    assert watched.opened == []


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "ignore"])
def test_a_link_in_the_destination_is_not_followed(existing: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/data").symlink_to(tmp_path / "outside")

    with pytest.raises(UnsafeError):
        unpack(digits_kit(store), store, tmp_path / "out", existing=existing)
    assert tree(tmp_path) == {"outside": None, "out": None, "out/data": None}


class Interrupting(NoProgress):
    """Somebody presses Ctrl-C, once, when the first bytes have moved."""

    def __init__(self) -> None:
        self._once = threading.Lock()

    def advance(self, key: str, count: int) -> None:
        if self._once.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("existing_files", [{}, {"mine": b"mine"}], ids=["new", "there"])
def test_an_interruption_leaves_the_destination_as_it_was(existing_files: dict[str, bytes], tmp_path: Path) -> None:
    store = MemoryStore()
    for path, content in existing_files.items():
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / path).write_bytes(content)
    before = tree(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        unpack(digits_kit(store), store, tmp_path / "out", progress=Interrupting(), concurrency=2)

    assert tree(tmp_path) == before


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 1 MB; the kernel says so with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("kind", ["raw", "tar"])
def test_a_disk_that_fails_while_writing_leaves_nothing(kind: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(store, Layer("datasets[0]", {"data/big": BIG}, kind=kind))

    with pytest.raises(StoreError):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    kit = digits_kit(store)
    watched = Watched(store)
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(10**6, 10**6 - 4000, 4000))

    with pytest.raises(StoreError, match="no space left"):
        unpack(kit, watched, tmp_path / "out")
    assert watched.opened == []
    assert os.listdir(tmp_path) == []


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_layer_that_is_not_in_the_store_is_named(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = digits_kit(store)
    del store._blobs[kit.layers[0].desc.digest]

    with pytest.raises(NotFoundError, match=kit.layers[0].desc.digest.hex):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_progress_is_told_of_every_byte_of_every_layer(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = digits_kit(store)
    told: dict[str, list[int]] = {}
    finished: list[str] = []

    class Listener(NoProgress):
        def start(self, key: str, label: str, total: int | None) -> None:
            told[key] = [total or 0, 0]

        def advance(self, key: str, count: int) -> None:
            told[key][1] += count

        def finish(self, key: str, outcome: str) -> None:
            finished.append(outcome)

    unpack(kit, store, tmp_path / "out", progress=Listener())

    assert told == {str(layer.desc.digest): [layer.desc.size] * 2 for layer in kit.layers}
    assert finished == ["done"] * len(kit.layers)


# Kits of other tools


def test_a_kit_of_kitops_comes_back_with_a_kitfile(tmp_path: Path) -> None:
    store = MemoryStore()
    weights = b"weights"
    data = compressed(tar_of({"data/": b"", "data/a.csv": b"1", "data/none/": b""}), "gzip")
    kitfile = {
        "manifestVersion": "1.0.0",
        "model": {"name": "m", "path": "m.bin", "digest": str(Digest.of(weights))},
        "datasets": [{"name": "d", "path": "data", "digest": str(Digest.of(data))}],
    }
    layers = [("model.v1.raw", weights, {}), ("dataset.v1.tar+gzip", data, {})]
    kit = load_kit(store, kitops_kit(store, kitfile, layers))

    result = unpack(kit, store, tmp_path / "out")

    found = tree(tmp_path / "out")
    assert "name: m" in (found.pop("Kitfile") or b"").decode()
    assert found == {"m.bin": weights, "data": None, "data/a.csv": b"1", "data/none": None}
    assert result.files == ("Kitfile", "data/a.csv", "m.bin")


def test_a_kit_of_kitops_from_before_digests_lands_where_its_entries_say(tmp_path: Path) -> None:
    store = MemoryStore()
    kitfile = {"manifestVersion": "1.0.0", "model": {"path": "models/m"}, "code": [{"path": "."}]}
    layers = [
        ("model.v1.tar", tar_of({"m/": b"", "m/w.bin": b"w", "m/b.bin": b"b"}), {}),
        ("code.v1.tar", tar_of({"main.py": b"x"}), {}),
    ]
    kit = load_kit(store, kitops_kit(store, kitfile, layers))

    unpack(kit, store, tmp_path / "all", selection=select(kit, ["model", "code"]))
    unpack(kit, store, tmp_path / "some", selection=select(kit, ["**/w.bin"]))

    assert files(tmp_path / "all") == {"models/m/w.bin": b"w", "models/m/b.bin": b"b", "main.py": b"x"}
    assert files(tmp_path / "some") == {"models/m/w.bin": b"w"}


@pytest.mark.parametrize("name", ["other/a", "datax", "data.csv"])
def test_a_layer_of_another_tool_puts_nothing_outside_of_its_path(tmp_path: Path, name: str) -> None:
    store = MemoryStore()
    kitfile = {
        "manifestVersion": "1.0.0",
        "datasets": [{"name": "d", "path": "data", "digest": str(Digest.of(tar_of({name: b"x"})))}],
        "code": [{"path": "other", "digest": str(Digest.of(tar_of({"other/a": b"code"})))}],
    }
    layers = [("dataset.v1.tar", tar_of({name: b"x"}), {}), ("code.v1.tar", tar_of({"other/a": b"code"}), {})]
    kit = load_kit(store, kitops_kit(store, kitfile, layers))

    with pytest.raises(UnsafeError, match="lies outside of 'data'"):
        unpack(kit, store, tmp_path / "out", selection=select(kit, ["datasets"]))

    assert not (tmp_path / "out").exists()


def test_a_kitfile_in_a_layer_of_another_tool_is_not_the_kits(tmp_path: Path) -> None:
    store = MemoryStore()
    code = tar_of({"Kitfile": b"model: {path: /etc}", "main.py": b"x"})
    kitfile = {"manifestVersion": "1.0.0", "code": [{"path": ".", "digest": str(Digest.of(code))}]}
    kit = load_kit(store, kitops_kit(store, kitfile, [("code.v1.tar", code, {})]))

    unpack(kit, store, tmp_path / "out")

    assert (tmp_path / "out/Kitfile").read_text() == kit.kitfile_text
    assert (tmp_path / "out/main.py").read_bytes() == b"x"


def test_a_raw_layer_that_is_compressed_is_expanded(tmp_path: Path) -> None:
    store = MemoryStore()
    kit = load_kit(
        store, modelpack_kit(store, [("dataset.v1.raw+zstd", compressed(b"1,2\n", "zstd"), {FILEPATH: "d.csv"})])
    )

    with pytest.raises(IntegrityError, match="diffID"):
        unpack(kit, store, tmp_path / "lied")
    sound = replace(kit, layers=(replace(kit.layers[0], diff_id=Digest.of(b"1,2\n")),))
    unpack(sound, store, tmp_path / "out", selection=select(sound, ["datasets"]))

    assert files(tmp_path / "out") == {"d.csv": b"1,2\n"}
    assert os.listdir(tmp_path) == ["out"]


def test_a_pattern_that_matches_nothing_in_layers_of_unknown_files_is_an_error(tmp_path: Path) -> None:
    store = MemoryStore()
    raw = tar_of({"data/a.csv": b"1"})
    kit = load_kit(store, modelpack_kit(store, [("dataset.v1.tar", raw, {FILEPATH: "data"})]))

    with pytest.raises(NotFoundError, match="matches nothing"):
        unpack(kit, store, tmp_path / "out", selection=select(kit, ["**/*.parquet"]))
    assert os.listdir(tmp_path) == []


def test_two_unread_layers_that_meet_in_one_place_are_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    layers = [(f"{kind}.v1.tar", tar_of({"same": kind.encode()}), {FILEPATH: "."}) for kind in ("dataset", "code")]
    kit = load_kit(store, modelpack_kit(store, layers))

    with pytest.raises(UnsafeError):
        unpack(kit, store, tmp_path / "out")
    assert os.listdir(tmp_path) == []


# Kits whose model is another kit


def family(store: MemoryStore, *generations: tuple[str, dict[str, bytes]]) -> tuple[Kit, Callable[[Kit], Any]]:
    """Kits of model files, each the parent of the next: the youngest, and the function that finds parents."""
    parents: dict[Digest, tuple[Kit, ReadOnlyStorage]] = {}
    kit: Kit | None = None
    for name, content in generations:
        own = {path: raw for path, raw in content.items() if not path.startswith("docs/")}
        parts = "".join(f"    - {{path: {path}}}\n" for path in own)
        path = "path: base:1\n" if kit else "name: oldest\n"
        kitfile = f"manifestVersion: 1.0.0\npackage: {{name: {name}}}\nmodel:\n  {path}" + (
            f"  parts:\n{parts}" if parts else ""
        )
        layers = [Layer(f"model.parts[{number}]", {path: raw}) for number, (path, raw) in enumerate(own.items())]
        docs = {path: raw for path, raw in content.items() if path.startswith("docs/")}
        if docs:
            kitfile += "docs:\n  - {path: docs}\n"
            layers.append(Layer("docs[0]", docs, kind="tar"))
        inputs = (InputRecord("base-model", ref="base:1"),) if kit else ()
        younger = load_kit(store, own_kit(store, kitfile, layers, inputs=inputs))
        if kit is not None:
            parents[younger.manifest.descriptor.digest] = (kit, store)
        kit = younger
    assert kit is not None
    return kit, lambda one: parents.get(one.manifest.descriptor.digest)


def test_the_model_of_a_parent_comes_along_and_nothing_else_of_it(tmp_path: Path) -> None:
    store = MemoryStore()
    kit, parents = family(
        store,
        ("oldest", {"base.bin": b"base", "docs/old.md": b"old"}),
        ("middle", {"adapter.bin": b"adapter"}),
        ("young", {"head.bin": b"head", "docs/new.md": b"new"}),
    )

    unpack(kit, store, tmp_path / "out", parents=parents)

    found = files(tmp_path / "out")
    assert b"name: young" in found.pop("Kitfile")
    assert found == {"base.bin": b"base", "adapter.bin": b"adapter", "head.bin": b"head", "docs/new.md": b"new"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["model"], {"base.bin", "head.bin"}),
        (["docs"], {"docs/new.md"}),
        (["model:base.bin"], {"base.bin"}),
        (["**/*.bin"], {"base.bin", "head.bin"}),
        (["!model:base.bin"], {"head.bin", "docs/new.md", "Kitfile"}),
        (["!model"], {"docs/new.md", "Kitfile"}),
    ],
    ids=lambda given: " ".join(sorted(given)),
)
def test_filters_reach_into_the_model_of_a_parent(filters: Any, expected: set[str], tmp_path: Path) -> None:
    store = MemoryStore()
    kit, parents = family(store, ("old", {"base.bin": b"b"}), ("young", {"head.bin": b"h", "docs/new.md": b"n"}))

    unpack(kit, store, tmp_path / "out", selection=select(kit, filters), parents=parents)

    assert set(files(tmp_path / "out")) == expected


def test_a_filter_that_matches_nothing_in_the_parent_either_is_an_error(tmp_path: Path) -> None:
    store = MemoryStore()
    kit, parents = family(store, ("old", {"base.bin": b"b"}), ("young", {"head.bin": b"h"}))

    with pytest.raises(NotFoundError, match="matches nothing"):
        unpack(kit, store, tmp_path / "out", selection=select(kit, ["model:typo"]), parents=parents)
    with pytest.raises(NotFoundError, match="matches nothing"):
        select(kit, ["docs:typo"])


def test_the_same_file_in_parent_and_child_is_written_once(tmp_path: Path) -> None:
    store = MemoryStore()
    kit, parents = family(store, ("old", {"a.bin": b"same", "b": b"b"}), ("young", {"a.bin": b"same"}))

    unpack(kit, store, tmp_path / "out", parents=parents, selection=select(kit, ["model"]))

    assert files(tmp_path / "out") == {"a.bin": b"same", "b": b"b"}


def test_another_file_at_the_same_path_in_parent_and_child_is_a_conflict_unless_overwriting(tmp_path: Path) -> None:
    store = MemoryStore()
    kit, parents = family(store, ("old", {"a.bin": b"old", "b": b"b"}), ("young", {"a.bin": b"young"}))

    with pytest.raises(ConflictError, match=r"a\.bin"):
        unpack(kit, store, tmp_path / "out", parents=parents)
    unpack(kit, store, tmp_path / "out", parents=parents, existing="overwrite", selection=select(kit, ["model"]))

    assert files(tmp_path / "out") == {"a.bin": b"young", "b": b"b"}


@pytest.mark.parametrize("length", [2, 30], ids=["circle", "long chain"])
def test_kits_that_refer_to_each_other_without_end_are_refused(length: int, tmp_path: Path) -> None:
    store = MemoryStore()
    kits = [family(store, (f"kit{number}", {}))[0] for number in range(length)]
    following = dict(zip((one.manifest.descriptor.digest for one in kits), [*kits[1:], kits[0]], strict=True))

    with pytest.raises(LimitError):
        unpack(kits[0], store, tmp_path / "out", parents=lambda kit: (following[kit.manifest.descriptor.digest], store))
    assert os.listdir(tmp_path) == []
