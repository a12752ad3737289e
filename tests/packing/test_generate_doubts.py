"""What a generated Kitfile leaves out, cuts short, and says it is unsure of."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.packing import weights
from tests.packing.trees import packed, packed_paths, write_tree

from mlkit.errors import UsageError
from mlkit.packing.credentials import holds_token, is_credential
from mlkit.packing.generate import GeneratedKitfile, generate_kitfile
from mlkit.spec.kitfile import entries, kitfile_json, parse_kitfile
from mlkit.spec.yaml_text import TEXT_LIMIT

LORA = {"peft_type": "LORA", "r": 4}


def made(root: Path, files: Mapping[str, bytes] | list[str], **options: Any) -> GeneratedKitfile:
    return generate_kitfile(write_tree(root, files), name="kit", **options)


def said(generated: GeneratedKitfile) -> str:
    return "\n".join(generated.notes)


def model_of(generated: GeneratedKitfile) -> Any:
    return kitfile_json(generated.kitfile)["model"]


def found(generated: GeneratedKitfile) -> dict[str, str]:
    return {entry.path: str(entry.cls) for entry in entries(generated.kitfile)}


DEEP = {"a.py": b"", "data/x/y/z.csv": b"1", "lib/deep/model.gguf": weights.gguf({}), "other/in/a.csv": b""}


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, {"a.py": "code", "data": "datasets", "lib": "code", "other": "code"}),
        (1, {"a.py": "code", "data": "datasets", "lib": "code", "other": "code"}),
        (2, {"a.py": "code", "data": "datasets", "lib": "model", "other": "datasets"}),
        (None, {"a.py": "code", "data": "datasets", "lib": "model", "other": "datasets"}),
    ],
)
def test_depth_limits_where_it_looks_and_nothing_is_lost(
    tmp_path: Path, depth: int | None, expected: dict[str, str]
) -> None:
    generated = made(tmp_path, DEEP, depth=depth)

    assert found(generated) == expected
    assert ("deeper than was looked" in said(generated)) is (depth is not None)
    assert packed_paths(packed(tmp_path, generated.text)[0]) == sorted(DEEP)


def test_a_directory_that_is_called_like_a_config_is_not_read(tmp_path: Path) -> None:
    files = {"model.safetensors": weights.safetensors(), "config.json/a.txt": b"", "README.md/b": b"", "LICENSE/c": b""}

    assert found(made(tmp_path, files, depth=0))["model.safetensors"] == "model"


def test_a_negative_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-1"):
        generate_kitfile(tmp_path, depth=-1)


def test_a_directory_with_a_credential_in_it_is_not_swept_up(tmp_path: Path) -> None:
    files = {f"data/{number}.csv": b"" for number in range(60)} | {"data/a.txt": b"-----BEGIN PRIVATE KEY-----"}

    generated = made(tmp_path, files)

    assert "data/a.txt: left out, looks like a credential" in generated.notes
    assert packed_paths(packed(tmp_path, generated.text)[0]) == sorted(set(files) - {"data/a.txt"})


def test_a_credential_that_could_not_be_left_out_is_told_of(tmp_path: Path) -> None:
    files = {f"d/{number}.csv": b"" for number in range(1100)} | {"d/secret.txt": b"-----BEGIN PRIVATE KEY-----"}

    generated = made(tmp_path, files)

    assert found(generated) == {"d": "datasets"}
    assert "d/secret.txt: looks like a credential and lies in an entry; name it in .kitignore" in generated.notes
    assert generated.swept == ("d/secret.txt",)


def test_what_kitignore_leaves_out_is_not_looked_at(tmp_path: Path) -> None:
    generated = made(tmp_path, {".kitignore": b"*.gguf\nold/\n", "a.gguf": b"", "old/b.csv": b"", "c.csv": b""})

    assert found(generated) == {"c.csv": "datasets"}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"-----BEGIN RSA PRIVATE KEY-----\n", True),
        (b"\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n", True),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\n", True),
        (b'{"private_key": "-----BEGIN PRIVATE KEY-----', True),
        (b"AKIAABCDEFGHIJKLMNOP\n", True),
        (b"-----BEGIN CERTIFICATE-----\n", False),
        (b"-----BEGIN PUBLIC KEY-----\n", False),
        (b"PATTERN = '-----BEGIN PRIVATE KEY-----'", False),
        (b"", False),
    ],
)
def test_credentials_are_known_by_their_content(head: bytes, expected: bool) -> None:
    assert is_credential(head) is expected


EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = b"ghp_" + b"aB3dE9" * 6


@pytest.mark.parametrize("place", ["push.py", "conf/secrets.yaml", "src/deep/deeper/run.sh", "docs/notes.md"])
@pytest.mark.parametrize("before", [0, 5000], ids=["at once", "further on"])
def test_a_file_with_a_token_in_it_is_left_out_and_told_of(tmp_path: Path, place: str, before: int) -> None:
    folder = place.rpartition("/")[0]
    beside = {f"{folder}/other.py".lstrip("/"): b"pass\n", "a.csv": b"1,2\n"}
    generated = made(tmp_path, {place: b"#" * before + b"\nlogin: '" + TOKEN + b"'\n", **beside})

    assert generated.swept == ()
    assert f"{place}: left out, holds what looks like an access token" in said(generated)
    assert packed_paths(packed(tmp_path, generated.text)[0]) == sorted(beside)


def test_a_file_with_a_token_in_it_is_packed_where_the_kitfile_names_it(tmp_path: Path) -> None:
    text = made(tmp_path, {"push.py": b"login('" + TOKEN + b"')", "a.csv": b"1,2\n"}).text

    assert packed_paths(packed(tmp_path, text + "code:\n  - path: push.py\n")[0]) == ["a.csv", "push.py"]


@pytest.mark.parametrize(
    "name", ["w.safetensors.tmp", "w.bin.part", "a.PARTIAL", "b.incomplete", "c.crdownload", "d.aria2"]
)
@pytest.mark.parametrize("place", ["", "data/deep/"])
def test_a_file_that_looks_half_done_is_left_out_and_told_of(tmp_path: Path, place: str, name: str) -> None:
    generated = made(tmp_path, {place + name: b"1,2\n", "data/deep/a.csv": b"1,2\n", "data/b.csv": b"1,2\n"})

    note = f"{place}{name}: left out, looks half done; if it is whole, name it in the Kitfile"
    assert note in generated.notes
    assert packed_paths(packed(tmp_path, generated.text)[0]) == ["data/b.csv", "data/deep/a.csv"]


def test_of_what_the_kitfile_names_nothing_is_left_out_because_it_looks_half_done(tmp_path: Path) -> None:
    files = {"data/a.part": b"1", "data/b.tmp": b"2", "data/c.csv": b"3"}
    made(tmp_path, files)

    text = "manifestVersion: 1.0.0\ndatasets:\n  - path: data\n"
    assert packed_paths(packed(tmp_path, text)[0]) == sorted(files)


def test_what_a_model_needs_is_never_left_out_for_what_its_words_look_like(tmp_path: Path) -> None:
    vocabulary = b'{"version": "1.0", "model": {"vocab": {"Zq8vX2mKpL0sWdR7tYb4NcJh6Fg1Ae93": 1, "' + TOKEN + b'": 2}}}'
    names = ("tokenizer.json", "vocab.json", "config.json")
    files = dict.fromkeys(names, vocabulary) | {"model.safetensors": b"", "vocab.txt": b"sk-learn\nhf_abc\n"}

    generated = made(tmp_path, files)

    assert packed_paths(packed(tmp_path, generated.text)[0]) == sorted(files)
    assert "tokenizer.json" in said(generated)


def test_a_random_text_that_is_no_token_stays(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": b'{"added": "Zq8vX2mKpL0sWdR7tYb4NcJh6Fg1Ae93"}',
        "sums.txt": b"9f86d081884c7d659a2feaa0" * 9,
    }

    generated = made(tmp_path, files)

    assert packed_paths(packed(tmp_path, generated.text)[0]) == sorted(files)
    assert "token;" not in said(generated)


@pytest.mark.parametrize("example", [b"hf_" + b"x" * 34, b"ghp_" + b"0" * 36, b"AKIAIOSFODNN7EXAMPLE"])
def test_what_a_manual_shows_in_place_of_a_token_is_none(tmp_path: Path, example: bytes) -> None:
    generated = made(tmp_path, {"README.md": b"export TOKEN=" + example + b" # yours\n"})

    assert found(generated) == {"README.md": "docs"}


def test_tokens_are_told_from_what_looks_like_them() -> None:
    assert holds_token(TOKEN)
    assert not holds_token(b"task-force hf_short skeleton AKIA")
    assert not holds_token(b"sk-toggleable__label-arrow-before-the-text-of-it-1")
    assert holds_token(b"sk-proj-" + b"aB3" * 12)


def test_thousands_of_files_side_by_side_become_few_entries(tmp_path: Path) -> None:
    names = [f"a/{number}.{suffix}" for number in range(1500) for suffix in ("csv", "md")]

    generated = made(tmp_path, [*names, "b.py"])

    assert len(entries(generated.kitfile)) == 2
    assert "a (1500 files): too many files side by side" in said(generated)
    assert len(packed_paths(packed(tmp_path, generated.text)[0])) == len(names) + 1


def test_thousands_of_kinds_at_the_root_are_one_entry(tmp_path: Path) -> None:
    names = [f"{number}.{suffix}" for number in range(1100) for suffix in ("csv", "md", "py")]

    generated = made(tmp_path, names)

    assert [entry.path for entry in entries(generated.kitfile)] == ["."]
    assert len(generated.text) < TEXT_LIMIT


@pytest.mark.parametrize("place", ["servers/", ""])
def test_thousands_of_bundles_are_no_directory_of_bundles(tmp_path: Path, place: str) -> None:
    generated = made(tmp_path, {f"{place}{number}.mcpb": weights.bundle() for number in range(1001)})

    assert list(found(generated).values()) == ["code"]
    assert parse_kitfile(generated.text.encode()) == generated.kitfile


def test_an_entry_that_is_everything_else_leaves_inner_ones_alone(tmp_path: Path) -> None:
    files = [*(f"s/{number}.py" for number in range(20)), "s/data.csv", "s/in/a.csv", "s/in/b.py", "t.md"]

    generated = made(tmp_path, files)

    assert found(generated) == {"s": "code", "s/data.csv": "datasets", "s/in/a.csv": "datasets", "t.md": "docs"}


@pytest.mark.parametrize(
    "name", ["~notes.csv", "no.csv", "1.10.csv", "null", "- a.csv", "a: b"[:1], "é.csv", "@x.gguf"]
)
def test_names_that_yaml_or_shells_read_differently_survive(tmp_path: Path, name: str) -> None:
    generated = made(tmp_path, {name: b"x"})

    assert parse_kitfile(generated.text.encode()) == generated.kitfile
    assert packed_paths(packed(tmp_path, generated.text)[0]) == [name]


NAMES = st.text("abN0~-é @#!&*%", min_size=1, max_size=5).filter(lambda name: name != "~" and name[-1] != " ")
ENDINGS = st.sampled_from(
    [".csv", ".py", ".md", ".gguf", ".safetensors", ".onnx", ".yaml", ".mcpb", ".png", "", ".bin"]
)


@given(st.dictionaries(st.tuples(st.lists(NAMES, max_size=2).map(tuple), NAMES, ENDINGS), st.binary(max_size=40)))
@settings(max_examples=60, deadline=None)
def test_whatever_lies_there_the_kitfile_parses(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    root = tmp_path_factory.mktemp("tree")
    for (directories, name, ending), content in tree.items():
        path = root.joinpath(*(f"{part}_" for part in directories), f"{name}{ending}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    generated = generate_kitfile(root, name="kit")

    assert parse_kitfile(generated.text.encode()) == generated.kitfile


def test_missing_shards_are_told_of_and_not_counted(tmp_path: Path) -> None:
    generated = made(tmp_path, {"model-00001-of-00003.safetensors": weights.safetensors()})

    assert "model-00001-of-00003.safetensors: 2 of 3 shards are not there" in generated.notes
    assert "parameterCount" not in model_of(generated)["parameters"]


def test_an_index_that_names_what_is_not_there_is_told_of(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "part-a.safetensors", "b": "part-b.safetensors"}}
    files = {"part-a.safetensors": weights.safetensors(), "model.safetensors.index.json": weights.as_json(index)}

    assert "names files that are not there: part-b.safetensors" in said(made(tmp_path, files))


@pytest.mark.parametrize("external", ["../../etc/passwd", "/etc/passwd", "gone.bin", "a/../../b"])
def test_tensors_outside_the_tree_are_told_of(tmp_path: Path, external: str) -> None:
    generated = made(tmp_path, {"model.onnx": weights.onnx(external=external)})

    assert external in said(generated)
    assert found(generated) == {"model.onnx": "model"}


def test_a_header_claims_no_file_that_is_known_for_something_else(tmp_path: Path) -> None:
    generated = made(tmp_path, {"model.onnx": weights.onnx(external="train.py"), "train.py": b"", "w": b"\0"})

    assert found(generated)["train.py"] == "code"


def test_tensors_in_files_of_any_name_belong_to_the_model(tmp_path: Path) -> None:
    generated = made(tmp_path, {"m/net.onnx": weights.onnx(external="weights"), "m/weights": b"\0" * 24, "m/a.py": b""})

    assert found(generated)["m/weights"] == "model"


def test_a_broken_header_is_told_of_and_the_file_is_still_the_model(tmp_path: Path) -> None:
    generated = made(tmp_path, {"m.safetensors": weights.raw_safetensors(b"{}", length=2**63)})

    assert model_of(generated)["format"] == "safetensors"
    assert "m.safetensors: its header as safetensors is not read" in said(generated)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({**LORA, "base_model_name_or_path": "hf://org/base"}, {"uri": "hf://org/base", "name": "hf://org/base"}),
        ({**LORA, "base_model_name_or_path": "https://host.example/m"}, {"uri": "https://host.example/m"}),
        ({**LORA, "base_model_name_or_path": "https://user:pw@host.example/m"}, None),
        ({**LORA, "base_model_name_or_path": "/mnt/models/base"}, None),
        ({**LORA, "base_model_name_or_path": "org/base"}, None),
        ({**LORA, "base_model_name_or_path": 7}, None),
        ({**LORA, "base_model_name_or_path": "a\u001b[31m"}, None),
        ({**LORA}, None),
    ],
)
def test_the_base_of_an_adapter_is_an_input_only_where_it_is_certain(
    tmp_path: Path, config: Any, expected: dict[str, str] | None
) -> None:
    generated = made(tmp_path, {"adapter_config.json": weights.as_json(config), "a.safetensors": weights.safetensors()})

    inputs = kitfile_json(generated.kitfile).get("inputs", [])
    if expected is None:
        assert inputs == []
        assert "adapter-base" in said(generated)
    else:
        assert len(inputs) == 1
        assert inputs[0].items() >= {"role": "adapter-base", **expected}.items()


def test_a_commit_of_the_base_is_kept(tmp_path: Path) -> None:
    config = {**LORA, "base_model_name_or_path": "org/base", "revision": "a" * 40}
    files = {
        "adapter_config.json": weights.as_json(config),
        "adapter_model.safetensors": weights.safetensors(),
        "README.md": b"---\nbase_model: org/base\n---\n",
    }

    assert kitfile_json(made(tmp_path, files).kitfile)["inputs"][0]["uri"] == f"hf://org/base@{'a' * 40}"


@pytest.mark.parametrize(
    ("quantization", "tensors", "expected"),
    [
        (
            {"quant_method": "gptq", "bits": 4},
            {"q": ("I32", [64], 256), "s": ("F16", [8], 16)},
            {"quantization": "gptq-4bit"},
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            {"q": ("U8", [64], 64)},
            {"quantization": "bitsandbytes-4bit"},
        ),
        (
            {"quant_method": "fp8"},
            {"q": ("F8_E4M3", [64], 64)},
            {"quantization": "fp8", "precision": "fp8", "parameterCount": 64},
        ),
        (None, {"a": ("F32", [8], 32), "b": ("BF16", [8], 16)}, {"precision": "mixed", "parameterCount": 16}),
        (None, {"a": ("F32", [80], 320), "i": ("I64", [2], 16)}, {"precision": "fp32", "parameterCount": 80}),
    ],
)
def test_parameters_are_counted_only_where_numbers_are_parameters(
    tmp_path: Path, quantization: Any, tensors: Any, expected: dict[str, Any]
) -> None:
    config = {"model_type": "llama", **({"quantization_config": quantization} if quantization else {})}
    files = {"model.safetensors": weights.safetensors(tensors), "config.json": weights.as_json(config)}

    assert model_of(made(tmp_path, files))["parameters"] == {"architecture": "llama", **expected}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"[" * 900_000,
        b'{"a":1,"a":2}',
        b"\xff\xfe",
        b'{"architectures": 5, "quantization_config": [1]}',
        b" " * (2 << 20),
    ],
)
def test_a_hostile_config_gives_no_error(tmp_path: Path, config: bytes) -> None:
    generated = made(tmp_path, {"model.safetensors": weights.safetensors(), "config.json": config})

    assert found(generated) == {"model.safetensors": "model", "config.json": "model"}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "card",
    [
        b"---\n" + b"[" * 20_000 + b"\n---\n",
        b"---\n" + b"a: &a [*a, *a]\n" * 100 + b"---\n",
        b"---\nbase_model: {a: 1}\ndatasets: [[x], 3, ../../etc, a/b/c]\nlicense: [mit]\n---\n",
        b"---\n" + b"x\n" * 100_000,
        b"---\n\xff\xfe\n---\n",
    ],
)
def test_a_hostile_card_gives_nothing(tmp_path: Path, card: bytes) -> None:
    generated = made(tmp_path, {"README.md": card})

    assert set(kitfile_json(generated.kitfile)) == {"manifestVersion", "package", "docs"}


def test_a_licence_that_is_no_identifier_is_told_of(tmp_path: Path) -> None:
    generated = made(tmp_path, {"README.md": b"---\nlicense: llama3.1\n---\n"})

    assert generated.kitfile.package.license is None
    assert "'llama3.1'" in said(generated)


def test_a_bundle_of_mcp_without_a_manifest_is_told_of(tmp_path: Path) -> None:
    generated = made(tmp_path, {"a.mcpb": weights.zipped("x"), "b.mcpb": b"no ZIP", "c.mcpb": weights.bundle()})

    told = said(generated)
    assert "a.mcpb: is no bundle" in told
    assert "b.mcpb: is no bundle" in told
    assert "c.mcpb" not in told


def test_models_of_scikit_learn_as_it_and_skl2onnx_write_them(tmp_path: Path) -> None:
    import numpy
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    points = numpy.array([[0.0, 1.0], [1.0, 0.0]], numpy.float32)
    trained = LogisticRegression().fit(points, [0, 1])
    write_tree(tmp_path / "pickle", {"model.pkl": pickle.dumps(trained)})
    write_tree(tmp_path / "onnx", {"blob": to_onnx(trained, points).SerializeToString()})

    pickled, exported = (model_of(generate_kitfile(tmp_path / name, name="kit")) for name in ("pickle", "onnx"))

    assert (pickled["framework"], pickled["format"]) == ("scikit-learn", "pickle")
    assert (exported["framework"], exported["format"]) == ("scikit-learn", "onnx")


def test_a_card_of_the_model_wins_over_that_of_the_project(tmp_path: Path) -> None:
    files = {
        "README.md": b"---\nlicense: mit\n---\n",
        "model/README.md": b"---\nlicense: apache-2.0\n---\n",
        "model/m.safetensors": weights.safetensors(),
    }

    assert made(tmp_path, files).kitfile.package.license == "Apache-2.0"
    assert json.dumps(kitfile_json(made(tmp_path, files).kitfile))


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_nothing_of_an_example_is_taken_for_a_secret(example: str) -> None:
    generated = generate_kitfile(EXAMPLES / example, name="kit")

    assert "access token" not in said(generated)
    assert "credential" not in said(generated)
