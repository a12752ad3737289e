"""From a choice to a command: the templates of the table, filled in. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlkit.archive.names import check_name
from mlkit.errors import UnsafeError, UsageError
from mlkit.serving.choose import Choice

_PLACEHOLDER = re.compile(r"\{(python|program|root|model|repository|name|host|port|implementation)\}")


@dataclass(frozen=True, slots=True)
class Placed:
    """A file or directory of the kit, and where else a runtime wants to find it."""

    source: str
    """Within the kit."""
    target: str
    """Below the repository that is made for the runtime."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    health: str
    """Path of the URL."""
    ready: str
    placed: tuple[Placed, ...] = ()


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders replaced; braces around anything else stay what they are."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def model_place(choice: Choice, root: str) -> str:
    """Where the model lies below `root`, the directory with the files of the kit.

    Raises: UnsafeError for a path that leaves it.
    """
    if choice.model is None or choice.model.path == ".":
        return root
    check_name(choice.model.path)
    place = PurePosixPath(root) / choice.model.path
    if not place.is_relative_to(root) or ".." in place.parts:
        raise UnsafeError(f"{choice.model.path!a}: the model's path leaves the kit")
    return str(place)


def container_command(
    choice: Choice,
    *,
    root: str = "/models",
    repository: str = "/repository",
    name: str,
    host: str = "0.0.0.0",  # noqa: S104  # in a container, whose network decides who can reach it
    port: int | None = None,
    argv: Sequence[str] | None = None,
) -> Command:
    """The command of a choice in a container whose image has the kit's files below `root`.

    `argv` takes the place of the table's. Where `placed` is not empty, `repository` must hold those files at their
    targets. Raises: UsageError where there is no command; UnsafeError for a path that leaves `root`.
    """
    template = tuple(argv) if argv is not None else choice.runtime.container
    return filled(choice, template, root=root, repository=repository, name=name, host=host, port=port, python="python3")


def filled(
    choice: Choice,
    template: Sequence[str],
    *,
    root: str,
    repository: str,
    name: str,
    host: str,
    port: int | None,
    python: str,
    program: str | None = None,
    health: str | None = None,
) -> Command:
    """See `container_command`."""
    runtime, model = choice.runtime, choice.model
    if not template:
        raise UsageError(f"{runtime.name}: there is no command to run", hint="--command says what runs")
    place = model_place(choice, root)
    placed: tuple[Placed, ...] = ()
    if model is not None and model.format in runtime.placed:
        placed = (Placed(model.path, fill(runtime.placed[model.format], {"name": name})),)
    elif model is not None and model.format == "triton-repository":
        repository = place
    values = {
        "python": python,
        "root": root,
        "model": place,
        "repository": repository,
        "name": name,
        "host": host,
        "port": str(port if port is not None else runtime.port),
        "implementation": runtime.implementations.get(model.format, "") if model is not None else "",
    }
    if program is not None:
        values["program"] = program
    environ = {key: fill(value, values) for key, value in runtime.environ.items()}
    return Command(
        argv=tuple(fill(word, values) for word in template),
        environ={key: value for key, value in environ.items() if value},
        health=fill(health or runtime.health, values),
        ready=fill(health or runtime.ready, values),
        placed=placed,
    )
