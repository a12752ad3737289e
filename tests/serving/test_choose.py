"""Which runtime a kit gets, and why."""

from __future__ import annotations

import pytest

from mlkit.errors import NotFoundError, UsageError
from mlkit.serving.choose import Choice, Place, choose
from mlkit.serving.facts import KitFacts, PackedFile, collect_facts
from mlkit.serving.runtimes import FORMATS, RUNTIMES, WORDS
from mlkit.spec.kitfile import parse_kitfile


def facts(kitfile: str, *paths: str) -> KitFacts:
    return collect_facts(parse_kitfile(kitfile.encode()), [PackedFile(path, 10) for path in paths])


def chosen(kitfile: str, *paths: str, runtime: str | None = None, place: Place = "machine") -> Choice:
    return choose(facts(kitfile, *paths), runtime, place=place)


LLM = ("llm/config.json", "llm/model-00001-of-00002.safetensors", "llm/model-00002-of-00002.safetensors")
DIGITS = """
package: {name: digits, version: "1.2"}
model: {name: digits, path: model/digits.safetensors, parts: [{path: model/digits.onnx}]}
deployment: [{path: deploy, runtime: onnx}]
"""


def test_a_hugging_face_directory_is_served_by_vllm_and_could_be_by_others() -> None:
    choice = chosen("model: {path: llm}", *LLM)

    assert (choice.runtime.name, choice.model and choice.model.path) == ("vllm", "llm")
    assert choice.alternatives == ("sglang", "tgi")
    assert choice.why == "vllm: nothing else was asked for, and it reads llm, " + FORMATS["huggingface"].title


def test_the_runtime_that_the_kit_asks_for_is_honoured() -> None:
    choice = chosen("model: {path: llm}\ndeployment: [{path: deploy, runtime: SGLang}]", *LLM)

    assert choice.runtime.name == "sglang"
    assert "the kit asks for SGLang" in choice.why
    assert choice.alternatives == ("vllm", "tgi")


def test_what_a_person_asks_for_goes_before_what_the_kit_asks_for() -> None:
    choice = chosen("model: {path: llm}\ndeployment: [{path: deploy, runtime: sglang}]", *LLM, runtime="tgi")

    assert choice.runtime.name == "tgi"
    assert "tgi was asked for" in choice.why


@pytest.mark.parametrize(("place", "expected"), [("machine", "onnx"), ("container", "triton")])
def test_onnx_means_a_program_here_and_a_published_image_in_a_container(place: Place, expected: str) -> None:
    choice = chosen(DIGITS, "model/digits.safetensors", "model/digits.onnx", place=place)

    assert choice.runtime.name == expected
    assert choice.model is not None
    assert choice.model.path == "model/digits.onnx"


def test_an_orchestrator_in_the_kitfile_is_passed_over_and_named() -> None:
    choice = chosen("model: {path: m.gguf}\ndeployment: [{path: deploy, runtime: kserve}]", "m.gguf")

    assert choice.runtime.name == "llama.cpp"
    assert "the kit asks for kserve, which is not in the table" in choice.why


def test_weights_alone_are_nothing_that_a_server_reads() -> None:
    with pytest.raises(NotFoundError, match="no model that a server could read") as caught:
        chosen("model: {path: w.safetensors}", "w.safetensors")

    assert "--runtime custom" in str(caught.value.hint)


def test_a_kit_without_a_model_says_so() -> None:
    with pytest.raises(NotFoundError, match="no model that a server could read"):
        chosen("datasets: [{path: d.csv}]")


def test_a_runtime_that_reads_none_of_the_models_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match=r"vllm reads Hugging Face .*has GGUF \(vllm was asked for\)") as caught:
        chosen("model: {path: m.gguf}", "m.gguf", runtime="vllm")

    assert caught.value.hint == "--runtime llama.cpp serves it"


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no runtime is called 'olama'") as caught:
        chosen("model: {path: m.gguf}", "m.gguf", runtime="olama")

    assert "llama.cpp" in str(caught.value.hint)


