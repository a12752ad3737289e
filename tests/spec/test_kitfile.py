from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support.json_values import JSON_VALUES

from mlkit.errors import IntegrityError, LimitError, UnsafeError, UsageError
from mlkit.spec.kitfile import (
    DatasetEntry,
    Kitfile,
    McpServerEntry,
    Model,
    Package,
    Part,
    clean_path,
    dataset_reference,
    entries,
    kitfile_json,
    model_reference,
    parse_kitfile,
    parse_kitfile_json,
    remote_entries,
    render_kitfile,
    warnings,
)
from mlkit.spec.media_types import Class

CASES = Path(__file__).parents[3] / "shared" / "data" / "kitfile-cases"

WHOLE = """\
# A release of everything.
manifestVersion: 1.0.0
package:
  name: digits
  version: 1.2
  description: |
    Reads digits.
    Well.
  license: Apache-2.0
  authors: [Ada, Grace]
model:
  name: classifier
  path: ./model/
  version: 6
  framework: sklearn
  format: onnx
  parts:
    - {name: tokenizer, path: tokenizer.json, type: tokenizer, version: 2}
  parameters: {layers: [64, 10], rate: 0.010, on: no}
datasets:
  - {name: train, path: data/train.parquet, version: 2}
  - {name: raw, remotePath: s3://bucket/raw, remoteHash: '"abc"'}
  - {name: other, remotePath: "registry.example/data:1"}
parameters:
  - {name: training, path: params.yaml, version: 5}
deployment:
  - {name: serve, path: deploy, runtime: vllm}
code:
  - path: .
docs:
  - {path: README.md, description: Model card}
prompts:
  - {name: system, path: prompts/}
mcpServers:
  - {name: tools, path: tools.mcpb}
inputs:
  - {role: base-model, ref: "registry.example/base:1"}
  - {role: run, uri: "mlflow://run/1"}
checks:
  - {name: smoke, run: [python, check.py, 1.50], timeout: 60}
"""


def problems(text: str) -> list[str]:
    """What the author of a Kitfile reads, a line each."""
    with pytest.raises(UsageError) as caught:
        parse_kitfile(text.encode())
    assert caught.value.hint
    summary, *lines = caught.value.message.splitlines()
    assert summary == f"Kitfile: {len(lines)} problem" + ("s" if len(lines) != 1 else "")
    return [line.strip() for line in lines]


def test_a_whole_kitfile_is_read() -> None:
    kitfile = parse_kitfile(WHOLE.encode())

    assert kitfile.package == Package(
        name="digits",
        version="1.2",
        description="Reads digits.\nWell.\n",
        license="Apache-2.0",
        authors=("Ada", "Grace"),
    )
    assert kitfile.model is not None
    assert kitfile.model.version == "6"
    assert kitfile.model.parts == (Part(name="tokenizer", path="tokenizer.json", type="tokenizer", version="2"),)
    assert kitfile.model.parameters == {"layers": [64, 10], "rate": 0.01, "on": "no"}
    assert kitfile.datasets[1] == DatasetEntry(name="raw", remotePath="s3://bucket/raw", remoteHash='"abc"')
    assert kitfile.mcp_servers == (McpServerEntry(name="tools", path="tools.mcpb"),)
    assert kitfile.checks[0].run == ("python", "check.py", "1.50")
    assert kitfile.checks[0].timeout == 60.0


