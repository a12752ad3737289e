"""What `oras push`, `umoci` and `crane` make, read like a kit where it has files with names, and named where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.programs import Program, tree

import mlkit
from mlkit.api.session import Session

MODEL = {"config.json": b"{}\n", "deep/er/net.safetensors": bytes(range(256)) * 1000, "größe 数据.txt": b"x"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name, content in MODEL.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


def test_mlkit_reads_files_and_directories_of_oras_push(
    model: Path, host: str, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("# theirs\n")
    reference = f"{host}/team/files:1"
    oras = Program("oras")
    oras("push", "--plain-http", reference, "README.md", "data", "data/config.json:application/json", cwd=tmp_path)
    oras("pull", "--plain-http", reference, "-o", tmp_path / "by-oras")

    with pytest.raises(mlkit.MlkitError) as twice:
        # data/config.json is in it twice, as a file and in the directory: two layers for one place.
        mlkit.unpack(reference, tmp_path / "out", session=session)
    oras("push", "--plain-http", reference, "README.md", "data", cwd=tmp_path)
    mlkit.pull(reference, session=session)
    mlkit.unpack(reference, tmp_path / "out", session=session)
    mlkit.unpack(reference, tmp_path / "docs", filters=["docs"], session=session)
    inspected = mlkit.inspect(reference, session=session)

    assert twice.value.exit_code == 5
    assert tree(tmp_path / "out") == tree(tmp_path / "by-oras")
    assert set(tree(tmp_path / "docs")) == {"README.md"}
    assert (inspected.kind, inspected.is_kit, inspected.problem) == ("artifact", True, None)
    assert mlkit.cat(reference, "data/deep/er/net.safetensors", session=session) == MODEL["deep/er/net.safetensors"]


@pytest.mark.parametrize("step", ["COPY data/ /models/", "umoci insert"], ids=["modelcar", "silent"])
def test_mlkit_reads_a_modelcar_that_says_so(
    model: Path, host: str, session: Session, tmp_path: Path, step: str
) -> None:
    image, reference = f"{tmp_path / 'image'}:1", f"{host}/team/car:1"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/link").symlink_to("elsewhere")
    umoci = Program("umoci")
    umoci("init", "--layout", tmp_path / "image")
    umoci("new", "--image", image)
    umoci("insert", "--image", image, tmp_path / "etc", "/etc")
    umoci("insert", "--image", image, "--history.created_by", step, model, "/models")
    Program("skopeo")("copy", "--dest-tls-verify=false", f"oci:{image}", f"docker://{reference}")

    inspected = mlkit.inspect(reference, session=session)

    assert inspected.kind == "image"
    assert inspected.is_kit is ("/models" in step)
    if inspected.is_kit:
        mlkit.unpack(reference, tmp_path / "out", session=session)
        assert {path: content for path, (content, _) in tree(tmp_path / "out").items()} == {
            f"models/{name}": content for name, content in MODEL.items()
        }
    else:
        with pytest.raises(mlkit.MlkitError, match="is a container image, and no kit: nothing in it tells of /models"):
            mlkit.unpack(reference, tmp_path / "out", session=session)


def test_mlkit_looks_at_an_index_of_images(host: str, session: Session, tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(bytes(10_240))
    image, index = f"{host}/team/image:1", f"{host}/team/index:1"
    crane = Program("crane")
    crane("append", "--insecure", "--new_layer", tmp_path / "layer.tar", "--new_tag", image, "--oci-empty-base")
    crane("index", "append", "--insecure", "--manifest", image, "--tag", index)

    inspected = mlkit.inspect(index, session=session)
    with pytest.raises(mlkit.MlkitError, match="is an index of 1 manifest, and no kit") as caught:
        mlkit.unpack(index, tmp_path / "out", session=session)

    assert (inspected.kind, inspected.is_kit) == ("index", False)
    assert caught.value.exit_code == 5
