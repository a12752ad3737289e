"""What a statement claims of a kit: of which, when it was signed, and whether it says something good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlkit.spec.digest import Digest
from mlkit.spec.media_types import CREATED, KIT_DIGEST
from mlkit.spec.statement import COSIGN_SIGN, CYCLONEDX, MODEL_SIGNING, SCAN, SLSA_PROVENANCE, Statement, Subject
from mlkit.spec.test_result import TEST_RESULT
from mlkit.trust.claims import claim_of, signed_at
from mlkit.trust.evaluate import Claim

KIT = Digest.of(b"kit")
OTHER = Digest.of(b"another kit")
HOLDER = Digest.of(b"the manifest that carries it")
EARLY, NOON = "2026-06-01T06:00:00Z", "2026-06-01T12:00:00Z"
AT_SIX, AT_NOON = datetime(2026, 6, 1, 6, tzinfo=UTC), datetime(2026, 6, 1, 12, tzinfo=UTC)


def told(kind: str, predicate: dict[str, Any], *annotations: dict[str, str], of: Digest = KIT) -> Statement:
    return Statement(tuple(Subject("a", of, texts) for texts in annotations or ({},)), kind, predicate)


def test_a_claim_says_what_carries_it_and_what_it_is_attached_to() -> None:
    found = claim_of(HOLDER, KIT, told(COSIGN_SIGN, {}, {CREATED: NOON}), ("alice", "bob"))

    assert found == Claim(
        digest=HOLDER,
        subject=KIT,
        is_about_subject=True,
        predicate_type=COSIGN_SIGN,
        signed_by=("alice", "bob"),
        signed_at=AT_NOON,
        is_good=None,
    )
    assert not claim_of(HOLDER, OTHER, told(COSIGN_SIGN, {}), ()).is_about_subject


@pytest.mark.parametrize(
    ("kind", "predicate", "is_good"),
    [
        (SCAN, {"verdict": "clean"}, True),
        (SCAN, {"verdict": "findings"}, False),
        (SCAN, {"verdict": "unknown"}, False),
        (SCAN, {"verdict": "CLEAN"}, False),
        (SCAN, {"verdict": True}, False),
        (SCAN, {}, False),
        (SCAN, {"result": "PASSED"}, False),
        (TEST_RESULT, {"result": "PASSED"}, True),
        (TEST_RESULT, {"result": "FAILED"}, False),
        (TEST_RESULT, {"verdict": "clean"}, False),
        (COSIGN_SIGN, {"verdict": "clean", "result": "PASSED"}, None),
    ],
)
def test_only_scans_and_checks_say_something_good(kind: str, predicate: dict[str, Any], is_good: bool | None) -> None:
    assert claim_of(HOLDER, KIT, told(kind, predicate), ()).is_good is is_good


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (told(SLSA_PROVENANCE, {"runDetails": {"metadata": {"startedOn": EARLY, "finishedOn": NOON}}}), AT_NOON),
        (told(SLSA_PROVENANCE, {"runDetails": {"metadata": {"startedOn": EARLY, "finishedOn": 7}}}), AT_SIX),
        (told(SLSA_PROVENANCE, {"scannedAt": NOON, "metadata": {"timestamp": NOON}}), None),
        (told(CYCLONEDX, {"metadata": {"timestamp": NOON}}), AT_NOON),
        (told(SCAN, {"scannedAt": NOON}), AT_NOON),
        (told(SCAN, {"scannedAt": NOON}, {CREATED: EARLY}), AT_SIX),
        (told(SCAN, {"scannedAt": EARLY}, {CREATED: NOON}), AT_SIX),
        (told(SCAN, {"scannedAt": EARLY}, {CREATED: "never"}), None),
        (told(SCAN, {}, {CREATED: NOON}), AT_NOON),
        (told(CYCLONEDX, {"metadata": {"timestamp": EARLY}}, {CREATED: NOON}), AT_NOON),
        (told(CYCLONEDX, {"metadata": {"timestamp": NOON}}, {CREATED: EARLY}), AT_SIX),
        (told(CYCLONEDX, {"metadata": {"timestamp": NOON}}, {CREATED: "never"}), None),
        (told(COSIGN_SIGN, {}, {}, {CREATED: NOON}, {CREATED: EARLY}), AT_NOON),
        (told(COSIGN_SIGN, {}, {CREATED: NOON}, of=OTHER), None),
        (told(MODEL_SIGNING, {}, {CREATED: NOON, KIT_DIGEST: str(KIT)}, of=OTHER), AT_NOON),
        (told(MODEL_SIGNING, {}, {CREATED: NOON, KIT_DIGEST: str(OTHER)}, of=OTHER), None),
        (told(MODEL_SIGNING, {}, {CREATED: NOON, KIT_DIGEST: "None"}, of=OTHER), None),
    ],
    ids=[
        "provenance, when it was finished",
        "provenance, when it was begun",
        "provenance, in fields of others",
        "a bill of materials",
        "a scan",
        "a scan signed before it says that it was made",
        "an old scan signed today",
        "a scan signed at no time",
        "a scan that says no time of its own",
        "a bill that was signed later",
        "a bill that was signed earlier",
        "a bill signed at no time",
        "the first of its subjects that says so",
        "of other content",
        "of the files of this kit",
        "of the files of another kit",
        "of the files of no kit",
    ],
)
def test_when_a_statement_was_signed(statement: Statement, expected: datetime | None) -> None:
    assert signed_at(statement, KIT) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-01T14:00:00+02:00", AT_NOON),
        ("2026-06-01T12:00:00.123456789Z", AT_NOON.replace(microsecond=123456)),
        ("2026-06-01T12:00:00." + "0" * 19 + "Z", AT_NOON),
        ("2026-06-01T12:00:00." + "0" * 20 + "Z", None),
        ("2026-06-01T12:00:00", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("", None),
    ],
    ids=["another offset", "nanoseconds", "40 characters", "41 characters", "no offset", "too late", "empty"],
)
def test_a_time_is_told_in_rfc_3339_with_an_offset(text: str, expected: datetime | None) -> None:
    found = signed_at(told(COSIGN_SIGN, {}, {CREATED: text}), KIT)

    assert found == expected
    assert found is None or found.tzinfo is UTC
