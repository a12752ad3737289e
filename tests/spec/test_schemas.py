from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.schemas import SCHEMAS, render

from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import (
    EntryRecord,
    FileRecord,
    InputRecord,
    KitDocument,
    LayerRecord,
    parse_kit_document,
    render_kit_document,
)
from mlkit.spec.kitfile import SCHEMA_URL, parse_kitfile
from mlkit.spec.media_types import Class

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/**/Kitfile"))


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def accepts(name: str, value: object) -> bool:
    return jsonschema.Draft202012Validator(schema(name)).is_valid(value)


@pytest.mark.parametrize("name", sorted(render()))
def test_the_schemas_in_the_repository_are_those_of_the_models(name: str) -> None:
    assert (SCHEMAS / name).read_text(encoding="utf-8") == render()[name], "run `make schemas`"


def test_there_is_no_schema_without_a_model() -> None:
    assert sorted(path.name for path in SCHEMAS.glob("*.json")) == sorted(render())


@pytest.mark.parametrize("name", sorted(render()))
def test_each_schema_is_valid_and_says_where_it_lives(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))

    assert schema(name)["$id"] == f"https://mlkit.dev/schemas/{name}"


def test_the_kitfile_schema_is_the_one_that_kitfiles_name() -> None:
    assert schema("kitfile-v1.json")["$id"] == SCHEMA_URL


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("package: {name: x, version: 1.2, authors: [a]}\n", id="package"),
        pytest.param("model: {path: m, version: 6, parts: [{path: p, type: t}], parameters: {a: [1]}}\n", id="model"),
        pytest.param("model:\ncode:\ndocs: []\npackage:\n", id="empty sections"),
        pytest.param("datasets: [{remotePath: s3://b/k, remoteHash: x}]\n", id="a remote dataset"),
        pytest.param("mcpServers: [{path: a.mcpb}]\n", id="a server"),
        pytest.param("checks: [{name: x, run: [python, 1], timeout: 1.5}]\n", id="a check"),
        pytest.param("inputs: [{role: run, uri: x}]\n", id="an input"),
        pytest.param("deployment: [{path: d, runtime: vllm}]\nparameters: [{path: p}]\n", id="mlkit's own"),
    ],
)
def test_the_schema_accepts_what_mlkit_accepts(text: str) -> None:
    parse_kitfile(text.encode())

    assert accepts("kitfile-v1.json", yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("modl: {}\n", id="an unknown section"),
        pytest.param("model: {pth: x}\n", id="an unknown key"),
        pytest.param("package: {name: []}\n", id="a list for text"),
        pytest.param("code: {path: x}\n", id="a mapping for a list"),
        pytest.param("parameters: [{name: x}]\n", id="no path"),
        pytest.param("mcpServers: [{path: a.zip}]\n", id="no bundle"),
        pytest.param("model: {parts: [{path: x, type: -x}]}\n", id="no type of a part"),
        pytest.param("inputs: [{role: x, uri: y}]\n", id="no role"),
        pytest.param("checks: [{name: x, run: [y], timeout: 0}]\n", id="no time at all"),
        pytest.param("[]\n", id="no mapping"),
    ],
)
def test_the_schema_refuses_what_mlkit_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_kitfile(text.encode())

    assert not accepts("kitfile-v1.json", yaml.safe_load(text))


@pytest.mark.skipif(not EXAMPLES, reason="no example has a Kitfile")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_kitfiles_of_the_examples_fit_the_schema(path: Path) -> None:
    assert accepts("kitfile-v1.json", yaml.safe_load(path.read_text(encoding="utf-8")))


def test_fields_are_explained_to_editors() -> None:
    definitions = schema("kitfile-v1.json")["$defs"]

    assert definitions["CheckEntry"]["properties"]["timeout"]["description"].startswith("Seconds")
    told = definitions["DatasetEntry"]["properties"]["remoteHash"]["description"]
    assert told == "Of an S3 object: its ETag, or `sha256:` and the digest of its bytes."


def test_a_kit_document_fits_its_schema() -> None:
    digest = Digest.of(b"kit")
    file = FileRecord("a", 3, 0o755, digest, 0)
    document = KitDocument(
        kitfile="",
        entries=(EntryRecord("code[0]", Class.CODE, "x", ".", "1", "y", ("empty",)),),
        layers=(LayerRecord(digest, 3, digest, "raw", "none", Class.CODE, "code[0]", (file,)),),
        inputs=(InputRecord("run", "a:1", "b", digest),),
    )

    assert accepts("kit-document-v1.json", json.loads(render_kit_document(document)))
    assert accepts("kit-document-v1.json", json.loads(render_kit_document(KitDocument(kitfile=""))))


@pytest.mark.parametrize("field", ["schemaVersion", "kitfile", "entries", "layers", "inputs"])
def test_a_kit_document_without_a_field_fits_neither_schema_nor_reader(field: str) -> None:
    value = json.loads(render_kit_document(KitDocument(kitfile="")))
    del value[field]

    assert not accepts("kit-document-v1.json", value)
    with pytest.raises(IntegrityError, match=field):
        parse_kit_document(json.dumps(value).encode())
