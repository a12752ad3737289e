from __future__ import annotations

from pathlib import Path

import pytest
from tests.packing.trees import packed, packed_paths, write_tree

from mlkit.errors import UnsafeError
from mlkit.packing.cards import parse_card
from mlkit.packing.generate import generate_kitfile
from mlkit.packing.licences import licence_of, spdx_of
from mlkit.packing.recognise import recognise
from mlkit.spec.kitfile import entries, parse_kitfile
from mlkit.spec.media_types import Class

PROJECT = {
    "models/digits.safetensors": b"weights" * 10,
    "models/digits.onnx": b"onnx",
    "models/config.json": b"{}",
    "data/train.parquet": b"PAR1",
    "data/test.parquet": b"PAR1",
    "params.yaml": b"lr: 0.1",
    "deploy/service.yaml": b"kind: Service",
    "deploy/Dockerfile": b"FROM scratch",
    "prompts/system.md": b"Be short.",
    "README.md": b"# Digits",
    "LICENSE": b"Apache License\n    Version 2.0, January 2004",
    "train.py": b"",
    "requirements.txt": b"",
    ".env": b"TOKEN=x",
    "__pycache__/train.pyc": b"",
}


def test_a_project_becomes_one_entry_per_part(tmp_path: Path) -> None:
    generated = generate_kitfile(
        write_tree(tmp_path, PROJECT), name="digits", version="1.0", description="Reads digits", author="Ada"
    )

    found = {(entry.cls, entry.path) for entry in entries(generated.kitfile)}
    assert found == {
        (Class.MODEL, "models"),
        (Class.DATASETS, "data"),
        (Class.PARAMETERS, "params.yaml"),
        (Class.DEPLOYMENT, "deploy"),
        (Class.PROMPTS, "prompts"),
        (Class.DOCS, "README.md"),
        (Class.DOCS, "LICENSE"),
        (Class.CODE, "train.py"),
        (Class.CODE, "requirements.txt"),
    }
    package = generated.kitfile.package
    assert (package.name, package.version, package.description) == ("digits", "1.0", "Reads digits")
    assert (package.license, package.authors) == ("Apache-2.0", ("Ada",))
    assert generated.kitfile.model is not None
    assert generated.kitfile.model.format == "safetensors"
    assert any(".env" in note for note in generated.notes)


def test_the_text_is_the_kitfile_and_packs_every_file(tmp_path: Path) -> None:
    write_tree(tmp_path, PROJECT)

    generated = generate_kitfile(tmp_path, name="digits")
    result, _ = packed(tmp_path, generated.text)

    assert parse_kitfile(generated.text.encode()) == generated.kitfile
    assert generated.text.startswith("# yaml-language-server")
    assert packed_paths(result) == sorted(set(PROJECT) - {".env", "__pycache__/train.pyc"})


def test_the_same_directory_gives_the_same_text(tmp_path: Path) -> None:
    one, two = write_tree(tmp_path / "1", PROJECT), write_tree(tmp_path / "2", dict(sorted(PROJECT.items())))

    assert generate_kitfile(one, name="n").text == generate_kitfile(two, name="n").text


def test_a_download_from_a_model_hub_is_a_model_with_parts(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "model-00001-of-00002.safetensors": b"1" * 50,
            "model-00002-of-00002.safetensors": b"2" * 90,
            "config.json": b"{}",
            "tokenizer.json": b"{}",
            "merges.txt": b"",
            "README.md": b"---\nlanguage: en\nlicense: mit\n---\n# Model",
        },
    )

    kitfile = generate_kitfile(tmp_path, name="bert").kitfile

    assert kitfile.model is not None
    # The first shard is what loaders are given, whichever is the largest.
    assert kitfile.model.path == "model-00001-of-00002.safetensors"
    assert {part.path for part in kitfile.model.parts} == {
        "model-00002-of-00002.safetensors",
        "config.json",
        "tokenizer.json",
        "merges.txt",
    }
    assert kitfile.package.license == "MIT"
    assert kitfile.code == ()


def test_a_directory_of_several_kinds_is_opened(tmp_path: Path) -> None:
    write_tree(tmp_path, ["all/a.csv", "all/b.csv", "all/sub/c.py", "all/sub/d.py"])

    found = {(entry.cls, entry.path) for entry in entries(generate_kitfile(tmp_path).kitfile)}

    assert found == {(Class.DATASETS, "all/a.csv"), (Class.DATASETS, "all/b.csv"), (Class.CODE, "all/sub")}


