"""`fsck`: which kit, entry and layer is damaged, and how it heals."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.content.oracle import names_of_sound_layout
from tests.support.cli import CommandLine, write_project
from tests.support.scale import SCALE

import mlkit
from mlkit.api.fsck import Report
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import IntegrityError, MlkitError, NotFoundError
from mlkit.server import RunningRegistry
from mlkit.spec.digest import Digest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture
def store(session: Session, project: Path) -> Path:
    """A store with one kit under two names."""
    mlkit.pack(project, tag="team/digits:1.2,latest", session=session)
    return session.layout.root


@pytest.fixture
def registry(tmp_path: Path) -> RunningRegistry:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running


def look(session: Session, **options: bool) -> Report:
    return mlkit.fsck(session=session, **options)


def blob_of(session: Session, path: str, name: str = "team/digits:1.2") -> Path:
    layer = next(layer for layer in mlkit.inspect(name, session=session).layers if layer.path == path)
    return session.layout.blobs.path(layer.digest)


def spoil(path: Path, content: bytes | None = None) -> None:
    """Other bytes of the same size, or those given."""
    raw = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]) if content is None else content)


def test_a_store_that_is_sound_has_no_findings(session: Session, store: Path) -> None:
    for deep in (False, True):
        report = look(session, deep=deep)

        assert report.is_sound
        assert report.findings == ()
        assert (report.kits, report.quarantined) == (1, 0)
        assert report.blobs == len(list((store / "blobs/sha256").iterdir()))
    assert report.hashed_bytes == sum(path.stat().st_size for path in (store / "blobs/sha256").iterdir())


def test_where_there_is_no_store_there_is_nothing_to_find_and_none_is_made(session: Session) -> None:
    assert look(session, deep=True, repair=True).is_sound
    assert not session.settings.home.exists()


def test_other_bytes_are_found_deep_and_told_with_kit_entry_and_layer(session: Session, store: Path) -> None:
    blob = blob_of(session, "data/train.csv")
    spoil(blob)

    assert look(session).is_sound
    report = look(session, deep=True)

    assert not report.is_sound
    (finding,) = report.findings
    assert (finding.kind, finding.digest) == ("damaged", Digest.parse(f"sha256:{blob.name}"))
    assert {(kit.reference, kit.entry, kit.path) for kit in finding.kits} == {
        ("team/digits:1.2", "datasets[0]", "data/train.csv"),
        ("team/digits:latest", "datasets[0]", "data/train.csv"),
    }
    assert "seen in no registry" in (finding.hint or "")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        pytest.param(Path.unlink, "missing", id="missing"),
        pytest.param(lambda blob: spoil(blob, b""), "damaged", id="empty"),
        pytest.param(lambda blob: spoil(blob, blob.read_bytes()[:-1]), "damaged", id="short"),
        pytest.param(lambda blob: (blob.unlink(), blob.symlink_to("/etc/passwd")), "misplaced", id="link"),
        pytest.param(lambda blob: (blob.unlink(), blob.mkdir()), "misplaced", id="folder"),
        pytest.param(lambda blob: (blob.unlink(), os.mkfifo(blob)), "misplaced", id="pipe"),
    ],
)
@pytest.mark.parametrize("which", ["layer", "manifest"])
def test_what_size_and_kind_tell_is_found_without_hashing(
    session: Session, store: Path, damage: Callable[[Path], object], kind: str, which: str
) -> None:
    manifest = mlkit.inspect("team/digits:1.2", session=session).digest
    blob = blob_of(session, "README.md") if which == "layer" else session.layout.blobs.path(manifest)
    damage(blob)

    report = look(session)

    (finding,) = report.findings
    assert finding.kind == kind
    assert {kit.reference for kit in finding.kits} == {"team/digits:1.2", "team/digits:latest"}


def test_a_manifest_with_other_bytes_of_the_same_size_is_found_without_deep(session: Session, store: Path) -> None:
    spoil(session.layout.blobs.path(mlkit.inspect("team/digits:1.2", session=session).digest))

    (finding,) = look(session).findings

    assert finding.kind == "damaged"


def test_a_damaged_blob_that_no_kit_needs_is_found_and_taken_out_of_use(session: Session, store: Path) -> None:
    stray = store / "blobs/sha256" / ("0" * 64)
    stray.write_bytes(b"whatever")
    link = store / "blobs/sha256" / ("1" * 64)
    link.symlink_to("/etc/passwd")

    before = look(session, deep=True)
    after = look(session, deep=True, repair=True)

    assert {finding.kind for finding in before.findings} == {"damaged", "misplaced"}
    assert all("no kit needs it" in (finding.hint or "") for finding in before.findings)
    assert after.is_sound
    assert after.quarantined == 2
    assert (store / ".mlkit/quarantine" / f"sha256-{'0' * 64}").read_bytes() == b"whatever"
    assert names_of_sound_layout(store)


def test_a_repair_fetches_from_where_a_kit_was_pulled_or_pushed(
    session: Session, other: Session, project: Path, registry: RunningRegistry
) -> None:
    name = f"{registry.host}/team/digits:1.2"
    mlkit.pack(project, tag="local/digits:1.2", session=session)
    mlkit.push("local/digits:1.2", name, session=session)
    session.close()
    mlkit.pull(name, session=other)

    for mine, kit in ((session, "local/digits:1.2"), (other, name)):
        found = mlkit.inspect(kit, session=mine)
        for digest in (found.digest, *(layer.digest for layer in found.layers)):
            spoil(mine.layout.blobs.path(digest))

        refused = look(mine, deep=True, repair=True, offline=True)
        assert not refused.is_sound
        assert all("mlkit fsck --repair` fetches it from" in (finding.hint or "") for finding in refused.findings)
        report = look(mine, deep=True, repair=True)

        assert report.is_sound, report
        assert report.quarantined == len(found.layers) + 1
        assert any(f"from {registry.host}/team/digits" in done for done in report.mended)
        assert look(mine, deep=True).is_sound
        names_of_sound_layout(mine.layout.root)


def test_what_cannot_be_fetched_stays_found_and_says_what_is_left_to_do(
    session: Session, project: Path, registry: RunningRegistry
) -> None:
    name = f"{registry.host}/team/digits:1.2"
    mlkit.pack(project, tag=name, session=session)
    blob_of(session, "README.md", name).unlink()

    report = look(session, repair=True)

    (finding,) = report.findings
    assert finding.kind == "missing"
    assert "could not be had again: pack the kit again" in (finding.hint or "")
    mlkit.pack(project, tag=name, session=session)
    assert look(session, deep=True).is_sound


def test_a_partial_kit_is_sound_and_told_of(
    session: Session, project: Path, registry: RunningRegistry, other: Session
) -> None:
    name = f"{registry.host}/team/digits:1.2"
    mlkit.pack(project, tag=name, session=session)
    mlkit.push(name, session=session)
    mlkit.pull(name, filters=["model"], session=other)

    report = look(other, deep=True, repair=True)

    assert report.is_sound
    (finding,) = report.findings
    assert (finding.kind, finding.is_damage) == ("partial", False)
    assert finding.hint == f"`mlkit pull {name}` fetches the rest"

    mlkit.tag(name, "mine:1", session=other)
    mlkit.remove(name, session=other)
    (finding,) = look(other).findings
    assert finding.hint == f"`mlkit pull {registry.host}/team/digits@{finding.digest}` fetches the rest"
    mlkit.pull(f"{registry.host}/team/digits@{finding.digest}", session=other)
    assert look(other).findings == ()


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_fault29_a_thousand_random_bit_flips_are_all_detected_by_unpack_push_and_fsck(
    session: Session, project: Path, tmp_path: Path, registry: RunningRegistry
) -> None:
    """A slice here; 1,000 in `make soak`. Every blob of a kit is hit, layers, documents and the manifest."""
    mlkit.pack(project, tag="kit:1", session=session)
    root = session.layout.root
    blobs = sorted((root / "blobs/sha256").iterdir())
    chosen = random.Random(29)
    rounds = 50 * SCALE

    for number in range(rounds):
        blob = blobs[number % len(blobs)]
        sound = blob.read_bytes()
        position = chosen.randrange(len(sound) * 8)
        flipped = bytearray(sound)
        flipped[position // 8] ^= 1 << position % 8
        blob.chmod(0o644)
        blob.write_bytes(flipped)

        assert [finding.digest for finding in look(session, deep=True).findings] == [Digest("sha256", blob.name)]
        for read in (
            lambda: mlkit.unpack("kit:1", tmp_path / "out", session=session),
            lambda number=number: mlkit.push("kit:1", f"{registry.host}/r{number}/kit:1", session=session),
        ):
            with pytest.raises(MlkitError) as caught:
                read()
            assert isinstance(caught.value, IntegrityError | NotFoundError), caught.value
        assert not (tmp_path / "out").exists()
        blob.unlink(missing_ok=True)
        blob.write_bytes(sound)

    assert look(session, deep=True).is_sound


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x80
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(Path.unlink, id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), id="truncated"),
        pytest.param(_flip, id="flipped"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), id="link"),
    ],
)
@pytest.mark.parametrize("which", ["index.json", "oci-layout", "both"])
@pytest.mark.parametrize("lost", ["nothing", "prev", "journal"])
def test_fault30_a_broken_index_or_marker_is_told_and_rebuilt_with_every_name(
    session: Session, store: Path, damage: Callable[[Path], object], which: str, lost: str
) -> None:
    mlkit.tag("team/digits:1.2", "more/digits:1", session=session)
    mlkit.tag("team/digits:1.2", "gone/digits:1", session=session)
    mlkit.remove("gone/digits:1", session=session)
    names = {name: desc.digest for name, desc in session.layout.names().items()}
    for name in ("index.json", "oci-layout"):
        if which in (name, "both"):
            damage(store / name)
    if lost != "nothing":
        (store / ".mlkit" / {"prev": "index.json.prev", "journal": "journal"}[lost]).unlink()

    with mlkit.session(home=store) as mine:
        with pytest.raises(MlkitError, match=r"index\.json|oci-layout|OCI image layout") as caught:
            mlkit.list_kits(session=mine)
        assert (caught.value.exit_code, "mlkit fsck --repair" in (caught.value.hint or "")) == (10, True)
        assert not look(mine).is_sound
        report = look(mine, repair=True)

    assert report.is_sound
    assert report.mended
    found = {name: desc.digest for name, desc in Layout.at(store).names().items()}
    if lost == "journal" and which != "oci-layout":
        # The index before the last change is all there is.
        assert found == {**names, "gone/digits:1": names["more/digits:1"]}
    else:
        assert found == names
    names_of_sound_layout(store)
    Layout.at(store).tag(Layout.at(store).resolve("more/digits:1"), "after:1")
    assert "after:1" in Layout.at(store).names()
    assert look(session, deep=True).is_sound


def test_without_journal_and_the_index_before_the_manifests_among_the_blobs_are_listed(
    session: Session, store: Path
) -> None:
    digest = mlkit.inspect("team/digits:1.2", session=session).digest
    for name in ("index.json", ".mlkit/journal", ".mlkit/index.json.prev"):
        (store / name).unlink()

    report = look(session, repair=True)

    assert report.is_sound
    assert "1 kits without a name" in report.mended[0]
    assert [desc.digest for desc in Layout.at(store).manifests()] == [digest]
    mlkit.prune(grace_seconds=0, session=session)
    assert look(session, deep=True).is_sound


def test_fault31_a_blob_that_a_power_cut_left_empty_or_sparse_counts_as_missing_and_is_fetched_again(
    session: Session, project: Path, registry: RunningRegistry, other: Session, tmp_path: Path
) -> None:
    name = f"{registry.host}/team/digits:1.2"
    mlkit.pack(project, tag=name, session=session)
    mlkit.push(name, session=session)
    mlkit.pull(name, session=other)
    empty, sparse = blob_of(other, "data/train.csv", name), blob_of(other, "model/weights.safetensors", name)
    spoil(empty, b"")
    spoil(sparse, bytes(sparse.stat().st_size))

    moved = mlkit.pull(name, session=other)
    with pytest.raises(IntegrityError):
        mlkit.unpack(name, tmp_path / "out", session=other)
    again = mlkit.pull(name, session=other)

    assert moved.moved_bytes == empty.stat().st_size
    assert again.moved_bytes == sparse.stat().st_size
    assert look(other, deep=True).is_sound


def test_fault32_a_half_copied_layout_is_told_and_nothing_of_it_is_pushed(
    session: Session, store: Path, tmp_path: Path, registry: RunningRegistry
) -> None:
    half = tmp_path / "half"
    for path in store.rglob("*"):
        target = half / path.relative_to(store)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path != blob_of(session, "data/train.csv"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())

    with mlkit.session(home=half, plain_http_hosts=("loopback",)) as mine:
        assert mlkit.inspect("team/digits:1.2", session=mine).is_partial
        assert [finding.kind for finding in look(mine).findings] == ["missing"]
        with pytest.raises(NotFoundError, match="partial here"):
            mlkit.push("team/digits:1.2", f"{registry.host}/team/digits:1.2", session=mine)
    assert list(Layout.at(tmp_path / "registry").names()) == []


def test_what_another_program_lost_is_found_and_put_back(session: Session, store: Path) -> None:
    before = (store / "index.json").read_bytes()
    mlkit.tag("team/digits:1.2", "lost/digits:1", session=session)
    (store / "index.json").write_text(json.dumps(json.loads(before), indent=2))

    report = look(session)
    assert [(finding.kind, finding.message.split(":")[0]) for finding in report.findings] == [("lost", "'lost/digits")]

    assert look(session, repair=True).is_sound
    assert "lost/digits:1" in Layout.at(store).names()


@pytest.fixture
def line(tmp_path: Path, project: Path) -> CommandLine:
    mlkit = CommandLine(tmp_path, project)
    mlkit.ok("pack", ".", "-t", "digits:1.2")
    return mlkit


def test_the_command_prints_findings_hints_and_exits_10_until_it_is_sound(line: CommandLine) -> None:
    import jsonschema

    schema = json.loads((Path(__file__).parents[2] / "schemas/fsck-report-v1.json").read_bytes())
    sound = line.ok("fsck", "--deep")
    assert sound.stdout.startswith("looked at 1 kit and ")
    assert sound.stdout.endswith("sound\n")
    layers = line.ok("inspect", "digits:1.2", "--json").json["layers"]
    digest = next(layer["digest"] for layer in layers if layer["path"] == "data/train.csv").partition(":")[2]
    spoil(line.home / "store/blobs/sha256" / digest)

    told = line("fsck", "--deep")
    asked = line("fsck", "--deep", "--json")
    repaired = line("fsck", "--deep", "--repair", "--json")
    line.ok("pack", ".", "-t", "digits:1.2")
    healed = line.ok("fsck", "--deep", "--json")

    assert (told.code, asked.code, repaired.code) == (10, 10, 10)
    first, second, *_ = told.stdout.splitlines()
    assert first.startswith(f"damaged: blob sha256:{digest[:12]}: its bytes are those of sha256:")
    assert second == "  of digits:1.2, datasets[0] data/train.csv"
    assert "hint: `mlkit fsck --repair` mends what can be mended" in told.stderr
    assert asked.error["code"] == "E_STORE"
    for printed in (asked, repaired, healed):
        jsonschema.validate(printed.json, schema)
    assert [finding["kind"] for finding in repaired.json["findings"]] == ["missing"]
    assert healed.json["is_sound"]
    assert healed.json["quarantined"] == 1
