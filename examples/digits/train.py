"""Train a classifier on scikit-learn's bundled digits, and write a project that is ready to pack.

    python train.py OUT_DIR

writes weights (safetensors and ONNX), train and test data (parquet), and the metrics. Parameters, deployment config,
model card and Kitfile are the ones beside this script. The same parameters give the same bytes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import yaml
from safetensors.numpy import save_file
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
WRITTEN_BY_HAND = ("Kitfile", "params.yaml", "deploy/service.yaml", "MODEL_CARD.md", "predict.py")


def main(out: Path) -> None:
    parameters = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
    copy_what_is_written_by_hand(out)
    digits = load_digits()
    images = (digits.data / parameters["pixel_scale"]).astype(numpy.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        digits.target,
        test_size=parameters["test_share"],
        random_state=parameters["seed"],
        stratify=digits.target,
    )
    write_table(out / "data/train.parquet", train_x, train_y)
    write_table(out / "data/test.parquet", test_x, test_y)
    model = MLPClassifier(
        hidden_layer_sizes=parameters["hidden_layers"],
        alpha=parameters["alpha"],
        max_iter=parameters["max_iter"],
        random_state=parameters["seed"],
    ).fit(train_x, train_y)
    write_weights(out / "model", model)
    write_metrics(out / "metrics.json", accuracy=float(model.score(test_x, test_y)), test_size=len(test_y))


def copy_what_is_written_by_hand(out: Path) -> None:
    for name in WRITTEN_BY_HAND:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / name, out / name)


def write_table(path: Path, images: numpy.ndarray, labels: numpy.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {f"pixel_{number:02d}": images[:, number] for number in range(images.shape[1])}
    columns["label"] = labels.astype(numpy.int8)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def write_weights(folder: Path, model: MLPClassifier) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"layers.{number}.weight": weight for number, weight in enumerate(model.coefs_)}
    tensors |= {f"layers.{number}.bias": bias for number, bias in enumerate(model.intercepts_)}
    # safetensors writes an array's memory as it lies: one in Fortran order would come back transposed.
    contiguous = {name: numpy.ascontiguousarray(tensor, dtype=numpy.float32) for name, tensor in tensors.items()}
    save_file(contiguous, folder / "digits.safetensors")
    onnx = convert_sklearn(
        model,
        name="digits",
        initial_types=[("pixels", FloatTensorType([None, model.n_features_in_]))],
        options={"zipmap": False},
    )
    (folder / "digits.onnx").write_bytes(onnx.SerializeToString(deterministic=True))


def write_metrics(path: Path, *, accuracy: float, test_size: int) -> None:
    path.write_text(
        json.dumps({"accuracy": round(accuracy, 4), "test_size": test_size}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
