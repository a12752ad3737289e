"""What staging promises beyond files in their places: what is said when it fails, what it leaves, how it writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlkit.archive.extract import Staging, check_destination
from mlkit.errors import ConflictError, StoreError, UnsafeError, UsageError

MIB = 1 << 20
EIO = "cannot be written (Input/output error)"


def put(staging: Staging, path: str, content: bytes = b"new") -> None:
    with staging.file(path, mode=0o644) as target:
        target.write(content)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def broken(monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Let an os function fail as a disk does, for the calls that are meant."""
    real = getattr(os, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        if when(*arguments, **keywords):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **keywords)

    monkeypatch.setattr(os, name, call)


def test_a_file_that_was_taken_back_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging:
        for path in ("a/b/one", "a/b/two", "three"):
            put(staging, path)
        staging.drop("a/b/one")
        staging.drop("three")
        put(staging, "a/b/one", b"again")
        staging.directory("three")
        assert staging.commit() == ("a/b/one", "a/b/two")

    assert (tmp_path / "out/a/b/one").read_bytes() == b"again"
    assert (tmp_path / "out/three").is_dir()


def test_what_cannot_be_taken_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Staging(tmp_path / "out") as staging:
        put(staging, "a/b")
        with monkeypatch.context() as patch:
            broken(patch, "unlink")
            with pytest.raises(StoreError) as caught:
                staging.drop("a/b")
        assert staging.commit() == ("a/b",)

    assert caught.value.message == f"'a/b': {EIO}"


@pytest.mark.parametrize("function", ["file", "directory", "drop", "check", "wants"])
def test_nothing_is_done_after_the_context(function: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Staging(tmp_path / "out", existing="ignore" if function == "wants" else "refuse") as staging:
        put(staging, "a")
        late = {
            "file": lambda: put(staging, "b"),
            "directory": lambda: staging.directory("b"),
            "drop": lambda: staging.drop("a"),
            "check": lambda: staging.check(["b"]),
            "wants": lambda: staging.wants("b"),
        }[function]

    with pytest.raises(RuntimeError, match=r"^the staging directory is used after its context was left$"):
        late()


def test_the_private_directory_lies_where_it_can_be_renamed_from(tmp_path: Path) -> None:
    """Beside what does not exist; inside of what does, whose parent may be another disk, or somebody else's."""
    (tmp_path / "there").mkdir()

    with Staging(tmp_path / "new"):
        assert [path.name.startswith(".new.mlkit-partial-") for path in tmp_path.iterdir() if path.name != "there"] == [
            True
        ]
    with Staging(tmp_path / "there"):
        assert os.listdir(tmp_path) == ["there"]
        assert [name.startswith(".there.mlkit-partial-") for name in os.listdir(tmp_path / "there")] == [True]


def test_what_a_dead_run_left_in_a_directory_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "out" / (".out.mlkit-partial-" + "0" * 16)
    left.mkdir(parents=True)
    left.chmod(0o700)
    (left / "lock").write_bytes(b"")
    (left / "tree").mkdir()
    (left / "tree" / "half").write_bytes(b"half")

    with Staging(tmp_path / "out") as staging:
        assert not left.exists()
        put(staging, "a")
        staging.commit()

    assert os.listdir(tmp_path / "out") == ["a"]


def test_parents_that_were_made_in_vain_are_all_removed_and_no_others(tmp_path: Path) -> None:
    with Staging(tmp_path / "a/b/c/out") as staging:
        put(staging, "x")
        (tmp_path / "a/kept").write_text("mine")

    assert sorted(os.listdir(tmp_path / "a")) == ["kept"]
    with Staging(tmp_path / "d/e/f/out"):
        pass
    assert os.listdir(tmp_path) == ["a"]


def test_a_parent_that_somebody_makes_meanwhile_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def racing(self: Path, *arguments: Any, **keywords: Any) -> None:
        if not self.exists():
            real(self)
        real(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "mkdir", racing)

    with Staging(tmp_path / "a/out") as staging:
        put(staging, "x")
        staging.commit()

    assert os.listdir(tmp_path / "a/out") == ["x"]


def test_others_gain_no_right_to_write_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0), Staging(tmp_path / "out") as staging:
        put(staging, "a/b")
        with staging.file("run", mode=0o777) as target:
            target.write(b"#!")
        staging.directory("c")
        staging.commit()

    modes = {path: (tmp_path / "out" / path).stat().st_mode & 0o777 for path in (".", "a", "c", "a/b", "run")}
    assert modes == {".": 0o755, "a": 0o755, "c": 0o755, "a/b": 0o644, "run": 0o755}


@pytest.mark.parametrize("mode", [0o100, 0o400, 0o011, 0o677])
def test_a_file_is_executable_where_its_owner_may_execute_it(mode: int, tmp_path: Path) -> None:
    with umask(0o022), Staging(tmp_path / "out") as staging:
        with staging.file("a", mode=mode) as target:
            assert target.fileno() > 2
        staging.commit()

    assert (tmp_path / "out/a").stat().st_mode & 0o777 == (0o755 if mode & 0o100 else 0o644)


