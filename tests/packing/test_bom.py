"""Bills of materials, held against the schemas that the CycloneDX project's own library brings along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.packing.trees import packed, write_tree
from tests.support.kits import Layer, kitops_kit, own_kit, tar_of

from mlkit.content.memory import MemoryStore
from mlkit.packing.bom import FILES_LISTED, SpecVersion, bill_of_materials
from mlkit.packing.kit import Kit, load_kit
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord

KITFILE = """
package: {name: Digits / 2, version: "1.2", description: Handwritten, license: Apache-2.0 OR MIT, authors: [alice, bob]}
model: {name: m, path: model, format: safetensors, framework: torch, version: "6", license: llama3,
        parameters: {architecture: LlamaForCausalLM, parameterCount: 8030261248, precision: bf16},
        parts: [{name: lora, path: lora.safetensors, type: lora, license: MIT}]}
datasets: [{name: train, path: data, version: "2", license: CC-BY-4.0, description: rows},
           {name: far, path: far, remotePath: "s3://bucket/key", remoteHash: e}]
parameters: [{name: p, path: params.yaml, version: "5"}]
deployment: [{name: k, path: deploy, runtime: kserve}]
code: [{path: src, license: MIT}]
docs: [{path: README.md}]
prompts: [{name: q, path: prompts}]
mcpServers: [{name: s, path: tool.mcpb}]
"""
FILES = [
    *("model/1.safetensors", "model/config.json", "lora.safetensors", "data/a.csv", "data/b.csv", "params.yaml"),
    *("deploy/k.yaml", "src/train.py", "README.md", "prompts/p.md", "tool.mcpb"),
]


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    result, store = packed(write_tree(tmp_path, FILES), KITFILE)
    return load_kit(store, result.manifest.descriptor)


def valid(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The components by their references, of a document that the library finds right."""
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(document["specVersion"])
    error = JsonStrictValidator(version).validate_str(json.dumps(document))
    assert error is None, str(error)[:2000]
    components = {component["bom-ref"]: component for component in document["components"]}
    refs = [ref for item in document["dependencies"] for ref in (item["ref"], *item.get("dependsOn", ()))]
    assert set(refs) <= {*components, "kit"}, "every reference leads somewhere"
    return components


@pytest.mark.parametrize("spec_version", ["1.6", "1.7"])
def test_a_kit_is_a_valid_bill_of_materials(kit: Kit, spec_version: SpecVersion) -> None:
    document = bill_of_materials(kit, version="0.1", spec_version=spec_version)

    components = valid(document)
    assert document["specVersion"] == spec_version
    assert set(components) == {
        *("model", "datasets[0]", "datasets[1]", "parameters[0]", "deployment[0]", "code[0]", "docs[0]", "prompts[0]"),
        "mcpServers[0]",
    }
    about = document["metadata"]["component"]
    digest = kit.manifest.descriptor.digest
    assert about["purl"] == f"pkg:oci/digits-2@sha256%3A{digest.hex}"
    assert about["hashes"] == [{"alg": "SHA-256", "content": digest.hex}]
    assert about["licenses"] == [{"expression": "Apache-2.0 OR MIT"}]
    assert about["authors"] == [{"name": "alice"}, {"name": "bob"}]


def test_the_model_has_its_card_its_files_and_its_licence(kit: Kit) -> None:
    model = valid(bill_of_materials(kit, version="0.1"))["model"]

    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "m", "6")
    assert model["licenses"] == [{"license": {"name": "llama3"}}]
    parameters = model["modelCard"]["modelParameters"]
    assert parameters["modelArchitecture"] == "LlamaForCausalLM"
    assert parameters["datasets"] == [{"ref": "datasets[0]"}, {"ref": "datasets[1]"}]
    first, second, lora = model["components"]
    assert [first["name"], second["name"], lora["name"]] == ["model/1.safetensors", "model/config.json", "lora"]
    assert first["hashes"] == [{"alg": "SHA-256", "content": Digest.of(b"testing: model/1.safetensors").hex}]
    assert lora["licenses"] == [{"license": {"id": "MIT"}}]
    assert {"name": "mlkit:parameterCount", "value": "8030261248"} in model["properties"]


def test_datasets_are_data_with_their_licences_wherever_they_are(kit: Kit) -> None:
    components = valid(bill_of_materials(kit, version="0.1"))

    here, far = components["datasets[0]"], components["datasets[1]"]
    assert (here["type"], here["version"], here["licenses"]) == ("data", "2", [{"license": {"id": "CC-BY-4.0"}}])
    assert here["data"] == [{"type": "dataset", "name": "train", "description": "rows"}]
    assert [file["name"] for file in here["components"]] == ["data/a.csv", "data/b.csv"]
    assert far["externalReferences"] == [{"type": "distribution", "url": "s3://bucket/key"}]
    assert components["parameters[0]"]["hashes"] == [
        {"alg": "SHA-256", "content": Digest.of(b"testing: params.yaml").hex}
    ]


