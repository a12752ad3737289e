"""What a file of weights tells about itself, by its format."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from mlkit.archive.headers.archives import zip_names
from mlkit.archive.headers.facts import Facts
from mlkit.archive.headers.gguf import read_gguf
from mlkit.archive.headers.onnx import read_onnx
from mlkit.archive.headers.safetensors import read_safetensors
from mlkit.errors import IntegrityError, LimitError

_HDF5_HEAD = 64 * 1024  # attributes of the root group lie at the beginning, where Keras writes them first
_PICKLE_HEAD = 64 * 1024
_PICKLED = {
    b"sklearn": "scikit-learn",
    b"xgboost": "xgboost",
    b"lightgbm": "lightgbm",
    b"catboost": "catboost",
    b"torch": "pytorch",
}
# After the opcode c, or a length of one byte: either may look like a letter.
_MODULE = re.compile(rb"(?<![A-Za-z0-9_.]{2})(" + rb"|".join(_PICKLED) + rb")[._\n]")
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save wrote before it wrote ZIP files


def read_facts(stream: BinaryIO, size: int, form: str) -> Facts:
    """What the header of a file of format `form` says; one that cannot be read is a `problem`, never an error."""
    try:
        return _READERS.get(form, _plain)(stream, size, form)
    except (IntegrityError, LimitError) as error:
        return Facts(form, problem=error.message)


def _torch(stream: BinaryIO, size: int, form: str) -> Facts:
    head = stream.read(_PICKLE_HEAD)
    if not head.startswith(b"PK\x03\x04"):
        return _in_pickle(head, form)
    names = zip_names(stream, size)
    if not any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        raise IntegrityError("it is a ZIP without the data.pkl of PyTorch")
    is_script = any(name.endswith("/constants.pkl") for name in names)
    return Facts("torchscript" if is_script else "pytorch", framework="pytorch")


def _pickle(stream: BinaryIO, _size: int, form: str) -> Facts:
    return _in_pickle(stream.read(_PICKLE_HEAD), form)


def _in_pickle(head: bytes, form: str) -> Facts:
    """The framework whose classes are named first. Nothing is unpickled."""
    if _TORCH_MAGIC in head[:32]:
        return Facts("pytorch", framework="pytorch")
    found = _MODULE.search(head)
    return Facts(form, framework=_PICKLED[found[1]] if found else None)


def _hdf5(stream: BinaryIO, _size: int, form: str) -> Facts:
    return Facts(form, framework="keras" if b"keras_version" in stream.read(_HDF5_HEAD) else None)


def _keras(stream: BinaryIO, size: int, form: str) -> Facts:
    names = zip_names(stream, size)
    if "config.json" not in names or "metadata.json" not in names:
        raise IntegrityError("it is a ZIP without the config.json and metadata.json of Keras")
    return Facts(form, framework="keras")


def _plain(_stream: BinaryIO, _size: int, form: str) -> Facts:
    return Facts(form, framework=_FRAMEWORKS.get(form))


_FRAMEWORKS = {
    "tensorflow": "tensorflow",
    "saved_model": "tensorflow",
    "tflite": "tensorflow",
    "flax": "flax",
    "coreml": "coreml",
    "openvino": "openvino",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "tensorrt": "tensorrt",
    "skops": "scikit-learn",
    "mlflow": "mlflow",
    "nemo": "nemo",
}
_READERS: dict[str, Callable[[BinaryIO, int, str], Facts]] = {
    "safetensors": lambda stream, size, _: read_safetensors(stream, size),
    "gguf": lambda stream, size, _: read_gguf(stream, size),
    "onnx": lambda stream, size, _: read_onnx(stream, size),
    "keras": _keras,
    "hdf5": _hdf5,
    "pytorch": _torch,
    "checkpoint": _torch,
    "bin": _torch,
    "pickle": _pickle,
    "joblib": _pickle,
}