def test_entries_are_listed_in_the_order_of_their_classes_with_clean_paths() -> None:
    found = entries(parse_kitfile(WHOLE.encode()))

    assert [(entry.id, entry.cls, entry.path, entry.version) for entry in found] == [
        ("model", Class.MODEL, "model", "6"),
        ("model.parts[0]", Class.MODEL, "tokenizer.json", "2"),
        ("datasets[0]", Class.DATASETS, "data/train.parquet", "2"),
        ("parameters[0]", Class.PARAMETERS, "params.yaml", "5"),
        ("deployment[0]", Class.DEPLOYMENT, "deploy", None),
        ("code[0]", Class.CODE, ".", None),
        ("docs[0]", Class.DOCS, "README.md", None),
        ("prompts[0]", Class.PROMPTS, "prompts", None),
        ("mcpServers[0]", Class.MCPSERVERS, "tools.mcpb", None),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "model:\n  pth: x\n", ['line 2: model.pth: unknown key (did you mean "path"?)'], id="a key that is close"
        ),
        pytest.param(
            "code:\n  - path: x\n    lisence: MIT\n",
            ['line 3: code[0].lisence: unknown key (did you mean "license"?)'],
            id="a key of an item",
        ),
        pytest.param(
            "dataset: []\n", ['line 1: dataset: unknown key (did you mean "datasets"?)'], id="a section that is close"
        ),
        pytest.param(
            "mcpservers: []\n", ['line 1: mcpservers: unknown key (did you mean "mcpServers"?)'], id="another case"
        ),
        pytest.param(
            "manifest_version: 1.0.0\n",
            ['line 1: manifest_version: unknown key (did you mean "manifestVersion"?)'],
            id="the name of an attribute",
        ),
        pytest.param(
            "docs:\n  - path: x\n    zzz: 1\n",
            ["line 3: docs[0].zzz: unknown key (expected one of path, description, version)"],
            id="a key like no other",
        ),
        pytest.param("model: x\n", ['line 1: model: expected a mapping, found "x"'], id="text for a mapping"),
        pytest.param("model:\n  - x\n", ["line 1: model: expected a mapping, found a list"], id="a list for a mapping"),
        pytest.param("code: {}\n", ["line 1: code: expected a list, found a mapping"], id="a mapping for a list"),
        pytest.param("code: x\n", ['line 1: code: expected a list, found "x"'], id="text for a list"),
        pytest.param("code:\n  - x\n", ['line 2: code[0]: expected a mapping, found "x"'], id="text for an item"),
        pytest.param("code:\n  -\n", ["line 2: code[0]: expected a mapping, found nothing"], id="an empty item"),
        pytest.param("model: 1.50\n", ["line 1: model: expected a mapping, found 1.50"], id="a number for a mapping"),
        pytest.param(
            f"model: 1.{'0' * 60}\n",
            [f"line 1: model: expected a mapping, found 1.{'0' * 35}..."],
            id="a long number for a mapping",
        ),
        pytest.param(
            "package:\n  name: [x]\n", ["line 2: package.name: expected text, found a list"], id="a list for text"
        ),
        pytest.param(
            "package:\n  authors: [x, {y: z}]\n",
            ["line 2: package.authors[1]: expected text, found a mapping"],
            id="a mapping for text",
        ),
        pytest.param(
            "parameters:\n  - name: x\n", ["line 2: parameters[0].path: missing"], id="a path that is missing"
        ),
        pytest.param(
            "inputs:\n  - {role: datset, uri: x}\n",
            [
                "line 2: inputs[0].role: expected 'dataset', 'base-model', 'adapter-base', 'code', 'run' or 'other',"
                ' found "datset"'
            ],
            id="a role that is none",
        ),
        pytest.param(
            "checks:\n  - {name: x, run: [y], timeout: soon}\n",
            ["line 2: checks[0].timeout: expected a number of seconds greater than 0"],
            id="a timeout that is no number",
        ),
        pytest.param(
            "checks:\n  - {name: x, run: [y], timeout: 0}\n",
            ["line 2: checks[0].timeout: expected a number of seconds greater than 0"],
            id="a timeout of nothing",
        ),
    ],
)
def test_d06_unknown_fields_and_wrong_types_are_refused_with_line_and_advice(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "model: {path: a}\ncode:\n  - path: ./a/\n",
            ['line 3: code[0].path: "a" is already the path of model'],
            id="written in two ways",
        ),
        pytest.param(
            "docs:\n  - path: a\n  - path: a\n  - path: a\n",
            [
                'line 3: docs[1].path: "a" is already the path of docs[0]',
                'line 4: docs[2].path: "a" is already the path of docs[0]',
            ],
            id="three times",
        ),
        pytest.param(
            "code:\n  - {}\n  - path: .\n",
            ['line 3: code[1].path: "." is already the path of code[0]'],
            id="nothing is the whole directory",
        ),
        pytest.param(
            "model:\n  path: m\n  parts:\n    - path: m\n",
            ['line 4: model.parts[0].path: "m" is already the path of model'],
            id="a part of its model",
        ),
        pytest.param(
            "model:\n  parts:\n    - {path: a, type: -x}\n",
            [
                "line 3: model.parts[0].type: \"-x\" is no part type (at most 64 letters, digits, '_', '.' and '-',"
                " first no '.' or '-')"
            ],
            id="the type of a part",
        ),
        pytest.param(
            "mcpServers:\n  - path: tools.zip\n",
            ['line 2: mcpServers[0].path: "tools.zip" does not end in .mcpb'],
            id="a server that is no bundle",
        ),
        pytest.param(
            "datasets:\n  - remotePath: s3://b/k\n",
            ["line 2: datasets[0]: an S3 remotePath needs remoteHash, the ETag of the object or its sha256:…"],
            id="a remote dataset without its hash",
        ),
        pytest.param(
            "datasets:\n  - remotePath: https://minio.example/b/k\n",
            ["line 2: datasets[0]: an S3 remotePath needs remoteHash, the ETag of the object or its sha256:…"],
            id="a remote dataset on a server of one's own without its hash",
        ),
        pytest.param(
            "datasets:\n  - name: x\n    remotePath: ftp://x\n",
            ['line 3: datasets[0].remotePath: "ftp://x" is neither an s3:// URL nor a reference to a kit'],
            id="a remote dataset that is nowhere",
        ),
        pytest.param("inputs:\n  - role: run\n", ["line 2: inputs[0]: needs ref, uri or digest"], id="an empty input"),
        pytest.param(
            "checks:\n  - {name: x, run: []}\n", ["line 2: checks[0].run: needs a program to run"], id="an empty check"
        ),
    ],
)
def test_rules_between_fields_are_checked(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_a_reference_or_digest_among_the_inputs_is_checked() -> None:
    found = problems("inputs:\n  - {role: code, ref: Not/A}\n  - {role: run, digest: sha256:abc}\n")

    assert found[0].startswith("line 2: inputs[0].ref: 'Not/A'")
    assert found[1].startswith("line 3: inputs[1].digest: 'sha256:abc' is not a digest")


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "model:\n"
        "  pth: x\n"
        "  path: /abs\n"
        "code:\n"
        "  - path: a\n"
        "  - path: a/\n"
        "  - nonsense\n"
        "  - path: ./a\n"
        "inputs:\n"
        "  - role: nobody\n"
        "docs:\n"
        "  - path: &x a\n"
    )

    assert [line.split(": ")[0] for line in found] == [f"line {n}" for n in (2, 3, 6, 7, 8, 10, 12, 12)]


