from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from mlkit.archive.limits import Limits
from mlkit.archive.walk import EmptyDirectory, SourceFile, walk
from mlkit.errors import ConflictError, LimitError, MlkitError, StoreError, UnsafeError, UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    return root


def _write(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def _paths(root: Path, **options: object) -> list[str]:
    return [found.path for found in walk(root, **options)]  # type: ignore[arg-type]


def test_files_come_in_the_order_of_the_bytes_of_their_paths(root: Path) -> None:
    names = ["a/z", "a-b", "a.b", "a0", "B", "c", "é", "z/y/x", "a/b/c"]
    for name in names:
        _write(root / name)

    assert _paths(root) == sorted(names, key=str.encode)


def test_a_file_is_told_with_its_size_mode_and_state(root: Path) -> None:
    script = _write(root / "bin/run.sh", "hello")
    script.chmod(0o751)
    _write(root / "data").chmod(0o606)

    run, data = walk(root)

    assert isinstance(run, SourceFile)
    assert isinstance(data, SourceFile)
    assert (run.path, run.real, run.size, run.mode) == ("bin/run.sh", str(script), 5, 0o755)
    assert run.stat.st_ino == script.stat().st_ino
    assert data.mode == 0o644


def test_only_a_directory_with_nothing_at_all_in_it_is_empty(root: Path) -> None:
    (root / "empty/below").mkdir(parents=True)
    _write(root / "ignored/x")

    found = list(walk(root, skip=lambda path, _is_dir: path == "ignored/x"))

    assert found == [EmptyDirectory("empty/below")]
    assert list(walk(root / "empty/below")) == []


def test_a_skipped_directory_is_not_even_opened(root: Path) -> None:
    _write(root / "keep")
    os.mkfifo(root / "pipe")
    _write(root / "junk/bad\nname")
    asked = []

    def skip(path: str, is_dir: bool) -> bool:
        asked.append((path, is_dir))
        return path in ("junk", "pipe")

    assert _paths(root, skip=skip) == ["keep"]
    assert sorted(asked) == [("junk", True), ("keep", False), ("pipe", False)]


def test_what_is_not_entered_is_passed_over_but_may_be_linked_to(root: Path) -> None:
    _write(root / "weights/v1.bin", "weights")
    (root / "model").mkdir()
    (root / "model/latest.bin").symlink_to("../weights/v1.bin")

    [found] = walk(root, enters=lambda path: path.startswith("model"))

    assert isinstance(found, SourceFile)
    assert (found.path, found.real, found.size) == ("model/latest.bin", str(root / "weights/v1.bin"), 7)


def test_a_link_to_a_file_inside_is_that_file(root: Path) -> None:
    real = _write(root / "versions/2/model.bin", "weights")
    (root / "model.bin").symlink_to("versions/2/model.bin")
    (root / "again.bin").symlink_to(root / "model.bin")

    found = {file.path: file for file in walk(root)}

    assert sorted(found) == ["again.bin", "model.bin", "versions/2/model.bin"]
    for file in found.values():
        assert isinstance(file, SourceFile)
        assert (file.real, file.size, file.mode) == (str(real), 7, 0o644)


def test_a_link_to_a_directory_inside_is_that_directory(root: Path) -> None:
    _write(root / "versions/2/model.bin")
    (root / "latest").symlink_to("versions/2")

    assert _paths(root) == ["latest/model.bin", "versions/2/model.bin"]


def test_links_may_lead_into_the_further_root_that_was_allowed(root: Path, tmp_path: Path) -> None:
    blob = _write(tmp_path / "hub/blobs/abc", "weights")
    _write(tmp_path / "hub/more/file")
    (root / "model.safetensors").symlink_to(blob)
    (root / "more").symlink_to(tmp_path / "hub/more")
    _write(tmp_path / "hubris/x")

    assert _paths(root, follow_links=tmp_path / "hub") == ["model.safetensors", "more/file"]

    (root / "other").symlink_to(tmp_path / "hubris/x")
    with pytest.raises(UnsafeError, match="'other'"):
        _paths(root, follow_links=tmp_path / "hub")


def _outside(root: Path) -> None:
    _write(root.parent / "secret")
    (root / "odd").symlink_to("../secret")


def _outside_directory(root: Path) -> None:
    (root / "odd").symlink_to("/etc")


def _outside_by_a_detour(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere/back").symlink_to(_write(root.parent / "secret"))
    (root / "odd").symlink_to("../elsewhere/back")


def _beside_with_the_same_beginning(root: Path) -> None:
    (root / "odd").symlink_to(_write(root.parent / "context2/secret"))


def _loop(root: Path) -> None:
    (root / "odd1").symlink_to("odd2")
    (root / "odd2").symlink_to("odd1")


def _self(root: Path) -> None:
    (root / "odd").symlink_to("odd")


def _directory_loop(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/odd").symlink_to("../../a")


def _root_loop(root: Path) -> None:
    (root / "odd").symlink_to(".")


def _mutual_loop(root: Path) -> None:
    (root / "a").mkdir()
    (root / "b").mkdir()
    (root / "a/odd").symlink_to("../b")
    (root / "b/odd").symlink_to("../a")


def _dangling(root: Path) -> None:
    (root / "odd").symlink_to("nowhere")


def _through_a_file(root: Path) -> None:
    _write(root / "file")
    (root / "odd").symlink_to("file/x")


def _fifo(root: Path) -> None:
    os.mkfifo(root / "odd")


def _linked_fifo(root: Path) -> None:
    os.mkfifo(root / "pipe.odd")
    (root / "odd").symlink_to("pipe.odd")


def _socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "odd"))


def _device(root: Path) -> None:
    (root / "odd").symlink_to("/dev/zero")


def _ignored_secret(root: Path) -> None:
    _write(root / "ignored")
    (root / "odd").symlink_to("ignored")


_ODD = [
    _outside,
    _outside_directory,
    _outside_by_a_detour,
    _beside_with_the_same_beginning,
    _loop,
    _self,
    _directory_loop,
    _root_loop,
    _mutual_loop,
    _dangling,
    _through_a_file,
    _fifo,
    _linked_fifo,
    _socket,
    _device,
    _ignored_secret,
]


@pytest.mark.parametrize("make", _ODD, ids=lambda make: make.__name__.strip("_"))
def test_d07_links_that_leave_or_loop_and_special_files_are_refused_by_name(
    make: object, root: Path, tmp_path: Path
) -> None:
    make(root)  # type: ignore[operator]
    _write(root / "fine")

    with pytest.raises(UnsafeError, match="odd"):
        _paths(root, skip=lambda path, _is_dir: path == "ignored")


@pytest.mark.parametrize(
    "name",
    [b"bad\xff", b"new\nline", b"esc\x1b[m", "bidi\u202e".encode(), b"back\\slash", b"c:x", b"nul", b"dot.", b".git"],
)
def test_a_name_that_could_not_be_unpacked_is_not_packed(name: bytes, root: Path) -> None:
    with open(os.path.join(os.fsencode(root), name), "wb"):  # noqa: PTH123 - a name in bytes
        pass

    with pytest.raises(UnsafeError) as caught:
        _paths(root)

    assert caught.value.message.isascii()


def test_names_are_not_read_in_another_encoding_than_utf8(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(root / "gr\u00f6\u00dfe")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")

    with pytest.raises(UsageError, match=r"iso8859-1 \(expected UTF-8\)") as caught:
        _paths(root)

    assert "PYTHONUTF8" in (caught.value.hint or "")


@pytest.mark.parametrize(("one", "other"), [("A.bin", "a.bin"), ("\u00e9", "e\u0301"), ("D/x", "d/y")])
def test_names_that_collide_elsewhere_are_not_packed(one: str, other: str, root: Path) -> None:
    _write(root / one)
    _write(root / other)

    with pytest.raises(UnsafeError, match="one file"):
        _paths(root)


def test_links_to_directories_cannot_multiply_without_end(root: Path) -> None:
    for number in range(12):
        (root / f"d{number}").mkdir()
        for name in "xy":
            (root / f"d{number}/{name}").symlink_to(f"../d{number + 1}")
    _write(root / "d12/file")

    with pytest.raises(LimitError):
        _paths(root, limits=Limits(entries=1_000))


def test_a_tree_deeper_than_the_limit_is_refused(root: Path) -> None:
    _write(root / "/".join("a" * 64) / "file")

    with pytest.raises(LimitError):
        _paths(root)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_directory_is_a_mistake_of_the_caller(name: str, root: Path) -> None:
    _write(root / "file")

    with pytest.raises(UsageError, match=name):
        _paths(root / name)


def test_a_root_that_is_a_link_was_named_by_the_user(root: Path, tmp_path: Path) -> None:
    _write(root / "file")
    (tmp_path / "link").symlink_to(root)

    assert _paths(tmp_path / "link") == ["file"]


@pytest.mark.parametrize(
    ("number", "kind"), [(2, ConflictError), (13, UsageError), (5, StoreError)], ids=["gone", "denied", "broken"]
)
def test_a_directory_that_cannot_be_read_is_named(
    number: int, kind: type[MlkitError], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(root / "d/file")
    scandir = os.scandir

    def failing(path: str) -> object:
        if path.endswith("/d"):
            raise OSError(number, os.strerror(number))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)

    with pytest.raises(kind, match="'d/'"):
        _paths(root)


@pytest.mark.parametrize(
    ("number", "kind"), [(2, ConflictError), (13, UsageError), (5, StoreError)], ids=["gone", "denied", "broken"]
)
def test_a_link_that_cannot_be_followed_for_another_reason_is_named(
    number: int, kind: type[MlkitError], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(root / "file")
    (root / "link").symlink_to("file")
    lstat = os.lstat

    def failing(path: str) -> os.stat_result:
        if str(path) == str(root / "file"):
            raise OSError(number, os.strerror(number))
        return lstat(path)

    # What the link leads to is looked at after the link was resolved, and may be gone by then.
    realpath = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path, **how: str(root / "file") if str(path).endswith("link") else realpath(path)
    )
    monkeypatch.setattr(os, "lstat", failing)

    with pytest.raises(UnsafeError if number == 2 else kind, match="'link'"):
        _paths(root)


def test_a_link_to_a_directory_is_skipped_by_the_rules_for_directories(root: Path) -> None:
    _write(root / "data/file")
    _write(root / "file")
    (root / "cache").symlink_to("data")
    (root / "copy").symlink_to("file")

    # As `cache/` and `copy/` of a .kitignore: what is no directory itself is judged by what it leads to.
    found = _paths(root, skip=lambda path, is_dir: is_dir and path in ("cache", "copy"))

    assert found == ["copy", "data/file", "file"]
