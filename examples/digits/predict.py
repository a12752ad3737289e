"""Predict with the packed weights.

Run in the folder that the kit was unpacked into: `python predict.py` prints the accuracy on the test data.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import pyarrow.parquet
from safetensors.numpy import load_file

HERE = Path(__file__).parent


def main() -> None:
    weights = load_file(HERE / "model/digits.safetensors")
    table = pyarrow.parquet.read_table(HERE / "data/test.parquet")
    labels = table.column("label").to_numpy()
    pixels = numpy.stack([table.column(name).to_numpy() for name in table.column_names if name != "label"], axis=1)
    values = pixels
    for number in range(len(weights) // 2):
        values = values @ weights[f"layers.{number}.weight"] + weights[f"layers.{number}.bias"]
        if number < len(weights) // 2 - 1:
            values = numpy.maximum(values, 0)
    predicted = values.argmax(axis=1)
    print(f"accuracy {float((predicted == labels).mean()):.4f} on {len(labels)} images")


if __name__ == "__main__":
    main()