def test_a_syntax_error_does_not_hide_what_is_wrong_before_it_nor_invent_what_is_missing() -> None:
    found = problems('package:\n  nme: x\nparameters:\n  - name: "x\n')

    assert len(found) == 2
    assert found[0].startswith("line 2: package.nme")
    assert "missing" not in "".join(found)


def test_thousands_of_problems_are_counted_and_some_are_shown() -> None:
    with pytest.raises(UsageError) as caught:
        parse_kitfile(b"".join(b"key%d: 1\n" % number for number in range(3000)))

    lines = caught.value.message.splitlines()
    assert lines[0] == "Kitfile: 3000 problems"
    assert lines[-1] == "  and 2950 more"
    assert len(lines) == 52


@pytest.mark.parametrize(("raw", "found"), [(b"", "is empty"), (b"# only\n", "is empty"), (b"x", "not a mapping")])
def test_a_file_without_keys_is_no_kitfile(raw: bytes, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        parse_kitfile(raw, what="Kitfile")


def test_a_kitfile_of_a_newer_schema_says_so() -> None:
    kitfile = parse_kitfile(b"manifestVersion: 2.0.0\n")
    with pytest.raises(UsageError) as caught:
        parse_kitfile(b"manifestVersion: 2.0.0\nweights: []\n")

    assert warnings(kitfile) == ('manifestVersion "2.0.0" is not known (expected 1.0.0)',)
    assert "manifestVersion" in str(caught.value.hint)
    assert warnings(parse_kitfile(b"manifestVersion: 1.0.0\n")) == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[red]x[/red] [link=file:///etc]y[/link]", id="markup"),
        pytest.param("\x1b[2J\x1b]0;owned\x07", id="terminal sequences"),
        pytest.param("\u202egpj.exe", id="text that runs backwards"),
        pytest.param("x" * 60_000, id="60,000 characters"),
    ],
)
def test_d11_text_of_any_kind_is_kept_as_it_is_and_cut_and_escaped_in_errors(text: str) -> None:
    kitfile = parse_kitfile(json.dumps({"package": {"name": text, "description": text}}).encode())
    with pytest.raises(UsageError) as caught:
        parse_kitfile(json.dumps({text: 1, "model": {"path": f"/{text}", text: 1}, "code": [text]}).encode())

    assert kitfile.package.description == text
    assert caught.value.message.replace("\n", "").isprintable()
    assert len(caught.value.message) < 2000


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("model", "model"),
        ("./model/", "model"),
        ("a//b/./c", "a/b/c"),
        (".", "."),
        ("./", "."),
        ("", "."),
        ("a b/ü.bin", "a b/ü.bin"),
        ("...", "..."),
        ("a..b", "a..b"),
        ("model@v2", "model@v2"),
        ("a~", "a~"),
    ],
)
def test_a_path_is_cleaned(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "~",
        "~/x",
        "~root/x",
        "a\\b",
        "C:\\x",
        "a\nb",
        "a\0",
        "x" * 4097,
    ],
)
def test_a_path_that_may_leave_the_directory_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="the path "):
        clean_path(path)
    with pytest.raises(UsageError, match=r"code\[0\]\.path: the path "):
        parse_kitfile(json.dumps({"code": [{"path": path}]}).encode())


