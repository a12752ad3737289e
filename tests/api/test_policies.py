"""Policies on every path that uses a kit: with real keys, a real registry, and what a thief would try."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import write_project
from tests.support.docker_registry import docker_registry
from tests.trust.policies import ALICE, BOB

import mlkit
from mlkit.api import policies
from mlkit.api.evidence import attach_statement
from mlkit.api.session import Located, Session
from mlkit.api.variants import Choice
from mlkit.content.layout import Layout
from mlkit.errors import DigestMismatch, NotFoundError, PolicyError, UsageError
from mlkit.progress import NoProgress
from mlkit.server import RunningRegistry
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SCAN
from mlkit.trust.signer import Signer

RULES = 'rules: [{scope: "%s/team/**", require: [{type: signature, keys: [alice]}]}]'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """host:port of a registry."""
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Where the policy is."""
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    (tmp_path / "bob.pub").write_text(BOB.public.pem)
    return tmp_path / "mlkit-policy.yaml"


@pytest.fixture
def guarded(tmp_path: Path, policy: Path) -> Iterator[Session]:
    """A colleague, with a store of her own and a policy."""
    with mlkit.session(home=tmp_path / "guarded", plain_http_hosts=("loopback",), policy=policy) as opened:
        yield opened


def write(policy: Path, rules: str) -> None:
    policy.write_text("version: 1\nkeys: {alice: {file: alice.pub}, bob: {file: bob.pub}}\n" + rules)


def sign(
    session: Session,
    reference: str,
    signer: Signer = ALICE,
    *,
    kind: str = COSIGN_SIGN,
    predicate: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    desc: Descriptor | None = None,
) -> Descriptor:
    """Attach a statement to what the registry has under a reference."""
    located = session.locate(Reference.parse(reference), remote=True)
    if desc is not None:
        located = replace(located, desc=desc)
    return attach_statement(session, located, kind, predicate or {}, signer=signer, now=now)


@pytest.fixture
def kit(session: Session, place: str, tmp_path: Path, policy: Path) -> str:
    """The reference of a kit in the registry; kits of the team must be signed by alice."""
    write(policy, RULES % place)
    reference = f"{place}/team/digits:1"
    mlkit.pack(write_project(tmp_path / "project"), tag=reference, session=session)
    mlkit.push(reference, session=session)
    return reference


def ways(session: Session, reference: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Every way in which bytes of a kit come to be used."""
    return {
        "pull": lambda: mlkit.pull(reference, session=session),
        "pull of a part": lambda: mlkit.pull(reference, filters=["datasets"], session=session),
        "pull and unpack": lambda: mlkit.pull(reference, unpack_to=folder / "pulled", session=session),
        "pull for show": lambda: mlkit.pull(reference, dry_run=True, session=session),
        "unpack": lambda: mlkit.unpack(reference, folder / "out", session=session),
        "unpack of a part": lambda: mlkit.unpack(reference, folder / "part", filters=["docs"], session=session),
        "cat": lambda: mlkit.cat(reference, "README.md", session=session),
        "open": lambda: _read_through(session, reference),
    }


def _read_through(session: Session, reference: str) -> bytes:
    with mlkit.open(reference, session=session) as kit:
        return kit.read("README.md")


def test_what_nobody_signed_is_refused_everywhere_before_any_byte(guarded: Session, kit: str, tmp_path: Path) -> None:
    for name, attempt in ways(guarded, kit, tmp_path / "files").items():
        with pytest.raises(PolicyError, match="there is no signature by alice"):
            attempt()
        assert not (tmp_path / "files").exists(), name
        assert not guarded.layout.names(), name
        assert not list((tmp_path / "guarded/blobs").rglob("*/*")), name


def test_what_is_signed_can_be_used_from_the_registry_and_from_the_store(
    session: Session, guarded: Session, kit: str, tmp_path: Path
) -> None:
    sign(session, kit)

    for name, attempt in ways(guarded, kit, tmp_path / "files").items():
        attempt()
        if name == "pull":
            assert guarded.layout.names(), "the rest is asked of the local store, with the signature that came along"
    assert mlkit.pull(kit, session=guarded).policy == "met"
    assert mlkit.unpack(kit, tmp_path / "again", session=guarded).policy == "met"
    assert session.settings.policy is None
    assert mlkit.unpack(kit, tmp_path / "free", session=session).policy is None


def test_a_signature_by_somebody_else_is_told_by_name(session: Session, guarded: Session, kit: str) -> None:
    sign(session, kit, BOB)

    with pytest.raises(PolicyError, match="signed by bob, whose word does not count for this") as caught:
        mlkit.pull(kit, session=guarded)

    assert caught.value.hint == f"`mlkit policy explain {kit}` shows what was looked at"


def test_a_kit_that_came_without_its_signatures_is_refused_from_the_store(
    session: Session, guarded: Session, kit: str, tmp_path: Path
) -> None:
    sign(session, kit)

    assert mlkit.pull(kit, referrers=False, session=guarded).policy == "met"
    with pytest.raises(PolicyError, match="there is no signature"):
        mlkit.unpack(kit, tmp_path / "out", session=guarded)


def test_a_tampered_kit_is_refused_on_every_path_that_uses_it(
    session: Session, guarded: Session, kit: str, tmp_path: Path, place: str
) -> None:
    sign(session, kit)
    project = write_project(tmp_path / "other")
    (project / "README.md").write_text("# Digits, by somebody else\n")
    mlkit.pack(project, tag=kit, session=session)
    mlkit.push(kit, session=session)

    for attempt in ways(guarded, kit, tmp_path / "files").values():
        with pytest.raises(PolicyError, match="there is no signature by alice"):
            attempt()
    assert not (tmp_path / "files").exists()


def test_bytes_that_were_changed_are_refused_though_the_kit_is_signed(
    session: Session, guarded: Session, tmp_path: Path, policy: Path
) -> None:
    """In the registry's storage, and in the local store."""
    with docker_registry(tmp_path / "registry") as place:
        write(policy, RULES % place)
        kit = f"{place}/team/digits:1"
        mlkit.pack(write_project(tmp_path / "project"), tag=kit, session=session)
        mlkit.push(kit, session=session)
        sign(session, kit)
        readme = next(file for file in mlkit.files(kit, session=session) if file.path == "README.md")
        pulled = Path(shutil.copytree(tmp_path / "registry", tmp_path / "as it was"))
        (stored,) = [path for path in (tmp_path / "registry").rglob("data") if path.parent.name == readme.layer.hex]
        spoil(stored)

        attempts = ways(guarded, kit, tmp_path / "files")
        for name in ("unpack", "unpack of a part", "cat", "open", "pull", "pull and unpack"):
            with pytest.raises(DigestMismatch):
                attempts[name]()
        with pytest.raises(DigestMismatch):
            mlkit.pull(kit, filters=["docs"], session=guarded)
        assert not list((tmp_path / "files").rglob("README.md"))

        shutil.copytree(pulled, tmp_path / "registry", dirs_exist_ok=True)
        mlkit.pull(kit, session=guarded)
    spoil(guarded.layout.root / "blobs" / readme.layer.algorithm / readme.layer.hex)
    for name in ("unpack", "unpack of a part", "cat", "open"):
        # What was found damaged may have been put aside, and is missing from then on.
        with pytest.raises((DigestMismatch, NotFoundError)):
            attempts[name]()
    assert not list((tmp_path / "files").rglob("README.md"))


def spoil(blob: Path) -> None:
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"Digits", b"digitS"))


