"""ONNX models behind KServe's model server, which speaks the Open Inference Protocol V2: `mlkit[onnx]`.

    python -m mlkit.integrations.kserve_onnx --model-path model/digits.onnx --model-name digits --port 8080

The server is KServe's and the arithmetic ONNX Runtime's; here one is put in front of the other.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP32",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
"""ONNX Runtime's names of types, and the protocol's (Open Inference Protocol, "Tensor Data Types"). Halves go as FP32,
which holds every one of them: the protocol has none in JSON."""


def main(arguments: Sequence[str]) -> int:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="mlkit.integrations.kserve_onnx", description=__doc__)
    parser.add_argument("--model-path", required=True, type=Path)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8080, type=int)
    given = parser.parse_args(arguments)
    # What KServe has yet to change for the next FastAPI is nothing to whoever serves a model.
    warnings.filterwarnings("ignore", module=r"(kserve|fastapi)(\.|$)")
    # KServe reads the command line of the process when it is imported; the one above is not for it.
    sys.argv = [sys.argv[0], "--model_name", given.model_name]
    from kserve.model_repository import ModelRepository
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

    repository = ModelRepository()
    repository.update(_model(given.model_name, given.model_path))
    server = RESTServer(
        "kserve.model_server:app",
        DataPlane(model_registry=repository),
        ModelRepositoryExtension(model_registry=repository),
        given.port,
        grace_period=1,
    )
    # KServe listens everywhere; who is on this machine alone should be asked from this machine alone.
    server.config.host = given.host
    server.run()
    return 0


def _model(name: str, path: Path) -> Any:
    """A model of KServe's that asks ONNX Runtime. Its classes are imported late: they take a second."""
    import numpy
    from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
    from kserve.errors import InvalidInput
    from onnxruntime import InferenceSession, get_available_providers
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

    class OnnxModel(Model):  # type: ignore[misc]  # KServe is installed with the extra only
        """One ONNX file."""

        def __init__(self) -> None:
            super().__init__(name)
            self.session = InferenceSession(str(path), providers=get_available_providers())
            self.ready = True

        def get_input_types(self) -> list[dict[str, object]]:
            return [_described(tensor) for tensor in self.session.get_inputs()]

        def get_output_types(self) -> list[dict[str, object]]:
            return [_described(tensor) for tensor in self._answers().values()]

        def predict(
            self, payload: InferRequest, headers: object = None, response_headers: object = None
        ) -> InferResponse:
            if not isinstance(payload, InferRequest):
                raise InvalidInput("only the Open Inference Protocol V2 is spoken here: POST /v2/models/NAME/infer")
            answers = self._answers()
            names = [output.name for output in payload.request_outputs or ()] or list(answers)
            if not names:
                raise InvalidInput(f"{name} answers no tensors, and the protocol has nothing else")
            for wanted in names:
                if wanted not in answers:
                    raise InvalidInput(f"{wanted!a} is no tensor that {name} answers (there are: {', '.join(answers)})")
            try:
                feeds = {tensor.name: self._fed(tensor) for tensor in payload.inputs}
                found = self.session.run(names, feeds)
            except (InvalidArgument, ValueError) as error:
                raise InvalidInput(str(error)) from error
            outputs = []
            for output_name, value in zip(names, found, strict=True):
                array = numpy.asarray(value)
                if array.dtype == numpy.float16:
                    array = array.astype(numpy.float32)
                output = InferOutput(output_name, list(array.shape), DATATYPES[answers[output_name].type])
                output.set_data_from_numpy(array, binary_data=False)
                outputs.append(output)
            return InferResponse(payload.id or "", name, outputs)

        def _answers(self) -> dict[str, Any]:
            """The outputs by name that the protocol can tell: tensors, and no sequences or maps of them."""
            return {tensor.name: tensor for tensor in self.session.get_outputs() if tensor.type in DATATYPES}

        def _fed(self, tensor: InferInput) -> Any:
            array = tensor.as_numpy()
            halves = {one.name for one in self.session.get_inputs() if one.type == "tensor(float16)"}
            return array.astype(numpy.float16) if tensor.name in halves and array.dtype == numpy.float32 else array

    return OnnxModel()


def _described(tensor: Any) -> dict[str, object]:
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    return {"name": tensor.name, "datatype": DATATYPES.get(tensor.type, "BYTES"), "shape": shape}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
