from __future__ import annotations

from pathlib import Path

import pytest
from tests.packing.expected_kitfiles import EXPECTED, HEAD
from tests.packing.project_trees import TREES
from tests.packing.trees import packed, packed_paths, write_tree

from mlkit.packing.generate import generate_kitfile
from mlkit.spec.kitfile import SCHEMA_URL, entries, kitfile_json, parse_kitfile

LEFT_OUT = {".env", ".git/config", "node_modules/a/index.js", "src/digits/__pycache__/train.pyc"}
SECRETS = {".env", "id_rsa", "server.key", "deploy-key.txt", "account.json", "token", "login/auth.json", "push.py"}


def test_there_is_a_kitfile_for_every_tree() -> None:
    assert EXPECTED.keys() == TREES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_kitfile_is_that_of_a_careful_colleague(tmp_path: Path, name: str) -> None:
    sections, notes = EXPECTED[name]

    generated = generate_kitfile(write_tree(tmp_path, TREES[name]), name="kit")

    wanted = parse_kitfile((HEAD + sections).encode())
    assert kitfile_json(generated.kitfile) == kitfile_json(wanted)
    assert generated.notes == notes


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_written_parses_and_packs_every_file_once(tmp_path: Path, name: str) -> None:
    generated = generate_kitfile(write_tree(tmp_path, TREES[name]), name="kit")
    expected = sorted(set(TREES[name]) - LEFT_OUT - (SECRETS if name == "secrets" else set()))

    assert generated.text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_URL}"
    assert parse_kitfile(generated.text.encode()) == generated.kitfile
    if entries(generated.kitfile):
        result, _ = packed(tmp_path, generated.text)
        assert packed_paths(result) == expected
    else:
        assert expected == []


@pytest.mark.parametrize("name", EXPECTED)
def test_the_same_tree_gives_the_same_kitfile_wherever_and_however_it_was_written(tmp_path: Path, name: str) -> None:
    one = write_tree(tmp_path / "one", TREES[name] or {".keep~": b""})
    two = write_tree(tmp_path / "another/place", dict(reversed(TREES[name].items())) or {".keep~": b""})

    first, second = generate_kitfile(one, name="kit"), generate_kitfile(two, name="kit")

    assert (first.text, first.notes) == (second.text, second.notes)
