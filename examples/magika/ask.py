"""Ask a served magika what files hold, from their content: which language, which format.

    python ask.py http://127.0.0.1:8080/v2/models/magika detector/config.min.json FILE...

The second argument lies beside the weights, and says how bytes become what the model takes.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main(url: str, config_path: str, *paths: str) -> None:
    config = json.loads(Path(config_path).read_text(encoding="utf-8"))
    rows = [tokens(Path(path).read_bytes(), config) for path in paths]
    labels = config["target_labels_space"]
    for path, scores in zip(paths, ask(url, rows), strict=True):
        best = max(range(len(scores)), key=scores.__getitem__)
        print(f"{labels[best]:<12} {scores[best]:.3f} {path}")


def tokens(content: bytes, config: Mapping[str, Any]) -> list[int]:
    """The first bytes without the white space before them, the last ones without that after them; where there are too
    few, padding stands on the side of the middle."""
    beginning = content[: config["block_size"]].lstrip()[: config["beg_size"]]
    end = content[-config["block_size"] :].rstrip()[-config["end_size"] :]
    if len(beginning) < config["min_file_size_for_dl"]:
        raise SystemExit(f"{len(beginning)} bytes are too few to tell what they are")
    padding = [config["padding_token"]]
    return [
        *beginning,
        *padding * (config["beg_size"] - len(beginning)),
        *padding * (config["end_size"] - len(end)),
        *end,
    ]


def ask(url: str, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """For each row a score for each label, by the Open Inference Protocol V2: all rows in one request."""
    flat = [token for row in rows for token in row]
    tensor = {"name": "bytes", "shape": [len(rows), len(rows[0])], "datatype": "INT32", "data": flat}
    body = json.dumps({"inputs": [tensor]}).encode()
    request = urllib.request.Request(f"{url}/infer", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (output,) = json.load(answer)["outputs"]
    width = output["shape"][1]
    return [output["data"][start : start + width] for start in range(0, len(output["data"]), width)]


if __name__ == "__main__":
    main(*sys.argv[1:])
