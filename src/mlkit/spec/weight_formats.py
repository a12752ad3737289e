"""Formats of weights, as their names tell them: one table for what packs, what checks and what serves."""

from __future__ import annotations

WEIGHT_FORMATS = {
    "safetensors": "safetensors",
    "gguf": "gguf",
    "ggml": "ggml",
    "onnx": "onnx",
    "pt": "pytorch",
    "pth": "pytorch",
    "pt2": "pytorch",
    "jit": "pytorch",
    "torchscript": "pytorch",
    "ckpt": "checkpoint",
    "h5": "hdf5",
    "hdf5": "hdf5",
    "keras": "keras",
    "tflite": "tflite",
    "pb": "tensorflow",
    "mlmodel": "coreml",
    "msgpack": "flax",
    "joblib": "joblib",
    "pkl": "pickle",
    "pickle": "pickle",
    "skops": "skops",
    "ubj": "xgboost",
    "cbm": "catboost",
    "nemo": "nemo",
    "engine": "tensorrt",
    "trt": "tensorrt",
    "bin": "bin",
}
"""Suffixes of weights, and what a Kitfile calls their format."""
RUNS_CODE = frozenset({"pytorch", "torchscript", "checkpoint", "joblib", "pickle", "bin", "nemo"})
"""Formats that are or may be Python pickles, which run code when they are loaded."""

WITHOUT_WEIGHTS = frozenset(
    {"json", "txt", "model", "jinja", "jinja2", "vocab", "spm", "tiktoken", "proto", "md", "rst", "yaml", "yml", "toml"}
)
"""Suffixes of what lies beside weights and holds none: tokenizers, configs, vocabularies, notes."""
