"""What other tools read in a kit: config, annotations, the Kitfile as they see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from tests.packing.trees import DATA, blob, config_of, content_layers, packed, packed_paths, write_tree

from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.kitfile import parse_kitfile_json
from mlkit.spec.media_types import (
    CLASS,
    FILE_METADATA,
    FILEPATH,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    KITOPS_KITFILE,
    KITOPS_SUBTYPE,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    TITLE,
)

KITFILE = """
package: {name: demo, version: "1.2", description: A demo, license: MIT, authors: [me]}
model: {name: m, path: model, format: safetensors, version: "6", license: Apache-2.0,
        parts: [{name: lora, path: lora.safetensors, type: lora}]}
datasets: [{name: d, path: data, version: "2", description: rows}, {name: far, remotePath: "s3://b/k", remoteHash: e}]
parameters: [{name: p, path: params.yaml, version: "5"}]
deployment: [{name: k, path: deploy, runtime: kserve}]
code: [{path: ., description: the rest}]
docs: [{path: README.md}]
prompts: [{name: q, path: prompts}]
mcpServers: [{name: s, path: tool.mcpb}]
inputs: [{role: dataset, uri: "s3://b/k"}]
checks: [{name: c, run: [python, check.py]}]
"""
FILES = [
    "model/1.safetensors",
    "model/2.safetensors",
    "model/config.json",
    "lora.safetensors",
    "data/a.csv",
    "data/b.csv",
    "params.yaml",
    "deploy/k.yaml",
    "train.py",
    "README.md",
    "prompts/p.md",
    "tool.mcpb",
]


def schema(*path: str) -> Any:
    file = DATA.joinpath(*path)
    if not file.is_file():
        pytest.skip(f"{'/'.join(path)} is not at hand")
    return json.loads(file.read_text())


def view_of(manifest: Any) -> dict[str, Any]:
    return parse_object(manifest.annotations[KITOPS_KITFILE].encode(), what="view")


def test_the_config_of_a_modelpack_says_what_the_kitfile_says(tmp_path: Path) -> None:
    result, store = packed(write_tree(tmp_path, FILES), KITFILE)

    config = config_of(result, store)

    assert config["descriptor"] == {
        "name": "demo",
        "title": "demo",
        "version": "1.2",
        "description": "A demo",
        "authors": ["me"],
        "licenses": ["MIT"],
    }
    assert config["config"] == {"format": "safetensors"}
    assert config["modelfs"]["diffIds"] == [str(layer.digest) for layer in result.manifest.layers]
    assert (result.manifest.artifact_type, result.manifest.config.media_type) == (MODELPACK_ARTIFACT, MODELPACK_CONFIG)


@pytest.mark.parametrize("kitfile", [KITFILE, "package: {}", "model: {path: model}"], ids=["all", "none", "bare"])
def test_the_config_is_valid_by_the_schema_of_modelpack(tmp_path: Path, kitfile: str) -> None:
    rules = schema("modelpack", "config-schema.json")
    result, store = packed(write_tree(tmp_path, FILES), kitfile)

    Draft202012Validator(rules).validate(config_of(result, store))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        pytest.param(
            "{architecture: LlamaForCausalLM, parameterCount: 8030261248, precision: bf16, quantization: gptq-4bit}",
            {"architecture": "LlamaForCausalLM", "paramSize": "8b", "precision": "bf16", "quantization": "gptq-4bit"},
            id="what init writes",
        ),
        pytest.param("{paramSize: 7b, parameterCount: 5}", {"paramSize": "7b"}, id="the author's own word"),
        pytest.param("{parameterCount: 1543714304}", {"paramSize": "1.5b"}, id="tenths"),
        pytest.param("{parameterCount: 999999999}", {"paramSize": "1b"}, id="rounded up to the next unit"),
        pytest.param("{parameterCount: 650}", {"paramSize": "650"}, id="few"),
        pytest.param("{parameterCount: 0, precision: 16, architecture: [a], lr: 0.1}", {}, id="what is no text"),
        pytest.param("{parameterCount: true}", {}, id="no number"),
        pytest.param("[1, 2]", {}, id="no mapping"),
    ],
)
def test_the_config_of_a_modelpack_has_the_parameters_that_it_has_fields_for(
    tmp_path: Path, parameters: str, told: dict[str, str]
) -> None:
    result, store = packed(
        write_tree(tmp_path, ["model/1.safetensors"]), f"model: {{path: model, parameters: {parameters}}}"
    )

    config = config_of(result, store)

    assert config["config"] == told
    Draft202012Validator(schema("modelpack", "config-schema.json")).validate(config)


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
def test_the_manifest_is_valid_by_the_schema_of_oci(tmp_path: Path, to: str) -> None:
    rules = schema("oci-schemas", "image-manifest-schema.json")
    others = [json.loads(path.read_text()) for path in sorted((DATA / "oci-schemas").glob("*.json"))]
    resources = [Resource.from_contents(other, default_specification=_draft4()) for other in others]
    names = [path.name for path in sorted((DATA / "oci-schemas").glob("*.json"))]
    base = rules["id"].rpartition("/")[0]
    registry = Registry().with_resources(
        [(other["id"], one) for other, one in zip(others, resources, strict=True) if "id" in other]
        + [(f"{base}/{name}", one) for name, one in zip(names, resources, strict=True)]
    )
    result, _ = packed(write_tree(tmp_path, FILES), KITFILE, format=to)

    _draft4_validator()(rules, registry=registry).validate(json.loads(result.manifest.raw))


def _draft4() -> Any:
    from referencing.jsonschema import DRAFT4

    return DRAFT4


def _draft4_validator() -> Any:
    from jsonschema import Draft4Validator

    return Draft4Validator


def test_titles_differ_and_no_file_of_one_is_a_directory_of_another(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"data/{number:03}": b"x" for number in range(70)})
    write_tree(
        tmp_path, {"data/big.bin": bytes(2 << 20), "data.tar": b"x", "code.tar": b"y", **dict.fromkeys(FILES, b"")}
    )
    kitfile = KITFILE.replace(
        "docs: [{path: README.md}]", "docs: [{path: README.md}, {path: data.tar}, {path: code.tar}]"
    )

    result, _ = packed(tmp_path, kitfile)

    titles = [layer.annotations[TITLE] for layer in content_layers(result)]
    assert len(set(titles)) == len(titles)
    assert not [(one, other) for one in titles for other in titles if other.startswith(f"{one}/")]
    assert "data/big.bin" in titles


def test_every_layer_tells_its_path_and_constant_metadata(tmp_path: Path) -> None:
    write_tree(tmp_path, FILES)
    (tmp_path / "model/1.safetensors").chmod(0o755)

    result, _ = packed(tmp_path, KITFILE)

    first, *_ = content_layers(result)
    assert first.annotations[FILEPATH] == "model/1.safetensors"
    assert json.loads(first.annotations[FILE_METADATA]) == {
        "name": "1.safetensors",
        "mode": 0o755,
        "uid": 0,
        "gid": 0,
        "size": len("testing: model/1.safetensors"),
        "mtime": "1970-01-01T00:00:00Z",
        "typeflag": 48,
    }
    code = next(layer for layer in result.manifest.layers if layer.annotations[FILEPATH] == ".")
    assert json.loads(code.annotations[FILE_METADATA])["typeflag"] == 53


def test_classes_that_media_types_do_not_tell_are_annotated(tmp_path: Path) -> None:
    result, _ = packed(write_tree(tmp_path, FILES), KITFILE)

    classes = {layer.annotations[FILEPATH]: layer.annotations.get(CLASS) for layer in content_layers(result)}

    assert classes["params.yaml"] == "parameters"
    assert classes["deploy/k.yaml"] == "deployment"
    assert classes["prompts"] == "prompts"
    assert classes["tool.mcpb"] == "mcpservers"
    assert {classes[path] for path in ("model/1.safetensors", "data/a.csv", ".", "README.md")} == {None}
    prompts = next(layer for layer in content_layers(result) if layer.annotations[FILEPATH] == "prompts")
    assert prompts.annotations[KITOPS_SUBTYPE] == "prompt"


def test_other_tools_see_one_entry_per_layer(tmp_path: Path) -> None:
    result, _ = packed(write_tree(tmp_path, FILES), KITFILE)

    view = view_of(result.manifest)

    model = view["model"]
    assert (model["path"], model["name"], model["version"]) == ("model/1.safetensors", "m", "6")
    assert [(part["name"], part["path"], part.get("type")) for part in model["parts"]] == [
        ("2.safetensors", "model/2.safetensors", None),
        ("config.json", "model/config.json", None),
        ("lora", "lora.safetensors", "lora"),
    ]
    assert [(item["name"], item.get("path")) for item in view["datasets"]] == [
        ("d", "data/a.csv"),
        ("d-2", "data/b.csv"),
        ("far", None),
    ]
    assert [item["path"] for item in view["code"]] == ["params.yaml", "deploy/k.yaml", "."]
    assert [item["path"] for item in view["docs"]] == ["README.md"]
    assert [item["path"] for item in view["prompts"]] == ["prompts"]
    assert [item["path"] for item in view["mcpServers"]] == ["tool.mcpb"]
    assert not {"parameters", "deployment", "inputs", "checks"} & view.keys()
    assert "version" not in view["datasets"][0]


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
@pytest.mark.parametrize("layers", ["auto", "tar", "raw"])
def test_every_layer_has_its_entry_by_digest_in_the_order_of_the_layers(tmp_path: Path, to: str, layers: str) -> None:
    result, _ = packed(write_tree(tmp_path, FILES), KITFILE, format=to, layers=layers)

    view = view_of(result.manifest)
    model = view["model"]
    seen = [model, *model.get("parts", [])]
    seen += [item for item in view["datasets"] if "digest" in item]
    seen += [*view["code"], *view["docs"], *view["prompts"], *view["mcpServers"]]

    assert [Digest.parse(item["digest"]) for item in seen] == [layer.digest for layer in content_layers(result)]
    assert [item["diffId"] for item in seen] == [str(record.diff_id) for record in result.document.layers]
    assert [item["path"] for item in seen] == [layer.annotations[FILEPATH] for layer in content_layers(result)]
    assert len({item["path"] for item in seen}) == len(seen)


def test_the_config_of_a_modelkit_is_the_kitfile_as_others_see_it(tmp_path: Path) -> None:
    result, store = packed(write_tree(tmp_path, FILES), KITFILE, format="kitops")

    raw = blob(result.manifest.config, store)

    assert (result.manifest.artifact_type, result.manifest.config.media_type) == (KITOPS_ARTIFACT, KITOPS_CONFIG)
    assert json.loads(raw) == view_of(result.manifest)
    assert parse_kitfile_json(raw, what="config").package.version == "1.2"
    assert result.manifest.layers[-1].media_type == "application/vnd.kitops.modelkit.docs.v1.raw"


def test_a_part_takes_the_place_of_a_model_without_files(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a", "b"])

    result, _ = packed(tmp_path, "model: {name: m, path: ., parts: [{path: a}, {path: b}]}")

    model = view_of(result.manifest)["model"]
    assert (model["path"], [part["path"] for part in model["parts"]]) == ("a", ["b"])


def test_a_model_without_any_layer_is_not_shown_to_others(tmp_path: Path) -> None:
    result, _ = packed(write_tree(tmp_path, ["a.py"]), "model: {name: m}\ncode: [{path: a.py}]")

    assert "model" not in view_of(result.manifest)


def test_a_model_that_is_another_kit_keeps_its_reference(tmp_path: Path) -> None:
    kitfile = "model: {path: 'registry.example/team/base:1', parts: [{path: a.bin}]}"

    result, _ = packed(write_tree(tmp_path, ["a.bin"]), kitfile)

    model = view_of(result.manifest)["model"]
    assert model["path"] == "registry.example/team/base:1"
    assert "digest" not in model
    assert [part["path"] for part in model["parts"]] == ["a.bin"]


def _cases() -> list[Any]:
    folder = DATA / "kitfile-cases"
    paths = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the cases of KitOps are not at hand"))]
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.mark.parametrize("to", ["modelpack", "kitops"])
@pytest.mark.parametrize("case", _cases())
def test_the_cases_of_kitops_hold_the_files_that_they_should(tmp_path: Path, case: Path, to: str) -> None:
    told = yaml.safe_load(case.read_text())
    kits = told.get("modelkits", [told])
    for number, kit in enumerate(kits):
        root = tmp_path / str(number)
        root.mkdir()
        files = [name.removeprefix("./") for name in kit.get("files", [])]
        write_tree(root, [*files, *(name.removeprefix("./") for name in kit.get("ignored", []))])
        if kit.get("kitignore"):
            (root / ".kitignore").write_text(kit["kitignore"])

        result, _ = packed(root, kit["kitfile"], format=to)

        assert packed_paths(result) == sorted(files)
