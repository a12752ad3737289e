"""`mlkit index`, and `-l` and `--select` wherever a kit is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import CommandLine

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

WEIGHTS = "model/weights.safetensors"


@pytest.fixture
def indexed(mlkit: CommandLine) -> CommandLine:
    """A command line whose store has `digits:q4`, `digits:q8` and `digits:all`, which lists both."""
    mlkit.ok("index", "create", "digits:all")
    for tag, memory in {"q4": "6GB", "q8": "12GB"}.items():
        (mlkit.cwd / WEIGHTS).write_text(tag * 500)
        mlkit.ok("pack", ".", "-t", f"digits:{tag}")
        mlkit.ok("index", "add", "digits:all", f"digits:{tag}", "-l", f"quantization={tag}", "-l", f"vram={memory}")
    return mlkit


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


def test_an_index_lists_its_kits_with_their_labels(indexed: CommandLine) -> None:
    listed = indexed.ok("index", "list", "digits:all")
    told = indexed.ok("index", "list", "digits:all", "--json").json

    assert listed.stdout.splitlines()[0].split() == ["DIGEST", "TAG", "SIZE", "LOCAL", "LABELS"]
    assert "quantization=q4, vram=6GB" in listed.stdout
    assert [(kit["tag"], kit["labels"]["vram"], kit["is_local"]) for kit in told["kits"]] == [
        ("q4", "6GB", True),
        ("q8", "12GB", True),
    ]


def test_a_change_prints_the_digest_and_tells_where_the_name_was(indexed: CommandLine) -> None:
    before = indexed.ok("index", "list", "digits:all", "--json").json["digest"]

    changed = indexed.ok("index", "remove", "digits:all", "digits:q8")

    assert changed.stdout.startswith("sha256:")
    assert f"the tag moved: {before} -> {changed.stdout.strip()}" in changed.stderr
    assert "an index of 1 kit" in changed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "digits:all"),
        ("files", "digits:all"),
        ("cat", "digits:all", WEIGHTS),
        ("unpack", "digits:all", "-d", "out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_labels_choose_a_kit_or_the_exit_code_says_why_not(indexed: CommandLine, arguments: tuple[str, ...]) -> None:
    several = indexed(*arguments)
    none = indexed(*arguments, "-l", "vram>20GB")
    wrong = indexed(*arguments, "-l", "vram>much")
    one = indexed.ok(*arguments, "-l", "vram<=8GB", "-l", "quantization!=q8")

    assert (several.code, none.code, wrong.code) == (2, 3, 2)
    for told in (several.stderr, none.stderr):
        assert "q4 (quantization=q4, vram=6GB)" in told
        assert "q8 (quantization=q8, vram=12GB)" in told
    assert one.stdout


def test_the_index_itself_can_be_inspected_and_so_can_a_kit_of_it(indexed: CommandLine) -> None:
    index = indexed.ok("inspect", "digits:all", "--json").json
    kit = indexed.ok("inspect", "digits:all", "-l", "quantization=q4", "--json").json

    assert (index["kind"], index["is_kit"]) == ("index", False)
    assert (kit["kind"], kit["is_kit"]) == ("modelpack", True)


def test_a_pull_by_label_says_which_kit_it_took(indexed: CommandLine, registry: str, tmp_path: Path) -> None:
    reference = f"{registry}/team/digits:all"
    indexed.ok("push", "digits:all", reference, "--plain-http")
    (tmp_path / "second").mkdir()
    second = CommandLine(tmp_path / "second", indexed.cwd)

    pulled = second.ok("pull", reference, "-l", "quantization=q4", "--plain-http")
    listed = second.ok("list", "--json").json

    q4 = indexed.ok("list", "digits:q4", "--json").json[0]["digest"]
    assert f"of the index {pulled.stdout.strip()} the kit {q4}" in pulled.stderr
    assert [(kit["reference"], kit["digest"], kit["is_partial"]) for kit in listed] == [
        (reference, pulled.stdout.strip(), True)
    ]


def test_the_gpu_of_this_machine_chooses(indexed: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho '8192, 8.6, NVIDIA GeForce RTX 3070'\n")
    program.chmod(0o755)
    search = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    assert indexed("cat", "digits:all", WEIGHTS, "--select", "auto", env=search).stdout == "q4" * 500


def test_a_machine_without_a_gpu_is_told_what_to_do(indexed: CommandLine) -> None:
    done = indexed("files", "digits:all", "--select", "auto", "--json", env={"PATH": "/nowhere"})

    assert done.code == 3
    assert "no NVIDIA GPU" in done.error["message"]
    assert "-l KEY=VALUE" in done.error["hint"]


def test_only_auto_selects(indexed: CommandLine) -> None:
    assert indexed("files", "digits:all", "--select", "best").code == 2


def test_labels_that_tell_nothing_apart_are_a_warning(indexed: CommandLine) -> None:
    done = indexed.ok("index", "add", "digits:all", "digits:q8", "-l", "quantization=q4", "-l", "vram=6GB", "--quiet")

    assert "no label tells it from sha256:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "digits:all"), 9),
        (("create", "digits:q4"), 9),
        (("add", "digits:none", "digits:q4"), 3),
        (("add", "digits:all", "digits:none"), 3),
        (("add", "digits:all", "digits:q4", "-l", "no label"), 2),
        (("remove", "digits:all", "digits:none"), 3),
        (("list", "digits:q4"), 2),
        (("list", "digits:none"), 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_leaves_the_index_as_it_was(
    indexed: CommandLine, arguments: tuple[str, ...], code: int
) -> None:
    before = indexed.ok("list", "--json").json

    assert indexed("index", *arguments).code == code

    assert indexed.ok("list", "--json").json == before
