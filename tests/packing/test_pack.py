from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import zstandard
from tests.packing.trees import DictCache, blob, config_of, content_layers, packed, packed_paths, write_tree

from mlkit.content.memory import MemoryStore
from mlkit.errors import ConflictError, LimitError, NotFoundError, StoreError, UnsafeError, UsageError
from mlkit.packing import pack as packing
from mlkit.packing.pack import pack, prepare
from mlkit.packing.plan import PackOptions
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord, parse_kit_document
from mlkit.spec.media_types import FILEPATH, KIT, KIT_DOCUMENT_PATH, TITLE

KITFILE = "# my kit\npackage: {name: demo, version: 1.10}\nmodel: {path: model}\ncode: [{path: .}]\n"


def test_what_is_packed_is_what_lies_there(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"weights", "model/empty.bin": b"", "train.py": b"print()", "Kitfile": b"x"})
    (tmp_path / "train.py").chmod(0o755)

    result, store = packed(tmp_path, KITFILE)

    raw = [blob(layer, store) for layer in content_layers(result)[:2]]
    assert raw == [b"weights", b""]
    with tarfile.open(fileobj=io.BytesIO(blob(content_layers(result)[2], store))) as tar:
        assert [(member.name, member.mode, member.mtime, member.uid) for member in tar] == [("train.py", 0o755, 0, 0)]
        extracted = tar.extractfile("train.py")
        assert extracted is not None
        assert extracted.read() == b"print()"


def test_the_kit_document_keeps_the_kitfile_and_tells_every_file(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"weights", "b.py": b"12345", "c/d.py": b"678"})

    result, store = packed(tmp_path, KITFILE)

    last = result.manifest.layers[-1]
    assert last.annotations == {FILEPATH: KIT_DOCUMENT_PATH}
    assert str(last.digest) == result.manifest.annotations[KIT]
    document = parse_kit_document(blob(last, store))
    assert document == result.document
    assert document.kitfile == KITFILE
    layer = blob(result.manifest.layers[1], store)
    for file in document.layers[1].files:
        content = layer[file.offset : file.offset + file.size]
        assert content == (tmp_path / file.path).read_bytes()
        assert file.digest == Digest.of(content)


def test_the_digest_of_a_raw_layer_is_that_of_its_file(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"weights"})

    result, _ = packed(tmp_path, KITFILE)

    assert result.manifest.layers[0].digest.hex == hashlib.sha256(b"weights").hexdigest()
    assert result.manifest.layers[0].annotations[TITLE] == "model/a.bin"


def test_tar_layers_hold_the_directories_above_their_files_and_empty_ones(tmp_path: Path) -> None:
    write_tree(tmp_path, {"src/deep/a.py": b"", "src/b.py": b""})
    (tmp_path / "src/none").mkdir()

    result, store = packed(tmp_path, "code: [{path: src}]")

    with tarfile.open(fileobj=io.BytesIO(blob(result.manifest.layers[0], store))) as tar:
        assert tar.getnames() == ["src", "src/b.py", "src/deep", "src/deep/a.py", "src/none"]
        assert tar.getmember("src/none").isdir()
    assert result.document.entries[0].directories == ("src/none",)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_tars_tell_the_digest_of_what_is_in_them(tmp_path: Path, compression: str) -> None:
    write_tree(tmp_path, {"src/a.py": b"a" * 3_000_000, "src/b.py": b"b"})

    plain, store = packed(tmp_path, "code: [{path: src}]")
    result, _ = packed(tmp_path, "code: [{path: src}]", store, compression=compression)

    layer, record = result.manifest.layers[0], result.document.layers[0]
    assert layer.media_type.endswith(f".tar+{compression}")
    assert layer.size < 10_000
    assert record.diff_id == plain.manifest.layers[0].digest
    assert config_of(result, store)["modelfs"]["diffIds"][0] == str(record.diff_id)
    assert record.files == plain.document.layers[0].files
    if compression == "zstd":
        expanded = zstandard.ZstdDecompressor().stream_reader(blob(layer, store)).read()
        assert Digest.of(expanded) == record.diff_id


def test_a_kitfile_without_entries_gives_a_kit_of_one_document(tmp_path: Path) -> None:
    write_tree(tmp_path, ["model/a.bin", "some-file.txt"])

    result, store = packed(tmp_path, "package: {name: test-empty}")

    assert result.layer_count == 1
    assert packed_paths(result) == []
    assert len(config_of(result, store)["modelfs"]["diffIds"]) == 1