def test_a_command_of_ones_own_needs_no_model_that_anybody_knows() -> None:
    choice = chosen("model: {path: w.safetensors}", "w.safetensors", runtime="custom")

    assert (choice.runtime.name, choice.model) == ("custom", None)


def test_one_of_several_models_can_be_named() -> None:
    found = facts("model: {path: models}", "models/a.gguf", "models/b.gguf")

    assert choose(found, path="models/b.gguf").model == found.models[1]
    with pytest.raises(NotFoundError, match=r"'c.gguf' is no model of this kit .*models/a.gguf, models/b.gguf"):
        choose(found, path="c.gguf")


@pytest.mark.parametrize(
    ("kitfile", "paths", "expected"),
    [
        ("model: {path: m}", ["m/a-00001-of-00002.gguf", "m/a-00002-of-00002.gguf"],
         [("gguf", "m/a-00001-of-00002.gguf")]),
        ("model: {path: m}", ["m/mmproj-f16.gguf", "m/a.gguf"], [("gguf", "m/a.gguf")]),
        ("model: {path: m}", ["m/MLmodel", "m/model.pkl"], [("mlflow", "m"), ("sklearn", "m/model.pkl")]),
        ("model: {path: r}", ["r/digits/config.pbtxt", "r/digits/1/model.onnx"],
         [("triton-repository", "r"), ("onnx", "r/digits/1/model.onnx")]),
        ("model: {path: s}", ["s/saved_model.pb", "s/variables/variables.index"], [("saved_model", "s")]),
        ("model: {path: b.json, format: xgboost}", ["b.json"], [("xgboost", "b.json")]),
        ("model: {path: b.txt, format: LightGBM}", ["b.txt"], [("lightgbm", "b.txt")]),
        ("model: {path: m.pkl, framework: xgboost}", ["m.pkl"], [("xgboost", "m.pkl")]),
        ("model: {path: b.json}", ["b.json"], []),
        ("model: {path: b.txt, format: huggingface}", ["b.txt"], []),
        ("model: {path: .}", ["config.json", "model.safetensors"], [("huggingface", ".")]),
        ("model: {path: m}", ["m/config.json", "other/model.safetensors"], []),
    ],
)  # fmt: skip
def test_models_are_found_in_the_forms_that_servers_know(
    kitfile: str, paths: list[str], expected: list[tuple[str, str]]
) -> None:
    assert [(model.format, model.path) for model in facts(kitfile, *paths).models] == expected


def test_the_model_of_the_kitfile_comes_before_larger_ones() -> None:
    kitfile = parse_kitfile(b"model: {path: a.onnx, parts: [{path: b.onnx}]}")

    found = collect_facts(kitfile, [PackedFile("b.onnx", 1000), PackedFile("a.onnx", 10)])

    assert [model.path for model in found.models] == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize(
    ("name", "expected"), [("Llama 3/8B", "Llama-3-8B"), ("--help", "help"), ("..", "model"), (None, "model")]
)
def test_the_served_name_is_safe_in_a_url_and_a_command(name: str | None, expected: str) -> None:
    quoted = f"model: {{name: {name!r}, path: m.gguf}}" if name is not None else "model: {path: m.gguf}"
    assert facts(quoted, "m.gguf").name == expected


def test_every_word_names_runtimes_and_every_runtime_known_formats() -> None:
    assert {name for names in WORDS.values() for name in names} == set(RUNTIMES)
    for runtime in RUNTIMES.values():
        assert set(runtime.formats) <= set(FORMATS)
        assert set(runtime.placed) | set(runtime.implementations) <= set(runtime.formats)
        assert runtime.port > 1024
        for image in (runtime.image, runtime.cpu_image):
            assert image is None or (image.count("/") >= 2 and ":" in image and not image.endswith(":latest"))
