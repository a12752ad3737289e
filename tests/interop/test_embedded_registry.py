"""Clients that others wrote, against `mlkit registry serve`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import oras.client
import oras.provider
import pytest
from tests.support.tools import find_tool

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.media_types import OCI_EMPTY, OCI_MANIFEST


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "store")


@pytest.fixture
def registry(layout: Layout) -> Iterator[RunningRegistry]:
    with RunningRegistry(layout) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three files: text, an empty one, and one that clients send in several pieces."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("# digits\n")
    (project / "empty").write_bytes(b"")
    (project / "model.safetensors").write_bytes(os.urandom(3_000_000))
    return project


class Runner:
    """Runs a program with a home of its own, or skips the test where the program is not here."""

    def __init__(self, home: Path) -> None:
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(home),
            "DOCKER_CONFIG": str(home),
        }

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        tool = find_tool(command[0])
        if tool is None:
            pytest.skip(f"{command[0]} is not installed")
        done = subprocess.run(
            [str(tool), *command[1:]], env=self._environment, cwd=cwd, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
        return done.stdout


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def push_with_oras(run: Runner, registry: RunningRegistry, project: Path, tag: str = "1.2") -> str:
    """Push the project with the oras program; gives the manifest's digest."""
    reference = f"{registry.host}/team/digits:{tag}"
    run("oras", "push", "--plain-http", "--no-tty", reference, *sorted(content(project)), cwd=project)
    return run("oras", "resolve", "--plain-http", reference).strip()


def test_oras_pushes_and_pulls(run: Runner, registry: RunningRegistry, project: Path, tmp_path: Path) -> None:
    digest = push_with_oras(run, registry, project)

    for reference in ("digits:1.2", f"digits@{digest}"):
        out = tmp_path / reference.replace(":", "-")
        run("oras", "pull", "--plain-http", "--no-tty", f"{registry.host}/team/{reference}", "-o", str(out))
        assert content(out) == content(project)


def test_oras_lists_tags_repositories_and_moves_tags(run: Runner, registry: RunningRegistry, project: Path) -> None:
    digest = push_with_oras(run, registry, project)
    run("oras", "tag", "--plain-http", f"{registry.host}/team/digits@{digest}", "latest", "stable")

    tags = run("oras", "repo", "tags", "--plain-http", f"{registry.host}/team/digits").split()
    repositories = run("oras", "repo", "ls", "--plain-http", registry.host).split()

    assert tags == ["1.2", "latest", "stable"]
    assert repositories == ["team/digits"]


def test_oras_attaches_and_discovers_referrers(
    run: Runner, registry: RunningRegistry, project: Path, tmp_path: Path
) -> None:
    push_with_oras(run, registry, project)
    reference = f"{registry.host}/team/digits:1.2"
    (tmp_path / "card.md").write_text("# card\n")
    kind = "application/vnd.example.card"
    run(
        "oras", "attach", "--plain-http", "--no-tty", "--artifact-type", kind, reference, "card.md", cwd=tmp_path
    )  # fmt: skip

    found = json.loads(run("oras", "discover", "--plain-http", "--format", "json", reference))
    filtered = json.loads(
        run("oras", "discover", "--plain-http", "--format", "json", "--artifact-type", "application/x", reference)
    )

    assert [one["artifactType"] for one in found["manifests"]] == [kind]
    assert not filtered["manifests"]
    # The referrers API is there, so the client must not have fallen back to a tag.
    assert run("oras", "repo", "tags", "--plain-http", f"{registry.host}/team/digits").split() == ["1.2"]


def test_oras_copies_between_repositories_and_deletes(
    run: Runner, registry: RunningRegistry, project: Path, layout: Layout
) -> None:
    digest = push_with_oras(run, registry, project)
    source, target = f"{registry.host}/team/digits:1.2", f"{registry.host}/other/digits:1.2"

    run("oras", "cp", "--from-plain-http", "--to-plain-http", "--no-tty", source, target)
    run("oras", "manifest", "delete", "--plain-http", "--force", source)

    assert run("oras", "resolve", "--plain-http", target).strip() == digest
    assert list(layout.names()) == ["other/digits:1.2"]


def test_oras_moves_single_blobs(run: Runner, registry: RunningRegistry, project: Path, tmp_path: Path) -> None:
    file = project / "model.safetensors"
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    blob = f"{registry.host}/team/digits@{digest}"

    run("oras", "blob", "push", "--plain-http", "--no-tty", blob, str(file))
    run("oras", "blob", "fetch", "--plain-http", "--no-tty", blob, "--output", str(tmp_path / "fetched"))
    run("oras", "blob", "delete", "--plain-http", "--force", blob)

    assert (tmp_path / "fetched").read_bytes() == file.read_bytes()