def test_an_entry_may_name_a_single_file_or_an_empty_directory(tmp_path: Path) -> None:
    write_tree(tmp_path, ["one.csv", "two.csv"])
    (tmp_path / "later").mkdir()

    result, _ = packed(tmp_path, "datasets: [{path: one.csv}, {path: later}]")

    assert packed_paths(result) == ["one.csv"]
    assert [entry.directories for entry in result.document.entries] == [(), ("later",)]


def test_a_missing_path_is_named_with_its_entry(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.csv"])

    with pytest.raises(NotFoundError, match=r"datasets\[1\] \('b.csv'\)") as caught:
        prepare(tmp_path, "datasets: [{path: a.csv}, {path: b.csv}]", PackOptions())

    assert caught.value.hint is not None


def test_a_path_that_is_ignored_is_said_to_be_ignored(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.csv": b"", ".kitignore": b"*.csv\n"})

    with pytest.raises(NotFoundError, match="ignore rules") as caught:
        prepare(tmp_path, "datasets: [{path: a.csv}]", PackOptions())

    assert "--" not in (caught.value.hint or "")


@pytest.mark.parametrize("path", ["Kitfile", ".kitignore", ".mlkit/kit.json"])
def test_what_describes_a_kit_cannot_be_an_entry(tmp_path: Path, path: str) -> None:
    write_tree(tmp_path, {path: b""})

    with pytest.raises(UsageError, match="never packed"):
        prepare(tmp_path, f"docs: [{{path: {path}}}]", PackOptions())


def test_the_settings_of_mlkit_stay_at_home(tmp_path: Path) -> None:
    write_tree(tmp_path, {".mlkit.toml": b'proxy = "http://me:secret@proxy"', "a.py": b""})

    result, _ = packed(tmp_path, "code: [{path: .}]")

    assert packed_paths(result) == ["a.py"]


def test_preparing_writes_nothing_and_tells_sizes(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"weights", "b.py": b"12345"})
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))

    plan = prepare(tmp_path, KITFILE, PackOptions())

    assert (plan.size, plan.file_count) == (12, 2)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before


def test_a_bad_kitfile_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        prepare(tmp_path / "not-there", "modle: {}", PackOptions())