def test_much_code_is_one_entry_that_is_everything_else(tmp_path: Path) -> None:
    write_tree(tmp_path, [*(f"step_{number}.py" for number in range(20)), "model.onnx"])

    generated = generate_kitfile(tmp_path)

    assert [entry.path for entry in entries(generated.kitfile)] == ["model.onnx", "."]
    assert any("everything" in note for note in generated.notes)


def test_names_are_told_apart(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/data.csv", "a/x.py", "b/data.csv", "b/x.py"])

    names = [dataset.name for dataset in generate_kitfile(tmp_path).kitfile.datasets]

    assert names == ["a-data.csv", "b-data.csv"]


def test_an_empty_directory_gives_a_kitfile_without_entries_and_says_so(tmp_path: Path) -> None:
    generated = generate_kitfile(tmp_path, name="n")

    assert entries(generated.kitfile) == ()
    assert generated.notes == ("no file was found, so the Kitfile has no entries",)


def test_what_it_is_unsure_of_is_noted(tmp_path: Path) -> None:
    write_tree(tmp_path, {"weird.xyz": b"?", "a.pkl": b"\x80\x04", "x.bin": b"??", "shards.tar": b"", "conf.toml": b""})

    notes = "\n".join(generate_kitfile(tmp_path).notes)

    for path in ("weird.xyz", "x.bin", "shards.tar", "conf.toml"):
        assert path in notes
    assert "a.pkl" in notes.partition("may run code")[0].splitlines()[-1]


def test_a_link_that_leaves_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/model.bin").symlink_to("/etc/hostname")

    with pytest.raises(UnsafeError):
        generate_kitfile(tmp_path / "d")


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("a.gguf", b"", Class.MODEL),
        ("a.unknown", b"GGUF\x03\0\0\0", Class.MODEL),
        ("blob", (20).to_bytes(8, "little") + b'{"a":1}', Class.MODEL),
        ("x.bin", b"PK\x03\x04", Class.MODEL),
        ("data/x.pkl", b"", Class.DATASETS),
        ("data/images/x.png", b"", Class.DATASETS),
        ("docs/x.png", b"", Class.DOCS),
        ("a.npz", b"", Class.DATASETS),
        ("anything.yaml", b"apiVersion: v1\nkind: Pod\n", Class.DEPLOYMENT),
        ("Dockerfile.gpu", b"", Class.DEPLOYMENT),
        ("deploy.py", b"", Class.CODE),
        ("hparams.json", b"", Class.PARAMETERS),
        ("params.py", b"", Class.CODE),
        ("pyproject.toml", b"", Class.CODE),
        ("uv.lock", b"", Class.CODE),
        ("skills/pdf/SKILL.md", b"", Class.PROMPTS),
        ("a.prompt", b"", Class.PROMPTS),
        ("x.mcpb", b"", Class.MCPSERVERS),
        ("MODEL_CARD.md", b"", Class.DOCS),
        ("license.py", b"", Class.CODE),
        ("notebooks/a.ipynb", b"", Class.CODE),
    ],
)
def test_files_are_recognised_by_name_place_and_first_bytes(path: str, head: bytes, expected: Class) -> None:
    assert recognise(path, head).cls is expected


MIT = (
    "Permission is hereby granted, free of charge, to any person\nThe above copyright notice and this permission notice"
)
BSD = "Redistributions of source code must retain the above copyright"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Apache License\n  Version 2.0, January 2004", "Apache-2.0"),
        (MIT, "MIT"),
        (BSD, "BSD-2-Clause"),
        (BSD + "\n * Neither the name of", "BSD-3-Clause"),
        ("GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007" + " x" * 2000 + "GNU Affero General", "GPL-3.0-only"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3", "AGPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1", "LGPL-2.1-only"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("SPDX-License-Identifier: EUPL-1.2", "EUPL-1.2"),
        ("All rights reserved", None),
        ("", None),
    ],
)
def test_common_licences_are_known_by_their_text(text: str, expected: str | None) -> None:
    assert licence_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n", "Apache-2.0"),
        ("---\r\ntags: [a]\r\nlicense: gpl-3.0\r\n---\r\n", "GPL-3.0-only"),
        ("---\nlicense: llama3\n---\n", None),
        ("license: mit\n", None),
        ("", None),
    ],
)
def test_a_model_card_may_name_the_licence(text: str, expected: str | None) -> None:
    assert spdx_of(parse_card(text).license or "") == expected
