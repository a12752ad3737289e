"""Channels on real registries: promote, roll back, mark, look."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.releases import Project, write_keys
from tests.support.scale import SCALE

import mlkit
from mlkit.api import release_views, releases, store
from mlkit.api.channel_store import repository_of
from mlkit.api.evidence import attach_statement, signer_for
from mlkit.api.session import Session
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, PolicyError, UsageError
from mlkit.release import records
from mlkit.release.claims import Claim
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.release import MARKS
from mlkit.spec.statement import COSIGN_SIGN
from mlkit.spec.test_result import TEST_RESULT


@pytest.fixture
def project(tmp_path: Path, session: Session, host: str) -> Project:
    """On each of the two registries."""
    return Project(tmp_path / "project", session, f"{host}/team/digits")


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def memory(tmp_path: Path, session: Session, server: SimulatedRegistry) -> Project:
    """On a registry in memory, where what matters is ours."""
    return Project(tmp_path / "project", session, f"{server.host}/team/digits")


def where(project: Project, channel: str = "production") -> Digest | None:
    found = repository_of(project.session, project.at()).find(channel)
    return None if found is None else found.digest


def _lose_a_blob(server: SimulatedRegistry, project: Project, version: str) -> None:
    kit = mlkit.inspect(f"{project.repository}:{version}", remote=True, session=project.session)
    del server.repository("team/digits").blobs[
        str(next(layer.digest for layer in kit.layers if layer.path == "model.bin"))
    ]


def promote(project: Project, version: str, channel: str = "production", **options: object) -> releases.Move:
    return releases.promote(project.session, project.at(version), channel, **options)  # type: ignore[arg-type]


def rollback(project: Project, channel: str = "production", **options: object) -> releases.Move:
    return releases.rollback(project.session, project.at(), channel, **options)  # type: ignore[arg-type]


def verified(project: Project, channel: str = "production") -> list[release_views.HistoryEntry]:
    """The records of a history in which nothing is wrong, oldest first, without those that lost."""
    (found,) = release_views.history(project.session, project.at(), channel)
    assert found.problems == ()
    entries = [entry for entry in found.entries if not entry.is_loser]
    assert [entry.release.sequence for entry in entries] == list(range(len(entries), 0, -1))
    for entry, before in pairwise(entries):
        assert entry.release.previous == before.record
    return entries[::-1]


def test_a_channel_is_a_tag_that_goes_on_and_back_with_a_history(project: Project) -> None:
    first, second = project.release("1.0", model="5"), project.release("1.1", model="6")

    begun = promote(project, "1.0", message="first")
    moved = promote(project, "1.1")

    assert (begun.before, begun.digest, begun.sequence) == (None, first, 1)
    assert (moved.before, moved.before_version, moved.digest, moved.sequence) == (first, "1.0", second, 2)
    assert where(project) == second

    back = rollback(project, mark_bad=True, message="wrong answers")

    assert (back.before, back.before_version, back.digest, back.version) == (second, "1.1", first, "1.0")
    assert where(project) == first
    entries = verified(project)
    assert [entry.release.action for entry in entries] == ["promote", "promote", "rollback"]
    assert entries[0].release.message == "first"
    assert [one.version for one in entries[1].release.entries] == ["6", "2"]
    (marks,) = release_views.history(project.session, project.at(), MARKS)
    assert [(entry.release.to, entry.release.marks[0].verdict) for entry in marks.entries] == [(second, "bad")]
    with pytest.raises(PolicyError, match=r"marked bad .*wrong answers"):
        promote(project, "1.1")


def test_the_same_works_in_the_local_store(tmp_path: Path, session: Session) -> None:
    project = Project(tmp_path / "project", session, "digits")
    first, _ = project.release("1.0"), project.release("1.1")

    for version in ("1.0", "1.1"):
        promote(project, version)
    back = rollback(project)
    store.prune(session, grace_seconds=0)

    assert back.digest == first == where(project)
    assert len(verified(project)) == 3
    assert [kit.reference for kit in mlkit.list_kits(session=session)] == [
        "digits:1.0",
        "digits:1.1",
        "digits:production",
    ]


def test_no_layer_moves_whatever_the_size_of_the_kit(memory: Project, server: SimulatedRegistry) -> None:
    for version in ("1.0", "1.1"):
        memory.release(version, size=8_000_000)
    server.requests.clear()

    promote(memory, "1.0")
    promote(memory, "1.1")
    rollback(memory)

    assert server.received_bytes() < 50_000
    assert server.sent_bytes() < 150_000


def test_promoting_what_is_there_already_writes_nothing(memory: Project) -> None:
    memory.release("1.0")
    promote(memory, "1.0")

    again = promote(memory, "1.0")

    assert not again.is_new
    assert len(verified(memory)) == 1


def test_a_dry_run_moves_nothing(memory: Project) -> None:
    first, second = memory.release("1.0"), memory.release("1.1")
    promote(memory, "1.0")

    assert promote(memory, "1.1", dry_run=True).digest == second
    assert where(memory) == first
    promote(memory, "1.1")
    assert rollback(memory, dry_run=True).digest == first
    assert where(memory) == second
    assert len(verified(memory)) == 2


def test_a_kit_that_is_missing_or_not_whole_is_not_promoted(memory: Project, server: SimulatedRegistry) -> None:
    first, _ = memory.release("1.0"), memory.release("1.1")
    promote(memory, "1.0")
    _lose_a_blob(server, memory, "1.1")

    with pytest.raises(NotFoundError, match="not whole"):
        promote(memory, "1.1")
    with pytest.raises(NotFoundError, match=r"9\.9"):
        promote(memory, "9.9")

    assert where(memory) == first
    assert len(verified(memory)) == 1


def test_a_kit_that_is_only_here_is_to_be_pushed_first(memory: Project) -> None:
    memory.release("1.0")
    store.tag(memory.session, memory.at("1.0"), [memory.at("1.5")])

    with pytest.raises(NotFoundError) as caught:
        promote(memory, "1.5")

    assert "push" in str(caught.value.hint)


def test_a_partial_kit_of_the_local_store_is_not_promoted(memory: Project, other: Session) -> None:
    memory.release("1.0")
    mlkit.pull(f"{memory.repository}:1.0", filters=["datasets"], session=other)
    store.tag(other, memory.at("1.0"), [Reference.parse("digits:1.0")])

    with pytest.raises(NotFoundError, match="partial") as caught:
        releases.promote(other, Reference.parse("digits:1.0"), "production")

    found = re.fullmatch(r"`mlkit pull (\S+)` fetches the rest", str(caught.value.hint))
    assert found is not None
    mlkit.pull(found[1], session=other)
    assert releases.promote(other, Reference.parse("digits:1.0"), "production").digest is not None


def test_a_channel_that_is_not_where_it_was_expected_stays_there(memory: Project) -> None:
    first, second = memory.release("1.0"), memory.release("1.1")
    promote(memory, "1.0")

    with pytest.raises(ConflictError, match=str(first)):
        promote(memory, "1.1", expect=second)
    with pytest.raises(ConflictError, match="no such tag"):
        promote(memory, "1.1", "staging", expect=second)

    assert where(memory) == first
    assert promote(memory, "1.1", expect=first).digest == second


@pytest.mark.parametrize("name", ["", "a b", "-x", "mlkit-history.x", "mlkit-marks", "sha256-" + "0" * 64, "x" * 65])
def test_a_channel_has_a_name_that_is_a_tag_of_its_own(memory: Project, name: str) -> None:
    memory.release("1.0")

    with pytest.raises(UsageError):
        promote(memory, "1.0", name)


def test_what_is_required_is_named_when_it_is_missing(
    memory: Project, tmp_path: Path, other_with: Callable[..., Session]
) -> None:
    memory.release("1.0")
    with pytest.raises(PolicyError, match="without keys"):
        promote(memory, "1.0", require=("checks",))
    write_keys(tmp_path / "keys", "ci")
    session = other_with(trusted_keys=(tmp_path / "keys/ci.pub",), signing_key=tmp_path / "keys/ci.key")
    project = Project(memory.folder, session, memory.repository)

    with pytest.raises(PolicyError) as caught:
        promote(project, "1.0", require=("checks", "signature", "scan"))

    assert "checks: no trusted key" in caught.value.message
    assert "signature: no trusted key" in caught.value.message
    assert "scan: no trusted key" in caught.value.message
    assert "mlkit check" in str(caught.value.hint)
    assert where(project) is None

    signer = signer_for(session)
    assert signer is not None
    located = session.locate(project.at("1.0"), remote=True)
    attach_statement(session, located, COSIGN_SIGN, {}, signer=signer)
    attach_statement(session, located, TEST_RESULT, {"result": "PASSED"}, signer=signer)
    moved = promote(project, "1.0", require=("checks", "signature"))

    assert {(found.kind, found.signed_by) for found in moved.evidence} == {("signature", ("ci",)), ("checks", ("ci",))}
    with pytest.raises(PolicyError, match="none is configured"):
        promote(project, "1.0", require=("policy",))


def test_an_unsigned_kit_under_a_policy_is_not_promoted(
    memory: Project, tmp_path: Path, other_with: Callable[..., Session]
) -> None:
    memory.release("1.0")
    key = write_keys(tmp_path / "keys", "ci")
    policy = tmp_path / "policy.yaml"
    pem = "".join(f"      {line}\n" for line in key.public.pem.splitlines())
    policy.write_text(
        f"version: 1\nkeys:\n  ci:\n    pem: |\n{pem}"
        f"rules:\n  - scope: {memory.repository}\n    require: [{{type: signature, keys: [ci]}}]\n"
    )
    policy.chmod(0o600)
    project = Project(memory.folder, other_with(policy=policy), memory.repository)

    with pytest.raises(PolicyError, match="refused by the policy"):
        promote(project, "1.0")

    assert where(project) is None


@pytest.fixture
def other_with(tmp_path: Path) -> Callable[..., Session]:
    """Sessions with settings of their own."""
    opened: list[Session] = []

    def open_session(**settings: object) -> Session:
        opened.append(mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",), **settings))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


def test_a_rollback_passes_over_what_is_bad_gone_unsigned_or_failed_its_checks(
    memory: Project, server: SimulatedRegistry, tmp_path: Path, other_with: Callable[..., Session]
) -> None:
    write_keys(tmp_path / "keys", "ci")
    session = other_with(trusted_keys=(tmp_path / "keys/ci.pub",), signing_key=tmp_path / "keys/ci.key")
    project = Project(memory.folder, session, memory.repository)
    signer = signer_for(session)
    assert signer is not None
    digests = {}
    for version in ("good", "unsigned", "failed", "gone", "bad", "now"):
        digests[version] = project.release(version, model=version)
        if version != "unsigned":
            located = session.locate(project.at(version), remote=True)
            attach_statement(session, located, COSIGN_SIGN, {}, signer=signer)
        promote(project, version)
    located = session.locate(project.at("failed"), remote=True)
    attach_statement(session, located, TEST_RESULT, {"result": "FAILED", "failedTests": ["x"]}, signer=signer)
    _lose_a_blob(server, project, "gone")
    releases.mark(session, project.at("bad"), "bad", message="slow")

    back = rollback(project)

    assert back.digest == digests["good"] == where(project)
    assert [(one.version, one.reason.split(":")[0].split(" by ")[0]) for one in back.passed_over] == [
        ("bad", "marked bad"),
        ("gone", "it is not there any more"),
        ("failed", "its last check failed"),
        ("unsigned", "no trusted key has signed it"),
    ]
    assert all(entry.signed_by == ("ci",) for entry in verified(project))


def test_with_no_good_version_left_the_channel_stays_and_every_reason_is_told(memory: Project) -> None:
    for version in ("1.0", "1.1"):
        memory.release(version)
        promote(memory, version)
    releases.mark(memory.session, memory.at("1.0"), "bad", message="biased")
    before = where(memory)

    with pytest.raises(NotFoundError, match=r"1\.0 marked bad by .*biased"):
        rollback(memory)

    assert where(memory) == before
    releases.mark(memory.session, memory.at("1.0"), "good")
    assert rollback(memory).version == "1.0"


def test_a_channel_without_a_history_cannot_be_rolled_back(memory: Project) -> None:
    memory.release("1.0")

    with pytest.raises(NotFoundError, match="no history"):
        rollback(memory)


def test_a_rollback_does_not_go_back_to_what_a_rollback_left(memory: Project) -> None:
    for version in ("1.0", "1.1", "1.2"):
        memory.release(version)
        promote(memory, version)

    assert rollback(memory).version == "1.1"
    again = rollback(memory)
    assert again.version == "1.0"
    assert "rolled back from" in again.passed_over[0].reason

    promote(memory, "1.1")
    promote(memory, "1.2")
    assert rollback(memory).version == "1.1", "it was promoted again since"


def test_a_rollback_goes_where_it_is_told(memory: Project) -> None:
    digests = {version: memory.release(version) for version in ("1.0", "1.1", "1.2", "0.9")}
    for version in ("1.0", "1.1", "1.2"):
        promote(memory, version)

    assert rollback(memory, to=memory.at("1.0")).digest == digests["1.0"]
    never_promoted = rollback(memory, to=memory.at("0.9"))
    assert (never_promoted.digest, never_promoted.version) == (digests["0.9"], "0.9")
    with pytest.raises(UsageError):
        rollback(memory, to=Reference.parse(f"{memory.repository}-other:1"))
    with pytest.raises(NotFoundError):
        rollback(memory, to=memory.at("7.7"))
    assert where(memory) == digests["0.9"]


def _tags(project: Project, sequence: int, channel: str = "production") -> list[Claim]:
    found = [Claim.parse(tag) for tag in repository_of(project.session, project.at()).tags()]
    return sorted(claim for claim in found if claim and (claim.sequence, claim.channel) == (sequence, channel))


def _untag(project: Project, sequence: int, channel: str = "production") -> None:
    for claim in _tags(project, sequence, channel):
        project.session.registry(project.at()).untag(claim.tag)


def _three(project: Project) -> None:
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
        promote(project, version)


def test_a_record_whose_tags_were_deleted_is_found_through_a_later_one(memory: Project) -> None:
    _three(memory)
    _untag(memory, 2)
    _untag(memory, 1)

    (found,) = release_views.history(memory.session, memory.at(), "production")

    assert [entry.release.sequence for entry in found.entries] == [3, 2, 1]
    assert found.problems == ()
    assert any("record 2 has lost its tags" in note for note in found.notes)
    assert rollback(memory).version == "1.1"


def test_a_history_with_a_gap_is_told_and_nothing_before_it_is_relied_on(
    memory: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "WINDOW", 0)
    _three(memory)
    _untag(memory, 2)

    (found,) = release_views.history(memory.session, memory.at(), "production")

    assert [entry.release.sequence for entry in found.entries] == [3]
    assert any("record 2 is missing" in problem for problem in found.problems)
    before = where(memory)
    for attempt in (lambda: promote(memory, "1.0"), lambda: rollback(memory)):
        with pytest.raises(IntegrityError, match="record 2 is missing"):
            attempt()
    assert where(memory) == before

    assert promote(memory, "1.0", accept_untrusted=True).sequence == 4
    assert promote(memory, "1.1").sequence == 5, "a gap far back stops nobody who goes forward"
    assert rollback(memory).version == "1.0"
    assert rollback(memory).version == "1.2"
    with pytest.raises(NotFoundError, match="record 2 is missing"):
        rollback(memory)


def test_a_history_whose_end_was_deleted_is_seen_by_where_the_tag_is(
    memory: Project, other_with: Callable[..., Session]
) -> None:
    _three(memory)
    _untag(memory, 3)

    (state,) = release_views.status(memory.session, [memory.at()])

    assert state.channels[0].drift is not None
    assert state.channels[0].release is not None
    assert state.channels[0].release.sequence == 2
    back = rollback(memory)
    assert (back.before, back.version) == (state.channels[0].digest, "1.1")


def test_records_in_another_order_are_no_history(memory: Project) -> None:
    _three(memory)
    repository = repository_of(memory.session, memory.at())
    first = repository.find(_tags(memory, 1)[0].tag)
    assert first is not None
    for claim in _tags(memory, 3):
        repository.tag(first, claim.tag)
    before = where(memory)

    with pytest.raises(IntegrityError, match="record 3 of production is missing or forged"):
        promote(memory, "1.0")
    with pytest.raises(IntegrityError):
        rollback(memory)

    (found,) = release_views.history(memory.session, memory.at(), "production")
    assert any("holds another record" in problem for problem in found.problems)
    assert where(memory) == before


def test_what_is_no_record_is_none_whatever_its_tag_says(memory: Project) -> None:
    _three(memory)
    repository = repository_of(memory.session, memory.at())
    kit = repository.find("1.0")
    assert kit is not None
    for phase in ("a", "c"):
        repository.tag(kit, Claim("production", 4, 0, phase, "0" * 20).tag)  # type: ignore[arg-type]

    with pytest.raises(IntegrityError, match="record 4"):
        rollback(memory)


def test_the_history_of_another_repository_is_not_taken_for_this_one(memory: Project, tmp_path: Path) -> None:
    _three(memory)
    other = Project(tmp_path / "other", memory.session, f"{memory.repository}-other")
    other.release("1.0")
    for claim in (*_tags(memory, 1), *_tags(memory, 2), *_tags(memory, 3)):
        mlkit.copy(f"{memory.repository}:{claim.tag}", f"{other.repository}:{claim.tag}", session=memory.session)

    with pytest.raises(IntegrityError, match="missing or forged"):
        promote(other, "1.0")


def test_a_forged_record_at_the_end_is_seen_where_keys_are_trusted(
    memory: Project, tmp_path: Path, other_with: Callable[..., Session]
) -> None:
    for name in ("ci", "mallory"):
        write_keys(tmp_path / "keys", name)
    ours = other_with(trusted_keys=(tmp_path / "keys/ci.pub",), signing_key=tmp_path / "keys/ci.key")
    project = Project(memory.folder, ours, memory.repository)
    for version in ("1.0", "1.1"):
        project.release(version)
        promote(project, version)
    mallory = Project(memory.folder, other_with(signing_key=tmp_path / "keys/mallory.key"), memory.repository)
    promote(mallory, "1.0")
    before = where(project)

    for attempt in (lambda: promote(project, "1.1"), lambda: rollback(project)):
        with pytest.raises(PolicyError, match="signed by no trusted key"):
            attempt()
    (found,) = release_views.history(ours, project.at(), "production")

    assert where(project) == before
    assert [entry.is_trusted for entry in found.entries] == [False, True, True]
    assert found.is_trusted is False
    promote(project, "1.1", accept_untrusted=True)
    (found,) = release_views.history(ours, project.at(), "production")
    assert [entry.is_trusted for entry in found.entries] == [True, True, True, True]


def test_who_trusts_keys_signs_with_one_of_them(
    memory: Project, tmp_path: Path, other_with: Callable[..., Session]
) -> None:
    for name in ("ci", "mine"):
        write_keys(tmp_path / "keys", name)
    memory.release("1.0")

    for settings in ({}, {"signing_key": tmp_path / "keys/mine.key"}):
        session = other_with(trusted_keys=(tmp_path / "keys/ci.pub",), **settings)
        with pytest.raises(PolicyError, match="signed by a trusted key"):
            promote(Project(memory.folder, session, memory.repository), "1.0")

    assert where(memory) is None


def test_clocks_that_differ_change_no_order_and_are_told(memory: Project) -> None:
    _three(memory)
    promote(memory, "1.0", now=lambda: datetime(1999, 1, 1, tzinfo=UTC))

    entries = verified(memory)

    assert entries[-1].release.at == "1999-01-01T00:00:00Z"
    assert any("clock is behind" in note for note in entries[-1].notes)
    assert where(memory) == entries[-1].release.to


def test_a_channel_that_another_program_moved_is_told_and_stands_in_the_next_record(memory: Project) -> None:
    _three(memory)
    repository = repository_of(memory.session, memory.at())
    first = repository.find("1.0")
    assert first is not None
    repository.tag(first, "production")

    (state,) = release_views.status(memory.session, [memory.at()])
    moved = promote(memory, "1.1")

    assert state.channels[0].drift is not None
    assert moved.before == first.digest
    assert any("another program" in note for note in verified(memory)[-1].notes)


def test_a_tag_without_a_history_becomes_a_channel_only_where_that_is_meant(memory: Project) -> None:
    first, second = memory.release("1.0"), memory.release("1.1")

    with pytest.raises(ConflictError, match="a tag without a history"):
        promote(memory, "1.1", "1.0")

    assert where(memory, "1.0") == first
    assert promote(memory, "1.1", "1.0", expect=first).digest == second


def test_a_history_that_was_deleted_whole_is_not_begun_anew_unseen(memory: Project) -> None:
    _three(memory)
    for sequence in (1, 2, 3):
        _untag(memory, sequence)
    before = where(memory)

    with pytest.raises(ConflictError, match="its history was deleted"):
        promote(memory, "1.0")
    with pytest.raises(NotFoundError, match="no history"):
        rollback(memory)

    assert where(memory) == before


def test_a_promoter_who_died_before_the_tag_moved_is_finished_by_the_next(memory: Project) -> None:
    first, second = memory.release("1.0"), memory.release("1.1")
    promote(memory, "1.0")
    promote(memory, "1.1")
    repository = repository_of(memory.session, memory.at())
    kit = repository.find(str(first))
    assert kit is not None
    repository.tag(kit, "production")

    again = promote(memory, "1.1")

    assert not again.is_new
    assert where(memory) == second


def test_a_promoter_who_died_before_it_was_agreed_on_wins_nothing_later(memory: Project) -> None:
    _three(memory)
    promote(memory, "1.0")
    for claim in _tags(memory, 4):
        if claim.phase == "c":
            memory.session.registry(memory.at()).untag(claim.tag)

    moved = promote(memory, "1.1")

    assert moved.sequence == 4
    assert verified(memory)[-1].release.version == "1.1"
    (found,) = release_views.history(memory.session, memory.at(), "production")
    assert [entry.release.version for entry in found.entries if entry.is_loser] == ["1.0"]


def race(projects: list[Project], versions: list[str], expect: Digest) -> list[releases.Move | ConflictError]:
    """What came of it when all promote at once."""
    ended: list[releases.Move | ConflictError | None] = [None] * len(projects)
    barrier = threading.Barrier(len(projects))

    def go(number: int) -> None:
        barrier.wait()
        try:
            ended[number] = promote(projects[number], versions[number], expect=expect)
        except ConflictError as error:
            ended[number] = error

    threads = [threading.Thread(target=go, args=(number,)) for number in range(len(projects))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [end for end in ended if end is not None]


@pytest.mark.soak
@pytest.mark.timeout(1800)  # two hundred rounds at full length
def test_of_two_who_promote_at_once_one_wins_and_the_other_is_told(
    project: Project, other_with: Callable[..., Session]
) -> None:
    rounds = 5 if SCALE == 1 else 10 * SCALE
    projects = [Project(project.folder, other_with(), project.repository) for _ in range(2)]
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
    start = promote(project, "1.2").digest

    for number in range(rounds):
        ended = race(projects, ["1.0", "1.1"], start)

        won = [end for end in ended if isinstance(end, releases.Move)]
        lost = [end for end in ended if isinstance(end, ConflictError)]
        assert (len(won), len(lost)) == (1, 1), f"round {number}"
        assert str(won[0].digest) in lost[0].message
        assert where(project) == won[0].digest
        promote(project, "1.2")
    assert len(verified(project)) == 1 + 2 * rounds, "an unbroken chain, and no record twice"


def test_two_marks_at_once_are_both_written(memory: Project, other_with: Callable[..., Session]) -> None:
    for version in ("1.0", "1.1"):
        memory.release(version)
    sessions = [other_with(), other_with()]

    threads = [
        threading.Thread(target=releases.mark, args=(session, memory.at(version), "bad"))
        for session, version in zip(sessions, ("1.0", "1.1"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(verified(memory, MARKS)) == 2


def test_status_says_what_differs_between_channels_and_survives_a_repository_that_is_not_there(
    memory: Project,
) -> None:
    memory.release("1.0", model="5")
    memory.release("1.1", model="6")
    promote(memory, "1.0")
    promote(memory, "1.1", "staging")

    found, missing = release_views.status(memory.session, [memory.at(), Reference.parse(f"{memory.repository}-none")])

    assert [(state.channel, state.release and state.release.version) for state in found.channels] == [
        ("production", "1.0"),
        ("staging", "1.1"),
    ]
    assert [(one.entry.id, one.versions) for one in found.differences] == [
        ("kit", (("production", "1.0"), ("staging", "1.1"))),
        ("model", (("production", "5"), ("staging", "6"))),
    ]
    assert missing.problem is not None


def test_a_list_of_kits_leaves_the_history_out(project: Project) -> None:
    project.release("1.0")
    promote(project, "1.0")

    listed = mlkit.list_kits(project.repository, session=project.session)

    assert sorted(kit.reference.rpartition(":")[2] for kit in listed) == ["1.0", "production"]


def test_a_simulated_registry_that_heeds_no_condition_and_lists_no_referrers_is_enough(
    memory: Project, server: SimulatedRegistry
) -> None:
    _plain(server)
    _three(memory)

    assert rollback(memory).version == "1.1"
    assert len(verified(memory)) == 4
    assert not [line for line in server.lines() if line.startswith("DELETE")]


def _plain(server: SimulatedRegistry) -> None:
    server.without_referrers_api = True
    server.without_delete = True
    server.without_untag = True
    server.page_size = 3