def test_a_remote_dataset_is_left_where_it_is(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.csv"])
    kitfile = "datasets: [{path: big, remotePath: 's3://bucket/key', remoteHash: abc}, {path: a.csv}]"

    result, _ = packed(tmp_path, kitfile)

    assert [entry.id for entry in result.document.entries] == ["datasets[1]"]


def test_inputs_are_those_of_the_kitfile_and_those_that_were_pinned(tmp_path: Path) -> None:
    digest = Digest.of(b"parent")
    kitfile = "model: {path: 'team/base:1'}\ninputs: [{role: dataset, uri: 's3://b/k'}]"
    pinned = InputRecord("base-model", f"team/base:1@{digest}", None, digest)

    inputs = (InputRecord("dataset", None, "s3://b/k", None), pinned)
    plan = prepare(tmp_path, kitfile, PackOptions(), inputs=inputs)
    result = pack(plan, MemoryStore())

    assert result.document.inputs == inputs
    assert prepare(tmp_path, kitfile, PackOptions()).inputs == inputs[:1]


def test_d09_credentials_are_left_out_with_a_warning_unless_asked_for(tmp_path: Path) -> None:
    write_tree(tmp_path, [".env", "src/id_rsa", "src/a.py", "src/__pycache__/a.pyc"])

    kept = prepare(tmp_path, "code: [{path: .}]", PackOptions())
    every = prepare(tmp_path, "code: [{path: .}]", PackOptions(default_ignore=False))

    assert [file.path for layer in kept.layers for file in layer.files] == ["src/a.py"]
    assert kept.ignored_secrets == (".env", "src/id_rsa")
    assert every.file_count == 4
    assert every.ignored_secrets == ()


def test_credentials_outside_of_every_entry_are_no_concern(tmp_path: Path) -> None:
    write_tree(tmp_path, [".env", "src/a.py"])

    plan = prepare(tmp_path, "code: [{path: src}]", PackOptions())

    assert plan.ignored_secrets == ()


def test_the_ignore_file_may_take_back_a_default(tmp_path: Path) -> None:
    write_tree(tmp_path, {".env": b"X=1", "a.py": b"", ".kitignore": b"!.env\n"})

    plan = prepare(tmp_path, "code: [{path: .}]", PackOptions())

    assert [file.path for layer in plan.layers for file in layer.files] == [".env", "a.py"]


def test_an_ignore_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.py": b"", ".kitignore": b"\xff\xfe"})

    with pytest.raises(UsageError, match="not UTF-8"):
        prepare(tmp_path, "code: [{path: .}]", PackOptions())


def test_an_ignore_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.py": b""})
    os.truncate(os.open(tmp_path / ".kitignore", os.O_CREAT | os.O_WRONLY), 1 << 30)

    with pytest.raises(LimitError):
        prepare(tmp_path, "code: [{path: .}]", PackOptions())


def test_an_ignore_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.py", ".kitignore/x"])

    with pytest.raises(StoreError, match=r"\.kitignore"):
        prepare(tmp_path, "code: [{path: .}]", PackOptions())


def test_a_link_inside_is_packed_as_its_file_even_where_no_entry_reaches(tmp_path: Path) -> None:
    write_tree(tmp_path, {"blobs/x": b"weights"})
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a.bin").symlink_to("../blobs/x")

    result, store = packed(tmp_path, "model: {path: model}")

    assert packed_paths(result) == ["model/a.bin"]
    assert blob(result.manifest.layers[0], store) == b"weights"


def test_a_link_to_the_outside_is_refused_by_name(tmp_path: Path) -> None:
    write_tree(tmp_path, ["inside/a.py"])
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "inside/b.py").symlink_to("../outside")

    with pytest.raises(UnsafeError, match=r"b\.py"):
        prepare(tmp_path / "inside", "code: [{path: .}]", PackOptions())
    allowed = prepare(tmp_path / "inside", "code: [{path: .}]", PackOptions(follow_links=tmp_path))

    assert allowed.file_count == 2