def test_what_is_there_is_wanted_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("mine")

    wanted = {}
    for existing in ("refuse", "overwrite", "ignore"):
        with Staging(tmp_path / "out", existing=existing) as staging:  # type: ignore[arg-type]  # one of three words
            wanted[existing] = [path for path in ("a", "b") if staging.wants(path)]
    with Staging(tmp_path / "new", existing="ignore") as staging:
        assert staging.wants("a")

    assert wanted == {"refuse": ["a", "b"], "overwrite": ["a", "b"], "ignore": ["b"]}


def test_a_file_that_is_in_the_way_is_told_before_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("mine")

    with Staging(tmp_path / "out") as staging, pytest.raises(ConflictError, match=r"^'a' already"):
        put(staging, "a")


def test_the_destination_is_named_where_it_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_text("mine")

    with pytest.raises(UsageError) as caught, Staging(tmp_path / "a\nb"):
        pass

    assert caught.value.message == (f"'{tmp_path}/a\\nb': exists and is no directory (expected one, or nothing)")


def test_a_destination_that_appeared_is_named(tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/theirs").write_text("theirs")
        with pytest.raises(ConflictError) as caught:
            staging.commit()

    assert caught.value.message == f"'{tmp_path}/out': appeared while it was written"


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "existing"])
def test_a_disk_that_fails_is_told_of_the_destination(
    is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_new:
        (tmp_path / "out").mkdir()

    with monkeypatch.context() as patch:
        broken(patch, "mkdir", lambda path, *_, **__: path == "tree")
        with pytest.raises(StoreError) as entering, Staging(tmp_path / "out"):
            pytest.fail("there is no place for the files")
    with monkeypatch.context() as patch, Staging(tmp_path / "out") as staging:
        put(staging, "a")
        broken(patch, "rename" if is_new else "link")
        with pytest.raises(StoreError) as committing:
            staging.commit()

    assert [caught.value.message for caught in (entering, committing)] == [f"'{tmp_path}/out': {EIO}"] * 2
    assert os.listdir(tmp_path) == ([] if is_new else ["out"])


def test_a_disk_that_fails_is_told_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out/d").mkdir(parents=True)
    told = {}

    for name, existing, act in (
        ("open", "overwrite", lambda staging: put(staging, "d/file")),
        ("mkdir", "overwrite", lambda staging: staging.directory("d/made")),
        ("stat", "ignore", lambda staging: staging.wants("d/kept")),
        ("stat", "refuse", lambda staging: staging.check(["d/x"])),
    ):
        with monkeypatch.context() as patch, Staging(tmp_path / "out", existing=existing) as staging:  # type: ignore[arg-type]  # one of three words
            staging.directory("d")
            broken(patch, name, lambda path, *_, **__: path in ("file", "made", "kept", "x"))
            with pytest.raises(StoreError) as caught:
                act(staging)
            told[name, existing] = caught.value.message

    assert told == {
        ("open", "overwrite"): f"'d/file': {EIO}",
        ("mkdir", "overwrite"): f"'d/made': {EIO}",
        ("stat", "ignore"): f"'d/kept': {EIO}",
        ("stat", "refuse"): f"'{tmp_path}/out': {EIO}",
    }


def test_a_disk_that_tells_of_its_fault_when_a_file_is_closed_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.close

    def late(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.ENOSPC, "no space")

    with Staging(tmp_path / "out") as staging:
        target = staging.file("a", mode=0o644).__enter__()
        with monkeypatch.context() as patch:
            patch.setattr(os, "close", late)
            with pytest.raises(StoreError) as caught:
                target.__exit__(None, None, None)
        with pytest.raises(StoreError) as both, staging.file("b", mode=0o644):
            raise OSError(errno.EIO, "the first fault")

    assert caught.value.message == "'a': no space left"
    # The first fault is the one that is told.
    assert both.value.message == "'b': cannot be written (the first fault)"


def test_a_name_that_the_file_system_takes_for_another_is_refused(tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging:
        put(staging, "a/b")
        # What a file system that knows fewer names would have done.
        [tree] = tmp_path.glob(".out.*/tree")
        (tree / "a/C").write_text("another spelling")
        with pytest.raises(UnsafeError) as caught:
            put(staging, "a/C")

    assert caught.value.message == "'a/C': this file system has another name for it already"


def test_places_that_nobody_means_to_fill_are_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "to-home\n").symlink_to(home)

    def told(path: Path) -> str:
        with pytest.raises(UsageError) as caught:
            check_destination(path, store=store, home=home)
        return caught.value.message

    assert [told(path) for path in (Path("/tmp/.."), tmp_path / "to-home\n", store / "x")] == [
        "'/tmp/..' is the root of the file system (expected a directory of its own)",
        f"'{tmp_path}/to-home\\n' is the home directory (expected a directory of its own)",
        f"'{store}/x' is in the store of mlkit (expected a directory of its own)",
    ]
    assert told(tmp_path / "dangling") == f"'{tmp_path}/dangling' is a link to nothing (expected a directory)"
    assert told(tmp_path / "file/below") == f"'{tmp_path}/file' is a file (expected a directory)"
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    assert told(home / "new/below") == f"'{home}' cannot be written by this user"