@pytest.mark.parametrize(
    ("path", "reference"),
    [
        ("test-ref:model-1", "test-ref:model-1"),
        ("registry.example/team/base:1", "registry.example/team/base:1"),
        ("localhost:5000/base", "localhost:5000/base"),
        (f"base@sha256:{'0' * 64}", f"base@sha256:{'0' * 64}"),
        ("team/base", None),
        ("model@v2.bin", None),
        ("Model:1", None),
        ("./base:1", None),
        (None, None),
        ("", None),
    ],
)
def test_a_model_path_with_a_tag_digest_or_port_is_another_kit(path: str | None, reference: str | None) -> None:
    kitfile = Kitfile(model=Model(path=path))

    found = model_reference(kitfile)

    assert (str(found) if found else None) == reference
    assert [entry.path for entry in entries(kitfile)] == ([] if reference or not path else [clean_path(path)])


def test_a_kit_without_a_model_refers_to_none() -> None:
    assert model_reference(Kitfile()) is None
    assert entries(Kitfile()) == ()


def test_the_parts_of_a_model_from_another_kit_are_local() -> None:
    kitfile = parse_kitfile(b"model:\n  path: base:1\n  parts:\n    - path: adapter\n")

    assert [entry.id for entry in entries(kitfile)] == ["model.parts[0]"]


def test_a_remote_dataset_has_no_content_in_the_kit() -> None:
    kitfile = parse_kitfile(
        b"datasets:\n  - {remotePath: 'data:1'}\n  - {remotePath: 'data:2', path: there}\n  - {path: here}\n"
    )

    assert [(entry.id, entry.path) for entry in entries(kitfile)] == [("datasets[2]", "here")]


def test_what_is_elsewhere_is_told_with_where_it_is_and_where_it_is_put() -> None:
    kitfile = parse_kitfile(
        b"datasets:\n"
        b"  - {name: kit, remotePath: 'registry.example/data:2', path: ./there/}\n"
        b"  - {name: object, remotePath: 's3://bucket/key', remoteHash: 'etag'}\n"
        b"  - {name: here, path: here}\n"
    )

    assert [(entry.id, entry.path, place, told) for entry, place, told in remote_entries(kitfile)] == [
        ("datasets[0]", "there", "registry.example/data:2", None),
        ("datasets[1]", ".", "s3://bucket/key", "etag"),
    ]
    assert str(dataset_reference("registry.example/data:2")) == "registry.example/data:2"
    assert dataset_reference("s3://bucket/key") is None


def test_an_empty_part_type_is_as_good_as_none_as_in_kitops() -> None:
    kitfile = parse_kitfile(b"model:\n  parts:\n    - {path: a, type: ''}\n")

    assert kitfile.model is not None
    assert kitfile.model.parts[0].type == ""


