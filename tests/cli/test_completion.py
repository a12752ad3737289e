"""What the shell offers after TAB."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.cli import CommandLine

from mlkit.cli.completion import FILTER_CLASSES, complete_filter


def _complete(mlkit: CommandLine, words: str) -> list[str]:
    environ = {"_MLKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = mlkit.process(env=environ)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mlkit pu", ["pull", "push"]),
        ("mlkit registry ", ["serve"]),
        ("mlkit unpack --over", ["--overwrite"]),
        ("mlkit pack --form", ["--format"]),
        ("mlkit pack --format m", ["modelpack"]),
        ("mlkit --ver", ["--verbose", "--version"]),
        ("mlkit inspect dig", ["digits:1.2"]),
        ("mlkit tag digits:1.2 x", []),
        ("mlkit pull a.example/b --filter da", ["datasets"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_shell_is_offered_commands_flags_references_and_classes(
    packed: CommandLine, words: str, expected: list[str]
) -> None:
    assert _complete(packed, words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["inspect", "digits", ":"], ["1.2", "2"]),
        (["inspect", "digits", ":", "1"], ["1.2"]),
        (["diff", "digits", ":", "1.2", "dig"], ["digits:1.2", "digits:2"]),
        (["diff", "digits", ":", "1.2", "digits", ":", "2"], ["2"]),
        (["inspect", "digits", ":", "1.2", "--rem"], ["--remote"]),
        (["inspect", "localhost", ":", "5000/a", ":"], ["x"]),
    ],
    ids=" ".join,
)
def test_references_are_completed_beyond_the_colons_at_which_bash_divides_words(
    packed: CommandLine, words: list[str], expected: list[str]
) -> None:
    packed.ok("tag", "digits:1.2", "digits:2", "localhost:5000/a:x")
    script = packed.process("--show-completion", "bash", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    call = f"COMP_WORDS=(mlkit {' '.join(words)}); COMP_CWORD={len(words)}; _mlkit_completion mlkit"

    done = subprocess.run(
        ["bash", "-c", f'{script.stdout}\n{call}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        env=packed.environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout.split(), done.stderr) == (expected, "")


def test_completion_before_the_first_kit_offers_nothing_and_makes_no_store(mlkit: CommandLine) -> None:
    assert _complete(mlkit, "mlkit inspect d") == []
    assert not (mlkit.home / "store").exists()


def test_completion_with_broken_settings_offers_nothing(mlkit: CommandLine) -> None:
    (mlkit.cwd / ".mlkit.toml").write_text("nonsense")

    assert _complete(mlkit, "mlkit inspect d") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell_is_printed(mlkit: CommandLine, shell: str) -> None:
    done = mlkit.process("--show-completion", shell, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})

    assert "_MLKIT_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("", list(FILTER_CLASSES)),
        ("da", ["datasets"]),
        ("model,p", ["model,parameters", "model,prompts"]),
        ("!da", ["!datasets"]),
        ("!model,da", ["!model,datasets"]),
        ("datasets:tr", []),
        ("zebra", []),
    ],
    ids=lambda value: value or "nothing" if isinstance(value, str) else "",
)
def test_filters_complete_the_last_class_of_a_list(incomplete: str, offered: list[str]) -> None:
    assert complete_filter(incomplete) == offered
