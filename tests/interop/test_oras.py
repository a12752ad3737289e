"""`oras pull` of kits: raw layers arrive as the files they are, tar layers as archives that any `tar` unpacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.interop.test_kitops import WRITTEN
from tests.interop.trees import FILES, write_everything
from tests.support.programs import Program, tree

import mlkit
from mlkit.api.session import Session

ARCHIVES = (".tar", ".tar.gz", ".tar.zst")


@pytest.mark.parametrize(("to", "layers", "compression"), WRITTEN, ids=["-".join(one) for one in WRITTEN])
def test_oras_pulls_what_mlkit_packed(
    host: str, session: Session, tmp_path: Path, to: Any, layers: Any, compression: Any
) -> None:
    project = write_everything(tmp_path / "everything")
    reference, out = f"{host}/team/everything:1.2", tmp_path / "out"
    packed = mlkit.pack(
        project, tag=reference, format=to, layers=layers, compression=compression, push=True, session=session
    )

    Program("oras")("pull", "--plain-http", reference, "-o", out)

    archives = [path for path in out.rglob("*") if path.name.endswith(ARCHIVES)]
    assert len([path for path in out.rglob("*") if path.is_file()]) == packed.layers - 1, "all but the kit document"
    for archive in archives:
        Program("tar")("-xf", archive, "-C", out)
        archive.unlink()
    # What `oras` writes it gives one mode, because layers have none.
    assert {path: content for path, (content, _) in tree(out).items()} == FILES
    assert bool(archives) is (layers != "raw" or to == "kitops")
