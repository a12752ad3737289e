from __future__ import annotations

import jsonschema
import yaml
from tests.packing import weights
from tests.support.cli import CommandLine
from tests.support.schemas import SCHEMAS

from mlkit.spec.kitfile import SCHEMA_URL


def test_init_writes_a_kitfile_and_prints_its_path(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()

    done = mlkit.ok("init", "--name", "digits", "--version", "1.2", "--author", "Ada", "--description", "Numbers")

    text = (mlkit.cwd / "Kitfile").read_text()
    assert done.stdout == "Kitfile\n"
    assert all(word in text for word in ("digits", "1.2", "Ada", "Numbers", "format: safetensors"))


def test_init_does_not_replace_a_kitfile_unless_told_to(mlkit: CommandLine) -> None:
    before = (mlkit.cwd / "Kitfile").read_text()

    refused = mlkit("init", "--json")
    assert (refused.error["exit"], refused.error["hint"]) == (9, "--force replaces it, -o writes elsewhere")
    assert (mlkit.cwd / "Kitfile").read_text() == before

    mlkit.ok("init", "--force")
    assert (mlkit.cwd / "Kitfile").read_text() != before
    assert [path.name for path in mlkit.cwd.iterdir() if "mlkit" in path.name] == []


def test_init_writes_to_stdout_or_another_file(mlkit: CommandLine) -> None:
    shown = mlkit.ok("init", "-o", "-").stdout
    mlkit.ok("init", "-o", "Other")

    assert shown == (mlkit.cwd / "Other").read_text()


def test_init_as_json_holds_the_text(mlkit: CommandLine) -> None:
    found = mlkit.ok("init", "-o", "Other", "--json").json

    assert found["path"] == "Other"
    assert found["kitfile"] == (mlkit.cwd / "Other").read_text()
    assert isinstance(found["notes"], list)


def test_init_of_what_is_no_directory_is_exit_2(mlkit: CommandLine) -> None:
    assert mlkit("init", "nowhere", "--json").error["exit"] == 2


def test_init_into_a_folder_that_is_not_there_is_exit_10(mlkit: CommandLine) -> None:
    assert mlkit("init", "-o", "no/such/Kitfile", "--json").error["code"] == "E_STORE"


def test_init_looks_as_deep_as_it_is_told(mlkit: CommandLine) -> None:
    (mlkit.cwd / "one/two").mkdir(parents=True)
    (mlkit.cwd / "one/two/table.csv").write_text("a\n")

    shallow = mlkit.ok("init", "-o", "-", "--depth", "1")
    deep = mlkit.ok("init", "-o", "-")

    assert "one/two: is deeper than was looked" in shallow.stderr
    assert "datasets:" in deep.stdout.partition("one")[0]
    assert "deeper" not in deep.stderr


def test_a_depth_of_less_than_none_is_exit_2(mlkit: CommandLine) -> None:
    assert mlkit("init", "-o", "-", "--depth", "-1").code == 2


def test_doubts_are_on_stderr_and_a_list_in_json(mlkit: CommandLine) -> None:
    (mlkit.cwd / "weird.xyz").write_bytes(b"?")

    talked = mlkit.ok("init", "-o", "-")
    listed = mlkit.ok("init", "-o", "-", "--json")

    assert "weird.xyz: is of no known kind" in talked.stderr
    assert "weird.xyz: is" not in talked.stdout
    assert any(note.startswith("weird.xyz: ") for note in listed.json["notes"])


def test_the_first_line_names_the_schema_and_the_file_packs(mlkit: CommandLine) -> None:
    mlkit.ok("init", "--force")

    assert (mlkit.cwd / "Kitfile").read_text().startswith(f"# yaml-language-server: $schema={SCHEMA_URL}\n")
    assert mlkit.ok("pack", ".", "-t", "again:1").code == 0


def test_the_schema_is_printed_as_it_is_published_and_nothing_is_written(mlkit: CommandLine) -> None:
    before = sorted(mlkit.cwd.rglob("*"))

    printed = mlkit.ok("init", "--print-schema")
    as_json = mlkit.ok("init", "--print-schema", "--json")

    assert printed.stdout == (SCHEMAS / "kitfile-v1.json").read_text()
    assert as_json.json == printed.json
    assert printed.stderr == ""
    assert sorted(mlkit.cwd.rglob("*")) == before


def test_the_printed_schema_takes_what_init_writes(mlkit: CommandLine) -> None:
    schema = mlkit.ok("init", "--print-schema").json
    written = mlkit.ok("init", "-o", "-").stdout

    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(written))


def test_names_from_headers_cannot_act_on_a_terminal(mlkit: CommandLine) -> None:
    (mlkit.cwd / "evil.onnx").write_bytes(weights.onnx(external="\x1b[31mred"))
    (mlkit.cwd / "evil.gguf").write_bytes(weights.gguf({"general.architecture": "\x1b[31mred"}))

    done = mlkit.ok("init", "-o", "-")

    assert "\x1b" not in done.stdout + done.stderr