def test_a_digest_among_the_inputs_is_kept() -> None:
    digest = f"sha256:{'a' * 64}"

    assert parse_kitfile(f"inputs:\n  - {{role: run, digest: '{digest}'}}\n".encode()).inputs[0].digest == digest


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2**63, "beyond 64 bits"),
        (float("inf"), "beyond 64 bits"),
        ({"a": [float("nan")]}, "beyond 64 bits"),
        (b"x", "bytes is nothing that JSON can hold"),
        ({1: "x"}, "dict is nothing that JSON can hold"),
        ([{"a": {1, 2}}], "set is nothing that JSON can hold"),
    ],
    ids=repr,
)
def test_parameters_that_a_program_gives_are_what_json_holds(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Model(parameters=value)


def test_empty_sections_are_as_good_as_none() -> None:
    text = b"package:\nmodel:\ncode:\ndatasets: ~\ndocs: []\n"

    assert parse_kitfile(text) == Kitfile()


def test_a_rendered_kitfile_is_the_same_kitfile_and_names_its_schema() -> None:
    kitfile = parse_kitfile(WHOLE.encode())

    text = render_kitfile(kitfile)

    assert text.startswith("# yaml-language-server: $schema=https://mlkit.dev/schemas/kitfile-v1.json\n")
    assert parse_kitfile(text.encode()) == kitfile
    assert not render_kitfile(kitfile, schema_line=False).startswith("#")
    assert 'version: "1.2"' in text


@given(
    package=st.builds(Package, name=st.none() | st.text(), version=st.none() | st.text(), authors=st.tuples(st.text())),
    parameters=JSON_VALUES,
)
def test_any_kitfile_survives_yaml_and_json(package: Package, parameters: Any) -> None:
    kitfile = Kitfile(package=package, model=Model(parameters=parameters))

    assert parse_kitfile(render_kitfile(kitfile).encode()) == kitfile
    assert parse_kitfile_json(json.dumps(kitfile_json(kitfile)).encode(), what="config") == kitfile


def test_the_json_form_has_the_names_of_kitops_and_leaves_out_what_is_absent() -> None:
    kitfile = parse_kitfile(b"mcpServers: [{path: a.mcpb}]\ndatasets: [{remotePath: 'a:1', name: ''}]\n")

    assert kitfile_json(kitfile) == {
        "manifestVersion": "1.0.0",
        "datasets": [{"name": "", "remotePath": "a:1"}],
        "mcpServers": [{"path": "a.mcpb"}],
    }
    assert kitfile_json(Kitfile()) == {"manifestVersion": "1.0.0"}
    assert kitfile_json(Kitfile(model=Model())) == {"manifestVersion": "1.0.0", "model": {}}


def test_the_json_of_other_tools_may_hold_more_than_is_known_here() -> None:
    value = {
        "manifestVersion": "1.0.0",
        "package": {"name": "x", "authors": None, "homepage": "y"},
        "model": {"path": "./m", "digest": "sha256:0", "diffId": "sha256:1", "parts": [{"path": "p", "digest": "z"}]},
        "code": [{"path": "a", "digest": "d"}, {"path": "a"}],
        "telemetry": {"on": True},
    }

    kitfile = parse_kitfile_json(json.dumps(value).encode(), what="config")

    assert [entry.path for entry in entries(kitfile)] == ["m", "p", "a", "a"]
    assert kitfile.package == Package(name="x")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param(b"", IntegrityError, id="empty"),
        pytest.param(b"[]", IntegrityError, id="a list"),
        pytest.param(b'{"model": 1}', IntegrityError, id="another shape"),
        pytest.param(b'{"package": {"version": 1.2}}', IntegrityError, id="a number for text"),
        pytest.param(b'{"code": [{"path": "/etc"}], "x": 1}', UnsafeError, id="an absolute path"),
        pytest.param(b'{"model": {"path": "../x"}}', UnsafeError, id="a path that climbs"),
        pytest.param(b'{"model": {"parameters": 1%s}}' % (b"0" * 18 + b"0"), IntegrityError, id="beyond 64 bits"),
        pytest.param(
            b'{"model": {"parameters": %s}}' % (b"[" * 60 + b"]" * 60), IntegrityError, id="too deep for YAML"
        ),
        pytest.param(b'{"model": {"parameters": %s}}' % (b"[" * 80 + b"]" * 80), LimitError, id="too deep for JSON"),
    ],
)
def test_json_of_another_shape_is_the_fault_of_the_content(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="kit digits: "):
        parse_kitfile_json(raw, what="kit digits")


def test_a_kitfile_cannot_be_changed() -> None:
    kitfile = Kitfile()

    with pytest.raises(ValueError, match="frozen"):
        kitfile.model = Model()  # type: ignore[misc]  # that is the point


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no folder {CASES}")
def test_the_kitfiles_of_kitops_own_tests_are_valid() -> None:
    cases = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*.yaml"))]
    texts = [kit["kitfile"] for case in cases for kit in case.get("modelkits", [case])]

    kitfiles = [parse_kitfile(text.encode()) for text in texts]

    assert len(kitfiles) >= 7
    assert all(parse_kitfile(render_kitfile(kitfile).encode()) == kitfile for kitfile in kitfiles)
    assert {str(found) for found in map(model_reference, kitfiles) if found} >= {"test-ref:model-1", "test-ref:model-2"}