def test_special_files_concern_only_entries_that_hold_them(tmp_path: Path) -> None:
    write_tree(tmp_path, ["src/a.py"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        assert prepare(tmp_path, "code: [{path: src}]", PackOptions()).file_count == 1
        with pytest.raises(UnsafeError, match="socket"):
            prepare(tmp_path, "code: [{path: .}]", PackOptions())


def test_d12_nothing_in_a_kitfile_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    write_tree(tmp_path, ["$SECRET/a.py", "`id`/b.py"])
    text = "package: {description: '${SECRET} {{ env.SECRET }} $(id)'}\ncode: [{path: $SECRET}, {path: '`id`'}]"

    result, store = packed(tmp_path, text)

    assert packed_paths(result) == ["$SECRET/a.py", "`id`/b.py"]
    assert config_of(result, store)["descriptor"]["description"] == "${SECRET} {{ env.SECRET }} $(id)"
    assert b"leaked" not in result.manifest.raw


class ChangingStore(MemoryStore):
    """Does something to the tree while a layer is on its way."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self._change = change

    def ingest(self) -> Any:
        self._change()
        return super().ingest()


@pytest.mark.parametrize("layers", ["raw", "tar"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"longer than before"), id="grows"),
        pytest.param(lambda path: path.write_bytes(b"s"), id="shrinks"),
        pytest.param(lambda path: path.unlink(), id="is removed"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), id="becomes a link"),
        pytest.param(lambda path: (path.unlink(), os.mkfifo(path)), id="becomes a pipe"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="becomes a directory"),
        pytest.param(lambda path: (path.write_bytes(b"weighty"), os.utime(path, ns=(1, 1))), id="same size, old time"),
    ],
)
def test_d08_a_file_that_changes_while_packing_is_a_conflict(tmp_path: Path, layers: str, change: Any) -> None:
    path = write_tree(tmp_path, {"a.bin": b"weights"}) / "a.bin"
    os.utime(path, ns=(1, 1))
    store = ChangingStore(lambda: change(path))
    plan = prepare(tmp_path, "model: {path: a.bin}", PackOptions(layers=layers))

    with pytest.raises(ConflictError, match=r"'a\.bin' changed while packing"):
        pack(plan, store)

    assert not store.names()
    assert not store._manifests


class WritingDuringCopy(MemoryStore):
    """Appends to the source after its bytes were handed over, before the layer is committed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def ingest(self) -> Any:
        outer, path = super().ingest(), self._path

        class _Writer:
            def __enter__(self) -> Any:
                self.inner = outer.__enter__()
                return self

            def __exit__(self, *told: object) -> None:
                outer.__exit__(*told)  # type: ignore[arg-type]

            def copy_from(self, source: BinaryIO, count: int) -> None:
                self.inner.copy_from(source, count)
                path.write_bytes(b"other content")

            def commit(self) -> Any:
                raise AssertionError("committed what had changed")

        return _Writer()


def test_a_change_after_the_last_byte_was_read_is_seen_too(tmp_path: Path) -> None:
    path = write_tree(tmp_path, {"a.bin": b"weights"}) / "a.bin"

    with pytest.raises(ConflictError):
        pack(prepare(tmp_path, "model: {path: a.bin}", PackOptions()), WritingDuringCopy(path))


def test_when_one_layer_fails_the_others_are_given_up(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"m/{number}.bin": bytes([number]) * 10 for number in range(40)})
    plan = prepare(tmp_path, "model: {path: m}", PackOptions(concurrency=2))
    (tmp_path / "m/0.bin").write_bytes(b"changed")
    started: list[str] = []

    class Counting(MemoryStore):
        def ingest(self) -> Any:
            started.append("layer")
            time.sleep(0.01)
            return super().ingest()

    with pytest.raises(ConflictError):
        pack(plan, Counting())

    assert [thread for thread in threading.enumerate() if thread.name.startswith("mlkit-job")] == []
    assert len(started) < 40


def test_an_interruption_between_layers_stops_those_under_way(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"m/{number:02}.bin": bytes([number]) * 10 for number in range(40)})
    started: list[str] = []

    class Slow(MemoryStore):
        def ingest(self) -> Any:
            started.append("layer")
            time.sleep(0.02)
            return super().ingest()

    class Interrupted(DictCache):
        def put(self, key: bytes, value: bytes) -> None:
            super().put(key, value)
            if len(self.values) == 3:
                raise KeyboardInterrupt

    plan = prepare(tmp_path, "model: {path: m}", PackOptions(concurrency=2))
    cache = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        pack(plan, Slow(), cache=cache, clock=lambda: time.time_ns() + 10**10)

    assert [thread for thread in threading.enumerate() if thread.name.startswith("mlkit-job")] == []
    assert 3 <= len(started) < 20
    assert len(cache.values) == 3, "what was done before is known to the next pack"


def test_packing_again_reads_only_what_changed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"a" * 100, "model/b.bin": b"b" * 100, "x.py": b"c" * 100})
    cache, store = DictCache(), MemoryStore()

    def run() -> Any:
        plan = prepare(tmp_path, KITFILE, PackOptions())
        return pack(plan, store, cache=cache, clock=lambda: 2**62)

    first, second = run(), run()
    (tmp_path / "model/a.bin").write_bytes(b"A" * 100)
    third = run()

    assert (first.read_bytes, first.reused_bytes) == (300, 0)
    assert (second.read_bytes, second.reused_bytes) == (0, 300)
    assert second.manifest.raw == first.manifest.raw
    assert (third.read_bytes, third.reused_bytes) == (100, 200)
    assert third.manifest.raw != first.manifest.raw


def test_what_the_cache_promises_is_asked_of_the_store(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"a" * 100})
    cache = DictCache()
    plan = prepare(tmp_path, KITFILE, PackOptions())
    pack(plan, MemoryStore(), cache=cache, clock=lambda: 2**62)

    result = pack(plan, MemoryStore(), cache=cache, clock=lambda: 2**62)

    assert cache.hits > 0
    assert result.read_bytes == 100


