"""What oras-py's own examples, guide and tests do, on our client, against real registries."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import oras.client
import oras.decorator
import oras.defaults
import oras.oci
import pytest
from oras.layout import NewLayout, NewLayoutFromRegistry
from tests.integrations.conftest import Client

import mlkit
from mlkit.api.packing import Packed
from mlkit.api.session import Session
from mlkit.errors import NotFoundError, UnsafeError, UsageError
from mlkit.integrations.oras import OrasClient, Registry

TITLE = "org.opencontainers.image.title"


@pytest.fixture
def target(host: str) -> str:
    return f"{host}/dinosaur/artifact:v1"


def test_a_file_is_pushed_and_pulled(ours: Client, target: str, work: Path, tmp_path: Path) -> None:
    client = ours()

    pushed = client.push(files=["artifact.txt"], target=target)
    files = client.pull(target=target, outdir=str(tmp_path / "out"))

    assert pushed.status_code == 201
    assert files == [str(tmp_path / "out/artifact.txt")]
    assert Path(files[0]).read_text() == "hello dinosaur\n"


def test_a_client_of_oras_py_pulls_what_ours_pushed_and_the_other_way_round(
    ours: Client, plain: Client, target: str, work: Path, tmp_path: Path
) -> None:
    ours().push(files=["artifact.txt", "notes"], target=target)
    plain().pull(target=target, outdir=str(tmp_path / "plain"))
    plain().push(files=["artifact.txt", "notes"], target=f"{target}-again")
    ours().pull(target=f"{target}-again", outdir=str(tmp_path / "ours"))

    for out in (tmp_path / "plain", tmp_path / "ours"):
        assert (out / "artifact.txt").read_text() == "hello dinosaur\n"
        assert (out / "notes/two.txt").read_text() == "two\n"


def test_a_directory_is_pushed_as_one_layer(ours: Client, target: str, work: Path, tmp_path: Path) -> None:
    client = ours()

    client.push(files=["notes"], target=target)
    files = client.pull(target=target, outdir=str(tmp_path / "out"))

    assert files == [str(tmp_path / "out/notes")]
    assert sorted(path.name for path in (tmp_path / "out/notes").iterdir()) == ["one.txt", "two.txt"]


def test_a_file_that_is_there_is_kept_where_that_is_asked_for(
    ours: Client, target: str, work: Path, tmp_path: Path
) -> None:
    client = ours()
    client.push(files=["artifact.txt", "notes"], target=target)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/artifact.txt").write_text("mine\n")

    kept = client.pull(target=target, outdir=str(tmp_path / "out"), overwrite=False)
    after_keeping = (tmp_path / "out/artifact.txt").read_text()
    nothing = client.pull(target=target, outdir=str(tmp_path / "out"), overwrite=False)
    client.pull(target=target, outdir=str(tmp_path / "out"))

    assert kept == [str(tmp_path / "out/notes")]
    assert after_keeping == "mine\n"
    assert nothing == []
    assert (tmp_path / "out/artifact.txt").read_text() == "hello dinosaur\n"


def test_without_a_directory_files_land_in_a_private_one(ours: Client, target: str, work: Path) -> None:
    client = ours()
    client.push(files=["artifact.txt"], target=target)

    (file,) = client.pull(target=target)

    assert Path(file).read_text() == "hello dinosaur\n"
    assert Path(file).parent.stat().st_mode & 0o077 == 0


def test_a_file_is_sent_in_chunks_where_that_is_asked_for(ours: Client, target: str, work: Path) -> None:
    (work / "large").write_bytes(bytes(3_000_000))

    pushed = ours().push(files=["large"], target=target, do_chunked=True, chunk_size=1_000_000)

    assert pushed.status_code == 201


def test_a_manifest_is_fetched_with_its_annotations(ours: Client, target: str, work: Path) -> None:
    annotations = {"$manifest": {"animal": "dinosaur"}, "$config": {"a": "b"}, "artifact.txt": {"kind": "text"}}
    (work / "annotations.json").write_text(json.dumps(annotations))
    (work / "config.json").write_text('{"k": "v"}')
    client = ours()

    client.push(
        files=["artifact.txt:text/plain"],
        target=target,
        annotation_file="annotations.json",
        manifest_annotations={"more": "yes"},
        manifest_config="config.json:application/vnd.example.config",
    )
    manifest = client.get_manifest(target, validation_schema=oras.schemas.manifest)

    assert manifest["annotations"] == {"animal": "dinosaur", "more": "yes"}
    assert manifest["config"]["mediaType"] == "application/vnd.example.config"
    assert manifest["config"]["annotations"] == {"a": "b"}
    assert manifest["layers"][0]["mediaType"] == "text/plain"
    assert manifest["layers"][0]["annotations"] == {TITLE: "artifact.txt", "kind": "text"}


def test_tags_are_listed_and_deleted(ours: Client, host: str, work: Path) -> None:
    client = ours()
    for number, tag in enumerate(("a", "b", "c")):
        (work / "artifact.txt").write_text(f"version {number}\n")
        client.push(files=["artifact.txt"], target=f"{host}/dinosaur/artifact:{tag}")

    all_tags = client.get_tags(f"{host}/dinosaur/artifact")
    some = client.get_tags(f"{host}/dinosaur/artifact", N=2)
    deleted = client.delete_tags(f"{host}/dinosaur/artifact", ["b", "never-there"])

    assert sorted(all_tags) == ["a", "b", "c"]
    assert len(some) == 2
    assert deleted == ["b"]
    assert sorted(client.get_tags(f"{host}/dinosaur/artifact")) == ["a", "c"]


def test_an_artifact_is_attached_to_another(ours: Client, target: str, host: str, work: Path, session: Session) -> None:
    client = ours()
    client.push(files=["artifact.txt"], target=target)
    subject = oras.oci.Subject.from_manifest(client.get_manifest(target))

    client.push(files=["notes/one.txt"], target=f"{host}/dinosaur/artifact:card", subject=subject)

    store = session.host(host).repository("dinosaur/artifact")
    assert [found.digest for found in store.referrers(store.resolve("v1"))] == [store.resolve("card").digest]


def test_an_artifact_is_copied_through_a_layout(
    ours: Client, target: str, host: str, work: Path, tmp_path: Path
) -> None:
    client = ours()
    client.push(files=["artifact.txt", "notes"], target=target)

    NewLayoutFromRegistry(str(tmp_path / "layout"), client, target)
    copied = NewLayout(str(tmp_path / "layout")).push_to_registry(client, f"{host}/copied/artifact:v1")

    assert copied.status_code == 201
    assert client.get_manifest(f"{host}/copied/artifact:v1") == client.get_manifest(target)
    assert len(client.pull(f"{host}/copied/artifact:v1", outdir=str(tmp_path / "out"))) == 2


class ConfigReader(Registry):
    """A subclass that goes below the methods of the guide, as programs do."""

    @oras.decorator.ensure_container  # type: ignore[untyped-decorator]
    def get_config(self, container: Any) -> Any:
        manifest = self.get_manifest(container)
        return self.get_blob(container, manifest["config"]["digest"]).json()

    @oras.decorator.ensure_container  # type: ignore[untyped-decorator]
    def get_digest(self, container: Any) -> str:
        headers = {"Accept": oras.defaults.default_manifest_media_type}
        response = self.do_request(f"{self.prefix}://{container.manifest_url()}", "HEAD", headers=headers)
        self._check_200_response(response)
        return str(response.headers["Docker-Content-Digest"])


def test_a_subclass_of_a_program_goes_over_the_engine(target: str, work: Path) -> None:
    with ConfigReader(insecure=True) as client:
        response = client.push(files=["artifact.txt"], target=target)

        assert client.get_config(target) == {}
        assert client.get_digest(target) == response.headers["Docker-Content-Digest"]


def test_a_blob_is_downloaded_and_streamed(ours: Client, target: str, work: Path, tmp_path: Path) -> None:
    client = ours()
    (work / "large").write_bytes(bytes(range(256)) * 10_000)
    client.push(files=["large"], target=target)
    digest = client.get_manifest(target)["layers"][0]["digest"]

    outfile = client.download_blob(target, digest, str(tmp_path / "deep/down/large"))
    with client.get_blob(client.get_container(target), digest, stream=True) as response:
        streamed = hashlib.sha256()
        for chunk in response.iter_content(8192):
            streamed.update(chunk)

    assert Path(outfile).read_bytes() == (work / "large").read_bytes()
    assert f"sha256:{streamed.hexdigest()}" == digest
    assert list((tmp_path / "deep/down").iterdir()) == [tmp_path / "deep/down/large"]


def test_what_is_not_there_is_not_found_and_a_value_error(ours: Client, target: str, tmp_path: Path) -> None:
    client = ours()

    with pytest.raises(NotFoundError) as caught:
        client.pull(target, outdir=str(tmp_path / "out"))

    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 3
    assert client.do_request(f"http://{client.get_container(target).manifest_url()}").status_code == 404
    assert not (tmp_path / "out").exists()


def test_the_files_of_a_kit_are_pulled(ours: Client, digits: Path, host: str, session: Session, tmp_path: Path) -> None:
    packed: Packed = mlkit.pack(digits, tag=f"{host}/team/digits:1.2", session=session)
    mlkit.push(f"{host}/team/digits:1.2", session=session)

    ours().pull(f"{host}/team/digits@{packed.digest}", outdir=str(tmp_path / "out"))

    raw = [
        layer.path for layer in mlkit.inspect(f"{host}/team/digits:1.2", session=session).layers if layer.kind == "raw"
    ]
    assert len(raw) >= 6
    for path in raw:
        if path:
            assert (tmp_path / "out" / path).read_bytes() == (digits / path).read_bytes()


def test_an_index_is_not_pulled_as_nothing(ours: Client, target: str, host: str, work: Path, tmp_path: Path) -> None:
    client = ours()
    pushed = client.push(files=["artifact.txt"], target=target)
    digest = pushed.headers["Docker-Content-Digest"]
    size = len(json.dumps(client.get_manifest(target)))
    entry = {"mediaType": oras.defaults.default_manifest_media_type, "digest": digest, "size": size}
    index = {"schemaVersion": 2, "mediaType": oras.defaults.default_index_media_type, "manifests": [entry]}
    url = f"http://{host}/v2/dinosaur/artifact/manifests/index"
    put = client.do_request(url, "PUT", headers={"Content-Type": index["mediaType"]}, data=json.dumps(index).encode())

    with pytest.raises(UsageError, match="index of several"):
        client.pull(f"{host}/dinosaur/artifact:index", outdir=str(tmp_path / "out"))

    assert put.status_code == 201


def test_a_link_in_a_directory_is_refused_and_nothing_is_written(
    ours: Client, target: str, work: Path, tmp_path: Path
) -> None:
    (work / "notes/link").symlink_to("one.txt")
    client = ours()
    client.push(files=["artifact.txt", "notes"], target=target)

    with pytest.raises(UnsafeError, match="notes/link"):
        client.pull(target, outdir=str(tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_a_file_outside_of_the_working_directory_is_pushed_only_on_purpose(
    ours: Client, target: str, work: Path, tmp_path: Path
) -> None:
    beside = work.with_name("work-beside")
    beside.mkdir()
    (beside / "secret").write_text("s3cr3t\n")
    (work / "link").symlink_to(beside / "secret")
    client = ours()

    for file in (str(beside / "secret"), "link"):
        with pytest.raises(ValueError, match="working directory"):
            client.push(files=[file], target=target)

    assert client.push(files=[str(beside / "secret")], target=target, disable_path_validation=True).status_code == 201


def test_the_names_of_oras_py_are_there() -> None:
    assert OrasClient is Registry
    assert issubclass(Registry, oras.client.OrasClient)
    assert "Python version" in Registry().version()


def test_the_command_line_imports_neither_oras_py_nor_requests() -> None:
    script = "import sys, mlkit.cli.main, mlkit.api.public; print({'oras', 'requests'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_without_the_extra_the_import_says_what_to_install() -> None:
    script = "import sys; sys.modules['oras'] = None; import mlkit.integrations.oras"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "ModuleNotFoundError: mlkit.integrations.oras needs the package" in done.stderr
    assert "pip install 'mlkit[oras]'" in done.stderr
