"""Old kits of a repository that go, and those that channels, rollbacks and other kits need."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.releases import Project, write_keys

import mlkit
from mlkit.api import release_views, releases, retention
from mlkit.api.evidence import attach_statement, signer_for
from mlkit.api.session import Session
from mlkit.errors import IntegrityError, NetworkError, NotFoundError, UsageError
from mlkit.release.retention import Rules
from mlkit.spec.statement import COSIGN_SIGN


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, session: Session, server: SimulatedRegistry) -> Project:
    return Project(tmp_path / "project", session, f"{server.host}/team/digits")


def tags(project: Project) -> list[str]:
    listed = mlkit.list_kits(project.repository, session=project.session)
    return sorted(kit.reference.rpartition(":")[2] for kit in listed)


def test_old_kits_go_and_what_channels_need_stays(host: str, tmp_path: Path, session: Session) -> None:
    project = Project(tmp_path / "project", session, f"{host}/team/digits")
    for number in range(5):
        project.release(f"1.{number}")
    releases.promote(session, project.at("1.0"), "production")
    releases.promote(session, project.at("1.1"), "production")

    planned = retention.prune_remote(session, project.at(), Rules(keep=1), dry_run=True)
    before = tags(project)
    done = retention.prune_remote(session, project.at(), Rules(keep=1), dry_run=False)

    assert before == ["1.0", "1.1", "1.2", "1.3", "1.4", "production"]
    assert {one.kit.tags[0]: one.is_kept for one in planned.decisions} == {
        "1.4": True,
        "1.3": False,
        "1.2": False,
        "1.1": True,
        "1.0": True,
    }
    assert planned.removed == ()
    assert len(done.removed) == 2
    assert tags(project) == ["1.0", "1.1", "1.4", "production"]
    assert releases.rollback(session, project.at(), "production").version == "1.0"
    (found,) = release_views.history(session, project.at(), "production")
    assert found.problems == ()


def test_signatures_go_with_their_kit(project: Project, tmp_path: Path, server: SimulatedRegistry) -> None:
    write_keys(tmp_path / "keys", "ci")
    for version in ("1.0", "1.1"):
        project.release(version)
        signer = signer_for(project.session, tmp_path / "keys/ci.key")
        assert signer is not None
        located = project.session.locate(project.at(version), remote=True)
        attach_statement(project.session, located, COSIGN_SIGN, {}, signer=signer)

    done = retention.prune_remote(project.session, project.at(), Rules(keep=1), dry_run=False)

    assert (len(done.removed), done.referrers) == (1, 1)
    assert len(server.repository("team/digits").manifests) == 2


def test_a_kit_that_was_promoted_after_the_plan_is_spared(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = project.release("1.0")
    project.release("1.1")
    decide = retention.plan

    def decide_and_promote(*arguments: object, **options: object) -> object:
        decisions = decide(*arguments, **options)  # type: ignore[arg-type]
        releases.promote(project.session, project.at("1.0"), "production")
        return decisions

    monkeypatch.setattr(retention, "plan", decide_and_promote)
    done = retention.prune_remote(project.session, project.at(), Rules(keep=1), dry_run=False)

    assert done.spared == (first,)
    assert "1.0" in tags(project)


def test_with_a_broken_history_nothing_is_deleted(project: Project, server: SimulatedRegistry) -> None:
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
    releases.promote(project.session, project.at("1.0"), "production")
    releases.promote(project.session, project.at("1.1"), "production")
    content = server.repository("team/digits")
    for tag in [tag for tag in content.tags if tag.startswith("mlkit-history.production.1-")]:
        content.tags[tag] = content.tags["1.0"]
    layer = {digest for digest, (_, raw) in content.manifests.items() if b"release.v1" in raw}
    for digest in list(content.blobs):
        if digest not in layer and b'"sequence":1,' in content.blobs[digest]:
            del content.blobs[digest]

    with pytest.raises(IntegrityError, match="nothing is deleted"):
        retention.prune_remote(project.session, project.at(), Rules(keep=0), dry_run=False)

    assert tags(project) == ["1.0", "1.1", "1.2", "production"]


def test_a_registry_that_lets_nobody_delete_says_so(project: Project, server: SimulatedRegistry) -> None:
    for version in ("1.0", "1.1"):
        project.release(version)
    server.without_delete = True

    with pytest.raises(NetworkError, match="does not let anyone delete"):
        retention.prune_remote(project.session, project.at(), Rules(keep=1), dry_run=False)


def test_the_kits_of_a_kept_index_stay(project: Project) -> None:
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
    index = f"{project.repository}:all"
    mlkit.create_index(index, session=project.session)
    mlkit.add_to_index(index, f"{project.repository}:1.0", session=project.session)
    mlkit.push(index, session=project.session)

    planned = retention.prune_remote(project.session, project.at(), Rules(keep=1), dry_run=True)

    assert {one.kit.tags[0]: one.is_kept for one in planned.decisions} == {
        "all": True,
        "1.0": True,
        "1.1": False,
        "1.2": False,
    }


def test_what_cannot_be_pruned_is_refused(project: Project) -> None:
    with pytest.raises(NotFoundError):
        retention.prune_remote(project.session, project.at(), Rules(keep=1), dry_run=True)
    with pytest.raises(UsageError):
        retention.prune_remote(
            project.session, Project(project.folder, project.session, "digits").at(), Rules(keep=1), dry_run=True
        )
    project.release("1.0")
    within = Rules(keep_within=timedelta(days=1))
    planned = retention.prune_remote(project.session, project.at(), within, dry_run=False)
    assert planned.removed == (), "nobody knows how old it is"
