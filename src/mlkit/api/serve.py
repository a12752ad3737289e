"""Serving a kit with a runtime that is installed here: verified, unpacked, started, watched and stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mlkit.api import serving_files
from mlkit.api.gpus import nvidia_gpus
from mlkit.api.policies import Gate, gate_of
from mlkit.api.session import Located, Session, Source, explained_trouble
from mlkit.api.transfer import pull
from mlkit.api.variants import ANY, find
from mlkit.api.variants import Choice as VariantChoice
from mlkit.errors import NotFoundError, UnsafeError, UsageError
from mlkit.packing.kit import Kit, load_kit
from mlkit.serving.choose import Choice, choose
from mlkit.serving.command import Command, filled
from mlkit.serving.facts import served_name
from mlkit.serving.installed import Installed, Machine
from mlkit.serving.probe import base_url, free_port, get, wait_until_ready
from mlkit.serving.process import ServerProcess
from mlkit.serving.requests import METADATA_PATH, Request, sample_request
from mlkit.serving.runtimes import Local, Protocol
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

READY_SECONDS = 600.0
"""How long a server may take until it is ready: large models load for minutes."""

_WATCH = 0.5  # seconds between two looks at whether a server still lives
_OWN_VARIABLES = "MLKIT_"  # among them tokens and passwords, which are nothing to a server


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a kit is to be served; None lets mlkit decide."""

    runtime: str | None = None
    command: str | None = None
    """For the runtime `custom`: one command line, with the placeholders of the table."""
    model: str | None = None
    """Path of the model within the kit, of several."""
    name: str | None = None
    """What the model is called by those who ask."""
    host: str = "127.0.0.1"
    port: int | None = None
    """0 takes a free one."""
    gpu: bool | None = None
    """True needs one, False hides them all."""
    reuse: bool = False
    """Link files from the local store in place of copies."""
    allow_code: bool = False
    """Models that run code when they are loaded are served too."""
    health: str | None = None
    """Path that answers 200 once the server is ready."""
    ready_seconds: float = READY_SECONDS
    arguments: Sequence[str] = ()
    """Added to the command of the runtime."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready."""

    reference: str
    digest: Digest
    version: str | None
    runtime: str
    why: str
    alternatives: tuple[str, ...]
    model: str | None
    """Path within the kit."""
    name: str
    protocol: Protocol
    url: str
    call: tuple[str, ...]
    """Commands that ask it."""
    pid: int
    directory: Path
    source: Source
    unpack_seconds: float
    unpack_bytes: int
    ready_seconds: float
    """From the start of the process."""
    linked_bytes: int
    policy: str | None = None
    """What came of the configured policy; None where there is none."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is ready, and what it takes to ask and to measure it."""

    located: Located
    served: Served
    server: ServerProcess
    request: Request
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Found:
    """The kit that is served, resolved once, and what the policy says of it."""

    located: Located
    kit: Kit
    gate: Gate | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is decided before a byte of the model moves."""

    choice: Choice
    installed: Installed
    environ: Mapping[str, str]
    name: str
    version: str | None
    port: int


def serve(
    session: Session,
    reference: Reference,
    options: ServeOptions,
    *,
    environ: Mapping[str, str],
    choice: VariantChoice = ANY,
    on_ready: Callable[[Served], None],
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Serve a kit until the caller is interrupted; `on_ready` is told once it can be asked, `on_line` what it says.

    Raises: what `serving` raises; ProgramError where the server ends by itself.
    """
    with serving(session, reference, options, environ=environ, choice=choice, on_line=on_line) as one:
        on_ready(one.served)
        while not one.server.wait(_WATCH):
            pass
        raise one.server.failure("ended")


@contextmanager
def serving(
    session: Session,
    reference: Reference,
    options: ServeOptions,
    *,
    environ: Mapping[str, str],
    choice: VariantChoice = ANY,
    on_line: Callable[[str], None] | None = None,
) -> Iterator[Serving]:
    """A server for a kit that is ready; at the end of the context nothing of it runs, and its files are gone.

    Raises: PolicyError; NotFoundError where there is no model, no runtime for it or no GPU; UnsafeError for a model
    that runs code; ConflictError for a port in use; ProgramError for a server that dies or is never ready.
    """
    found = _find(session, reference, choice, options)
    located = found.located
    plan = _plan(session, found, options, environ)
    with serving_files.serving_files(session, located, found.kit, reuse=options.reuse, gate=found.gate) as files:
        command = _command(plan, options, files.root, files.work)
        with ServerProcess(
            command.argv, cwd=files.work, environ={**plan.environ, **command.environ}, on_line=on_line
        ) as server:
            seconds = wait_until_ready(
                server,
                host=options.host,
                port=plan.port,
                path=command.ready,
                seconds=options.ready_seconds,
            )
            request = _request(plan, options, command)
            url = base_url(options.host, plan.port)
            served = Served(
                reference=str(located.reference),
                digest=located.desc.digest,
                version=plan.version,
                runtime=plan.choice.runtime.name,
                why=plan.choice.why,
                alternatives=plan.choice.alternatives,
                model=plan.choice.model.path if plan.choice.model else None,
                name=plan.name,
                protocol=plan.choice.runtime.protocol,
                url=url,
                call=_calls(plan, request, url),
                pid=server.pid,
                directory=files.root,
                source=located.source,
                unpack_seconds=round(files.seconds, 3),
                unpack_bytes=files.size,
                ready_seconds=round(seconds, 3),
                linked_bytes=files.linked_bytes,
                policy=found.verdict,
            )
            yield Serving(located, served, server, request, options.host, plan.port)


