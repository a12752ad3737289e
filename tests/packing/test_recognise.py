from __future__ import annotations

import pytest
from tests.packing import weights

from mlkit.packing.recognise import recognise, recognise_directory
from mlkit.packing.surroundings import survey
from mlkit.spec.media_types import Class

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000000\n"


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("blob", weights.safetensors(), "safetensors"),
        ("blob", weights.gguf({}), "gguf"),
        ("blob", weights.onnx(), "onnx"),
        ("blob", weights.onnx(producer="skl2onnx"), "onnx"),
        ("blob", weights.hdf5(), "hdf5"),
        ("blob", weights.plain_pickle(), "pickle"),
        ("x.dat", b"\x1c\0\0\0TFL3", "tflite"),
        ("x.txt", b"tree\nversion=v4\n", "lightgbm"),
        ("x.bin", weights.safetensors(), "safetensors"),
        ("x.bin", weights.gguf({}), "gguf"),
        ("x.bin", weights.plain_pickle(), "pytorch"),
        ("x.bin", weights.torch(), "pytorch"),
        ("data/x.jit", weights.torch(), "pytorch"),
        ("blob", weights.torch(), "pytorch"),
        ("x.ckpt", weights.torch(), "checkpoint"),
        ("x.pt", weights.torch(), "pytorch"),
        ("x.keras", weights.keras(), "keras"),
        ("x.cbm", b"CBM1", "catboost"),
    ],
)
def test_weights_are_known_by_their_content(path: str, head: bytes, expected: str) -> None:
    found = recognise(path, head[:4096])

    assert (found.cls, found.format, found.doubt) == (Class.MODEL, expected, None)


@pytest.mark.parametrize(
    ("path", "head", "form"),
    [
        ("m.safetensors", weights.plain_pickle(), "pickle"),
        ("m.safetensors", weights.torch(), "pytorch"),
        ("m.onnx", weights.gguf({}), "gguf"),
        ("m.gguf", weights.safetensors(), "safetensors"),
        ("m.h5", weights.plain_pickle(), "pickle"),
    ],
)
def test_weights_that_are_not_what_their_name_says_are_what_they_hold(path: str, head: bytes, form: str) -> None:
    found = recognise(path, head)

    assert found.format == form
    assert "by its name" in (found.doubt or "")


def test_two_bytes_do_not_make_a_pickle_of_a_file_with_a_name() -> None:
    assert recognise("notes.xyz", b"\x80\x04....").cls is Class.CODE


@pytest.mark.parametrize("path", ["model.safetensors", "data/train.parquet", "logo.png"])
def test_a_pointer_of_git_lfs_is_told_of(path: str) -> None:
    assert "git lfs pull" in (recognise(path, POINTER).doubt or "")
    assert recognise("model.safetensors", POINTER).format is None


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("table", b"PAR1....", Class.DATASETS),
        ("table", b"ARROW1\0\0", Class.DATASETS),
        ("a/b.yml", b"services:\n  web:\n    image: x\n", Class.DEPLOYMENT),
        ("bentofile.yaml", b"", Class.DEPLOYMENT),
        (".github/workflows/ci.yaml", b"on: push\n", Class.CODE),
        ("data.dvc", b"", Class.CODE),
        ("configs/model/large.json", b"{}", Class.PARAMETERS),
        ("train_lora.yaml", b"", Class.PARAMETERS),
        ("X.MCPB", b"", Class.CODE),
        ("images/labels/1.txt", b"0 1 2 3 4", Class.DATASETS),
    ],
)
def test_other_files_are_known_by_name_place_and_content(path: str, head: bytes, expected: Class) -> None:
    assert recognise(path, head).cls is expected


@pytest.mark.parametrize(
    ("path", "cls", "kind"),
    [
        ("tokenizer.json", Class.MODEL, "tokenizer"),
        ("config.json", Class.MODEL, "config"),
        ("1_Pooling/config.json", Class.MODEL, "config"),
        ("model.safetensors.index.json", Class.MODEL, "index"),
        ("optimizer.pt", Class.MODEL, "training-state"),
        ("training_args.bin", Class.PARAMETERS, None),
        ("eval_results.json", Class.DOCS, None),
        ("trainer_state.json", Class.DOCS, None),
        ("data/config.json", Class.DATASETS, None),
        ("src/config.json", Class.CODE, None),
        ("requirements.txt", Class.CODE, None),
    ],
)
def test_small_files_beside_weights_are_told_apart(path: str, cls: Class, kind: str | None) -> None:
    around = survey(["model.safetensors", path])

    found = recognise(path, b"", around=around)

    assert (found.cls, found.type) == (cls, kind)


def test_a_model_of_one_directory_takes_no_more_than_is_its_own() -> None:
    around = survey(
        ["m/saved_model.pb", "m/variables/variables.index", "m/README.md", "flow/MLmodel", "flow/code/x.py"]
    )

    assert recognise("m/variables/variables.index", b"", around=around).format == "saved_model"
    assert recognise("m/README.md", b"", around=around).cls is Class.DOCS
    assert recognise("flow/code/x.py", b"", around=around).format == "mlflow"
    assert recognise("m2/variables/variables.index", b"", around=around).format is None


def test_a_skill_takes_all_of_its_directory_and_none_of_the_root() -> None:
    around = survey(["SKILL.md", "run.py", "skills/a/SKILL.md", "skills/a/run.py"])

    assert recognise("skills/a/run.py", b"", around=around).cls is Class.PROMPTS
    assert recognise("run.py", b"", around=around).cls is Class.CODE


@pytest.mark.parametrize(("count", "expected"), [(9, Class.DOCS), (10, Class.DATASETS)])
def test_many_pictures_are_data_and_few_are_illustrations(count: int, expected: Class) -> None:
    paths = [f"shots/{number}.png" for number in range(count)]

    found = recognise(paths[0], b"", around=survey(paths))

    assert found.cls is expected
    assert found.doubt


def test_a_directory_that_is_not_looked_into_is_judged_by_its_name() -> None:
    assert recognise_directory("x/data").cls is Class.DATASETS
    assert recognise_directory("x/y").cls is Class.CODE
    assert "deeper" in (recognise_directory("x/y").doubt or "")


def test_a_checkpoint_of_tensorflow_is_weights() -> None:
    paths = ["ckpt/model-1.data-00000-of-00001", "ckpt/model-1.index", "ckpt/checkpoint"]

    found = [recognise(path, b"", around=survey(paths)) for path in paths]

    assert [guess.cls for guess in found] == [Class.MODEL] * 2 + [Class.CODE]
    assert [guess.format for guess in found[:2]] == ["checkpoint"] * 2


@pytest.mark.timeout(30)
def test_many_models_among_many_files_are_no_square_of_them() -> None:
    paths = [f"m{number}/{name}" for number in range(20_000) for name in ("saved_model.pb", "x.safetensors", "b.json")]
    around = survey(paths)

    assert all(recognise(path, b"", around=around).cls is Class.MODEL for path in paths)
