"""A model for text that somebody else trained, packed, served, and asked beside its authors' own library."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.support.cli import CommandLine
from tests.support.tools import MAGIKA

import mlkit
from mlkit.api.serve import ServeOptions, serving
from mlkit.api.session import Session
from mlkit.spec.reference import Reference

ROOT = Path(__file__).parents[2]
MODEL = MAGIKA / "magika/models/standard_v3_3"
TEXTS = {
    "python": "import os\n\n\ndef main():\n    for name in sorted(os.listdir('.')):\n        print(name)\n",
    "json": '{\n  "name": "digits",\n  "version": "1.2",\n  "sizes": [8, 8],\n  "labels": ["zero", "one", "two"]\n}\n',
    "markdown": "# Digits\n\nA *classifier* of [digits](https://a.org).\n\n- one\n- two\n\n## Use\n\n```\nrun\n```\n",
    "shell": '#!/bin/sh\nset -e\nfor f in *.txt; do\n  echo "$f"\n  mv "$f" "${f%.txt}.md"\ndone\n',
    "rust": "\n\n  use std::fs;\n\nfn main() -> Result<(), String> {\n    let mut sum = 0u64;\n"
    + "".join(
        f"    sum += {number}; // a line that makes the text longer than the model reads\n" for number in range(99)
    )
    + '    println!("{sum}");\n    Ok(())\n}\n',
}
"""By what each is, as the model calls it."""

pytestmark = pytest.mark.skipif(not MAGIKA.is_dir(), reason="magika could not be had: `make tools` fetches it")


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Weights, what belongs to them, and the licence."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "detector"))
    shutil.copy(ROOT / "LICENSE", folder)
    return folder


@pytest.fixture(scope="module")
def ask() -> ModuleType:
    """The program of the example."""
    spec = importlib.util.spec_from_file_location("ask", ROOT / "examples/magika/ask.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def library() -> Iterator[Any]:
    """The library of the model's authors, from the same package."""
    sys.path.insert(0, str(MAGIKA))
    try:
        yield importlib.import_module("magika")
    finally:
        sys.path.remove(str(MAGIKA))


def test_init_knows_the_model_what_belongs_to_it_and_its_licence(detector: Path, tmp_path: Path) -> None:
    done = CommandLine(tmp_path, tmp_path)("init", str(detector), "--name", "magika", "--version", "3.3", "-o", "-")

    kitfile = yaml.safe_load(done.stdout)
    assert kitfile["package"] == {"name": "magika", "version": "3.3", "license": "Apache-2.0"}
    assert (kitfile["model"]["path"], kitfile["model"]["format"]) == ("model.onnx", "onnx")
    assert [part["path"] for part in kitfile["model"]["parts"]] == ["config.min.json", "metadata.json"]
    assert [entry["path"] for entry in kitfile["docs"]] == ["LICENSE", "README.md"]


def test_a_served_text_model_answers_what_its_authors_library_does(
    session: Session, detector: Path, ask: ModuleType
) -> None:
    pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")
    # In a folder below, as packages have them.
    (detector.parent / "project/models").mkdir(parents=True)
    project = detector.rename(detector.parent / "project/models/standard").parents[1]
    mlkit.pack(project, tag="magika:3.3", session=session)
    options = ServeOptions(port=0, name="magika", ready_seconds=120)

    with serving(session, Reference.parse("magika:3.3"), options, environ=os.environ) as one:
        assert (one.served.runtime, one.served.model) == ("onnx", "models/standard/model.onnx")
        config = json.loads((one.served.directory / "models/standard/config.min.json").read_text())
        rows = [ask.tokens(text.encode(), config) for text in TEXTS.values()]
        scores = ask.ask(f"{one.served.url}/v2/models/magika", rows)

    with library() as magika:
        own = magika.Magika()
        expected = own._get_raw_predictions(
            [
                (Path(name), own._get_result_or_features_from_seekable(_seekable(magika, text))[1])
                for name, text in TEXTS.items()
            ]
        )
        told = [own.identify_bytes(text.encode()).prediction.dl.label for text in TEXTS.values()]
    labels = config["target_labels_space"]
    assert [labels[row.index(max(row))] for row in scores] == list(TEXTS) == [str(label) for label in told]
    assert [len(row) for row in scores] == [len(labels)] * len(TEXTS)
    for row, its in zip(scores, expected, strict=True):
        assert row == pytest.approx(its, abs=1e-5)


@pytest.mark.parametrize("text", [*TEXTS.values(), " \n" * 3000 + "x = 1\n" * 5, "x" * 1024, "y" * 5000 + " " * 5000])
def test_the_example_makes_of_a_text_what_its_authors_library_does(ask: ModuleType, text: str) -> None:
    pytest.importorskip("onnxruntime", reason="mlkit[onnx] is not installed")
    config = json.loads((MODEL / "config.min.json").read_text())

    with library() as magika:
        features = magika.Magika._extract_features_from_seekable(
            _seekable(magika, text),
            *(config[name] for name in ("beg_size", "mid_size", "end_size", "padding_token", "block_size")),
            use_inputs_at_offsets=False,
        )

    if len(text.encode()[:4096].lstrip()) < config["min_file_size_for_dl"]:
        with pytest.raises(SystemExit, match="too few"):
            ask.tokens(text.encode(), config)
    else:
        assert ask.tokens(text.encode(), config) == features.beg + features.end


def _seekable(magika: ModuleType, text: str) -> Any:
    import io

    return importlib.import_module("magika.types").Seekable(io.BytesIO(text.encode()))
