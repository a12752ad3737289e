"""Declaring a command: its function, its example, and the groups of flags that it takes besides its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import typer
from typer.core import TyperCommand

from mlkit.cli.context import Call
from mlkit.cli.options import General, Network, network_parameters
from mlkit.errors import MlkitError
from mlkit.spec.reference import Reference, check_host

GENERAL_FLAGS = frozenset(field.name for field in fields(General)) | {"help"}
NETWORK_FLAGS = frozenset(field.name for field in fields(Network))


@dataclass(frozen=True, slots=True)
class Declaration:
    """A command as its module declares it."""

    function: Callable[..., None]
    example: str
    """A line that works as it stands, run by a test."""
    speaks_http: bool

    @property
    def help(self) -> str:
        """The docstring of the function."""
        return inspect.cleandoc(self.function.__doc__ or "")


def command(*, example: str, network: bool = False) -> Callable[[Callable[..., None]], Declaration]:
    """Declare a function whose first argument is a `Call` as a command; `network` adds the flags for registries."""
    return lambda function: Declaration(function, example, network)


def build(name: str, declaration: Declaration) -> TyperCommand:
    """The command that the parser runs."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        name,
        cls=_Command,
        help=declaration.help,
        epilog=declaration.example,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(_flattened(declaration))
    built = typer.main.get_command(app)
    assert isinstance(built, TyperCommand)
    return built


class _Command(TyperCommand):
    """A command whose help shows its own flags first, then those that others have too."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Registry": [], "General": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections[_section(parameter.name or "", is_argument=parameter.param_type_name == "argument")].append(
                    record
                )
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # the parser's signature
        # As it is, however long: a command line that was wrapped cannot be copied.
        formatter.write(f"\nExample:\n  $ {self.epilog}\n")


def _section(name: str, *, is_argument: bool) -> str:
    if is_argument:
        return "Arguments"
    if name in GENERAL_FLAGS:
        return "General"
    return "Registry" if name in NETWORK_FLAGS else "Options"


def _flattened(declaration: Declaration) -> Callable[..., None]:
    """A function with the flags of the groups as arguments of its own, from which it makes the `Call`."""
    own = list(inspect.signature(declaration.function, eval_str=True).parameters.values())[1:]
    general = list(inspect.signature(General, eval_str=True).parameters.values())
    network = network_parameters(own) if declaration.speaks_http else []
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (context, *own, *network, *general)
    ]

    def flattened(ctx: typer.Context, **values: Any) -> None:
        before = ctx.obj
        after = General(**{parameter.name: values.pop(parameter.name) for parameter in general})
        connection = Network(**{parameter.name: values.pop(parameter.name) for parameter in network})
        joined = after.joined(before) if isinstance(before, General) else after
        named = frozenset(host for parameter in own for host in _hosts(parameter, values.get(parameter.name)))
        declaration.function(Call(joined, connection, named, command=ctx.command_path), **values)

    flattened.__name__ = declaration.function.__name__
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    flattened.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions have it at run time
    return flattened


def _hosts(parameter: inspect.Parameter, value: object) -> Iterator[str]:
    """The registries that the value of an argument names; texts are looked at where the metavar says what they are."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _hosts(parameter, item)
    elif isinstance(value, Reference) and value.host is not None:
        yield value.host
    elif isinstance(value, str):
        metavar = str(getattr(next(iter(getattr(parameter.annotation, "__metadata__", ())), None), "metavar", None))
        with suppress(MlkitError):  # what is no reference is complained about where it is used
            if "HOST" in metavar:
                yield check_host(value)
            elif "REF" in metavar or "DEST" in metavar:
                yield from _hosts(parameter, Reference.parse_tags(value.removeprefix("remote://"))[0])
