"""What is said of the files in layers of other tools, which no document describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kits import compressed, tar_of

import mlkit
from mlkit.api import looking
from mlkit.api.session import Session
from mlkit.api.settings import load_settings
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.server import RunningRegistry
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import KITOPS_ARTIFACT, KITOPS_CONFIG
from mlkit.spec.reference import Reference

FILES = {"data/a.csv": b"a,b\n", "data/deep/b.csv": b"b,c,d\n"}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    settings = load_settings({"HOME": str(tmp_path / "home"), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}, tmp_path)
    with Session(settings) as session:
        yield session


def put_kit_of_kitops(layout: Layout, name: str, *, compression: str = "none") -> None:
    """A ModelKit as `kit pack` makes it: a tar for each entry, and no kit document."""
    raw = compressed(tar_of({"data/": b"", **FILES}), compression)
    suffix = "tar" if compression == "none" else f"tar+{compression}"
    layer = Descriptor.of(raw, f"application/vnd.kitops.modelkit.dataset.v1.{suffix}")
    dataset = {
        "name": "train",
        "path": "data",
        "digest": str(layer.digest),
        "diffId": str(Digest.of(tar_of({"data/": b"", **FILES}))),
    }
    config_raw = render_json({"manifestVersion": "1.0.0", "datasets": [dataset]})
    config = Descriptor.of(config_raw, KITOPS_CONFIG)
    manifest = render_manifest(config=config, layers=(layer,), artifact_type=KITOPS_ARTIFACT, annotations={})
    layout.push(layer, BytesContent(raw))
    layout.push(config, BytesContent(config_raw))
    layout.push(manifest.descriptor, BytesContent(manifest.raw))
    layout.tag(manifest.descriptor, name)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_files_of_another_tools_kit_are_read_from_its_layers(session: Session, compression: str) -> None:
    put_kit_of_kitops(session.layout, "kit:1", compression=compression)

    listed = looking.files(session, Reference.parse("kit:1"))
    filtered = looking.files(session, Reference.parse("kit:1"), filters=["datasets:**/b.csv"])
    with mlkit.open("kit:1", session=session) as kit:
        opened = kit.files()

    assert {file.path: (file.size, file.digest) for file in listed} == {
        path: (len(content), Digest.of(content)) for path, content in FILES.items()
    }
    assert [file.path for file in filtered] == ["data/deep/b.csv"]
    assert opened == listed


def test_layers_of_another_tools_kit_that_are_not_here_are_listed_whole(session: Session, tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "registry")
    put_kit_of_kitops(layout, "team/kit:1")
    told: list[str] = []
    session.progress.warn = told.append  # type: ignore[method-assign]  # the listener of this session

    with RunningRegistry(layout) as registry:
        listed = looking.files(session, Reference.parse(f"{registry.host}/team/kit:1"))

    assert [(file.path, file.digest) for file in listed] == [("data", None)]
    assert "1 of its layers" in told[0]
