"""KitOps' own `kit`, both ways: what mlkit packs it unpacks, what it packs mlkit reads, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from tests.interop.trees import EQUAL_FILE, FILES, THEIRS_RAW, THEIRS_TAR, bundle, write_everything
from tests.packing.trees import DATA
from tests.support.kits import compressed, kitops_kit, tar_of
from tests.support.programs import Program, kit_program, tree

import mlkit
from mlkit.api.session import Session

Format = Literal["modelpack", "kitops"]
FORMATS: tuple[Format, ...] = ("modelpack", "kitops")

# Raw layers are never compressed by mlkit, so raw meets one compression only.
WRITTEN = [
    (to, layers, compression)
    for to in FORMATS
    for layers in ("auto", "tar", "raw")
    for compression in ("none", "gzip", "zstd")
    if layers != "raw" or compression == "none"
]
# `kit` refuses to compress raw layers of a ModelPack, because the specification has no such type.
READ = [
    (to, layers, compression)
    for to in FORMATS
    for layers in ("tar", "raw")
    for compression in ("none", "gzip", "gzip-fastest", "zstd")
    if not (to == "modelpack" and layers == "raw" and compression != "none")
]


@pytest.fixture
def kit(tmp_path: Path) -> Program:
    return kit_program(tmp_path / "home")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    return write_everything(tmp_path / "everything")


def push(directory: Path, reference: str, session: Session, **options: Any) -> None:
    mlkit.pack(directory, tag=reference, push=True, session=session, **options)


@pytest.mark.parametrize(("to", "layers", "compression"), WRITTEN, ids=["-".join(one) for one in WRITTEN])
def test_kit_unpacks_what_mlkit_packed(
    kit: Program, everything: Path, host: str, session: Session, tmp_path: Path, to: Any, layers: Any, compression: Any
) -> None:
    if (to, layers) == ("modelpack", "raw"):
        # What becomes of these two is a claim of its own, below.
        (everything / EQUAL_FILE).unlink()
    reference = f"{host}/team/everything:1.2"
    push(everything, reference, session, format=to, layers=layers, compression=compression)

    kit("unpack", "--plain-http", reference, "-d", tmp_path / "streamed")
    kit("pull", "--plain-http", reference)
    kit("unpack", reference, "-d", tmp_path / "pulled")
    inspected = json.loads(kit("inspect", reference))
    info = kit("info", reference)

    assert tree(tmp_path / "streamed") == tree(everything)
    assert tree(tmp_path / "pulled") == tree(everything)
    assert inspected["digest"] == str(mlkit.inspect(reference, session=session).digest)
    assert "name: everything" in info


def test_kit_fails_over_equal_raw_files_in_a_modelpack(
    kit: Program, host: str, session: Session, tmp_path: Path
) -> None:
    """It does over its own. mlkit keeps them raw there, for CRI-O, `modctl` and `oras`, which can tell them apart."""
    project = write_everything(
        tmp_path / "equal", {"data/a": b"same", "data/b": b"same"}, "datasets: [{name: d, path: data}]\n"
    )
    reference = f"{host}/team/equal:1"
    push(project, reference, session)

    ended = kit.end("unpack", "--plain-http", reference, "-d", tmp_path / "out")

    assert ended.code == 1
    assert "already exists" in ended.stdout + ended.stderr


@pytest.mark.parametrize("to", FORMATS)
def test_kit_unpacks_the_digits_example(
    kit: Program, digits: Path, host: str, session: Session, tmp_path: Path, to: Format
) -> None:
    reference = f"{host}/team/digits:1.2"
    push(digits, reference, session, format=to)

    kit("unpack", "--plain-http", reference, "-d", tmp_path / "out")

    packed = {file.path for file in mlkit.files(reference, session=session)}
    assert tree(tmp_path / "out") == {path: content for path, content in tree(digits).items() if path in packed}
    assert len(packed) >= 8


@pytest.mark.parametrize("to", FORMATS)
def test_kit_unpacks_parts_of_what_mlkit_packed(
    kit: Program, everything: Path, host: str, session: Session, tmp_path: Path, to: Format
) -> None:
    reference = f"{host}/team/everything:1.2"
    push(everything, reference, session, format=to)

    kit("unpack", "--plain-http", reference, "-d", tmp_path / "model", "--filter", "model")
    kit("unpack", "--plain-http", reference, "-d", tmp_path / "test", "--filter", "datasets:test")
    kit("unpack", "--plain-http", reference, "-d", tmp_path / "prompts", "--filter", "prompts")

    assert set(tree(tmp_path / "model")) == {path for path in FILES if path.startswith(("model/", "lora/"))}
    assert set(tree(tmp_path / "test")) == {"data/test.csv"}
    assert set(tree(tmp_path / "prompts")) == {"prompts/system.md"}


@pytest.mark.parametrize(
    ("to", "layers", "compression"),
    READ,
    ids=["-".join(one) for one in READ],
)
def test_mlkit_reads_what_kit_packed(
    kit: Program, host: str, session: Session, tmp_path: Path, to: Format, layers: str, compression: str
) -> None:
    # `kit` can put only single files into raw layers.
    project = write_everything(tmp_path / "project", *(THEIRS_RAW if layers == "raw" else THEIRS_TAR))
    reference = f"{host}/team/theirs:1.2"
    flags = ("--layer-format", layers, "--compression", compression, *(["--use-model-pack"] * (to == "modelpack")))
    kit("pack", project, "-t", reference, *flags)
    kit("push", "--plain-http", reference)

    mlkit.pull(reference, session=session)
    mlkit.unpack(reference, tmp_path / "all", session=session)
    mlkit.unpack(reference, tmp_path / "some", filters=["datasets:train"], session=session)
    inspected = mlkit.inspect(reference, session=session)
    with mlkit.open(reference, session=session) as opened:
        caught = {path: opened.read(path) for path in ("data/train.csv", "model/net.bin")}

    assert tree(tmp_path / "all") == tree(project)
    assert set(tree(tmp_path / "some")) == {path for path in tree(project) if path.startswith("data/train")}
    assert caught == {path: (project / path).read_bytes() for path in caught}
    assert inspected.is_kit
    assert len(inspected.layers) == len(inspected.entries)
    assert mlkit.info(reference, session=session).kitfile["package"]["name"] == "theirs"


def test_mlkit_reads_bundles_of_mcp_servers_that_kit_packed(
    kit: Program, host: str, session: Session, tmp_path: Path
) -> None:
    project = write_everything(
        tmp_path / "tools",
        {"tool.mcpb": bundle()},
        "manifestVersion: 1.0.0\nmcpServers: [{name: t, path: tool.mcpb}]\n",
    )
    reference = f"{host}/team/tools:1"
    kit("pack", project, "-t", reference)
    kit("push", "--plain-http", reference)

    mlkit.unpack(reference, tmp_path / "out", filters=["mcpservers:t"], session=session)

    assert tree(tmp_path / "out") == tree(project)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_kit_of_before_0_5_is_unpacked_as_kit_does(
    kit: Program, host: str, session: Session, tmp_path: Path, compression: str
) -> None:
    """Made by hand: no digests in the config, and names in a tar are relative to the folder that its entry is in."""
    suffix = "" if compression == "none" else f"+{compression}"
    kitfile = {
        "manifestVersion": "1.0.0",
        "package": {"name": "old"},
        "model": {"name": "net", "path": "some/model", "parts": [{"name": "tok", "path": "tok/tokenizer.json"}]},
        "datasets": [{"name": "a", "path": "data/a"}, {"name": "b", "path": "b.csv"}],
        "code": [{"path": "src"}],
        "docs": [{"path": "docs/README.md"}],
    }
    layers = {
        "model": {"model/": b"", "model/net.bin": b"weights", "model/deep/": b"", "model/deep/x": b""},
        "modelpart": {"tokenizer.json": b"{}"},
        "code": {"src/": b"", "src/run.py": b"pass\n"},
        "dataset": {"a/": b"", "a/1.csv": b"1\n"},
        "dataset ": {"b.csv": b"2\n"},
        "docs": {"README.md": b"# old\n"},
    }
    store = session.layout
    desc = kitops_kit(
        store,
        kitfile,
        [
            (f"{role.strip()}.v1.tar{suffix}", compressed(tar_of(files), compression), {})
            for role, files in layers.items()
        ],
    )
    reference = f"{host}/team/old:1"
    store.tag(desc, reference)
    mlkit.push(reference, session=session)

    kit("unpack", "--plain-http", reference, "-d", tmp_path / "by-kit")
    mlkit.unpack(reference, tmp_path / "by-mlkit", session=session)

    assert tree(tmp_path / "by-mlkit") == tree(tmp_path / "by-kit")
    assert {path: content for path, (content, _) in tree(tmp_path / "by-mlkit").items()} == {
        "some/model/net.bin": b"weights",
        "some/model/deep/x": b"",
        "tok/tokenizer.json": b"{}",
        "src/run.py": b"pass\n",
        "data/a/1.csv": b"1\n",
        "b.csv": b"2\n",
        "docs/README.md": b"# old\n",
    }


def cases() -> list[Any]:
    folder = DATA / "kitfile-cases"
    if not folder.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip(reason="the cases of KitOps are not beside the repository"))]
    return [pytest.param(yaml.safe_load(path.read_text()), id=path.stem) for path in sorted(folder.glob("*.yaml"))]


def written_case(case: dict[str, Any], root: Path, host: str) -> list[tuple[str, Path, set[str]]]:
    """The kits of a case: reference, directory, and the files that its kit has."""
    written = []
    for number, told in enumerate(case.get("modelkits", [case])):
        reference = f"{host}/team/{told.get('tag', 'case:1')}"
        # References to other kits of the case go to the registry of the test.
        kitfile = told["kitfile"].replace("test-ref:", f"{host}/team/test-ref:")
        packed = {name.removeprefix("./") for name in told.get("files", ())}
        names = (*packed, *(name.removeprefix("./") for name in told.get("ignored", ())))
        directory = write_everything(root / str(number), {name: f"testing: {name}".encode() for name in names}, kitfile)
        if "kitignore" in told:
            (directory / ".kitignore").write_text(told["kitignore"])
        written.append((reference, directory, packed))
    return written


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("to", FORMATS)
def test_the_cases_of_kitops_go_from_mlkit_to_kit(
    kit: Program, host: str, session: Session, tmp_path: Path, case: dict[str, Any], to: Format
) -> None:
    kits = written_case(case, tmp_path / "in", host)
    for reference, directory, _ in kits:
        push(directory, reference, session, format=to)

    reference, _, own = kits[-1]
    kit("unpack", "--plain-http", reference, "-d", tmp_path / "by-kit")
    mlkit.unpack(reference, tmp_path / "by-mlkit", session=session)

    assert tree(tmp_path / "by-kit") == tree(tmp_path / "by-mlkit")
    assert own <= set(tree(tmp_path / "by-kit"))
    if len(kits) == 1:
        assert own == set(tree(tmp_path / "by-kit"))


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("to", FORMATS)
def test_the_cases_of_kitops_go_from_kit_to_mlkit(
    kit: Program, host: str, session: Session, tmp_path: Path, case: dict[str, Any], to: Format
) -> None:
    kits = written_case(case, tmp_path / "in", host)
    for reference, directory, _ in kits:
        kit("pack", directory, "-t", reference, *(["--use-model-pack"] * (to == "modelpack")))
        kit("push", "--plain-http", reference)

    reference, _, own = kits[-1]
    kit("unpack", "--plain-http", reference, "-d", tmp_path / "by-kit")
    mlkit.unpack(reference, tmp_path / "by-mlkit", session=session)

    assert tree(tmp_path / "by-mlkit") == tree(tmp_path / "by-kit")
    assert own <= set(tree(tmp_path / "by-mlkit"))