def test_a_tag_that_moves_meanwhile_changes_nothing(
    session: Session, guarded: Session, kit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(session, kit)
    signed = session.locate(Reference.parse(kit), remote=True).desc.digest
    check = policies.Gate.check

    def check_and_move(gate: policies.Gate, located: Located, **more: Any) -> Any:
        report = check(gate, located, **more)
        project = write_project(tmp_path / "other")
        (project / "README.md").write_text("# Not what was signed\n")
        mlkit.pack(project, tag=kit, session=session)
        mlkit.push(kit, session=session)
        return report

    monkeypatch.setattr(policies.Gate, "check", check_and_move)

    unpacked = mlkit.unpack(kit, tmp_path / "out", session=guarded)

    assert unpacked.digest == signed
    assert (tmp_path / "out/README.md").read_text() == "# Digits\n"
    monkeypatch.setattr(policies.Gate, "check", check)
    with pytest.raises(PolicyError):
        mlkit.unpack(kit, tmp_path / "later", session=guarded)


def test_the_kit_of_an_index_is_used_where_the_index_is_signed(
    session: Session, guarded: Session, place: str, kit: str, tmp_path: Path, policy: Path
) -> None:
    name = f"{place}/team/variants:1"
    small = f"{place}/team/variants:small"
    session.layout.tag(session.local(Reference.parse(kit)), small)
    mlkit.create_index(name, session=session)
    mlkit.add_to_index(name, small, labels={"vram": "8GB"}, session=session)
    mlkit.push(small, session=session)
    mlkit.push(name, session=session)
    child = session.local(Reference.parse(kit)).bare
    sign(session, name, desc=child)
    choice = Choice.parse(["vram<=8GB"])

    # Signed is what the index lists, and not the index: labels are whoever's wrote them.
    with pytest.raises(PolicyError, match="there is no signature"):
        mlkit.unpack(name, tmp_path / "out", labels=["vram<=8GB"], session=guarded)
    # By its own name, and by its digest, the kit may be used.
    mlkit.unpack(small, tmp_path / "small", session=guarded)
    mlkit.unpack(f"{place}/team/variants@{child.digest}", tmp_path / "digest", session=guarded)

    sign(session, name)
    mlkit.unpack(name, tmp_path / "out", labels=["vram<=8GB"], session=guarded)
    mlkit.pull(name, labels=["vram<=8GB"], session=guarded)
    report = policies.explain(guarded, Reference.parse(name), choice=choice, remote=True)
    assert (report.verdict, report.kits) == ("met", (child.digest,))
    assert report.digest != child.digest

    write(policy, f'rules: [{{scope: "{place}/**", require: [{{scan: clean, keys: [bob]}}]}}]')
    with pytest.raises(PolicyError, match="there is no scan by bob"):
        mlkit.pull(name, session=guarded)
    sign(session, name, BOB, kind=SCAN, predicate={"verdict": "clean"}, desc=child)
    assert mlkit.pull(name, session=guarded).policy == "met"


def test_a_parent_and_a_dataset_that_are_kits_must_meet_the_rule_of_their_own_name(
    session: Session, guarded: Session, place: str, kit: str, tmp_path: Path, policy: Path
) -> None:
    child = tmp_path / "child"
    child.mkdir()
    (child / "Kitfile").write_text(f"model: {{path: {kit}}}\ndocs: [{{path: NOTES.md}}]\n")
    (child / "NOTES.md").write_text("tuned")
    name = f"{place}/tuned/digits:1"
    mlkit.pack(child, tag=name, session=session)
    mlkit.push(name, session=session)
    own = f'{{scope: "{place}/tuned/*", require: [{{type: signature, keys: [bob]}}]}}'
    write(policy, (RULES % place)[:-1] + f", {own}]")
    sign(session, name, BOB)

    with pytest.raises(PolicyError, match=r"team/digits.*there is no signature by alice"):
        mlkit.unpack(name, tmp_path / "out", session=guarded)
    assert not (tmp_path / "out").exists()

    sign(session, kit)
    unpacked = mlkit.unpack(name, tmp_path / "out", session=guarded)
    assert "model/weights.safetensors" in unpacked.files


def test_an_audit_lets_pass_and_says_so(session: Session, place: str, kit: str, tmp_path: Path, policy: Path) -> None:
    write(policy, (RULES % place).replace("require", "level: audit, require"))
    told: list[str] = []

    class Warnings(NoProgress):
        def warn(self, message: str) -> None:
            told.append(message)

    with mlkit.session(
        home=tmp_path / "store-2", plain_http_hosts=("loopback",), policy=policy, progress=Warnings()
    ) as listening:
        assert mlkit.pull(kit, session=listening).policy == "noted"
    assert any("does not meet the policy" in text and "there is no signature" in text for text in told)


def test_formats_and_licences_are_known_without_fetching_weights(
    guarded: Session, place: str, kit: str, policy: Path
) -> None:
    scope = f'scope: "{place}/team/*"'
    write(policy, f"rules: [{{{scope}, serialization: {{allow: [safetensors]}}}}]")
    assert policies.explain(guarded, Reference.parse(kit)).verdict == "met"

    write(policy, f"rules: [{{{scope}, serialization: {{deny: [safetensors]}}, licenses: [MIT]}}]")
    report = policies.explain(guarded, Reference.parse(kit))
    assert report.failures == (
        "model/weights.safetensors is safetensors, which the policy does not allow",
        "its Kitfile names no licence",
    )
    assert not guarded.layout.names()


def test_a_policy_that_cannot_be_had_lets_nothing_pass(
    guarded: Session, kit: str, tmp_path: Path, policy: Path
) -> None:
    policy.write_text("version: 1\nrules: [{scope: a/b, levle: audit}]\n")

    for attempt in ways(guarded, kit, tmp_path / "files").values():
        with pytest.raises(UsageError, match='did you mean "level"'):
            attempt()


def test_without_a_policy_there_is_nothing_to_explain(session: Session, kit: str) -> None:
    with pytest.raises(UsageError, match="no policy is configured"):
        policies.explain(session, Reference.parse(kit))


def test_the_time_that_counts_is_the_signed_one(
    session: Session, guarded: Session, place: str, kit: str, policy: Path
) -> None:
    write(policy, (RULES % place).replace("require", "not_older_than: 2026-03-01, require"))
    sign(session, kit, now=datetime(2026, 2, 1, tzinfo=UTC))

    with pytest.raises(PolicyError, match="was signed 2026-02-01T00:00:00Z, before 2026-03-01T00:00:00Z"):
        mlkit.pull(kit, session=guarded)

    sign(session, kit, now=datetime(2026, 3, 2, tzinfo=UTC))
    assert mlkit.pull(kit, session=guarded).policy == "met"


def test_a_program_asks_the_same_questions(session: Session, guarded: Session, kit: str, tmp_path: Path) -> None:
    sign(session, kit)

    assert mlkit.explain_policy(kit, session=guarded).is_verified
    assert mlkit.sbom(kit, session=guarded)["metadata"]["component"]["name"] == "digits"
    mlkit.unpack(kit, tmp_path / "out", session=guarded)
    assert mlkit.compare(kit, tmp_path / "out", session=guarded).is_same


def test_other_commands_call_one_function(session: Session, guarded: Session, kit: str) -> None:
    located = guarded.locate(Reference.parse(kit))
    assert policies.enforce(session, located, purpose="serve") is None
    with pytest.raises(PolicyError):
        policies.enforce(guarded, located, purpose="serve")

    sign(session, kit)
    report = policies.enforce(guarded, located, purpose="serve")

    assert report is not None
    assert (report.purpose, report.verdict, report.is_verified) == ("serve", "met", True)
