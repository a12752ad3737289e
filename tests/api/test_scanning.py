"""Scans of kits where they lie: in the store, in a registry, partial ones, those of other tools."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.api.test_foreign_files import put_kit_of_kitops
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.trust.policies import ALICE
from tests.trust.scan.checkpoints import plain_zip, state_dict, torch_zip
from tests.trust.scan.pickles import BAD_PICKLE

import mlkit
from mlkit.api import scanning
from mlkit.api.evidence import evidence_of
from mlkit.api.scanning import ScanOptions
from mlkit.api.session import Session
from mlkit.errors import DigestMismatch, NotFoundError, UsageError
from mlkit.spec.reference import Reference
from mlkit.spec.statement import SCAN
from mlkit.trust.scan.findings import Severity

KITFILE = """\
manifestVersion: 1.0.0
package: {name: x}
model: {path: model}
datasets: [{name: train, path: data}]
code: [{path: code}]
"""
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    files = {
        "model/weights.pt": torch_zip(storages=6, size=1 << 18),
        "data/train.csv": b"a,b\n1,2\n",
        "code/train.py": b"print('hello')\n",
        "code/deep/more.py": b"x = 1\n",
        "Kitfile": KITFILE.encode(),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as found:
        yield found


def scan(session: Session, reference: str, **options: object) -> scanning.ScanReport:
    return scanning.scan(session, Reference.parse(reference), **options)  # type: ignore[arg-type]  # as given


def test_a_harmless_kit_is_clean_and_its_files_are_told(session: Session, project: Path) -> None:
    mlkit.pack(project, tag="kit:1", session=session)

    found = scan(session, "kit:1", now=NOW)

    assert (found.verdict, found.scanned_at) == ("clean", "2026-01-02T00:00:00Z")
    kinds = {file.path: file.kind for file in found.files}
    assert kinds["model/weights.pt"] == "torch"
    assert kinds["code/deep/more.py"] == "python"
    assert kinds["Kitfile"] == "text"
    assert found.coverage.not_scanned == ()
    assert found.coverage.is_verified


@pytest.mark.parametrize("layers", ["auto", "tar", "raw"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_pickle_in_any_kind_of_layer_is_found(session: Session, project: Path, layers: str, compression: str) -> None:
    (project / "data/evil.bin").write_bytes(BAD_PICKLE)
    (project / "code/deep/evil.dat").write_bytes(torch_zip(BAD_PICKLE))
    mlkit.pack(project, tag="kit:1", layers=layers, compression=compression, session=session)  # type: ignore[arg-type]  # by parameters

    found = scan(session, "kit:1")

    assert found.verdict == "findings"
    assert {one.path for one in found.findings if one.severity == "critical"} == {
        "data/evil.bin",
        "code/deep/evil.dat!archive/data.pkl",
    }


def test_a_kit_of_another_tool_is_scanned_in_its_layers(session: Session) -> None:
    put_kit_of_kitops(session.layout, "kit:1", compression="gzip")

    found = scan(session, "kit:1")

    assert [file.path for file in found.files] == ["Kitfile", "data/a.csv", "data/deep/b.csv"]
    assert found.verdict == "clean"


def test_of_a_checkpoint_in_a_registry_only_what_matters_is_fetched(
    session: Session, other: Session, project: Path, registry: SimulatedRegistry
) -> None:
    kit = f"{registry.host}/team/kit:1"
    (project / "model/weights.pt").write_bytes(torch_zip(BAD_PICKLE, storages=32, size=1 << 20))
    mlkit.pack(project, tag=kit, session=session)
    mlkit.push(kit, session=session)
    before = registry.sent_bytes()

    found = scan(other, kit)

    assert registry.sent_bytes() - before < 2 << 20
    assert [one.severity for one in found.findings if one.rule == "pickle-code"] == ["critical"]
    assert not found.coverage.is_verified
    assert found.coverage.unverified == ("model/weights.pt",)


def test_layers_that_a_partial_kit_lacks_are_never_clean(
    session: Session, other: Session, project: Path, registry: SimulatedRegistry
) -> None:
    kit = f"{registry.host}/team/kit:1"
    mlkit.pack(project, tag=kit, session=session)
    mlkit.push(kit, session=session)
    mlkit.pull(kit, filters=["datasets"], session=other)

    found = scan(other, kit)

    assert found.verdict == "unknown"
    assert any("model/weights.pt" in one for one in found.coverage.not_scanned)
    assert scan(other, kit, remote=True).verdict == "clean"


def test_what_a_filter_leaves_out_is_told_and_never_clean(session: Session, project: Path) -> None:
    mlkit.pack(project, tag="kit:1", session=session)

    found = scan(session, "kit:1", filters=["datasets"])

    assert found.verdict == "unknown"
    assert "data/train.csv" in {file.path for file in found.files}
    assert "model/weights.pt" not in {file.path for file in found.files}


def test_an_attested_scan_is_on_the_kit(session: Session, project: Path) -> None:
    mlkit.pack(project, tag="kit:1", session=session)

    done = scanning.scan_and_attest(session, Reference.parse("kit:1"), signer=ALICE, now=NOW)

    (found,) = evidence_of(session, session.locate(Reference.parse("kit:1")), {"alice": ALICE.public})
    assert (found.digest, found.signed_by) == (done.attached, ("alice",))
    assert found.statement.predicate_type == SCAN
    predicate = json.loads(json.dumps(dict(found.statement.predicate)))
    assert predicate["verdict"] == "clean"
    assert predicate["scannedAt"] == "2026-01-02T00:00:00Z"
    assert predicate["counts"] == {"note": 2, "low": 0, "medium": 0, "high": 0, "critical": 0}
    assert predicate["coverage"]["notScanned"] == []
    assert set(predicate["scanner"]) == {"name", "version", "rules"}


def test_an_attested_scan_is_of_the_bytes_that_the_kit_says(session: Session, project: Path) -> None:
    """A store that somebody else can write to must not get a good word for bytes that nobody will load."""
    bad = BAD_PICKLE + b"." * (len(state_dict()) - len(BAD_PICKLE))
    (project / "model/weights.pt").write_bytes(torch_zip(bad))
    mlkit.pack(project, tag="kit:1", session=session)
    listed = {file.path: file.digest for file in mlkit.files("kit:1", session=session)}
    digest = listed["model/weights.pt"]
    assert digest is not None
    blob = session.settings.home / "blobs/sha256" / digest.hex
    blob.chmod(0o644)
    blob.write_bytes(torch_zip())
    assert blob.stat().st_size == len(torch_zip())

    with pytest.raises(DigestMismatch):
        scanning.scan_and_attest(session, Reference.parse("kit:1"), signer=ALICE)


def _swap(blob: Path, good: bytes) -> None:
    blob.chmod(0o644)
    assert blob.stat().st_size == len(good)
    blob.write_bytes(good)


@pytest.mark.parametrize("path", ["model/weights.pt", "data/cache.bin", "code/evil.py"], ids=["zip", "pickle", "tar"])
def test_a_blob_that_was_swapped_for_one_of_its_size_is_never_called_clean(
    session: Session, project: Path, path: str
) -> None:
    good = torch_zip() if path.endswith(".pt") else b"x" * len(BAD_PICKLE)
    evil = torch_zip(BAD_PICKLE + b"." * (len(state_dict()) - len(BAD_PICKLE))) if path.endswith(".pt") else BAD_PICKLE
    (project / path).write_bytes(evil)
    mlkit.pack(project, tag="kit:1", session=session)
    assert scan(session, "kit:1").verdict == "findings"
    for blob in (session.settings.home / "blobs/sha256").iterdir():
        content = blob.read_bytes()
        if evil in content:
            _swap(blob, content.replace(evil, good))

    with pytest.raises(DigestMismatch):
        scan(session, "kit:1")


def test_a_large_layer_of_which_parts_are_read_is_told_and_verified_when_asked(session: Session, project: Path) -> None:
    evil = torch_zip(BAD_PICKLE + b"." * (len(state_dict()) - len(BAD_PICKLE)))
    (project / "model/weights.pt").write_bytes(evil)
    mlkit.pack(project, tag="kit:1", session=session)
    (digest,) = [
        file.digest for file in mlkit.files("kit:1", session=session) if file.digest and file.path == "model/weights.pt"
    ]
    _swap(session.settings.home / "blobs/sha256" / digest.hex, torch_zip())

    found = scan(session, "kit:1", options=ScanOptions(whole_size=len(evil) - 1))

    assert not found.coverage.is_verified
    assert "model/weights.pt" in found.coverage.unverified
    for options in (ScanOptions(whole_size=len(evil)), ScanOptions(whole_size=1, verify=True)):
        with pytest.raises(DigestMismatch):
            scan(session, "kit:1", options=options)


@pytest.mark.parametrize("is_large", [False, True])
def test_a_registry_that_swaps_a_layer_is_found_out_where_all_of_it_is_read(
    session: Session, other: Session, project: Path, registry: SimulatedRegistry, is_large: bool
) -> None:
    kit = f"{registry.host}/team/kit:1"
    evil = torch_zip(BAD_PICKLE + b"." * (len(state_dict()) - len(BAD_PICKLE)))
    (project / "model/weights.pt").write_bytes(evil)
    mlkit.pack(project, tag=kit, session=session)
    mlkit.push(kit, session=session)
    stored = next(one for one in registry.repositories.values() if evil in one.blobs.values())
    (digest,) = [digest for digest, content in stored.blobs.items() if content == evil]
    stored.blobs[digest] = torch_zip()
    options = ScanOptions(far_size=1 << 10) if is_large else ScanOptions()

    if is_large:
        assert "model/weights.pt" in scan(other, kit, options=options).coverage.unverified
        options = ScanOptions(far_size=1 << 10, verify=True)
    with pytest.raises(DigestMismatch):
        scan(other, kit, options=options)


def test_an_attested_scan_of_a_registry_reads_every_byte(
    session: Session, other: Session, project: Path, registry: SimulatedRegistry
) -> None:
    kit = f"{registry.host}/team/kit:1"
    mlkit.pack(project, tag=kit, session=session)
    mlkit.push(kit, session=session)
    before = registry.sent_bytes()

    done = scanning.scan_and_attest(other, Reference.parse(kit), signer=ALICE, remote=True)

    assert done.coverage.is_verified
    assert registry.sent_bytes() - before > 6 << 18


def test_an_attested_scan_counts_as_policies_do(session: Session, project: Path) -> None:
    mlkit.pack(project, tag="kit:1", session=session)

    with pytest.raises(UsageError, match="medium"):
        scanning.scan_and_attest(
            session, Reference.parse("kit:1"), signer=ALICE, options=ScanOptions(threshold=Severity.CRITICAL)
        )


def test_links_and_pipes_in_a_directory_are_not_followed_and_told(session: Session, tmp_path: Path) -> None:
    import os

    (tmp_path / "secret.pkl").write_bytes(BAD_PICKLE)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.pkl").symlink_to(tmp_path / "secret.pkl")
    (tree / "d").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe")
    (tree / "b.txt").write_text("hello")

    found = scanning.scan_path(session, tree)

    assert [file.path for file in found.files] == ["b.txt"]
    assert found.verdict == "unknown"
    assert len(found.coverage.not_scanned) == 3


def test_a_path_that_is_not_there_is_not_found(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none"):
        scanning.scan_path(session, tmp_path / "none")


def test_secrets_in_texts_are_told_and_not_shown(session: Session, tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets")
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    (tmp_path / "settings.py").write_text(f"# nothing\nKEY = '{key}'\n")
    (tmp_path / "README.md").write_text("use AKIAIOSFODNN7EXAMPLE, or https://user:password@host\n")

    found = scanning.scan_path(session, tmp_path)

    (secret,) = [one for one in found.findings if one.rule == "secret"]
    assert (secret.path, secret.message) == ("settings.py", "line 2 holds what looks like a secret: AWS Access Key")
    assert key not in json.dumps([one.message for one in found.findings])


def test_the_second_opinion_decides_nothing(session: Session, tmp_path: Path) -> None:
    pytest.importorskip("modelaudit_picklescan")
    (tmp_path / "m.pkl").write_bytes(BAD_PICKLE)
    (tmp_path / "n.pt").write_bytes(torch_zip())

    found = scanning.scan_path(session, tmp_path, options=ScanOptions(opinion=True))

    opinions = {file.path: file.opinion for file in found.files}
    assert opinions["m.pkl"] == "malicious"
    assert opinions["n.pt"] is not None
    assert found.verdict == "findings"


def test_programs_scan_too(session: Session, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(BAD_PICKLE)

    found = mlkit.scan(tmp_path / "m.pkl", session=session)

    assert (found.verdict, found.findings[0].rule) == ("findings", "pickle-code")


def _warnings(project: Path, tmp_path: Path, **settings: object) -> list[str]:
    from mlkit.progress import NoProgress

    warned: list[str] = []

    class Listener(NoProgress):
        def warn(self, message: str) -> None:
            warned.append(message)

    with mlkit.session(progress=Listener(), home=tmp_path / "warned", **settings) as session:
        mlkit.pack(project, tag="kit:1", session=session)
    return [one for one in warned if "runs code" in one]


def test_packing_warns_of_pickles_that_run_code(project: Path, tmp_path: Path) -> None:
    assert _warnings(project, tmp_path) == []
    (project / "model/weights.pt").write_bytes(torch_zip(BAD_PICKLE))
    (project / "data/cache.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")

    (warning,) = _warnings(project, tmp_path)

    assert "'model/weights.pt' names os.system" in warning
    assert "'data/cache.pkl' names os.system" in warning
    assert _warnings(project, tmp_path, scan_on_pack=False) == []


def test_archives_are_scanned_as_far_as_the_settings_say(session: Session, tmp_path: Path) -> None:
    raw = plain_zip({f"{number}.txt": b"x" * 100 for number in range(4)}, method=zipfile.ZIP_DEFLATED)
    (tmp_path / "a.zip").write_bytes(raw)

    def verdict(**limits: int) -> str:
        chosen = replace(session.settings.limits, **limits)  # type: ignore[arg-type]  # by parameters
        with mlkit.session(home=session.settings.home, limits=chosen) as limited:
            return scanning.scan_path(limited, tmp_path / "a.zip").verdict

    assert verdict() == "clean"
    assert (verdict(scan_members=4), verdict(scan_members=3)) == ("clean", "unknown")
    assert verdict(scan_bytes=10) == "unknown"
