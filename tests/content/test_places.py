"""Where blobs were seen: for the same registry only, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.content.places import Places
from mlkit.content.stat_cache import StatCache
from mlkit.spec.digest import Digest

HERE = "https://registry.example"
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen.sqlite"


def test_a_later_run_knows_what_an_earlier_one_saw_and_the_latest_first(path: Path) -> None:
    for repository in ("a", "team/b", "a"):
        places = Places(path)
        places.saw(HERE, repository, [ONE])
        places.close()

    later = Places(path)
    assert later.of(HERE, ONE) == ("a", "team/b")
    assert later.of(HERE, TWO) == ()
    later.close()


@pytest.mark.parametrize("other", ["http://registry.example", "https://registry.example:5000", "https://elsewhere"])
def test_no_registry_is_told_of_repositories_of_another_one(other: str, path: Path) -> None:
    places = Places(path)
    places.saw(HERE, "team/private", [ONE])

    assert places.of(other, ONE) == ()
    places.close()


def test_four_repositories_are_kept(path: Path) -> None:
    places = Places(path)
    for number in range(10):
        places.saw(HERE, f"r{number}", [ONE])

    assert places.of(HERE, ONE) == ("r9", "r8", "r7", "r6")
    places.close()


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"7", b'["../../token", "a?x=y", "A", 7, "x y", ""]', b"[" * 5000], ids=range(5)
)
def test_what_is_no_repository_is_never_asked_for(value: bytes, path: Path) -> None:
    with StatCache.open(path) as cache:
        cache.put(f"{HERE} {ONE}".encode(), value)
    places = Places(path)

    assert places.of(HERE, ONE) == ()
    places.close()


def test_a_place_that_cannot_be_written_knows_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path / "no such folder" / "seen.sqlite")
    places.saw(HERE, "a", [ONE])
    places.close()

    assert places.of(HERE, ONE) == ()
    places.close()
    assert list(tmp_path.iterdir()) == []


def test_all_places_of_a_blob_are_told_with_their_registries(path: Path) -> None:
    places = Places(path)
    places.saw(HERE, "a", [ONE, TWO])
    places.saw("http://other.example:5000", "team/b", [ONE])
    places.saw(HERE, "a", [ONE])

    assert sorted(places.everywhere(ONE)) == [("http://other.example:5000", "team/b"), (HERE, "a")]
    assert places.everywhere(Digest.of(b"three")) == ()
    places.close()
