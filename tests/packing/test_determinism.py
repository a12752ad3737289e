from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.packing.trees import packed, write_tree

from mlkit.spec.media_types import CREATED, TITLE

KITFILE = """
package: {name: demo, version: "1.2", license: MIT, authors: [b, a]}
model: {name: m, path: model, parts: [{path: parts/one}, {path: parts/two}], parameters: {z: 1, a: [2.5, x]}}
datasets: [{name: d, path: data, version: "2"}]
parameters: [{path: params.yaml}]
deployment: [{path: deploy}]
prompts: [{name: p, path: prompts}]
docs: [{path: README.md}]
code: [{path: .}]
"""

FILES = {
    "model/b.safetensors": b"b" * 1000,
    "model/a.safetensors": b"a" * 1000,
    "model/config.json": b"{}",
    "parts/one": b"1",
    "parts/two": b"2",
    "params.yaml": b"lr: 0.1",
    "deploy/k.yaml": b"kind: Service",
    "prompts/p.md": b"Be short.",
    "README.md": b"# Demo",
    "src/Zed.py": b"",
    "src/a-b/x.py": b"x",
    "src/a/y.py": b"y",
    "src/\u00e9t\u00e9.py": b"z",
    "run.sh": b"#!/bin/sh",
    **{f"data/{number:03}.txt": b"%d" % number for number in range(70)},
}

SCRIPT = """
import os, sys
from pathlib import Path
umask, root, kitfile = sys.argv[1:]
os.umask(int(umask, 8))
from mlkit.content.layout import Layout
from mlkit.packing.pack import pack, prepare
from mlkit.packing.plan import PackOptions
store = Layout.create(Path(root).parent / "store")
plan = prepare(Path(root), kitfile, PackOptions(concurrency=3))
print(pack(plan, store).manifest.descriptor.digest)
"""


def make(root: Path, *, umask: int, mtime: int, backwards: bool) -> Path:
    """The same files, made in another way."""
    before = os.umask(umask)
    try:
        names = sorted(FILES, reverse=backwards)
        write_tree(root, {name: FILES[name] for name in names})
        (root / "data/none").mkdir()
        (root / "run.sh").chmod(0o777 & ~umask)
        for name in names:
            os.utime(root / name, (mtime, mtime))
    finally:
        os.umask(before)
    return root


def digest_in_a_process(root: Path, *, umask: str, cwd: Path, **environ: str) -> str:
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
    told.pop("SOURCE_DATE_EPOCH", None)
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, umask, str(root), KITFILE],
        cwd=cwd,
        env=told,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_the_same_bytes_have_the_same_digest_whoever_packs_them_and_when(tmp_path: Path) -> None:
    one = make(tmp_path / "one" / "tree", umask=0o022, mtime=1, backwards=False)
    two = make(tmp_path / "a longer path" / "two", umask=0o077, mtime=1_700_000_000, backwards=True)

    first = digest_in_a_process(one, umask="022", cwd=tmp_path, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1")
    second = digest_in_a_process(
        two, umask="077", cwd=two, TZ="Asia/Kolkata", LC_ALL="C.UTF-8", PYTHONHASHSEED="2", PYTHONUTF8="0"
    )

    assert first == second
    assert first.startswith("sha256:")
    assert str(packed(one, KITFILE)[0].manifest.descriptor.digest) == first


def test_content_mode_and_names_are_part_of_the_digest(tmp_path: Path) -> None:
    root = make(tmp_path / "tree", umask=0o022, mtime=1, backwards=False)
    digests = {packed(root, KITFILE)[0].manifest.descriptor.digest}

    (root / "src/a/y.py").write_bytes(b"Y")
    digests.add(packed(root, KITFILE)[0].manifest.descriptor.digest)
    (root / "src/a/y.py").chmod(0o755)
    digests.add(packed(root, KITFILE)[0].manifest.descriptor.digest)
    (root / "src/a/y.py").rename(root / "src/a/z.py")
    digests.add(packed(root, KITFILE)[0].manifest.descriptor.digest)
    digests.add(packed(root, KITFILE + "# a comment\n")[0].manifest.descriptor.digest)

    assert len(digests) == 5


@pytest.mark.parametrize("options", [{"format": "kitops"}, {"layers": "tar"}, {"compression": "zstd"}], ids=str)
def test_every_way_of_packing_is_repeatable(tmp_path: Path, options: dict[str, Any]) -> None:
    root = make(tmp_path / "tree", umask=0o022, mtime=1, backwards=False)

    assert packed(root, KITFILE, **options)[0].manifest.raw == packed(root, KITFILE, **options)[0].manifest.raw


def test_a_time_gets_into_the_kit_only_when_the_caller_gives_one(tmp_path: Path) -> None:
    root = write_tree(tmp_path, ["a.py"])

    without, _ = packed(root, "code: [{path: .}]")
    with_time, _ = packed(root, "code: [{path: .}]", created="2026-01-02T03:04:05Z")

    assert CREATED not in without.manifest.annotations
    assert with_time.manifest.annotations[CREATED] == "2026-01-02T03:04:05Z"


def test_annotations_of_the_caller_win_over_those_of_the_kitfile(tmp_path: Path) -> None:
    root = write_tree(tmp_path, ["a.py"])

    result, _ = packed(root, "package: {name: n}\ncode: [{path: .}]", annotations={TITLE: "mine", "x": "y"})

    assert (result.manifest.annotations[TITLE], result.manifest.annotations["x"]) == ("mine", "y")