def test_a_renamed_or_executable_file_makes_another_tar(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.py": b"a"})
    cache, store = DictCache(), MemoryStore()

    def digest() -> Digest:
        plan = prepare(tmp_path, "code: [{path: .}]", PackOptions())
        return pack(plan, store, cache=cache, clock=lambda: 2**62).manifest.layers[0].digest

    first = digest()
    (tmp_path / "a.py").chmod(0o755)
    executable = digest()
    (tmp_path / "a.py").rename(tmp_path / "b.py")

    assert len({first, executable, digest()}) == 3


def test_a_file_written_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    path = write_tree(tmp_path, {"model/a.bin": b"a"}) / "model/a.bin"
    cache = DictCache()
    plan = prepare(tmp_path, KITFILE, PackOptions())

    pack(plan, MemoryStore(), cache=cache, clock=lambda: path.stat().st_ctime_ns + 1_000_000_000)
    assert cache.values == {}
    pack(plan, MemoryStore(), cache=cache, clock=lambda: path.stat().st_ctime_ns + 3_000_000_000)
    assert len(cache.values) == 1


def test_a_broken_cache_costs_a_read_and_nothing_else(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"a" * 100})
    cache, store = DictCache(), MemoryStore()
    plan = prepare(tmp_path, KITFILE, PackOptions())
    first = pack(plan, store, cache=cache, clock=lambda: 2**62)
    cache.values = dict.fromkeys(cache.values, b"\xffnonsense")

    again = pack(plan, store, cache=cache, clock=lambda: 2**62)

    assert again.read_bytes == 100
    assert again.manifest.raw == first.manifest.raw


def test_every_file_lands_in_the_kit_once_when_there_are_thousands(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"data/{number % 50:02}/{number:05}.txt": b"%d" % number for number in range(3000)})
    write_tree(tmp_path, {"data/big.bin": bytes(3 * 1024 * 1024 + 17)})

    result, store = packed(tmp_path, "datasets: [{path: data}]")

    assert len(packed_paths(result)) == 3001
    assert len(set(packed_paths(result))) == 3001
    assert [layer.kind for layer in result.document.layers] == ["raw", "tar"]
    content = blob(result.manifest.layers[1], store)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: member for member in tar if member.isfile()}
    for record in result.document.layers[1].files:
        assert files[record.path].offset_data == record.offset
        assert Digest.of(content[record.offset : record.offset + record.size]) == record.digest


def test_large_files_in_a_tar_are_read_in_pieces(tmp_path: Path) -> None:
    big = bytes(range(256)) * 20_000
    write_tree(tmp_path, {"src/a.py": b"a", "src/b.bin": big, "src/c.py": b"c" * 700, "src/d.bin": big + b"!"})

    result, store = packed(tmp_path, "code: [{path: src}]")

    with tarfile.open(fileobj=io.BytesIO(blob(result.manifest.layers[0], store))) as tar:
        for record in result.document.layers[0].files:
            extracted = tar.extractfile(record.path)
            assert extracted is not None
            assert Digest.of(extracted.read()) == record.digest


def test_raw_layers_larger_than_a_piece_arrive_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlkit.packing.write_layer._PIECE", 1000)
    write_tree(tmp_path, {"a.bin": bytes(range(256)) * 10})

    result, store = packed(tmp_path, "model: {path: a.bin}")

    assert blob(result.manifest.layers[0], store) == bytes(range(256)) * 10


class Listening:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, object]] = []

    def start(self, key: str, label: str, total: int | None) -> None:
        self.events.append(("start", label, total))

    def advance(self, key: str, count: int) -> None:
        self.events.append(("advance", key.partition(" ")[2], count))

    def finish(self, key: str, outcome: str) -> None:
        self.events.append((outcome, key.partition(" ")[2], None))

    def warn(self, message: str) -> None:
        raise AssertionError(message)


def test_progress_tells_bytes_of_files_per_layer(tmp_path: Path) -> None:
    write_tree(tmp_path, {"model/a.bin": b"a" * 100, "x.py": b"c" * 50})
    listening = Listening()
    plan = prepare(tmp_path, KITFILE, PackOptions(concurrency=1))

    pack(plan, MemoryStore(), progress=listening)

    assert listening.events == [
        ("start", "model/a.bin", 100),
        ("advance", "model/a.bin", 100),
        ("done", "model/a.bin", None),
        ("start", ".", 50),
        ("advance", ".", 50),
        ("done", ".", None),
    ]


def test_a_manifest_too_large_for_registries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MANIFEST_LIMIT", 1000)
    write_tree(tmp_path, ["model/a.bin"])
    store = MemoryStore()

    with pytest.raises(LimitError, match="manifest"):
        packed(tmp_path, KITFILE, store)

    assert not store._manifests
