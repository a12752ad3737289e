from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from tests.support.tars import archive, directory, file

from mlkit.archive.extract import FileSeen, Staging, check_destination, extract_tar
from mlkit.archive.limits import Limits
from mlkit.errors import ConflictError, IntegrityError, LimitError, MlkitError, StoreError, UnsafeError, UsageError
from mlkit.spec.digest import Digest

Existing = Literal["refuse", "overwrite", "ignore"]


def _tree(root: Path) -> dict[str, str]:
    """Every path below a directory with its content; links as they are."""
    return {
        str(path.relative_to(root)): (
            f"-> {path.readlink()}" if path.is_symlink() else path.read_text() if path.is_file() else "/"
        )
        for path in sorted(root.rglob("*"))
    }


def _write(staging: Staging, path: str, content: str = "new", mode: int = 0o644) -> None:
    with staging.file(path, mode=mode) as target:
        target.write(content.encode())


def _put(destination: Path, *paths: str, existing: Existing = "refuse") -> tuple[str, ...]:
    with Staging(destination, existing=existing) as staging:
        for path in paths:
            _write(staging, path)
        return staging.commit()


def _put_after(destination: Path, *paths: str, existing: Existing = "refuse", then: Callable[[], object]) -> None:
    """Stage files, let something happen, and commit."""
    with Staging(destination, existing=existing) as staging:
        for path in paths:
            if staging.wants(path):
                _write(staging, path)
        then()
        staging.commit()


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_files_appear_all_at_once_and_nothing_else_stays(tmp_path: Path) -> None:
    destination = tmp_path / "a/b/out"
    with Staging(destination) as staging:
        _write(staging, "model/weights.bin", "weights")
        _write(staging, "run.sh", "#!", mode=0o755)
        staging.directory("empty/below")
        staging.directory("empty/below")
        assert staging.is_new
        assert not destination.exists()
        assert staging.commit() == ("model/weights.bin", "run.sh")

    expected = {"model": "/", "model/weights.bin": "weights", "run.sh": "#!", "empty": "/", "empty/below": "/"}
    assert _tree(destination) == expected
    assert os.listdir(tmp_path / "a/b") == ["out"]
    assert (destination / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (destination / "model/weights.bin").stat().st_mode & 0o7777 == 0o644
    assert destination.stat().st_mode & 0o7777 == 0o755


def test_the_umask_of_the_user_is_respected(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        _put(tmp_path / "out", "a/b")
    finally:
        os.umask(before)

    assert (tmp_path / "out/a/b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "existing"])
def test_what_is_not_committed_is_as_if_it_had_never_been(is_new: bool, tmp_path: Path) -> None:
    destination = tmp_path / "parent/out"
    if not is_new:
        destination.mkdir(parents=True)
        (destination / "kept").write_text("mine")
    before = _tree(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        _put_after(destination, "model/weights.bin", then=_interrupt)

    assert _tree(tmp_path) == before


def test_an_existing_directory_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "out/model").mkdir(parents=True)
    (tmp_path / "out/model/notes.txt").write_text("mine")

    assert _put(tmp_path / "out", "model/weights.bin", "data/x/1", "data/x/2") == (
        "data/x/1",
        "data/x/2",
        "model/weights.bin",
    )

    assert _tree(tmp_path / "out") == {
        "model": "/",
        "model/notes.txt": "mine",
        "model/weights.bin": "new",
        "data": "/",
        "data/x": "/",
        "data/x/1": "new",
        "data/x/2": "new",
    }


def test_a_destination_that_is_a_link_was_named_by_the_user(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    _put(tmp_path / "link", "a")

    assert _tree(tmp_path) == {"link": "-> real", "real": "/", "real/a": "new"}


@pytest.mark.parametrize(
    ("second", "kind"),
    [("a", UnsafeError), ("A", UnsafeError), ("a/b", UnsafeError), ("../x", UnsafeError), ("x" * 300, LimitError)],
)
def test_a_path_is_taken_once_and_only_if_it_is_safe(second: str, kind: type[MlkitError], tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging:
        _write(staging, "a")
        with pytest.raises(kind):
            _write(staging, second)
        with pytest.raises(UnsafeError):
            staging.directory("a")

    assert os.listdir(tmp_path) == []


def test_files_can_be_staged_from_several_threads(tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging, ThreadPoolExecutor(4) as threads:
        # More directories than descriptors are kept open, so that some are closed and opened again.
        done = [threads.submit(_write, staging, f"d{number % 200}/e/f{number}") for number in range(800)]
        for one in done:
            one.result()
        assert len(staging.commit()) == 800

    assert sum(1 for path in (tmp_path / "out").rglob("f*")) == 800


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = sorted(os.listdir("/dev/fd"))

    _put(tmp_path / "out", *(f"d{number}/f" for number in range(300)))
    _put(tmp_path / "out", *(f"d{number}/g" for number in range(300)))
    with pytest.raises(ConflictError):
        _put(tmp_path / "out", "d1/f")

    assert sorted(os.listdir("/dev/fd")) == before


def test_a_tar_is_extracted_with_the_digest_of_every_file(tmp_path: Path) -> None:
    large = os.urandom(5 << 20) + b"tail"
    told = []
    tar = archive(directory("./"), directory("d/"), file("d/small", b"abc"), file("large", large), directory("empty"))

    with Staging(tmp_path / "out") as staging:
        seen = extract_tar(tar, staging, progress_bytes=told.append)
        staging.commit()

    assert seen == (
        FileSeen("d/small", 3, Digest.of(b"abc")),
        FileSeen("large", len(large), Digest("sha256", hashlib.sha256(large).hexdigest())),
    )
    assert (tmp_path / "out/large").read_bytes() == large
    assert (tmp_path / "out/empty").is_dir()
    assert sum(told) == 3 + len(large)


def test_only_wanted_files_are_written_and_all_are_read(tmp_path: Path) -> None:
    tar = archive(directory("d"), file("d/a", b"1"), file("d/b", b"2"), directory("e"), file("f", b"3"))

    with Staging(tmp_path / "out") as staging:
        seen = extract_tar(tar, staging, wanted=lambda path: path == "d/b")
        staging.commit()

    assert [one.path for one in seen] == ["d/b"]
    assert _tree(tmp_path / "out") == {"d": "/", "d/b": "2"}
    assert tar.read() == b""


def test_a_tar_that_is_bad_at_its_very_end_leaves_nothing(tmp_path: Path) -> None:
    tar = archive(file("a", b"1"), end=bytes(512))

    with pytest.raises(IntegrityError), Staging(tmp_path / "out") as staging:
        extract_tar(tar, staging)

    assert os.listdir(tmp_path) == []


def test_more_directories_than_descriptors_are_no_problem(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    parts = [file(f"d{number % 500}/f{number}") for number in range(3_000)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Staging(tmp_path / "out") as staging:
            assert len(extract_tar(archive(*parts), staging)) == 3_000
            staging.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert sum(len(files) for _, _, files in os.walk(tmp_path / "out")) == 3_000


def test_a26_what_does_not_fit_on_the_disk_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _file: SimpleNamespace(f_bavail=10, f_frsize=100))
    fits, does_not = archive(file("a", b"x" * 950)), archive(file("a", b"x" * 951))
    told: list[int] = []

    with Staging(tmp_path / "out") as staging:
        extract_tar(fits, staging)
    with pytest.raises(StoreError, match="no space left for its 951 bytes"), Staging(tmp_path / "out") as staging:
        extract_tar(does_not, staging, progress_bytes=told.append)
    with Staging(tmp_path / "out") as staging:
        extract_tar(archive(file("a", b"x" * 1_000)), staging, limits=Limits(disk_reserve_percent=0))

    assert told == []
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_leaves_the_destination_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept").write_text("mine")
    code = (
        "import io, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from mlkit.archive.extract import Staging, extract_tar\n"
        "from mlkit.errors import StoreError\n"
        "from tests.support.tars import archive, file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "tar = archive(file('a', b'1'), file('big', bytes(200_000)))\n"
        "try:\n"
        "    with Staging(Path(sys.argv[1])) as staging:\n"
        "        extract_tar(tar, staging)\n"
        "except StoreError as error:\n"
        "    sys.exit(error.message)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )

    assert done.stderr == "'big': the file would be larger than this system allows\n"
    assert _tree(tmp_path / "out") == {"kept": "mine"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_disk_names_the_file(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="'model/x'") as caught,
        Staging(tmp_path / "out") as staging,
        staging.file("model/x", mode=0o644),
    ):
        raise OSError(number, os.strerror(number))

    assert ("no space left" in caught.value.message) == (number != errno.EIO)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "ignore"])
@pytest.mark.parametrize("path", ["model/weights.bin", "model/sub/x", "a/model/x"])
def test_a27_a_link_that_waits_in_the_destination_is_not_followed(
    existing: Existing, path: str, tmp_path: Path
) -> None:
    (tmp_path / "home/sub").mkdir(parents=True)
    for place in ("out", "out/a"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model").symlink_to(tmp_path / "home")
    before = _tree(tmp_path)

    with pytest.raises(UnsafeError, match=r"model' is a link"):
        _put_after(tmp_path / "out", path, existing=existing, then=lambda: None)

    assert _tree(tmp_path) == before


def test_a28_a_directory_that_is_swapped_for_a_link_meanwhile_gains_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            for place in (out, *out.glob(".*/tree")):
                try:
                    (place / "d").rename(place / "aside")
                    (place / "d").symlink_to(trap)
                    swaps += 1
                    (place / "d").unlink()
                    (place / "aside").rename(place / "d")
                except OSError:
                    continue

    attacker = threading.Thread(target=swap)
    attacker.start()
    outcomes: set[str] = set()
    try:
        for number in range(3000):
            if number >= 30 and swaps > 100:  # however busy the machine is
                break
            try:
                with Staging(out) as staging:
                    for name in range(10):
                        _write(staging, f"d/e{number}-{name}/f")
                        _write(staging, f"d/f{number}-{name}")
                    staging.commit()
                outcomes.add("written")
            except MlkitError as error:
                outcomes.add(type(error).__name__)
            assert os.listdir(trap) == []
    finally:
        stop.set()
        attacker.join()

    assert os.listdir(trap) == []
    assert swaps > 100
    assert outcomes <= {"written", "UnsafeError", "ConflictError", "StoreError"}


def test_a30_files_of_the_user_are_kept_unless_he_says_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    for name in ("one", "d/two"):
        (out / name).write_text("mine")
    (tmp_path / "elsewhere").write_text("precious")
    (out / "link").symlink_to("../elsewhere")
    before = _tree(tmp_path)

    with pytest.raises(ConflictError, match="'one' already"):
        _put(out, "zero", "one")
    assert _tree(tmp_path) == before
    with Staging(out, existing="ignore") as staging:
        wanted = [path for path in ("zero", "one", "d/two", "link", "e/three") if staging.wants(path)]
        for path in wanted:
            _write(staging, path)
        staging.commit()
    assert wanted == ["zero", "e/three"]
    assert _tree(tmp_path) == before | {"out/zero": "new", "out/e": "/", "out/e/three": "new"}

    _put(out, "one", "d/two", "link", "four", existing="overwrite")

    assert {path: _tree(out)[path] for path in ("one", "d/two", "link", "four")} == dict.fromkeys(
        ("one", "d/two", "link", "four"), "new"
    )
    assert not (out / "link").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_everything_that_is_in_the_way_can_be_asked_for_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out/d").mkdir(parents=True)
    for number in range(12):
        (tmp_path / f"out/d/f{number:02}").write_text("mine")

    with Staging(tmp_path / "out") as staging:
        staging.check(["new", "d/new", "other/new"])
        with pytest.raises(ConflictError, match=r"'d/f00', .*'d/f09' and 2 more already") as caught:
            staging.check([f"d/f{number:02}" for number in range(12)])
    with Staging(tmp_path / "out", existing="overwrite") as staging:
        staging.check(["d/f00"])
    with Staging(tmp_path / "new") as staging:
        staging.check(["d/f00"])

    assert "--overwrite" in (caught.value.hint or "")


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "ignore"])
def test_all_conflicts_are_found_before_anything_moves(existing: Existing, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    before = _tree(tmp_path)

    def appear() -> None:
        (out / "e").write_text("mine")
        (out / "z").mkdir()

    with pytest.raises(ConflictError) as caught:
        _put_after(out, "a", "d/one", "e/x", "z", existing=existing, then=appear)

    assert "'e'" in caught.value.message
    assert "'z'" in caught.value.message
    assert _tree(tmp_path) == before | {"out/e": "mine", "out/z": "/"}


@pytest.mark.parametrize("special", [os.mkfifo, lambda path: os.mknod(path, 0o600 | 0o140000)], ids=["pipe", "socket"])
def test_a_special_file_is_never_replaced(special: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    special(tmp_path / "out/odd")

    with pytest.raises(ConflictError, match="odd"):
        _put(tmp_path / "out", "odd", existing="overwrite")


def test_a_directory_in_the_place_of_a_file_is_not_said_to_be_overwritable(tmp_path: Path) -> None:
    (tmp_path / "out/params.yaml").mkdir(parents=True)

    with pytest.raises(ConflictError, match="another kind than in the kit") as caught:
        _put(tmp_path / "out", "params.yaml", existing="overwrite")

    assert "--overwrite" not in (caught.value.hint or "")


def _failing(monkeypatch: pytest.MonkeyPatch, name: str, after: int, number: int) -> None:
    """Let an os function fail from its call number `after` on, once."""
    real = getattr(os, name)
    calls = 0

    def call(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == after:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **keywords)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
@pytest.mark.parametrize("after", range(1, 6))
def test_a_failure_in_the_middle_moves_everything_back(
    after: int, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    for name in ("b", "d/c"):
        (out / name).write_text("mine")
    before = _tree(tmp_path)
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    _failing(monkeypatch, "rename", after, errno.EIO)

    try:
        with Staging(out, existing="overwrite") as staging:
            for path in ("a", "b", "d/c", "d/n", "e/x", "f/y", "g"):
                _write(staging, path)
            staging.commit()
    except StoreError:
        assert _tree(tmp_path) == before
    else:
        assert after > 3
        assert set(_tree(out)) == {"a", "b", "d", "d/c", "d/n", "e", "e/x", "f", "f/y", "g"}


def _no_links(*_arguments: object, **_keywords: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no links here")


@pytest.mark.parametrize("existing", ["refuse", "overwrite"])
def test_a_file_system_without_hard_links_is_merged_into_all_the_same(
    existing: Existing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/d").mkdir(parents=True)
    (tmp_path / "out/d/kept").write_text("mine")
    if existing == "overwrite":
        (tmp_path / "out/d/x").write_text("old")
    monkeypatch.setattr(os, "link", _no_links)

    _put(tmp_path / "out", "d/x", "y", existing=existing)

    assert _tree(tmp_path / "out") == {"d": "/", "d/kept": "mine", "d/x": "new", "y": "new"}


def test_what_appears_between_the_look_and_the_move_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    link = os.link

    def racing(*arguments: object, **keywords: object) -> None:
        (tmp_path / "out/b").write_text("theirs")
        link(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", racing)

    with pytest.raises(ConflictError, match="'b' appeared"):
        _put(tmp_path / "out", "a", "b")

    assert _tree(tmp_path) == {"out": "/", "out/b": "theirs"}


@pytest.mark.parametrize("name", ["out", "out/theirs"], ids=["file", "directory"])
def test_a_destination_that_appears_meanwhile_is_a_conflict(name: str, tmp_path: Path) -> None:
    def appear() -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("theirs")

    with pytest.raises(ConflictError, match="appeared"):
        _put_after(tmp_path / "out", "a", then=appear)

    assert (tmp_path / name).read_text() == "theirs"
    assert len(_tree(tmp_path)) == len(Path(name).parts)


_KILLED = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "from mlkit.archive.extract import Staging\n"
    "with Staging(Path(sys.argv[1])) as staging:\n"
    "    with staging.file('model/weights.bin', mode=0o644) as target:\n"
    "        target.write(b'half')\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "existing"])
def test_what_a_killed_run_leaves_is_removed_by_the_next(is_new: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if not is_new:
        out.mkdir()
        (out / "kept").write_text("mine")

    killed = subprocess.run([sys.executable, "-c", _KILLED, out])

    assert killed.returncode == -signal.SIGKILL
    place = tmp_path if is_new else out
    [left] = [name for name in os.listdir(place) if name.startswith(".out.mlkit-partial-")]
    assert sorted(os.listdir(place)) == sorted([left] if is_new else [left, "kept"])
    assert (place / left).stat().st_mode & 0o777 == 0o700

    _put(out, "a")

    assert _tree(tmp_path) == {"out": "/", "out/a": "new"} | ({} if is_new else {"out/kept": "mine"})


def test_a_run_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Staging(tmp_path / "out") as first:
        _write(first, "one")
        _put(tmp_path / "out", "two")
        first.commit()

    assert _tree(tmp_path / "out") == {"one": "new", "two": "new"}


def test_only_what_is_surely_a_dead_run_of_ours_is_removed(tmp_path: Path) -> None:
    names = [".out.mlkit-partial-notes", ".out.mlkit-partial-" + "0" * 16, ".other.mlkit-partial-" + "0" * 16]
    for name in names:
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "file").write_text("mine")
    (tmp_path / (".out.mlkit-partial-" + "1" * 16)).symlink_to(names[0])
    (tmp_path / (".out.mlkit-partial-" + "2" * 16)).mkdir(mode=0o700)
    (tmp_path / (".out.mlkit-partial-" + "3" * 16)).write_text("a file")

    _put(tmp_path / "out", "a")

    gone = ".out.mlkit-partial-" + "2" * 16
    assert all((tmp_path / name / "file").read_text() == "mine" for name in names)
    assert not (tmp_path / gone).exists()
    assert len(os.listdir(tmp_path)) == 6


def test_a32_places_that_nobody_means_to_fill_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    for path in (home, store / "blobs", tmp_path / "fine"):
        path.mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "to-home").symlink_to(home)
    (tmp_path / "to-root").symlink_to("/")
    (tmp_path / "dangling").symlink_to("nowhere")
    refused = [
        Path("/"),
        Path("/tmp/.."),
        tmp_path / "to-root",
        home,
        home / "x/..",
        tmp_path / "to-home",
        store,
        store / "blobs",
        store / "new/below",
        tmp_path / "file",
        tmp_path / "file/below",
        tmp_path / "dangling",
    ]

    for path in refused:
        with pytest.raises(UsageError):
            check_destination(path, store=store, home=home)
    for path in (tmp_path / "fine", tmp_path / "new/below", home / "project", tmp_path / "store2", tmp_path):
        check_destination(path, store=store, home=home)
    check_destination(home)
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(UsageError, match="cannot be written"):
        check_destination(tmp_path / "new/below")


@pytest.mark.parametrize("name", ["file", "dangling"])
def test_a_destination_that_is_no_directory_is_refused_by_the_staging_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = _tree(tmp_path)

    with pytest.raises(UsageError), Staging(tmp_path / name):
        pass

    assert _tree(tmp_path) == before


def test_a_parent_that_cannot_be_made_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(StoreError), Staging(tmp_path / "file/below/out"):
        pass


def test_a_stream_is_read_to_its_end_so_that_a_verifying_one_verifies(tmp_path: Path) -> None:
    class Verifying(io.BytesIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = super().readinto(buffer)
            if count and self.tell() == len(self.getvalue()):
                raise IntegrityError("the digest does not match")
            return count

    content = archive(file("a", b"1"), end=bytes(10_240)).getvalue()

    with pytest.raises(IntegrityError, match="digest"), Staging(tmp_path / "out") as staging:
        extract_tar(Verifying(content), staging)


def test_a_thread_that_outlives_the_context_writes_nowhere(tmp_path: Path) -> None:
    with Staging(tmp_path / "out") as staging:
        late = staging.file("late", mode=0o644)

    with pytest.raises(RuntimeError), late:
        pytest.fail("the file was opened")
    with pytest.raises(RuntimeError):
        staging.directory("late")
    assert os.listdir(tmp_path) == []


def test_what_a_run_left_that_could_not_remove_all_of_its_own_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with Staging(out) as staging:
            _write(staging, "a/b")
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == [".out.mlkit"]

    with Staging(out) as staging:
        _write(staging, "a")
        staging.commit()

    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_ignored_stays_as_it_is_and_the_rest_comes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    (out / "d/mine").write_text("mine")
    (out / "link").symlink_to("d/mine")

    # Asked before all is staged, what is there would not even be read; staged all the same, it is passed over.
    with Staging(out, existing="ignore") as staging:
        for path in ("d/mine", "d/new", "link"):
            _write(staging, path)
        staging.commit()

    assert _tree(out) == {"d": "/", "d/mine": "mine", "d/new": "new", "link": "-> d/mine"}


def test_a_disk_that_fails_while_what_was_there_is_kept_apart_leaves_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("mine")
    _failing(monkeypatch, "link", 1, errno.EIO)

    with pytest.raises(StoreError, match="Input/output error"):
        _put(out, "a", existing="overwrite")

    assert _tree(tmp_path) == {"out": "/", "out/a": "mine"}