def _find(session: Session, reference: Reference, choice: VariantChoice, options: ServeOptions) -> _Found:
    chosen = find(session, reference, choice)
    gate = gate_of(session)
    report = None
    if gate is not None:
        kits = () if chosen.located is chosen.named else (chosen.located,)
        report = gate.check(chosen.named, purpose="serve", kits=kits)
    located = chosen.located
    if options.reuse and located.source == "remote":
        # What is to be linked must be in the store first; by its digest, for that is what the policy allowed.
        pinned = reference.with_digest(chosen.named.desc.digest)
        pull(session, pinned, choice=choice)
        located = replace(find(session, pinned, choice).located, reference=reference)
    with explained_trouble(located):
        return _Found(located, load_kit(located.store, located.desc), gate, report.verdict if report else None)


def _plan(session: Session, found: _Found, options: ServeOptions, environ: Mapping[str, str]) -> _Plan:
    machine = Machine.of(environ, sys.executable)
    with explained_trouble(found.located):
        facts = serving_files.facts_of(session, found.located, found.kit, found.gate)
    requested = "custom" if options.runtime is None and options.command is not None else options.runtime
    choice = choose(facts, requested, path=options.model, is_installed=machine.has)
    if options.command is not None and choice.runtime.name != "custom":
        raise UsageError(f"--command is for the runtime custom, not for {choice.runtime.name}", hint="leave one out")
    _check_code(choice, options)
    installed = _installed(machine, choice, options)
    variables = {name: value for name, value in environ.items() if not name.startswith(_OWN_VARIABLES)}
    if options.gpu is False:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    elif options.gpu or choice.runtime.gpu == "required":
        _check_gpu(choice)
    port = choice.runtime.port if options.port is None else options.port
    return _Plan(
        choice,
        installed,
        variables,
        served_name(options.name) if options.name is not None else facts.name,
        facts.version,
        free_port(options.host, port),
    )


def _installed(machine: Machine, choice: Choice, options: ServeOptions) -> Installed:
    if choice.runtime.name != "custom":
        return machine.require(choice.runtime)
    if options.command is None:
        raise UsageError(
            "the runtime custom needs a command",
            hint="--command 'python3 server.py --model {model} --port {port}'; the kit's files are in {root}",
        )
    try:
        argv = tuple(shlex.split(options.command))
    except ValueError as error:
        raise UsageError(f"--command {options.command!a}: {error}") from error
    if not argv:
        raise UsageError("--command is empty")
    return Installed(Local(argv), None)


def _check_code(choice: Choice, options: ServeOptions) -> None:
    model = choice.model
    if model is None or options.allow_code or not model.form.runs_code or choice.runtime.name == "custom":
        return
    raise UnsafeError(
        f"{ascii(model.path)[1:-1]}: loading {model.form.title} runs code that is in the kit",
        hint="--allow-code serves it: do so for kits of people you trust, after `mlkit verify`",
    )


def _check_gpu(choice: Choice) -> None:
    try:
        nvidia_gpus()
    except NotFoundError as error:
        others = [name for name in choice.alternatives if name != choice.runtime.name]
        hint = "--no-gpu starts it all the same, for builds that run on CPUs"
        raise NotFoundError(
            f"{choice.runtime.title} needs a GPU: {error.message}",
            hint=f"{hint}; others for this kit: {', '.join(others)}" if others else hint,
        ) from error


def _command(plan: _Plan, options: ServeOptions, root: Path, work: Path) -> Command:
    repository = work / "repository"
    command = filled(
        plan.choice,
        (*plan.installed.local.argv, *options.arguments),
        root=str(root),
        repository=str(repository),
        name=plan.name,
        host=options.host,
        port=plan.port,
        python=sys.executable,
        program=plan.installed.program,
        health=options.health or plan.installed.local.health,
    )
    for placed in command.placed:
        target = repository / placed.target
        target.parent.mkdir(parents=True)
        target.symlink_to(root / placed.source)
    return command


def _request(plan: _Plan, options: ServeOptions, command: Command) -> Request:
    protocol = plan.choice.runtime.protocol
    metadata = None
    if protocol == "v2":
        answer = get(options.host, plan.port, METADATA_PATH.format(name=plan.name))
        metadata = answer[1] if answer is not None and answer[0] == 200 else None
    return sample_request(protocol, plan.name, metadata=metadata, ready=command.ready)


def _calls(plan: _Plan, request: Request, url: str) -> tuple[str, ...]:
    match plan.choice.runtime.protocol:
        case "openai":
            look = Request("GET", "/v1/models")
        case "v2":
            look = Request("GET", METADATA_PATH.format(name=plan.name))
        case _:
            look = Request("GET", plan.choice.runtime.ready)
    return tuple(dict.fromkeys(command for one in (look, request) if (command := one.curl(url)) is not None))
