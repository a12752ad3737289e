"""A cache remembers, and is never in the way."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from mlkit.content import stat_cache
from mlkit.content.stat_cache import StatCache


def test_what_was_put_is_found_at_once_and_the_next_time(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "cache") as cache:
        cache.put(b"key", b"value")
        cache.put(b"key", b"newer")
        assert cache.get(b"key") == b"newer"

    with StatCache.open(tmp_path / "cache") as cache:
        assert cache.get(b"key") == b"newer"
        assert cache.get(b"other") is None


def test_more_than_one_batch_is_kept(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "cache") as cache:
        for number in range(2500):
            cache.put(b"%d" % number, b"v%d" % number)

        assert cache.get(b"3") == b"v3"

    with StatCache.open(tmp_path / "cache") as cache:
        assert [cache.get(b"%d" % number) for number in (0, 999, 1000, 2499)] == [b"v0", b"v999", b"v1000", b"v2499"]


def test_the_oldest_rows_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat_cache, "ROW_LIMIT", 3)
    for number in range(5):
        with StatCache.open(tmp_path / "cache") as cache:
            cache.put(b"%d" % number, b"value")

    with StatCache.open(tmp_path / "cache") as cache:
        assert [cache.get(b"%d" % number) is not None for number in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be taken for one" * 100, b"SQLite format 3\0"]
)
def test_a_broken_cache_is_dropped_and_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache"
    path.write_bytes(content)

    with StatCache.open(path) as cache:
        assert cache.get(b"key") is None
        cache.put(b"key", b"value")

    with StatCache.open(path) as cache:
        assert cache.get(b"key") == b"value"


def test_a_cache_of_another_shape_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (something TEXT)")
    connection.close()

    with StatCache.open(path) as cache:
        cache.put(b"key", b"value")

    with StatCache.open(path) as cache:
        assert cache.get(b"key") == b"value"


def test_a_cache_that_cannot_be_made_is_as_if_it_were_empty(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "no such folder" / "cache") as cache:
        cache.put(b"key", b"value")

        assert cache.get(b"other") is None


def test_a_cache_that_somebody_else_holds_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with StatCache.open(path) as cache:
        cache.put(b"key", b"value")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with StatCache.open(path) as cache:
        cache.put(b"other", b"value")
        assert cache.get(b"key") is None
    holder.execute("COMMIT")
    holder.close()

    with StatCache.open(path) as cache:
        assert cache.get(b"key") == b"value"


def test_threads_may_share_a_cache(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "cache") as cache:

        def work(name: int) -> None:
            for number in range(500):
                cache.put(b"%d/%d" % (name, number), b"value")
                assert cache.get(b"%d/%d" % (name, number)) == b"value"

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert all(cache.get(b"%d/499" % name) == b"value" for name in range(4))


def test_all_that_was_put_under_keys_of_one_end_is_found_written_or_not(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "cache") as cache:
        cache.put(b"a/one", b"1")
        cache.put(b"b/one", b"2")
        cache.put(b"a/two", b"3")
        cache.flush()
        cache.put(b"c/one", b"4")

        assert dict(cache.ending(b"/one")) == {b"a/one": b"1", b"b/one": b"2", b"c/one": b"4"}

    with StatCache.open(tmp_path / "cache") as cache:
        assert dict(cache.ending(b"/one")) == {b"a/one": b"1", b"b/one": b"2", b"c/one": b"4"}
        assert cache.ending(b"/three") == ()


def test_what_was_flushed_is_there_for_others_before_the_end(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "cache") as cache:
        cache.put(b"key", b"value")
        cache.flush()
        cache.flush()

        with StatCache.open(tmp_path / "cache") as other:
            assert other.get(b"key") == b"value"


def test_a_cache_that_breaks_while_it_is_used_is_as_if_it_were_empty(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with StatCache.open(path) as cache:
        cache.put(b"a/one", b"1")
        cache.flush()
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE entries")
        other.close()
        cache.put(b"b/one", b"2")

        assert cache.get(b"a/one") is None
        assert cache.ending(b"/one") == ((b"b/one", b"2"),)


def test_of_a_cache_that_cannot_be_had_what_is_pending_is_found(tmp_path: Path) -> None:
    with StatCache.open(tmp_path / "no such folder" / "cache") as cache:
        cache.put(b"a/one", b"1")

        assert cache.ending(b"/one") == ((b"a/one", b"1"),)


@pytest.mark.parametrize("value", ["text", 1 << 40, 1.5], ids=repr)
def test_what_is_no_bytes_in_a_cache_was_not_put_there_by_us(tmp_path: Path, value: object) -> None:
    path = tmp_path / "cache"
    with StatCache.open(path) as cache:
        cache.put(b"a/one", b"1")
    with sqlite3.connect(path) as other:
        other.execute("UPDATE entries SET value = ?", (value,))
        other.execute("INSERT INTO entries VALUES ('text/one', x'31', 1)")
    other.close()

    with StatCache.open(path) as cache:
        assert cache.get(b"a/one") is None
        assert cache.ending(b"/one") == ()


def test_a_broken_cache_that_cannot_be_removed_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    path = tmp_path / "cache"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    monkeypatch.setattr(Path, "unlink", denied)

    with StatCache.open(path) as cache:
        cache.put(b"key", b"value")
        assert cache.get(b"key") == b"value"
        assert cache.get(b"other") is None
