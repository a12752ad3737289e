"""Flags that `serve` and `profile` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli import render
from mlkit.cli.progress import Talk
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.serving.profile import Profile

RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime", metavar="NAME", help="vllm, llama.cpp, onnx, …; else what the kit asks for, or suits it."
    ),
]
CommandOption = Annotated[
    str | None,
    typer.Option(
        "--command", metavar="LINE", help="Run this in place of a runtime; {root} {model} {name} {host} {port}."
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="PATH", help="Of several models in the kit, this one.")
]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the model is called by callers.")]
ReuseOption = Annotated[
    bool, typer.Option("--reuse", help="Link files from the local store, read-only, in place of copies.")
]
GpuOption = Annotated[
    bool | None, typer.Option("--gpu/--no-gpu", help="Need a GPU; hide them all.", show_default=False)
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Serve models that run code when they are loaded, too.")
]
HealthOption = Annotated[
    str | None, typer.Option("--health", metavar="PATH", help="Answers 200 once the server is ready.")
]
ArgumentOption = Annotated[
    list[str] | None, typer.Option("--arg", metavar="TEXT", help="Add this to the runtime's command. Repeatable.")
]
TimeoutOption = Annotated[
    int, typer.Option("--timeout", metavar="SECONDS", min=1, max=86400, help="Until it must be ready.")
]


def said_by(talk: Talk) -> Callable[[str], None] | None:
    """Who listens to the server's own output: whoever reads this run's talk."""
    if talk.is_quiet or (talk.as_json and talk.log is None):
        return None
    return lambda line: talk.say(f"| {line}")


def parse_levels(text: str) -> tuple[int, ...]:
    """`1,4,16`. Raises: UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 6 for part in parts):
        raise UsageError(f"--concurrency {text!a}: numbers are expected", hint="for example --concurrency 1,4,16")
    return tuple(map(int, parts))


def profile_text(profile: Profile) -> str:
    """A table of the levels, and what follows from them."""
    rows = [
        (
            str(level.concurrency),
            str(level.requests),
            str(level.failures),
            f"{level.per_second:.1f}",
            *(f"{seconds * 1000:.1f}" for seconds in (level.p50, level.p95, level.p99)),
            f"{level.cores:.2f}",
        )
        for level in profile.levels
    ]
    headings = ("AT ONCE", "ANSWERS", "FAILED", "PER SECOND", "P50 MS", "P95 MS", "P99 MS", "CPUS")
    suggestion = profile.suggestion
    gpu = "-" if profile.peak_gpu_bytes is None else render.size(profile.peak_gpu_bytes)
    memory = "-" if profile.peak_memory_bytes is None else render.size(profile.peak_memory_bytes)
    facts = [
        ("unpacked", f"{render.size(profile.unpack_bytes)} in {profile.unpack_seconds:.2f} s"),
        ("ready", f"after {profile.ready_seconds:.2f} s"),
        ("first answer", f"{profile.first_seconds * 1000:.1f} ms"),
        ("peak memory", f"{memory}; of GPUs {gpu}"),
        ("requests", f"cpu {suggestion.cpu}, memory {suggestion.memory} (limit {suggestion.memory_limit}), "
         f"{render.counted(suggestion.gpus, 'GPU')}"),
        ("scale out", f"at {render.counted(suggestion.concurrency, 'request')} at once"),
    ]  # fmt: skip
    return f"{render.table(headings, rows, right=frozenset(headings))}\n\n{render.facts(facts)}"
