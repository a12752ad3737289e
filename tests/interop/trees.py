"""What the interop tests pack: one tree with something of every class and every kind of awkward file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

KITFILE = """\
# written by a person, and given back to one
manifestVersion: 1.0.0
package: {name: everything, version: "1.2", description: All classes, license: MIT, authors: [me]}
model:
  name: net
  path: model
  version: "6"
  format: safetensors
  parts: [{name: adapter, path: lora/adapter.safetensors, type: lora, version: "3"}]
datasets:
  - {name: train, path: data/train, version: "2"}
  - {name: test, path: data/test.csv}
parameters: [{name: training, path: params.yaml, version: "5"}]
deployment: [{name: service, path: deploy, version: "1"}]
code: [{path: ., description: everything else}]
docs: [{path: README.md}, {path: docs}]
prompts: [{name: system, path: prompts}]
mcpServers: [{name: tool, path: tools/tool.mcpb}]
"""


def bundle() -> bytes:
    """An MCP bundle: a ZIP with a manifest at its root."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(zipfile.ZipInfo("manifest.json"), '{"manifest_version": "0.2", "name": "tool"}')
        archive.writestr(zipfile.ZipInfo("server/index.js"), "run()")
    return sink.getvalue()


FILES: dict[str, bytes] = {
    "model/weights.safetensors": bytes(range(256)) * 5000,
    "model/shards/deep/er/0002.safetensors": b"second" * 100,
    "model/config.json": b'{"layers": 2}\n',
    "lora/adapter.safetensors": b"adapter" * 50,
    "data/train/été/größe-数据.parquet": "ünïcödé".encode() * 40,
    "data/train/a b/with spaces.csv": b"1,2\n",
    "data/train/" + "long-name-" * 15 + ".csv": b"a name of more than a hundred bytes",
    "data/test.csv": b"3,4\n",
    "params.yaml": b"lr: 0.1\n",
    "deploy/kserve.yaml": b"kind: InferenceService\n",
    "src/pkg/__init__.py": b"",
    "src/pkg/sub/__init__.py": b"",
    "src/run.sh": b"#!/bin/sh\nexit 0\n",
    "model_utils.py": b"not in the model\n",
    "README.md": b"# everything\n",
    "docs/guide.md": b"read me\n",
    "prompts/system.md": b"You are a test.\n",
    "tools/tool.mcpb": bundle(),
}
EXECUTABLE = "src/run.sh"
EQUAL_FILE = "src/pkg/sub/__init__.py"
"""It has the bytes of another one of these files: none."""


def write_everything(root: Path, files: dict[str, bytes] = FILES, kitfile: str | None = KITFILE) -> Path:
    """The tree with its Kitfile, none where `kitfile` is None."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if EXECUTABLE in files:
        (root / EXECUTABLE).chmod(0o755)
    if kitfile is not None:
        (root / "Kitfile").write_text(kitfile, encoding="utf-8")
    return root


_THEIR_KITFILE = """\
manifestVersion: 1.0.0
package: {{name: theirs, version: "1.2"}}
model: {{name: net, path: {model}, parts: [{{name: adapter, path: lora/adapter.safetensors}}]}}
datasets:
  - {{name: train, path: data/train.csv}}
  - {{name: rows, path: {rows}}}
code: [{{path: {code}}}]
docs: [{{path: README.md}}]
prompts: [{{name: system, path: {prompts}}}]
"""
_THEIR_SINGLE_FILES = {
    "model/net.bin": bytes(range(256)) * 3000,
    "lora/adapter.safetensors": b"adapter" * 50,
    "data/train.csv": b"1,2\n" * 100,
    "data/été/größe-数据.parquet": "ünïcödé".encode() * 40,
    "src/run.sh": b"#!/bin/sh\nexit 0\n",
    "README.md": b"# theirs\n",
    "prompts/system.md": b"You are a test.\n",
}
THEIRS_RAW = (
    _THEIR_SINGLE_FILES,
    _THEIR_KITFILE.format(
        model="model/net.bin", rows="data/été/größe-数据.parquet", code="src/run.sh", prompts="prompts/system.md"
    ),
)
"""Entries of one file each: `kit` puts no directory into a raw layer."""
THEIRS_TAR = (
    {**_THEIR_SINGLE_FILES, "model/empty": b"", "src/pkg/__init__.py": b"", "utils.py": b"all else\n"},
    _THEIR_KITFILE.format(model="model", rows="data/été", code=".", prompts="prompts"),
)
