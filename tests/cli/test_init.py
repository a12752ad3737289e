from __future__ import annotations

from tests.support.cli import CommandLine


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
