"""The main job, from training to a prediction over HTTP, with the commands that a person would type.

    make demo

Everything happens in a temporary folder, with a registry on loopback, and is gone at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet

HERE = Path(__file__).parent
MLKIT = shutil.which("mlkit", path=str(Path(sys.executable).parent)) or "mlkit"


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlkit-demo-") as folder:
        tell(Path(folder))
    print(f"\nDone in {time.monotonic() - started:.0f} s; nothing is left behind. Next: docs/tutorial/first-kit.md")


def tell(folder: Path) -> None:
    project = folder / "project"
    author, colleague = Person(folder / "author"), Person(folder / "colleague")

    print("1. A data scientist trains a digits classifier (scikit-learn's bundled data).")
    subprocess.run([sys.executable, str(HERE / "train.py"), str(project)], check=True)
    metrics = json.loads((project / "metrics.json").read_text(encoding="utf-8"))
    print(f"   accuracy {metrics['accuracy']} on {metrics['test_size']} images")

    print("\n2. She packs weights, data, parameters and deployment config into one kit.")
    packed = author.mlkit("pack", str(project), "-t", "digits:1.2")
    print(f"   {packed['files']} files in {packed['layers']} layers, {packed['size']:,} bytes")
    for entry in author.mlkit("inspect", "digits:1.2")["entries"]:
        if entry["version"]:
            print(f"   {entry['id']:<16} version {entry['version']:<4} {entry['path']}")

    print("\n3. A registry starts on loopback, and she pushes the kit to it.")
    with registry(folder / "registry") as host:
        reference = f"{host}/team/digits:1.2"
        pushed = author.mlkit("push", "digits:1.2", reference)
        print(f"   moved {pushed['moved_bytes']:,} bytes")
        again = author.mlkit("push", "digits:1.2", reference)
        print(f"   pushed again: moved {again['moved_bytes']:,} bytes, all was there")

        print("\n4. A colleague, with a store of his own, pulls only the datasets.")
        pulled = colleague.mlkit("pull", reference, "--filter", "datasets")
        share = pulled["moved_bytes"] / pulled["size"]
        print(f"   moved {pulled['moved_bytes']:,} of {pulled['size']:,} bytes ({share:.0%})")

        print("\n5. Then he unpacks all of it, straight from where the rest is, and compares every byte.")
        unpacked = colleague.mlkit("unpack", reference, "-d", str(folder / "copy"))
        check(author.mlkit("files", "digits:1.2"), project, folder / "copy")
        print(f"   {len(unpacked['files'])} files, {unpacked['size']:,} bytes: every sha256 matches")

        print("\n6. The unpacked kit predicts what the author's did.")
        print("   ", end="", flush=True)
        environ = os.environ | {"PYTHONPATH": ""}
        subprocess.run([sys.executable, "predict.py"], cwd=folder / "copy", check=True, env=environ)

        print("\n7. He serves it, straight from the registry, and asks over HTTP what ten of its images are.")
        with colleague.serving(reference) as served:
            print(f"   {served['runtime']} serves {served['model']} after {served['ready_seconds']:.1f} s")
            images, labels = ten_images(folder / "copy")
            answers = ask(f"{served['url']}/v2/models/{served['name']}/infer", images)
            print(f"   labels  {labels}")
            print(f"   answers {answers}")


class Person:
    """Somebody with a store of their own."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._environ: Mapping[str, str] = os.environ | {
            "MLKIT_HOME": str(home / "store"),
            "HOME": str(home),
            "MLKIT_PLAIN_HTTP_HOSTS": "loopback",
        }

    def mlkit(self, *arguments: str) -> Any:
        """Run one command, shown as typed, and give its JSON."""
        print(f"   $ mlkit {' '.join(arguments)}")
        command = [MLKIT, *arguments, "--json"]
        done = subprocess.run(command, env=self._environ, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise SystemExit(done.returncode)
        return json.loads(done.stdout)

    @contextmanager
    def serving(self, reference: str) -> Iterator[dict[str, Any]]:
        """The kit behind a server on a free port of loopback: what `mlkit serve` tells of it."""
        print(f"   $ mlkit serve {reference}")
        command = [MLKIT, "serve", reference, "--port", "0", "--json"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=self._environ, stdout=pipe, stderr=pipe, text=True) as server:
            try:
                yield document(server)
            finally:
                server.terminate()


def document(server: subprocess.Popen[str]) -> dict[str, Any]:
    """The one JSON document that a server prints when it is ready."""
    if server.stdout is None or server.stderr is None:
        raise RuntimeError("the server was started without its output")
    lines: list[str] = []
    while lines[-1:] != ["}\n"]:
        lines.append(server.stdout.readline())
        if not lines[-1]:
            raise SystemExit(server.stderr.read())
    return json.loads("".join(lines))


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """The embedded registry on a free port of loopback: its host and port."""
    command = [MLKIT, "registry", "serve", "--dir", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        if server.stdout is None:
            raise RuntimeError("the server was started without its output")
        try:
            print(f"   $ {' '.join(['mlkit', *command[1:-1]])}")
            yield json.loads(server.stdout.readline())["url"].removeprefix("http://")
        finally:
            server.terminate()


def ten_images(project: Path) -> tuple[list[list[float]], list[int]]:
    """The first ten images of the test data, as rows of pixels, and what they show."""
    table = pyarrow.parquet.read_table(project / "data/test.parquet").slice(0, 10)
    rows = table.drop_columns("label").to_pylist()
    return [list(row.values()) for row in rows], table.column("label").to_pylist()


def ask(url: str, images: list[list[float]]) -> list[int]:
    """What the model takes images for, by the Open Inference Protocol V2."""
    shape = [len(images), len(images[0])]
    pixels = [pixel for image in images for pixel in image]
    body = {"inputs": [{"name": "pixels", "shape": shape, "datatype": "FP32", "data": pixels}]}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        outputs = {output["name"]: output["data"] for output in json.load(answer)["outputs"]}
    return outputs["label"]


def check(files: list[dict[str, Any]], source: Path, copy: Path) -> None:
    """Compare every file of the kit with both trees, by sha256."""
    for file in files:
        digests = {hashlib.sha256((tree / file["path"]).read_bytes()).hexdigest() for tree in (source, copy)}
        if digests != {file["digest"].removeprefix("sha256:")}:
            raise SystemExit(f"{file['path']}: the copy differs")


if __name__ == "__main__":
    main()
