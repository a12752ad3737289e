"""Images of kits: what is in them, and what is the same in two of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.support.base_images import Base, tar, write_base
from tests.support.images import FILES, KITFILE, LaidOut, build, pack_kit
from tests.support.kits import compressed, modelpack_kit, tar_of

import mlkit
from mlkit.api.session import Session
from mlkit.content.copy import copy
from mlkit.content.memory import MemoryStore
from mlkit.serving.image_config import Launch
from mlkit.serving.image_platform import Platform


@pytest.fixture
def kit(session: Session, tmp_path: Path) -> str:
    return pack_kit(session, tmp_path / "project")


@pytest.fixture
def base(tmp_path: Path) -> str:
    container = {"Entrypoint": ["/server"], "Cmd": ["--serve"], "Env": ["PATH=/bin", "A=1"]}
    container["Labels"] = {"team": "x", "org.opencontainers.image.authors": "of the base"}
    return f"oci:{write_base(tmp_path / 'base', Base((tar({'server': b'#!'}),), container=container))}:1"


def test_the_model_is_in_models_and_the_kit_in_kit(session: Session, kit: str, base: str, tmp_path: Path) -> None:
    build(session, kit, base, f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    model = {name.removeprefix("model/"): raw for name, raw in FILES.items() if name.startswith("model/")}
    assert {name.removeprefix("models/"): raw for name, raw in files.items() if name.startswith("models/")} == model
    assert files["kit/code/run.py"] == FILES["code/run.py"]
    assert files["kit/params.yaml"] == FILES["params.yaml"]
    assert files["kit/Kitfile"] == KITFILE.encode()
    assert files["kit/model/tokenizer/vocab.txt"] == b"-> ../../../models/tokenizer/vocab.txt"
    assert files["server"] == b"#!"
    assert not [name for name in files if "train.csv" in name]


def test_config_and_layers_agree(session: Session, kit: str, base: str, tmp_path: Path) -> None:
    build(session, kit, base, f"oci:{tmp_path / 'image'}:1")

    image = LaidOut(tmp_path / "image")
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in image.tars()]
    assert image.config["rootfs"] == {"type": "layers", "diff_ids": diff_ids}
    steps = image.config["history"]
    assert len([step for step in steps if not step.get("empty_layer")]) == len(diff_ids)
    assert {step.get("created", "1970-01-01T00:00:00Z") for step in steps} == {"1970-01-01T00:00:00Z"}
    assert image.manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"


def test_the_base_decides_what_nobody_else_does(session: Session, kit: str, base: str, tmp_path: Path) -> None:
    launch = Launch(env={"A": "2", "B": "3"}, workdir="/kit")

    built = build(session, kit, base, f"oci:{tmp_path / 'image'}:1", launch=launch, labels={"own": "label"})

    image = LaidOut(tmp_path / "image")
    assert image.config["config"] == {
        "Entrypoint": ["/server"],
        "Cmd": ["--serve"],
        "Env": ["PATH=/bin", "A=2", "B=3"],
        "WorkingDir": "/kit",
        "User": "65532:65532",
        "Labels": {
            "team": "x",
            "own": "label",
            "org.opencontainers.image.title": "tiny",
            "org.opencontainers.image.version": "1.2.0",
            "org.opencontainers.image.description": "a model for tests",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.base.digest": str(built.base_digest),
            "dev.mlkit.kit.reference": "tiny:1.2",
            "dev.mlkit.kit.digest": str(built.kit_digest),
        },
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [("", "65532:65532"), ("root", "65532:65532"), ("0:0", "65532:65532"), ("1000:50", "1000:50"), ("app", "app")],
)
def test_nobody_runs_as_root_unless_asked_for(
    session: Session, kit: str, tmp_path: Path, found: str, expected: str
) -> None:
    base = write_base(tmp_path / "base", Base((tar({}),), container={"User": found}))

    assert build(session, kit, f"oci:{base}", f"oci:{tmp_path / 'image'}:1").user == expected
    assert build(session, kit, f"oci:{base}", f"oci:{tmp_path / 'image'}:2", launch=Launch(user="0")).user == "0"


def test_the_same_kit_on_the_same_base_gives_the_same_image(
    session: Session, other: Session, kit: str, base: str, tmp_path: Path
) -> None:
    first = build(session, kit, base, f"oci:{tmp_path / 'one'}:1")
    pack_kit(other, tmp_path / "elsewhere")

    again = build(session, kit, base, f"oci:{tmp_path / 'one'}:1")
    elsewhere = build(other, kit, base, f"docker-archive:{tmp_path / 'two.tar'}")

    assert first.digest == again.digest == elsewhere.digest
    assert (first.moved_bytes, again.moved_bytes) == (first.size, 0)
    assert again.present_bytes == first.size


def test_source_date_epoch_is_when_it_was_made(
    kit: str, session: Session, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with mlkit.session(home=session.settings.home) as dated:
        build(dated, kit, base, f"oci:{tmp_path / 'image'}:1")

    image = LaidOut(tmp_path / "image")
    assert image.config["created"] == "2023-11-14T22:13:20Z"
    assert image.manifest["annotations"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"


def test_versions_share_the_layers_of_files_that_did_not_change(session: Session, kit: str, tmp_path: Path) -> None:
    before = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")
    changed = {**FILES, "model/b.safetensors": b"other" * 400_000}
    pack_kit(session, tmp_path / "project", changed, tag="tiny:1.3")

    after = build(session, "tiny:1.3", "scratch", f"oci:{tmp_path / 'image'}:2")

    shared = {layer.digest for layer in before.layers} & {layer.digest for layer in after.layers}
    assert len(shared) == len(before.layers) - 1
    assert 2_000_000 < after.moved_bytes < 2_020_000


def test_a_base_for_several_platforms_gives_one_image_or_an_index(session: Session, kit: str, tmp_path: Path) -> None:
    bases = [Base((tar({"cpu": name.encode()}),), architecture=name) for name in ("arm64", "amd64", "ppc64le")]
    base = f"oci:{write_base(tmp_path / 'base', *bases)}:1"
    target = f"oci:{tmp_path / 'image'}"

    one = build(session, kit, base, f"{target}:default")
    every = build(session, kit, base, f"{target}:all", platforms="all")
    two = build(
        session, kit, base, f"{target}:two", platforms=[Platform.parse("linux/ppc64le"), Platform.parse("linux/arm64")]
    )

    assert one.platforms == ("linux/amd64",)
    assert "linux/arm64, linux/ppc64le" in one.notes[0]
    assert every.platforms == ("linux/arm64", "linux/amd64", "linux/ppc64le")
    assert two.platforms == ("linux/arm64", "linux/ppc64le")
    for name in every.platforms:
        image = LaidOut(tmp_path / "image", "all", platform=name.partition("/")[2])
        assert image.files()["cpu"] == name.partition("/")[2].encode()
        assert image.config["architecture"] == name.partition("/")[2]


def test_layers_of_the_kit_that_fit_are_taken_as_they_are(session: Session, tmp_path: Path) -> None:
    kitfile = KITFILE.replace("path: model,", "path: models,")
    files = {name.replace("model/", "models/"): raw for name, raw in FILES.items()}
    kit = pack_kit(session, tmp_path / "project", files, kitfile=kitfile, layers="tar", compression="zstd")

    built = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    reused = [layer for layer in built.layers if layer.is_reused]
    kit_layers = {layer.digest for layer in mlkit.inspect(kit, session=session).layers if layer.cls == "model"}
    assert {layer.digest for layer in reused} == kit_layers
    assert [layer.media_type for layer in reused] == ["application/vnd.oci.image.layer.v1.tar+zstd"]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("layers", ["tar", "raw"])
def test_kits_of_every_form_give_the_same_files(
    session: Session, tmp_path: Path, layers: str, compression: str
) -> None:
    kit = pack_kit(session, tmp_path / "project", layers=layers, compression=compression)

    build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert {files[name.replace("model/", "models/")] for name in FILES if name.startswith("model/")} == {
        raw for name, raw in FILES.items() if name.startswith("model/")
    }
    assert files["kit/code/lib/more.py"] == FILES["code/lib/more.py"]


def test_an_image_is_unpacked_as_the_model_car_it_is(session: Session, kit: str, host: str, tmp_path: Path) -> None:
    build(session, kit, "scratch", f"{host}/serving/tiny:1")

    mlkit.unpack(f"{host}/serving/tiny:1", tmp_path / "out", session=session)

    assert (tmp_path / "out/models/a.safetensors").read_bytes() == FILES["model/a.safetensors"]


def test_a_model_that_is_one_file_is_at_the_top(session: Session, tmp_path: Path) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: one, path: out/model.onnx, parts: [{path: labels.txt}]}\n"
    kit = pack_kit(session, tmp_path / "project", {"out/model.onnx": b"onnx", "labels.txt": b"a"}, kitfile=kitfile)

    build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert (files["models/model.onnx"], files["models/labels.txt"]) == (b"onnx", b"a")
    assert files["kit/out/model.onnx"] == b"-> ../../models/model.onnx"


def test_the_model_of_the_kit_that_a_kit_is_built_on_comes_along(session: Session, kit: str, tmp_path: Path) -> None:
    parts = "parts: [{path: adapter.bin}, {path: model/lora.bin}]"
    kitfile = f"manifestVersion: 1.0.0\nmodel: {{name: tuned, path: '{kit}', {parts}}}\n"
    files = {"adapter.bin": b"lora", "model/lora.bin": b"more"}
    pack_kit(session, tmp_path / "tuned", files, kitfile=kitfile, tag="tuned:1")

    build(session, "tuned:1", "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert files["models/a.safetensors"] == FILES["model/a.safetensors"]
    assert (files["models/adapter.bin"], files["models/lora.bin"]) == (b"lora", b"more")
    assert "kit/code/run.py" not in files


def test_filters_say_what_is_in_it(session: Session, kit: str, tmp_path: Path) -> None:
    build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1", filters=["code", "datasets"])

    assert sorted(LaidOut(tmp_path / "image").files()) == [
        "kit/code/lib/more.py",
        "kit/code/run.py",
        "kit/data/train.csv",
    ]


def test_the_runtime_that_the_kit_asks_for_starts_it(session: Session, base: str, tmp_path: Path) -> None:
    kitfile = KITFILE + "deployment: [{path: deploy.yaml, runtime: vllm}]\n"
    kit = pack_kit(session, tmp_path / "project", {**FILES, "deploy.yaml": b"{}"}, kitfile=kitfile)

    built = build(session, kit, base, f"oci:{tmp_path / 'image'}:1")
    plain = build(session, kit, base, f"oci:{tmp_path / 'image'}:2", runtime="none")
    own = build(session, kit, base, f"oci:{tmp_path / 'image'}:3", launch=Launch(entrypoint=("sh", "-c", "{model}")))

    assert built.entrypoint[:2] == ("vllm", "serve")
    assert "/models" in built.entrypoint
    assert built.command == ()
    assert LaidOut(tmp_path / "image").config["config"]["ExposedPorts"] == {"8000/tcp": {}}
    assert (plain.entrypoint, plain.command) == (("/server",), ("--serve",))
    assert own.entrypoint == ("sh", "-c", "/models")


def test_a_runtime_finds_the_model_where_it_wants_it(session: Session, base: str, tmp_path: Path) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: one, path: out/model.onnx}\n"
    kit = pack_kit(session, tmp_path / "project", {"out/model.onnx": b"onnx"}, kitfile=kitfile)

    built = build(session, kit, base, f"oci:{tmp_path / 'image'}:1", runtime="triton")

    assert built.entrypoint[:2] == ("tritonserver", "--model-repository=/repository")
    assert LaidOut(tmp_path / "image").files()["repository/one/1/model.onnx"] == b"-> ../../../models/model.onnx"


def test_more_files_than_an_image_has_layers_share_them(session: Session, tmp_path: Path) -> None:
    files = {f"model/{number:03}.bin": bytes([number]) * (1 << 20) for number in range(140)}
    kit = pack_kit(
        session, tmp_path / "project", files, kitfile="manifestVersion: 1.0.0\nmodel: {name: m, path: model}\n"
    )

    built = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    assert len(built.layers) <= 125
    found = LaidOut(tmp_path / "image").files()
    assert all(found[name.replace("model/", "models/")] == raw for name, raw in files.items())


def test_a_model_kit_of_kitops_gives_the_same_files(session: Session, tmp_path: Path) -> None:
    kit = pack_kit(session, tmp_path / "project", format="kitops", layers="tar")

    build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert files["models/tokenizer/vocab.txt"] == FILES["model/tokenizer/vocab.txt"]


@pytest.mark.parametrize("compression", ["", "+gzip"])
def test_a_kit_of_another_tool_is_read_while_its_layers_are_made(
    session: Session, tmp_path: Path, compression: str
) -> None:
    model = tar_of({"model/": b"", "model/a.bin": FILES["model/a.safetensors"], "model/x/b.txt": b"b"})
    layers = [
        (f"weight.v1.tar{compression}", compressed(model, compression[1:]), {"org.cncf.model.filepath": "model"}),
        ("dataset.v1.tar", tar_of({"data/d.csv": b"d"}), {"org.cncf.model.filepath": "data"}),
        ("weight.config.v1.raw", b"{}", {"org.cncf.model.filepath": "config.json"}),
    ]
    store = MemoryStore()
    root = modelpack_kit(store, layers)
    copy(store, session.layout, root)
    session.layout.tag(root, "foreign:1")

    built = build(session, "foreign:1", "scratch", f"oci:{tmp_path / 'image'}:1")
    again = build(session, "foreign:1", "scratch", f"oci:{tmp_path / 'image'}:1")

    files = LaidOut(tmp_path / "image").files()
    assert files["models/a.bin"] == FILES["model/a.safetensors"]
    assert (files["models/x/b.txt"], files["models/config.json"]) == (b"b", b"{}")
    assert not [name for name in files if "d.csv" in name]
    assert (again.digest, again.moved_bytes) == (built.digest, 0)


def test_a_layer_that_an_archive_cannot_take_unseen_is_hashed_before_it_is_written(
    session: Session, kit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")
    (session.settings.home / ".mlkit/image-layers.sqlite").unlink()
    monkeypatch.setattr("mlkit.api.image_layers._HEADER_LIMIT", 100_000)
    monkeypatch.setattr("mlkit.serving.image_archive._LARGEST", 100_000)

    built = build(session, kit, "scratch", f"docker-archive:{tmp_path / 'image.tar'}")

    assert built.digest == usual.digest
    assert [layer.is_sent for layer in built.layers] == [False, False, True, True]
