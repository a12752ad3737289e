"""ONNX models of many shapes behind KServe's server, asked without the network between."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx", reason="the packages of the example are not installed")
pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")

LEFT = {"name": "a", "shape": [1, 3], "datatype": "INT32", "data": [1, 2, 3]}
RIGHT = {"name": "b", "shape": [1, 3], "datatype": "INT32", "data": [1, 1, 1]}
TEXT = {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
HALF = {"name": "h", "shape": [2], "datatype": "FP32", "data": [0.5, 1.5]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three types of inputs, sizes that are open, and outputs of which one is no tensor."""
    from onnx import TensorProto, helper

    value, node = helper.make_tensor_value_info, helper.make_node
    graph = helper.make_graph(
        [
            node("Add", ["a", "b"], ["sum"]),
            node("ReduceSum", ["a"], ["total"], keepdims=0),
            node("Identity", ["s"], ["same"]),
            node("Identity", ["h"], ["half"]),
            node("SequenceConstruct", ["a", "b"], ["pair"]),
        ],
        "several",
        [
            value("a", TensorProto.INT32, ["batch", None]),
            value("b", TensorProto.INT32, ["batch", None]),
            value("s", TensorProto.STRING, [None]),
            value("h", TensorProto.FLOAT16, [2]),
        ],
        [
            value("sum", TensorProto.INT32, ["batch", None]),
            value("total", TensorProto.INT32, []),
            value("same", TensorProto.STRING, [None]),
            value("half", TensorProto.FLOAT16, [2]),
            helper.make_tensor_sequence_value_info("pair", TensorProto.INT32, None),
        ],
    )
    path = tmp_path_factory.mktemp("onnx") / "several.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return _opened(path)


def _opened(path: Path) -> Any:
    from mlkit.integrations.kserve_onnx import _model

    # KServe reads the command line of the process when it is imported, and uses what the next FastAPI drops.
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(sys, "argv", sys.argv[:1])
        return _model("several", path)


def ask(model: Any, inputs: Sequence[dict[str, Any]], outputs: Sequence[str] = ()) -> dict[str, Any]:
    from kserve import InferInput, InferRequest
    from kserve.protocol.infer_type import RequestedOutput

    request = InferRequest(
        "several",
        [InferInput(one["name"], one["shape"], one["datatype"], one["data"]) for one in inputs],
        request_outputs=[RequestedOutput(name) for name in outputs],
    )
    answer, _ = model.predict(request).to_rest()
    return {one["name"]: one for one in answer["outputs"]}


def test_all_tensors_are_answered_and_what_is_none_is_left_out(model: Any) -> None:
    found = ask(model, [LEFT, RIGHT, TEXT, HALF])

    assert {name: (one["datatype"], one["shape"], one["data"]) for name, one in found.items()} == {
        "sum": ("INT32", [1, 3], [2, 3, 4]),
        "total": ("INT32", [], [6]),
        "same": ("BYTES", [1], ["hello"]),
        "half": ("FP32", [2], [0.5, 1.5]),
    }


def test_open_sizes_are_told_as_minus_one_and_halves_as_what_can_be_sent(model: Any) -> None:
    assert [(one["name"], one["datatype"], one["shape"]) for one in model.get_input_types()] == [
        ("a", "INT32", [-1, -1]),
        ("b", "INT32", [-1, -1]),
        ("s", "BYTES", [-1]),
        ("h", "FP32", [2]),
    ]
    assert [one["name"] for one in model.get_output_types()] == ["sum", "total", "same", "half"]


def test_only_the_outputs_that_are_asked_for_are_answered_in_their_order(model: Any) -> None:
    assert list(ask(model, [LEFT, RIGHT, TEXT, HALF], ["same", "sum"])) == ["same", "sum"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        pytest.param([LEFT, RIGHT, TEXT, HALF], ["pair"], "'pair' is no tensor that several answers", id="a sequence"),
        pytest.param([LEFT, RIGHT, TEXT, HALF], ["x"], r"there are: sum, total, same, half\)", id="no such output"),
        pytest.param([LEFT, RIGHT, TEXT], [], "Required inputs", id="too few"),
        pytest.param([LEFT, {**RIGHT, "datatype": "FP32"}, TEXT, HALF], [], "expected: ", id="another type"),
        pytest.param([LEFT, {**RIGHT, "shape": [1, 4]}, TEXT, HALF], [], "cannot reshape", id="a shape that is wrong"),
        pytest.param([LEFT, {**RIGHT, "name": "z"}, TEXT, HALF], [], "Required inputs", id="no such input"),
    ],
)
def test_what_cannot_be_answered_is_the_callers_mistake_and_says_why(
    model: Any, inputs: list[dict[str, Any]], outputs: list[str], message: str
) -> None:
    from kserve.errors import InvalidInput

    with pytest.raises(InvalidInput, match=message):
        ask(model, inputs, outputs)
