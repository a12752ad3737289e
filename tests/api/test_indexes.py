"""Indexes of kits: made and changed at once by several, moved whole or one kit at a time, looked into by labels."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.content.contract import push_manifest
from tests.content.test_graph import push_index
from tests.support.cli import write_project
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.api.gpus import nvidia_gpus
from mlkit.api.session import Session
from mlkit.content.copy import missing
from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, NotFoundError, UnsafeError, UsageError
from mlkit.packing.variants import Gpu, best_for
from mlkit.spec.digest import Digest
from mlkit.spec.kit_index import Variant
from mlkit.spec.media_types import ORIGIN, PARTIAL
from mlkit.spec.reference import Reference

WEIGHTS = "model/weights.safetensors"


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


def pack_variants(session: Session, project: Path, name: str) -> dict[str, Digest]:
    """Three kits that differ in their weights, and an index `NAME:all` that lists them."""
    write_project(project)
    digests = {}
    mlkit.create_index(f"{name}:all", session=session)
    for tag, size in {"q4": 6, "q8": 12, "f16": 24}.items():
        (project / WEIGHTS).write_text(tag * 100 * size)
        digests[tag] = mlkit.pack(project, tag=f"{name}:{tag}", session=session).digest
        labels = {"quantization": tag, "vram": f"{size}GB"}
        mlkit.add_to_index(f"{name}:all", f"{name}:{tag}", labels=labels, session=session)
    return digests


def local(session: Session, reference: str) -> Digest:
    return session.local(Reference.parse(reference)).digest


def test_a_pull_by_label_brings_one_kit_and_leaves_the_name_with_the_index(
    host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/digits:all"
    kits = pack_variants(session, tmp_path / "project", f"{host}/team/digits")
    pushed = mlkit.push(reference, session=session)

    pulled = mlkit.pull(reference, labels=["vram<8GB"], session=other)

    assert pulled.variant == kits["q4"]
    assert pulled.digest == pushed.digest == local(other, reference)
    assert pulled.is_partial
    listed = mlkit.list_index(reference, session=other)
    assert {kit.labels["quantization"]: kit.is_local for kit in listed.kits} == {"q4": True, "q8": False, "f16": False}
    mlkit.unpack(reference, tmp_path / "q4", labels=["quantization=q4"], session=other)
    assert (tmp_path / "q4" / WEIGHTS).read_text() == "q4" * 600


def test_the_kits_that_were_not_pulled_are_read_from_where_the_index_came_from(
    host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/digits:all"
    pack_variants(session, tmp_path / "project", f"{host}/team/digits")
    mlkit.push(reference, session=session)
    mlkit.pull(reference, labels=["quantization=q4"], session=other)

    assert mlkit.cat(reference, WEIGHTS, labels=["quantization=q8"], session=other).decode() == "q8" * 1200
    rest = mlkit.pull(reference, session=other)

    assert not rest.is_partial
    assert missing(other.layout, other.local(Reference.parse(reference))) == ()


def test_an_index_moves_with_all_that_it_lists(host: str, session: Session, other: Session, tmp_path: Path) -> None:
    reference, copied = f"{host}/team/digits:all", f"{host}/prod/digits:all"
    kits = pack_variants(session, tmp_path / "project", f"{host}/team/digits")

    pushed = mlkit.push(reference, session=session)
    mlkit.copy(reference, copied, session=session)
    pulled = mlkit.pull(copied, session=other)

    assert pulled.digest == pushed.digest
    assert {kit.digest for kit in mlkit.list_index(copied, session=other).kits} == set(kits.values())
    assert all(kit.is_local for kit in mlkit.list_index(copied, session=other).kits)


def test_a_pull_by_label_asks_for_nothing_of_the_other_kits(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{server.host}/team/digits:all"
    kits = pack_variants(session, tmp_path / "project", f"{server.host}/team/digits")
    mlkit.push(reference, session=session)
    before = len(server.requests)

    mlkit.pull(reference, labels=["quantization=q4"], session=other)

    asked = " ".join(request.path for request in server.requests[before:])
    assert kits["q4"].hex in asked
    assert kits["q8"].hex not in asked
    assert kits["f16"].hex not in asked


def test_signatures_of_the_kit_that_is_pulled_come_along_and_those_of_others_do_not(
    host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{host}/team/digits:all"
    pack_variants(session, tmp_path / "project", f"{host}/team/digits")
    for tag in ("q4", "q8", "all"):
        subject = session.local(Reference.parse(f"{host}/team/digits:{tag}"))
        push_manifest(session.layout, f"signature of {tag}".encode(), subject=subject.bare)
    pushed = mlkit.push(reference, session=session)

    pulled = mlkit.pull(reference, labels=["quantization=q4"], session=other)

    assert (pushed.referrers, pulled.referrers) == (3, 2)


def test_filters_and_labels_go_together(host: str, session: Session, other: Session, tmp_path: Path) -> None:
    reference = f"{host}/team/digits:all"
    pack_variants(session, tmp_path / "project", f"{host}/team/digits")
    mlkit.push(reference, session=session)

    pulled = mlkit.pull(
        reference, labels=["quantization=q8"], filters=["model"], unpack_to=tmp_path / "out", session=other
    )

    assert pulled.unpacked is not None
    assert pulled.unpacked.files == (WEIGHTS,)
    assert (tmp_path / "out" / WEIGHTS).read_text() == "q8" * 1200
    with pytest.raises(UsageError, match="an index of 3 kits"):
        mlkit.pull(reference, filters=["model"], session=other)


def test_a_partial_index_is_pushed_where_the_rest_is_and_nowhere_else(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{server.host}/team/digits:all"
    pack_variants(session, tmp_path / "project", f"{server.host}/team/digits")
    mlkit.push(reference, session=session)
    mlkit.pull(reference, labels=["quantization=q4"], session=other)

    again = mlkit.push(reference, f"{server.host}/team/digits:stable", session=other)
    with pytest.raises(NotFoundError, match=r"partial here, and .*/else/digits lacks"):
        mlkit.push(reference, f"{server.host}/else/digits:all", session=other)

    assert again.is_partial
    assert again.digest == local(other, reference)
    assert "else/digits" not in server.repositories or not server.repositories["else/digits"].tags


def test_a_partial_index_survives_prune(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{server.host}/team/digits:all"
    pack_variants(session, tmp_path / "project", f"{server.host}/team/digits")
    mlkit.push(reference, session=session)
    mlkit.pull(reference, labels=["quantization=q4"], session=other)

    assert mlkit.prune(grace_seconds=-1, session=other).removed == ()
    assert mlkit.inspect(reference, session=other).is_partial


def test_kits_that_were_never_fetched_can_be_entered(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    name = f"{server.host}/team/digits"
    kits = pack_variants(session, tmp_path / "project", name)
    for tag in kits:
        mlkit.push(f"{name}:{tag}", session=session)

    mlkit.create_index(f"{name}:gathered", session=other)
    for tag in kits:
        mlkit.add_to_index(f"{name}:gathered", f"{name}:{tag}", labels={"quantization": tag}, session=other)
    mlkit.push(f"{name}:gathered", session=other)

    entry = other.local(Reference.parse(f"{name}:gathered"))
    assert (entry.annotations[PARTIAL], entry.annotations[ORIGIN]) == ("true", name)
    listed = mlkit.list_index(f"{name}:gathered", remote=True, session=session)
    assert {kit.labels["quantization"]: kit.digest for kit in listed.kits} == kits
    mlkit.push(f"{name}:q4", f"{server.host}/else/digits:q4", session=session)
    with pytest.raises(UsageError, match="has the rest of its kits in"):
        mlkit.add_to_index(f"{name}:gathered", f"{server.host}/else/digits:q4", session=other)


def test_the_order_of_changes_does_not_show(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")

    mlkit.create_index("digits:again", session=session)
    for tag, size in {"f16": 24, "q4": 6, "q8": 12}.items():
        labels = {"vram": f"{size}GB", "quantization": tag}
        mlkit.add_to_index("digits:again", f"digits:{tag}", labels=labels, session=session)

    assert local(session, "digits:again") == local(session, "digits:all")


def test_a_change_tells_where_the_name_was_before(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    before = local(session, "digits:all")

    changed = mlkit.add_to_index("digits:all", "digits:q4", labels={"tested": True}, session=session)
    unchanged = mlkit.add_to_index("digits:all", "digits:q4", labels={"tested": True}, session=session)

    assert (changed.replaced, changed.digest) == (before, local(session, "digits:all"))
    assert (unchanged.replaced, unchanged.digest) == (None, changed.digest)


def test_labels_that_two_kits_share_are_told(session: Session, tmp_path: Path) -> None:
    kits = pack_variants(session, tmp_path / "project", "digits")

    changed = mlkit.add_to_index(
        "digits:all", "digits:q4", labels={"quantization": "q8", "vram": "12GB"}, session=session
    )

    assert changed.twins == (kits["q8"],)


def add_from_a_process(home: Path, tags: Sequence[str]) -> None:
    with mlkit.session(home=home) as session:
        for tag in tags:
            mlkit.add_to_index("digits:all", f"digits:{tag}", labels={"tag": tag}, session=session)


def test_processes_that_add_at_once_lose_nothing(session: Session, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    tags = [f"kit-{number}" for number in range(24)]
    for tag in tags:
        (project / WEIGHTS).write_text(tag)
        mlkit.pack(project, tag=f"digits:{tag}", session=session)
    mlkit.create_index("digits:all", session=session)

    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=add_from_a_process, args=(session.settings.home, tags[start::4])) for start in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)

    assert [process.exitcode for process in processes] == [0] * 4
    assert {kit.labels["tag"] for kit in mlkit.list_index("digits:all", session=session).kits} == set(tags)


def test_a_name_that_moved_meanwhile_is_not_overwritten(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    layout, entry = session.layout, session.local(Reference.parse("digits:all"))
    kit = session.local(Reference.parse("digits:q4"))

    assert not layout.swap(kit, "digits:all", expected=kit.digest)
    assert not layout.swap(kit, "digits:all", expected=None)
    assert local(session, "digits:all") == entry.digest
    assert layout.swap(kit, "digits:all", expected=entry.digest)
    assert local(session, "digits:all") == kit.digest


def test_a_name_that_is_taken_is_not_made_an_index(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    kit = local(session, "digits:q4")

    for name in ("digits:q4", "digits:all"):
        with pytest.raises(ConflictError, match="has a kit or an index of this name"):
            mlkit.create_index(name, session=session)

    assert local(session, "digits:q4") == kit


def test_a_kit_is_taken_out_by_its_name_its_digest_or_the_tag_it_was_entered_under(
    session: Session, tmp_path: Path
) -> None:
    kits = pack_variants(session, tmp_path / "project", "digits")

    mlkit.remove_from_index("digits:all", "digits:q4", session=session)
    mlkit.remove_from_index("digits:all", f"digits@{kits['q8']}", session=session)
    mlkit.remove("digits:f16", session=session)
    left = mlkit.remove_from_index("digits:all", "digits:f16", session=session)

    assert left.kits == 0
    with pytest.raises(NotFoundError, match="does not list digits:q4"):
        mlkit.remove_from_index("digits:all", "digits:q4", session=session)
    with pytest.raises(NotFoundError, match="lists no kit"):
        mlkit.files("digits:all", session=session)


def test_what_is_no_kit_is_not_entered(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    note = push_manifest(session.layout, b"a note").descriptor
    session.layout.tag(note, "digits:note")

    with pytest.raises(UnsafeError, match="no kit"):
        mlkit.add_to_index("digits:all", "digits:note", session=session)
    with pytest.raises(UsageError, match="is an index"):
        mlkit.add_to_index("digits:all", "digits:all", session=session)
    with pytest.raises(UsageError, match="is one kit, and no index"):
        mlkit.add_to_index("digits:q4", "digits:q8", session=session)


def test_an_index_of_anything_else_is_left_alone(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    images = push_index(session.layout, push_manifest(session.layout, b"one").descriptor)
    session.layout.tag(images, "digits:images")

    with pytest.raises(UsageError, match="not of kits"):
        mlkit.add_to_index("digits:images", "digits:q4", session=session)
    with pytest.raises(UnsafeError, match="no kit"):
        mlkit.files("digits:images", session=session)


def test_labels_for_what_is_no_index_are_refused(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")

    with pytest.raises(UsageError, match="is one kit, and no index to choose from"):
        mlkit.unpack("digits:q4", tmp_path / "out", labels=["quantization=q4"], session=session)

    assert not (tmp_path / "out").exists()


def test_every_question_looks_into_an_index(session: Session, tmp_path: Path) -> None:
    kits = pack_variants(session, tmp_path / "project", "digits")
    labels = ["quantization=q8"]

    assert mlkit.inspect("digits:all", labels=labels, session=session).digest == kits["q8"]
    assert mlkit.inspect("digits:all", session=session).kind == "index"
    assert mlkit.info("digits:all", labels=labels, session=session).digest == kits["q8"]
    assert WEIGHTS in [file.path for file in mlkit.files("digits:all", labels=labels, session=session)]
    assert mlkit.cat("digits:all", WEIGHTS, labels=labels, session=session).startswith(b"q8")
    with mlkit.open("digits:all", labels=labels, session=session) as kit:
        assert kit.digest == kits["q8"]
    with pytest.raises(UsageError, match=r"an index of 3 kits .*q4 \(quantization=q4, vram=6GB\)"):
        mlkit.diff("digits:all", "digits:q4", session=session)


def test_a_function_of_the_caller_may_choose(session: Session, tmp_path: Path) -> None:
    kits = pack_variants(session, tmp_path / "project", "digits")
    seen: list[str | None] = []

    def last(variants: Sequence[Variant]) -> Variant:
        seen.extend(variant.tag for variant in variants)
        return max(variants, key=lambda variant: str(variant.tag))

    found = mlkit.info("digits:all", labels=["vram<=12GB"], select=last, session=session)
    fitting = mlkit.info("digits:all", select=best_for([Gpu("any", 16 << 30)]), session=session)

    assert sorted(map(str, seen)) == ["q4", "q8"]
    assert found.digest == fitting.digest == kits["q8"]


def write_nvidia_smi(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_gpus_of_this_machine_are_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "143771, 9.0, NVIDIA H200\n24564, [N/A], Some GPU, of two words\n"
    write_nvidia_smi(tmp_path / "bin", f"[ $# = 2 ] || exit 3\nprintf '%s' '{lines}'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    assert nvidia_gpus() == (
        Gpu("NVIDIA H200", 143771 << 20, (9, 0)),
        Gpu("Some GPU, of two words", 24564 << 20, None),
    )


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'No devices were found'", "No devices were found"),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", "NVIDIA-SMI has failed"),
        ("echo '143771, 9.0, NVIDIA H200'; exit 15", "143771"),
    ],
    ids=["none", "no driver", "died"],
)
def test_a_machine_whose_gpus_cannot_be_asked_is_told_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    pack_variants(session, tmp_path / "project", "digits")
    write_nvidia_smi(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(NotFoundError, match=told) as caught:
        mlkit.info("digits:all", select="auto", session=session)

    assert caught.value.hint is not None
    assert "-l" in caught.value.hint


def test_a_program_that_cannot_be_run_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nvidia_smi(tmp_path / "bin", "")
    (tmp_path / "bin/nvidia-smi").write_bytes(b"\x7fELF no program")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(NotFoundError, match="cannot be run"):
        nvidia_gpus()


def test_the_store_of_an_index_is_one_that_other_tools_read(session: Session, tmp_path: Path) -> None:
    pack_variants(session, tmp_path / "project", "digits")

    names = Layout.at(session.settings.home).names()

    assert names["digits:all"].artifact_type == "application/vnd.kitops.modelkit.index.v1+json"
    assert PARTIAL not in names["digits:all"].annotations
