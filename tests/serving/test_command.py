"""Commands from the templates of the table."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mlkit.errors import UnsafeError, UsageError
from mlkit.serving.choose import Choice
from mlkit.serving.command import Placed, container_command, fill
from mlkit.serving.facts import Model
from mlkit.serving.runtimes import FORMATS, RUNTIMES


def choice(runtime: str, form: str, path: str) -> Choice:
    return Choice(RUNTIMES[runtime], Model(form, path, 10), "why")


def test_the_command_of_vllm_has_model_name_and_port_and_nothing_left_open() -> None:
    command = container_command(choice("vllm", "huggingface", "llm"), name="bert", port=9000)

    assert command.argv == (
        "vllm", "serve", "/models/llm", "--served-model-name=bert", "--host=0.0.0.0", "--port=9000"
    )  # fmt: skip
    assert (command.health, command.placed) == ("/health", ())


def test_triton_is_told_where_the_model_must_be_laid() -> None:
    command = container_command(choice("triton", "onnx", "model/digits.onnx"), name="digits")

    assert command.placed == (Placed("model/digits.onnx", "digits/1/model.onnx"),)
    assert "--model-repository=/repository" in command.argv


def test_a_repository_of_triton_is_taken_as_it_lies() -> None:
    command = container_command(choice("triton", "triton-repository", "repo"), name="digits")

    assert command.placed == ()
    assert "--model-repository=/models/repo" in command.argv


def test_the_readiness_of_the_v2_protocol_is_that_of_the_model() -> None:
    assert container_command(choice("onnx", "onnx", "m.onnx"), name="digits").ready == "/v2/models/digits/ready"


def test_mlserver_is_told_by_its_environment_which_implementation_reads_the_file() -> None:
    environ = container_command(choice("mlserver", "sklearn", "m.joblib"), name="digits", port=1234).environ

    assert environ["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_sklearn.SKLearnModel"
    assert environ["MLSERVER_MODEL_URI"] == "/models/m.joblib"
    assert (
        "MLSERVER_MODEL_IMPLEMENTATION" not in container_command(choice("mlserver", "mlserver", "m"), name="d").environ
    )


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "custom"])
def test_no_placeholder_is_left_in_any_command_of_the_table(runtime: str) -> None:
    for form in RUNTIMES[runtime].formats:
        command = container_command(choice(runtime, form, "a/b"), name="n")

        words = [*command.argv, *command.environ.values(), command.health, command.ready]
        assert not [word for word in words if re.search(r"\{\w+\}", word)]


def test_braces_of_somebody_elses_command_stay() -> None:
    assert fill('{"limit": {n}} {port} {PORT}', {"port": "1"}) == '{"limit": {n}} 1 {PORT}'


@pytest.mark.parametrize("path", ["../etc", "/etc/passwd", "a/../../b", "a//b", "~/x"])
def test_a_model_path_that_leaves_the_kit_is_refused(path: str) -> None:
    with pytest.raises(UnsafeError):
        container_command(choice("vllm", "huggingface", path), name="n")


def test_a_custom_runtime_without_a_command_is_refused() -> None:
    with pytest.raises(UsageError, match="no command to run"):
        container_command(replace(choice("custom", "onnx", "m.onnx"), model=None), name="n")


def test_directories_are_the_forms_that_are_no_file() -> None:
    assert {name for name, form in FORMATS.items() if form.is_directory} == {
        "huggingface", "triton-repository", "mlserver", "mlflow", "saved_model"
    }  # fmt: skip
