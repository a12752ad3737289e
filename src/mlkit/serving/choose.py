"""Which runtime serves a kit, and why. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from mlkit.errors import NotFoundError, UsageError
from mlkit.serving.facts import KitFacts, Model
from mlkit.serving.runtimes import FORMATS, RUNTIMES, WORDS, Runtime

OWN_SERVER = "--runtime custom --command runs a server of your own"
"""What to do with a model that nothing in the table reads, where a command can be given."""

Place = Literal["machine", "container"]
"""Where the runtime is to run: as a program that is installed here, or in an image."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A runtime for a kit, the model of the kit that it takes, and how it came to that."""

    runtime: Runtime
    model: Model | None
    """None where the command of `custom` finds its model by itself."""
    why: str
    """One sentence."""
    alternatives: tuple[str, ...] = ()
    """Names of others that could serve a model of this kit."""


def choose(
    facts: KitFacts,
    requested: str | None = None,
    *,
    place: Place = "machine",
    path: str | None = None,
    is_installed: Callable[[Runtime], bool] = lambda _: True,
    own_server: str = OWN_SERVER,
) -> Choice:
    """The runtime that was `requested`, else the one that the kit asks for, else the first that reads a model of it.

    Where several would do, one that `is_installed` goes first. `path` is the model that was named, of several.
    `own_server` is the hint where nothing in the table will do.

    Raises: UsageError for an unknown runtime, or one that reads none of the kit's models; NotFoundError for a kit in
    which no server finds a model, or not the one named.
    """
    models = _models(facts, path)
    if requested is not None:
        names = WORDS.get(requested.strip().lower())
        if names is None:
            raise UsageError(
                f"no runtime is called {requested!a}", hint=f"runtimes: {', '.join(RUNTIMES)}; {own_server}"
            )
        return _chosen(
            facts, models, _installed_first(names, is_installed), f"{requested} was asked for", place, own_server
        )
    passed_over = []
    for word in facts.wanted:
        names = WORDS.get(word.strip().lower())
        if names is not None:
            names = _installed_first(names, is_installed)
            return _chosen(facts, models, names, f"the kit asks for {ascii(word)[1:-1]}", place, own_server)
        passed_over.append(ascii(word)[1:-1][:40])
    if not models:
        raise NotFoundError(
            f"{facts.name}: no model that a server could read is in this kit",
            hint=f"servers read {', '.join(form.title for form in FORMATS.values())}; {own_server}",
        )
    readers = _installed_first(_alternatives(models, place), is_installed)
    if not readers:
        raise NotFoundError(f"{facts.name}: no runtime in the table reads {models[0].form.title} in a {place}")
    unknown = f"; the kit asks for {', '.join(passed_over)}, which is not in the table" if passed_over else ""
    installed = " and it is installed" if readers != _alternatives(models, place) else ""
    return _chosen(facts, models, readers[:1], f"nothing else was asked for{installed}{unknown}", place, own_server)


def _installed_first(names: tuple[str, ...], is_installed: Callable[[Runtime], bool]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: not is_installed(RUNTIMES[name])))


def _models(facts: KitFacts, path: str | None) -> tuple[Model, ...]:
    if path is None:
        return facts.models
    wanted = path.strip("/") or "."
    found = tuple(model for model in facts.models if model.path == wanted)
    if not found:
        there = ", ".join(ascii(model.path)[1:-1] for model in facts.models[:10]) or "none"
        raise NotFoundError(f"{path!a} is no model of this kit that a server reads (models: {there})")
    return found


def _chosen(
    facts: KitFacts, models: tuple[Model, ...], names: tuple[str, ...], because: str, place: Place, own_server: str
) -> Choice:
    possible = [RUNTIMES[name] for name in names if _can_run(RUNTIMES[name], place)] or [RUNTIMES[names[0]]]
    others = _alternatives(models, place)
    for runtime in possible:
        if runtime.name == "custom":
            return Choice(runtime, models[0] if models else None, f"custom: {because}", others)
        model = next((model for model in models if model.format in runtime.formats), None)
        if model is not None:
            reads = f"it reads {ascii(model.path)[1:-1]}, {model.form.title}"
            alternatives = tuple(name for name in others if name != runtime.name)
            return Choice(runtime, model, f"{runtime.name}: {because}, and {reads}", alternatives)
    runtime = possible[0]
    has = ", ".join(dict.fromkeys(model.form.title for model in models)) or "no model that a server reads"
    reads = ", ".join(FORMATS[name].title for name in runtime.formats)
    raise UsageError(
        f"{runtime.name} reads {reads}, and the kit {facts.name} has {has} ({because})",
        hint=f"--runtime {others[0]} serves it" if others else own_server,
    )


def _alternatives(models: Iterable[Model], place: Place) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for model in models for name in _readers(model, place)))


def _readers(model: Model, place: Place) -> list[str]:
    return [one.name for one in RUNTIMES.values() if model.format in one.formats and _can_run(one, place)]


def _can_run(runtime: Runtime, place: Place) -> bool:
    return runtime.name == "custom" or (bool(runtime.local) if place == "machine" else runtime.image is not None)