def test_what_it_was_made_from_is_pedigree_and_data() -> None:
    store = MemoryStore()
    digest = Digest.of(b"base")
    inputs = (
        InputRecord("base-model", ref=f"registry.example/base:1@{digest}", digest=digest, name="base"),
        InputRecord("dataset", uri="s3://bucket/rows", digest=Digest.of(b"rows")),
        InputRecord("code", uri="git+https://host/repository@abc", facts=(("git.commit", "abc"),)),
        InputRecord("other", uri="a place with spaces"),
    )
    desc = own_kit(
        store,
        "package: {name: x}\nmodel: {path: m.bin}\n",
        [Layer("model", {"m.bin": b"weights"})],
        inputs=inputs,
    )

    components = valid(bill_of_materials(load_kit(store, desc), version="0.1"))

    model = components["model"]
    (ancestor,) = model["pedigree"]["ancestors"]
    assert (ancestor["name"], ancestor["hashes"]) == ("base", [{"alg": "SHA-256", "content": digest.hex}])
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "inputs[1]"}]
    assert model["hashes"] == [{"alg": "SHA-256", "content": Digest.of(b"weights").hex}]
    assert set(components) == {"model", "inputs[1]", "inputs[2]", "inputs[3]"}
    assert components["inputs[2]"]["externalReferences"][0]["type"] == "vcs"
    assert {"name": "mlkit:git.commit", "value": "abc"} in components["inputs[2]"]["properties"]
    assert "externalReferences" not in components["inputs[3]"]


def test_a_model_that_is_another_kit_has_it_for_an_ancestor() -> None:
    store = MemoryStore()
    desc = own_kit(
        store, "model: {path: 'registry.example/base:1'}\ndocs: [{path: a.md}]\n", [Layer("docs[0]", {"a.md": b"x"})]
    )

    model = valid(bill_of_materials(load_kit(store, desc), version="0.1"))["model"]

    assert [ancestor["name"] for ancestor in model["pedigree"]["ancestors"]] == ["registry.example/base:1"]


@pytest.mark.parametrize("pin", ["", "@sha256:" + "a" * 64])
def test_a_model_that_is_another_kit_is_told_once_when_it_is_pinned_too(pin: str) -> None:
    store = MemoryStore()
    pinned = InputRecord("base-model", ref=f"registry.example/base:1@sha256:{'a' * 64}")
    desc = own_kit(
        store,
        f"model: {{path: 'registry.example/base:1{pin}'}}\ndocs: [{{path: a.md}}]\n",
        [Layer("docs[0]", {"a.md": b"x"})],
        inputs=(pinned,),
    )

    model = valid(bill_of_materials(load_kit(store, desc), version="0.1"))["model"]

    assert len(model["pedigree"]["ancestors"]) == 1


def test_many_files_are_told_by_their_layers(tmp_path: Path) -> None:
    names = [f"data/{number:04}.csv" for number in range(FILES_LISTED + 1)]
    result, store = packed(write_tree(tmp_path, names), "datasets: [{path: data}]\n")
    kit = load_kit(store, result.manifest.descriptor)

    (dataset,) = valid(bill_of_materials(kit, version="0.1")).values()

    (layer,) = dataset["components"]
    assert layer["hashes"] == [{"alg": "SHA-256", "content": kit.layers[0].desc.digest.hex}]
    assert {"name": "mlkit:files", "value": str(FILES_LISTED + 1)} in layer["properties"]


def test_a_kit_of_another_tool_is_told_as_far_as_it_tells() -> None:
    store = MemoryStore()
    raw = tar_of({"model/m.bin": b"w"})
    digest = str(Digest.of(raw))
    desc = kitops_kit(
        store,
        {
            "manifestVersion": "1.0.0",
            "package": {"name": "x"},
            "model": {"path": "model", "digest": digest, "diffId": digest},
        },
        [("model.v1.tar", raw, {})],
    )

    model = valid(bill_of_materials(load_kit(store, desc), version="0.1"))["model"]

    assert model["components"][0]["hashes"] == [{"alg": "SHA-256", "content": Digest.of(raw).hex}]


def test_the_same_kit_gives_the_same_bytes(kit: Kit, tmp_path: Path) -> None:
    again, store = packed(write_tree(tmp_path / "again", FILES), KITFILE)

    first = json.dumps(bill_of_materials(kit, version="0.1"))

    assert first == json.dumps(bill_of_materials(load_kit(store, again.manifest.descriptor), version="0.1"))
    assert (
        bill_of_materials(kit, version="0.1")["serialNumber"]
        != (bill_of_materials(kit, version="0.1", spec_version="1.7")["serialNumber"])
    )


def test_hostile_text_stays_text() -> None:
    store = MemoryStore()
    nasty = "\\u202e <script> [x](javascript:y) \\n ; rm"
    desc = own_kit(
        store,
        f'package: {{name: "{nasty}", license: "{nasty}"}}\nmodel: {{path: m.bin, name: "{nasty}"}}\n',
        [Layer("model", {"m.bin": b"w"})],
        inputs=(InputRecord("dataset", uri="javascript:alert(1) x"),),
    )

    valid(bill_of_materials(load_kit(store, desc), version="0.1"))
