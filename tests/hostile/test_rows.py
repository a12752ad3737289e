"""Rows of the catalogue that the corpus alone does not show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.corpus.case import World, descriptor, digest_of, put_blob, write_index
from tests.support.corpus.kits import kit, raw_kit
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Request

import mlkit
from mlkit.api.session import Session
from mlkit.errors import LimitError, MlkitError, NotFoundError
from mlkit.spec.digest import Digest

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path / "world")


@pytest.fixture
def mlkit_command(tmp_path: Path) -> CommandLine:
    for name in ("home", "cwd"):
        (tmp_path / name).mkdir()
    return CommandLine(tmp_path / "home", tmp_path / "cwd")


def session_of(world: World) -> Session:
    return mlkit.session(home=world.store, plain_http_hosts=("loopback",))


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "file:///etc/passwd", "https://registry.example/blob"])
def test_b13_places_that_a_descriptor_names_are_never_asked(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dialled(*arguments: object, **_: object) -> None:
        raise AssertionError(f"somebody was asked: {arguments}")

    monkeypatch.setattr("socket.create_connection", dialled)
    monkeypatch.setattr("socket.getaddrinfo", dialled)
    raw_kit(world)
    content = b"elsewhere"
    far = {**descriptor(content, "application/vnd.cncf.model.weight.v1.raw"), "urls": [url]}
    kit(world, [{**far, "annotations": {"org.cncf.model.filepath": "model.bin"}}])

    with session_of(world) as session, pytest.raises(NotFoundError, match=digest_of(content)[7:19]):
        mlkit.unpack("team/kit:1", world.out, session=session)


def test_b15_subjects_that_point_at_each_other_come_to_an_end(world: World) -> None:
    """No manifest can name its own digest, but one that says so is read, and one at the end of a long chain is."""
    raw_kit(world)
    entries = json.loads((world.store / "index.json").read_text())["manifests"]
    subject = {key: entries[0][key] for key in ("mediaType", "digest", "size")}
    chain = []
    for number in range(200):
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/x.note",
                "config": {**descriptor(b"{}", "application/vnd.oci.empty.v1+json")},
                "layers": [descriptor(b"{}", "application/vnd.oci.empty.v1+json")],
                "subject": {**subject, "digest": digest_of(b"round")} if number == 0 else subject,
            }
        ).encode()
        put_blob(world, raw)
        subject = descriptor(raw, "application/vnd.oci.image.manifest.v1+json")
        chain.append(subject)
    put_blob(world, b"{}")
    write_index(world, [*entries, *chain])

    with session_of(world) as session:
        inspected = mlkit.inspect("team/kit:1", session=session)
        mlkit.unpack("team/kit:1", world.out, session=session)
        mlkit.prune(session=session)

    assert len(inspected.referrers) <= 1
    assert (world.out / "model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("depth", [4, 5, 100])
def test_b16_an_index_in_an_index_has_a_bottom(world: World, depth: int) -> None:
    raw = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    for _ in range(depth):
        put_blob(world, raw)
        raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(raw, INDEX)]}).encode()
    put_blob(world, raw)
    write_index(world, [descriptor(raw, INDEX, org__opencontainers__image__ref__name="team/kit:1")])

    with session_of(world) as session:
        if depth <= 4:
            mlkit.save("team/kit:1", world.root / "kit.tar", session=session)
        else:
            with pytest.raises(LimitError, match="4"):
                mlkit.save("team/kit:1", world.root / "kit.tar", session=session)
            assert not (world.root / "kit.tar").exists()


@pytest.fixture
def two(session: Session, tmp_path: Path) -> Iterator[tuple[SimulatedRegistry, dict[str, Digest]]]:
    """A registry with two kits, and `latest` at the first of them."""
    with simulated_registry() as registry:
        project = tmp_path / "project"
        project.mkdir()
        digests = {}
        for version in ("first", "second"):
            (project / "w.bin").write_text(version)
            name = f"{registry.host}/team/kit:{version}"
            mlkit.pack(project, tag=name, kitfile_text="model: {path: w.bin}", session=session)
            mlkit.push(name, session=session)
            digests[version] = mlkit.resolve(name, session=session)
        mlkit.tag(f"{registry.host}/team/kit:first", f"{registry.host}/team/kit:latest", remote=True, session=session)
        yield registry, digests


def move(registry: SimulatedRegistry, digests: dict[str, Digest]) -> None:
    registry.repositories["team/kit"].tags["latest"] = str(digests["second"])


def test_c03_a_tag_is_resolved_once_and_what_moves_later_changes_nothing(
    two: tuple[SimulatedRegistry, dict[str, Digest]], tmp_path: Path
) -> None:
    registry, digests = two

    def moving(request: Request) -> None:
        if "/blobs/" in request.path:
            move(registry, digests)

    registry.rules.append(moving)
    with mlkit.session(home=tmp_path / "fresh", plain_http_hosts=("loopback",)) as fresh:
        pulled = mlkit.pull(f"{registry.host}/team/kit:latest", session=fresh)
        mlkit.unpack(f"{registry.host}/team/kit:latest", tmp_path / "out", session=fresh)

    assert registry.repositories["team/kit"].tags["latest"] == str(digests["second"])
    assert pulled.digest == digests["first"]
    assert (tmp_path / "out/w.bin").read_text() == "first"


@pytest.mark.parametrize("command", ["pull", "unpack"])
def test_c04_a_tag_that_moved_since_it_was_pinned_is_told_where_that_is_asked_for(
    two: tuple[SimulatedRegistry, dict[str, Digest]], mlkit_command: CommandLine, command: str
) -> None:
    registry, digests = two
    pinned = f"{registry.host}/team/kit:latest@{digests['first']}"
    flags = ("--plain-http", *(("-d", "out") if command == "unpack" else ()))
    mlkit_command.ok(command, pinned, "--strict", *flags)
    move(registry, digests)

    refused = mlkit_command(command, pinned, "--strict", *flags, "--json")

    assert refused.code == 8
    assert str(digests["second"]) in refused.error["message"]
    assert mlkit_command.ok("pull", pinned, "--plain-http").code == 0
    assert mlkit_command(command, f"{registry.host}/team/kit:latest", "--strict", *flags).code == 2


def test_every_command_that_reads_says_no_in_one_sentence(world: World) -> None:
    raw_kit(world)
    (world.store / "index.json").write_text("{")

    with session_of(world) as session, pytest.raises(MlkitError) as caught:
        mlkit.list_kits(session=session)

    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 10
