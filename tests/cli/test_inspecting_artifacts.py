"""`mlkit inspect` looks at anything: artifacts of other tools, and kits that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import CommandLine

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import (
    FILEPATH,
    KITOPS_INDEX_ARTIFACT,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    TITLE,
)


@pytest.fixture
def layout(mlkit: CommandLine) -> Layout:
    return Layout.create(Path(mlkit.environ["MLKIT_HOME"]))


def tag(layout: Layout, layer_type: str, annotations: dict[str, str], **manifest: Any) -> Descriptor:
    layer = Descriptor.of(b"x", layer_type, annotations)
    config = Descriptor.of(b"{}", manifest.pop("config_type", OCI_EMPTY))
    made = render_manifest(config=config, layers=(layer,), **manifest)
    for desc, raw in ((layer, b"x"), (config, b"{}"), (made.descriptor, made.raw)):
        layout.push(desc, BytesContent(raw))
    layout.tag(made.descriptor, "theirs:1")
    return made.descriptor


@pytest.mark.parametrize(
    ("layer_type", "annotations", "manifest", "kind", "shown"),
    [
        (
            "application/vnd.docker.ai.gguf.v3",
            {},
            {"config_type": "application/vnd.docker.ai.model.config.v0.1+json"},
            "docker-model",
            "a model of Docker",
        ),
        ("text/plain", {TITLE: "a.txt"}, {"artifact_type": "application/x"}, "artifact", "an OCI artifact of type"),
    ],
    ids=["docker", "oras"],
)
def test_what_can_be_read_like_a_kit_is_shown_as_what_it_is(
    mlkit: CommandLine,
    layout: Layout,
    layer_type: str,
    annotations: dict[str, str],
    manifest: dict[str, Any],
    kind: str,
    shown: str,
) -> None:
    tag(layout, layer_type, annotations, **manifest)

    text, found = mlkit.ok("inspect", "theirs:1").stdout, mlkit.ok("inspect", "theirs:1", "--json").json
    mlkit.ok("unpack", "theirs:1", "-d", "out")

    assert shown in text
    assert "not a kit" not in text
    assert (found["kind"], found["is_kit"], found["problem"]) == (kind, True, None)
    assert [layer["kind"] for layer in found["layers"]] == ["raw"]


@pytest.mark.parametrize(
    ("config_type", "shown"),
    [
        ("application/vnd.oci.image.config.v1+json", "a container image, not a kit"),
        ("application/vnd.cncf.helm.config.v1+json", "a Helm chart, not a kit"),
    ],
    ids=["image", "chart"],
)
def test_what_is_no_kit_is_shown_and_not_unpacked(
    mlkit: CommandLine, layout: Layout, config_type: str, shown: str
) -> None:
    tag(layout, "application/vnd.oci.image.layer.v1.tar", {}, config_type=config_type)

    text = mlkit.ok("inspect", "theirs:1").stdout
    ended = mlkit("unpack", "theirs:1", "-d", "out")

    assert shown in text
    assert "problem" not in text
    assert ended.code == 5
    assert "hint: `mlkit inspect` shows what it holds" in ended.stderr


@pytest.mark.parametrize("annotations", [{}, {FILEPATH: "../../etc/x"}], ids=["no path", "hostile"])
def test_a_broken_kit_is_shown_with_its_problem(
    mlkit: CommandLine, layout: Layout, annotations: dict[str, str]
) -> None:
    kit = {"artifact_type": MODELPACK_ARTIFACT, "config_type": MODELPACK_CONFIG}
    desc = tag(layout, "application/vnd.cncf.model.weight.v1.raw", annotations, **kit)

    text, found = mlkit.ok("inspect", "theirs:1").stdout, mlkit.ok("inspect", "theirs:1", "--json").json
    refused = mlkit("unpack", "theirs:1", "-d", "out")

    assert "a ModelPack, not a kit" in text
    assert "problem" in text
    assert (found["kind"], found["is_kit"], found["digest"]) == ("modelpack", False, str(desc.digest))
    assert found["problem"] in refused.stderr
    assert refused.code in (4, 5)


def test_an_index_of_kits_is_shown_and_a_variant_can_be_unpacked(mlkit: CommandLine, layout: Layout) -> None:
    mlkit.ok("pack", ".", "-t", "digits:1.2", "--quiet")
    (mlkit.cwd / "README.md").write_text("# Another page\n")
    mlkit.ok("pack", ".", "-t", "digits:1.3", "--quiet")
    child, other = layout.resolve("digits:1.2"), layout.resolve("digits:1.3")
    labelled = Descriptor(child.media_type, child.digest, child.size, {"quantization": "q4"})
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": KITOPS_INDEX_ARTIFACT,
        "manifests": [labelled.render(), other.bare.render()],
    }
    raw = render_json(value)
    layout.push(Descriptor.of(raw, OCI_INDEX), BytesContent(raw))
    layout.tag(Descriptor.of(raw, OCI_INDEX), "variants:1")

    text = mlkit.ok("inspect", "variants:1").stdout
    refused = mlkit("unpack", "variants:1", "-d", "out")
    mlkit.ok("unpack", f"variants@{child.digest}", "-d", "out")

    assert "an index of 2 kits" in text
    assert refused.code == 2
    assert f"{child.digest} (quantization=q4)" in refused.stderr
    assert (mlkit.cwd / "out/Kitfile").is_file()
