"""The parser: a tree of commands, each of which is imported when it is named."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mlkit.cli.catalogue import COMMANDS, Entry, Family
from mlkit.cli.completion import whole_words
from mlkit.cli.declare import Declaration, build
from mlkit.cli.front_page import front_page
from mlkit.cli.options import AsJson, General, LogFormat, Progress, Quiet, Verbosity
from mlkit.cli.version import version_text

PROGRAM = "mlkit"
_COMPLETE_VARIABLE = "_MLKIT_COMPLETE"
_CONTEXT = {"help_option_names": ["-h", "--help"]}


def dispatch(arguments: list[str]) -> int:
    """Run the command that the arguments name. Raises: whatever it raises, and the complaints of the parser."""
    root = root_command()
    if _COMPLETE_VARIABLE in os.environ:
        with whole_words(os.environ):
            root.main(args=arguments, prog_name=PROGRAM, complete_var=_COMPLETE_VARIABLE)
    with root.make_context(PROGRAM, arguments) as context:
        root.invoke(context)
    return 0


def root_command() -> TyperGroup:
    """The whole tree."""
    return _group(_Root, None, _root_options, completion=True)


def declaration_of(entry: Entry) -> Declaration:
    """What the module of a command declares; imports the module."""
    found = getattr(import_module(f"mlkit.cli.commands.{entry.module}"), entry.attribute)
    assert isinstance(found, Declaration)
    return found


class _Lazy(TyperGroup):
    """A group that knows names and help of its commands, and imports the one that is asked for."""

    entries: dict[str, Entry] | dict[str, Entry | Family]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the parser's signature
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:  # noqa: ARG002
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if isinstance(entry, Family):
            return _family(cmd_name, entry)
        return build(cmd_name, declaration_of(entry))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            typer.core.CompletionItem(name, help=entry.help)  # type: ignore[attr-defined]  # its home moves between versions
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]


class _Root(_Lazy):
    entries = COMMANDS

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002  # the parser's signature
        return front_page()


def _show_version(ctx: typer.Context, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        print(version_text(as_json=bool(ctx.params.get("as_json"))))
        raise typer.Exit


def _root_options(
    ctx: typer.Context,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbosity: Verbosity = 0,
    progress: Progress = None,
    log_format: LogFormat = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_show_version)] = False,  # noqa: ARG001  # its callback answers
) -> None:
    ctx.obj = General(as_json, quiet, verbosity, progress, log_format)


def _family_options(
    ctx: typer.Context,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbosity: Verbosity = 0,
    progress: Progress = None,
    log_format: LogFormat = None,
) -> None:
    ctx.obj = General(as_json, quiet, verbosity, progress, log_format).joined(ctx.obj)


def _family(name: str, family: Family) -> TyperGroup:
    kind = type("_Family", (_Lazy,), {"entries": family.commands})
    return _group(kind, name, _family_options, help=family.help)


def _group(
    kind: type[_Lazy], name: str | None, callback: Any, *, completion: bool = False, help: str | None = None
) -> TyperGroup:
    app = typer.Typer(
        name=name, cls=kind, add_completion=completion, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback(context_settings=_CONTEXT, help=help)(callback)
    built = typer.main.get_command(app)
    assert isinstance(built, TyperGroup)
    # Where the parser looks for "did you mean"; only the names count.
    built.commands = dict.fromkeys(kind.entries)  # type: ignore[assignment]  # never looked up: get_command is ours
    return built
