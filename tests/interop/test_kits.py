"""Kits in the hands of people who have never heard of mlkit: skopeo, oras, crane, oras-py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.programs import Program

import mlkit
from mlkit.api.packing import Packed
from mlkit.api.session import Session
from mlkit.spec.digest import Digest


@pytest.fixture
def pushed(digits: Path, host: str, session: Session) -> Packed:
    packed = mlkit.pack(digits, tag=f"{host}/team/digits:1.2", session=session)
    mlkit.push(f"{host}/team/digits:1.2", session=session)
    return packed


def tool(name: str, *arguments: str) -> str:
    """Run a real program; skips where it is not installed."""
    return Program(name)(*arguments)


def raw_files(session: Session, reference: str, project: Path) -> dict[str, bytes]:
    """The files that are layers of their own: those that a tool which knows only layers gives back as files."""
    layers = [layer for layer in mlkit.inspect(reference, session=session).layers if layer.kind == "raw" and layer.path]
    return {layer.path: (project / layer.path).read_bytes() for layer in layers if layer.path}


def test_skopeo_copies_a_kit_and_mlkit_reads_the_copy(pushed: Packed, digits: Path, host: str, tmp_path: Path) -> None:
    flags = ("--src-tls-verify=false", "--dest-tls-verify=false")
    tool("skopeo", "copy", *flags, f"docker://{host}/team/digits:1.2", f"oci:{tmp_path / 'layout'}:team/digits:1.2")
    tool("skopeo", "copy", *flags, f"oci:{tmp_path / 'layout'}:team/digits:1.2", f"docker://{host}/copied/digits:1.2")

    with mlkit.session(home=tmp_path / "layout", plain_http_hosts=("loopback",)) as over_the_copy:
        mlkit.unpack("team/digits:1.2", tmp_path / "files", session=over_the_copy)
        remote = mlkit.inspect(f"{host}/copied/digits:1.2", remote=True, session=over_the_copy)

    assert remote.digest == pushed.digest
    assert {str(path.relative_to(digits)): path.read_bytes() for path in digits.rglob("*") if path.is_file()} == {
        str(path.relative_to(tmp_path / "files")): path.read_bytes()
        for path in (tmp_path / "files").rglob("*")
        if path.is_file()
    }


def test_skopeo_reads_the_local_store(pushed: Packed, host: str, tmp_path: Path) -> None:
    text = tool("skopeo", "inspect", "--raw", f"oci:{tmp_path / 'store'}:{host}/team/digits:1.2")

    assert Digest.of(text.encode()) == pushed.digest


@pytest.mark.parametrize("program", ["oras", "oras-py"])
def test_oras_pulls_the_files_of_a_kit(
    pushed: Packed, digits: Path, host: str, session: Session, tmp_path: Path, program: str
) -> None:
    reference, out = f"{host}/team/digits:1.2", tmp_path / "pulled"
    if program == "oras":
        tool("oras", "pull", "--plain-http", reference, "-o", str(out))
    else:
        client = pytest.importorskip("oras.client").OrasClient(insecure=True)
        client.pull(target=reference, outdir=str(out))

    expected = raw_files(session, reference, digits)
    assert len(expected) >= 6
    assert {path: (out / path).read_bytes() for path in expected} == expected


@pytest.mark.parametrize("layers", ["auto", "raw"])
def test_the_names_that_a_mount_of_cri_o_gives_are_those_of_the_files(
    layers: str, digits: Path, host: str, session: Session
) -> None:
    """CRI-O is not run here. It mounts each layer as it is, named by its title or else by its file path."""
    mlkit.pack(digits, tag=f"{host}/team/digits:1.2", layers=layers, session=session)
    mlkit.push(f"{host}/team/digits:1.2", session=session)

    manifest = json.loads(tool("crane", "manifest", "--insecure", f"{host}/team/digits:1.2"))
    mounted = {
        layer["annotations"].get(
            "org.opencontainers.image.title", layer["annotations"]["org.cncf.model.filepath"]
        ): layer
        for layer in manifest["layers"]
    }

    assert len(mounted) == len(manifest["layers"])
    expected = {
        path: str(Digest.of(content)) for path, content in raw_files(session, f"{host}/team/digits:1.2", digits).items()
    }
    assert {path: mounted[path]["digest"] for path in expected} == expected
    if layers == "raw":
        kept = {
            str(path.relative_to(digits)) for path in digits.rglob("*") if path.is_file() and path.name != "Kitfile"
        }
        assert set(mounted) == kept | {".mlkit/kit.json"}


def test_crane_reads_manifest_and_tags(pushed: Packed, host: str) -> None:
    assert tool("crane", "digest", "--insecure", f"{host}/team/digits:1.2").strip() == str(pushed.digest)
    assert tool("crane", "ls", "--insecure", f"{host}/team/digits").split() == ["1.2"]


def test_mlkit_looks_at_what_is_no_kit(host: str, session: Session, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("not a kit\n")
    flags = ("--plain-http", "--disable-path-validation")
    tool("oras", "push", *flags, f"{host}/team/note:1", f"{tmp_path / 'note.txt'}:text/plain")

    inspected = mlkit.inspect(f"{host}/team/note:1", session=session)
    with pytest.raises(mlkit.MlkitError) as caught:
        mlkit.unpack(f"{host}/team/note:1", tmp_path / "out", session=session)

    assert not inspected.is_kit
    assert [layer.size for layer in inspected.layers] == [10]
    assert caught.value.exit_code == 5
