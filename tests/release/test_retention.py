from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlkit.errors import UsageError
from mlkit.release.retention import ROLLBACKS, Kept, Needed, Rules, plan, versions_of
from mlkit.spec.digest import Digest
from mlkit.spec.release import Release

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def kit(name: str, *, days: int | None = None, needs: tuple[str, ...] = ()) -> Kept:
    created = None if days is None else NOW - timedelta(days=days)
    return Kept(digest(name), (name,), created, frozenset(map(digest, needs)))


def kept(kits: list[Kept], rules: Rules, needed: Needed | None = None) -> list[str]:
    return [one.kit.tags[0] for one in plan(kits, needed or Needed(), rules, now=NOW) if one.is_kept]


def test_the_newest_stay_by_their_time_or_by_their_versions() -> None:
    by_time = [kit("b", days=3), kit("a", days=1), kit("c", days=2)]
    by_version = [kit("1.9"), kit("1.10"), kit("1.2")]

    assert kept(by_time, Rules(keep=2)) == ["a", "c"]
    assert kept(by_version, Rules(keep=2)) == ["1.10", "1.9"]


def test_what_is_young_stays_and_what_nobody_knows_the_age_of() -> None:
    kits = [kit("young", days=5), kit("old", days=100), kit("unknown")]

    assert kept(kits, Rules(keep_within=timedelta(days=90))) == ["unknown", "young"]


def test_where_channels_are_stays_whatever_the_rules() -> None:
    kits = [kit(f"1.{number}", days=100 - number) for number in range(20)]
    versions = tuple(digest(f"1.{number}") for number in range(15, -1, -1))

    few = kept(kits, Rules(keep=0), Needed({"production": versions}))
    whole = kept(kits, Rules(keep=0, keep_channels=True), Needed({"production": versions}))

    assert few == [f"1.{number}" for number in range(15, 15 - ROLLBACKS, -1)]
    assert whole == [f"1.{number}" for number in range(15, -1, -1)]


def test_bad_versions_are_not_counted_among_those_to_go_back_to() -> None:
    kits = [kit(f"1.{number}", days=100 - number) for number in range(20)]
    versions = tuple(digest(f"1.{number}") for number in range(19, -1, -1))
    bad = frozenset(digest(f"1.{number}") for number in range(18, 8, -1))

    assert kept(kits, Rules(keep=0), Needed({"production": versions}, bad)) == [
        "1.19",
        *(f"1.{number}" for number in range(8, -1, -1)),
    ]


def test_what_a_kept_kit_needs_stays_too() -> None:
    kits = [
        kit("index", days=1, needs=("q4",)),
        kit("q4", days=50, needs=("base",)),
        kit("base", days=60),
        kit("x", days=70),
    ]

    assert kept(kits, Rules(keep=1)) == ["index", "q4", "base"]


def test_without_a_rule_nothing_is_planned() -> None:
    with pytest.raises(UsageError):
        Rules()


def test_the_versions_of_a_channel_are_all_that_it_pointed_at() -> None:
    def release(sequence: int, to: str, before: str | None) -> Release:
        return Release(
            "r",
            "c",
            "promote",
            sequence,
            None,
            digest(to),
            digest(before) if before else None,
            "2026-01-01T00:00:00Z",
            "x",
        )

    found = versions_of([release(2, "b", "outside"), release(1, "a", None)], digest("now"))

    assert found == (digest("now"), digest("b"), digest("outside"), digest("a"))
