"""The text of `mlkit --help`, made without importing the library that parses arguments."""

from __future__ import annotations

from mlkit.cli.catalogue import SECTIONS

_OPTIONS = (
    ("--json", "Print one JSON document instead of text."),
    ("-q, --quiet", "No progress and no summaries."),
    ("-v, --verbose", "Say more; -vv shows HTTP requests."),
    ("--progress MODE", "auto, plain or none."),
    ("--log-format FORMAT", "text, or json: a line of JSON each."),
    ("--version", "Print the version."),
    ("--install-completion", "Install completion for the current shell."),
    ("--show-completion", "Print the completion script of the current shell."),
    ("-h, --help", "Show this text; COMMAND --help shows that of COMMAND."),
)


def front_page() -> str:
    """The help of the whole program, in lines of at most 80 columns."""
    lines = [
        "Usage: mlkit [OPTIONS] COMMAND [ARGS]...",
        "",
        "  Pack model weights, datasets, parameters and deployment config into one",
        "  versioned OCI artifact, a kit, and pull just the part you need.",
    ]
    for title, commands in SECTIONS.items():
        lines += ["", f"{title}:", *(f"  {name:<10}{command.help}" for name, command in commands.items())]
    lines += ["", "Options:", *(f"  {names:<24}{text}" for names, text in _OPTIONS)]
    lines += ["", "Example:", "  $ mlkit pack . -t digits:1.2"]
    return "\n".join(lines)