def test_skopeo_copies_in_and_out(run: Runner, registry: RunningRegistry, project: Path, tmp_path: Path) -> None:
    digest = push_with_oras(run, registry, project)
    source = f"docker://{registry.host}/team/digits:1.2"
    mirrored = f"docker://{registry.host}/mirror/digits:1.2"
    local = f"oci:{tmp_path / 'out'}:1.2"

    run("skopeo", "copy", "--src-tls-verify=false", source, local)
    run("skopeo", "copy", "--dest-tls-verify=false", "--preserve-digests", local, mirrored)

    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", mirrored)
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == digest
    listed = json.loads(run("skopeo", "list-tags", "--tls-verify=false", f"docker://{registry.host}/mirror/digits"))
    assert listed["Tags"] == ["1.2"]


def test_skopeo_deletes(run: Runner, registry: RunningRegistry, project: Path, layout: Layout) -> None:
    push_with_oras(run, registry, project)

    run("skopeo", "delete", "--tls-verify=false", f"docker://{registry.host}/team/digits:1.2")

    assert layout.names() == {}


def test_skopeo_reads_the_layout_that_was_pushed_to(
    run: Runner, registry: RunningRegistry, project: Path, layout: Layout
) -> None:
    digest = push_with_oras(run, registry, project)

    raw = run("skopeo", "inspect", "--raw", f"oci:{layout.root}:team/digits:1.2")

    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == digest


def test_crane_copies_an_index_and_validates_it(run: Runner, registry: RunningRegistry, tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(bytes(10_240))
    image, index = f"{registry.host}/team/image:1", f"{registry.host}/team/index:1"
    run(
        "crane",
        "append",
        "--insecure",
        "--new_layer",
        str(tmp_path / "layer.tar"),
        "--new_tag",
        image,
        "--oci-empty-base",
    )
    run("crane", "index", "append", "--insecure", "--manifest", image, "--tag", index)

    run("crane", "copy", "--insecure", index, f"{registry.host}/other/index:1")

    for reference in (image, f"{registry.host}/other/index:1"):
        run("crane", "validate", "--insecure", "--remote", reference)
    assert run("crane", "ls", "--insecure", f"{registry.host}/other/index").split() == ["1"]
    assert run("crane", "catalog", "--insecure", registry.host).split() == ["other/index", "team/image", "team/index"]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_oras_py_pushes_and_pulls(
    registry: RunningRegistry, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    monkeypatch.chdir(project)
    # It has trouble with empty files of its own.
    (project / "empty").unlink()
    client = oras.client.OrasClient(hostname=registry.host, insecure=True)
    target = f"{registry.host}/team/digits:1.2"

    client.push(target=target, files=sorted(content(project)), do_chunked=is_chunked, chunk_size=1_000_000, quiet=True)
    client.pull(target=target, outdir=str(tmp_path / "out"))

    assert content(tmp_path / "out") == content(project)
    assert client.get_tags(f"{registry.host}/team/digits") == ["1.2"]


def test_curl_goes_through_the_whole_protocol(run: Runner, registry: RunningRegistry, tmp_path: Path) -> None:
    blob = os.urandom(300_000)
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    (tmp_path / "one").write_bytes(blob[:100_000])
    (tmp_path / "two").write_bytes(blob[100_000:])
    (tmp_path / "config").write_bytes(b"{}")
    config = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example",
            "config": {"mediaType": OCI_EMPTY, "digest": config, "size": 2},
            "layers": [{"mediaType": "application/octet-stream", "digest": digest, "size": len(blob)}],
        }
    )
    curl = ("curl", "--silent", "--show-error", "--fail", "--noproxy", "*")
    base = f"{registry.url}/v2/team/digits"

    where = run(
        *curl,
        "-X",
        "POST",
        "-H",
        "Content-Length: 0",
        "-o",
        "/dev/null",
        "-w",
        "%header{location}",
        f"{base}/blobs/uploads/",
    )
    session = registry.url + where
    run(*curl, "-X", "PATCH", "-H", "Content-Range: 0-99999", "--data-binary", f"@{tmp_path / 'one'}", session)
    # -T from a pipe has no length: Transfer-Encoding: chunked, and Expect: 100-continue.
    run(
        *curl,
        "-X",
        "PATCH",
        "-H",
        "Expect: 100-continue",
        "-H",
        "Transfer-Encoding: chunked",
        "-T",
        str(tmp_path / "two"),
        session,
    )
    run(*curl, "-X", "PUT", "-H", "Content-Length: 0", f"{session}?digest={digest}")
    run(*curl, "-X", "POST", "--data-binary", f"@{tmp_path / 'config'}", f"{base}/blobs/uploads/?digest={config}")
    run(*curl, "-X", "PUT", "-H", f"Content-Type: {OCI_MANIFEST}", "--data-binary", manifest, f"{base}/manifests/1.2")
    run(*curl, "-o", str(tmp_path / "part"), f"{base}/blobs/{digest}", "-r", "0-999")
    run(*curl, "-o", str(tmp_path / "part"), f"{base}/blobs/{digest}", "-C", "1000")

    assert run(*curl, f"{base}/manifests/1.2") == manifest
    assert (tmp_path / "part").read_bytes() == blob
