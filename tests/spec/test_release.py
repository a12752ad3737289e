from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest
from mlkit.spec.release import HISTORY_TAGS, EntryVersion, EvidenceRef, Mark, Release, is_hidden_tag, parse_release

TO, BEFORE, RECORD = (Digest.of(text) for text in (b"to", b"before", b"record"))

FULL = Release(
    repository="team/digits",
    channel="production",
    action="rollback",
    sequence=2,
    previous=RECORD,
    to=TO,
    from_=BEFORE,
    at="2026-03-03T12:00:00Z",
    by="ada@host",
    message="probe failed",
    reference="registry.example/team/digits:1.2",
    version="1.2",
    entries=(EntryVersion("model", "net", "6"), EntryVersion("datasets[0]", None, None)),
    marks=(Mark(BEFORE, "bad"),),
    required=("checks",),
    evidence=(EvidenceRef("checks", RECORD, ("ci",)), EvidenceRef("scan", TO)),
    reason="503",
    mlkit="0.1",
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert parse_release(FULL.predicate()) == FULL


def test_what_is_absent_is_left_out() -> None:
    first = Release("team/digits", "staging", "promote", 1, None, TO, None, "2026-03-03T12:00:00Z", "ada")

    assert set(first.predicate()) == {"repository", "channel", "action", "sequence", "to", "at", "by", "mlkit"}
    assert parse_release(first.predicate()) == first


def test_names_of_later_versions_are_left_alone() -> None:
    assert parse_release({**FULL.predicate(), "mood": "calm", "evidence": [{"kind": "oath"}]}).evidence == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action", "delete"),
        ("action", ["promote"]),
        ("sequence", 0),
        ("sequence", True),
        ("sequence", 1),
        ("sequence", 10**12),
        ("sequence", "2"),
        ("previous", None),
        ("previous", "sha256:abc"),
        ("to", None),
        ("to", "md5:0"),
        ("from", 3),
        ("at", "yesterday"),
        ("at", "2026-13-03T12:00:00Z"),
        ("at", None),
        ("by", ""),
        ("repository", None),
        ("channel", 7),
        ("message", "x" * 5000),
        ("entries", {"id": "model"}),
        ("entries", ["model"]),
        ("entries", [{"id": "x"}] * 1001),
        ("marks", [{"digest": str(TO), "verdict": "so-so"}]),
    ],
)
def test_a_record_with_a_wrong_field_is_refused(name: str, value: Any) -> None:
    with pytest.raises(IntegrityError):
        parse_release({**FULL.predicate(), name: value})


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        ("2026-03-03T12:00:00Z", datetime(2026, 3, 3, 12, tzinfo=UTC)),
        ("2026-03-03T12:00:00.5Z", datetime(2026, 3, 3, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-03T12:00:00.123456789Z", datetime(2026, 3, 3, 12, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_the_moment_of_a_record_is_a_time_in_utc(at: str, moment: datetime) -> None:
    assert parse_release({**FULL.predicate(), "at": at}).moment == moment


def test_tags_of_signatures_and_histories_are_hidden_and_those_of_kits_are_not() -> None:
    hidden = [f"{HISTORY_TAGS}production", f"sha256-{'a' * 64}", f"sha256-{'a' * 64}.sig", f"sha256-{'a' * 64}.att"]

    assert [tag for tag in hidden if not is_hidden_tag(tag)] == []
    assert [tag for tag in ("production", "1.2", "sha256-abc", "latest") if is_hidden_tag(tag)] == []
