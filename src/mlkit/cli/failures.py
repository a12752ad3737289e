"""From an exception to lines on stderr and an exit code."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from mlkit.cli.log import JsonLog
from mlkit.cli.render import escape_lines
from mlkit.errors import MlkitError, StoreError, UsageError

INTERRUPTED = 130
TERMINATED = 143
PIPE_CLOSED = 141
"""128 + SIGPIPE, what other tools exit with when the reader of a pipe has gone."""
DEFECT = 70
"""A bug of ours (EX_SOFTWARE of sysexits.h); 1 stays the negative answer to a question that was asked."""

# The base of all complaints of the parser, by way of one that typer exports: its module has moved between versions.
_ParserError = typer.BadParameter.__mro__[2]


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C, so that whoever cleans up after one cleans up after the other."""


def report(
    error: BaseException, *, as_json: bool, come: Sequence[BaseException] = (), log: JsonLog | None = None
) -> int:
    """Say on stderr what went wrong, as one line with a hint or as one JSON object, and give the exit code.

    What looks like a defect and ended after a signal had `come` was the signal, met in a place that cannot pass it on.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    if isinstance(error, Terminated):
        return _tell("E_TERMINATED", TERMINATED, "terminated", None, as_json=as_json, log=log)
    if isinstance(error, KeyboardInterrupt | EOFError | typer.Abort):
        return _tell("E_INTERRUPTED", INTERRUPTED, "interrupted", None, as_json=as_json, log=log)
    translated = _translated(error)
    if translated is None and come and not isinstance(error, KeyboardInterrupt):
        return report(come[0], as_json=as_json, log=log)
    if translated is None:
        from mlkit.cli.secrets import without_secrets

        message = without_secrets(f"a defect in mlkit: {type(error).__name__}: {error}", os.environ, sys.argv)
        if as_json or log is not None:
            return _tell(
                "E_DEFECT", DEFECT, message, "run it without --json, and report what it says", as_json=True, log=log
            )
        import traceback

        lines = "".join(traceback.format_exception(error))
        print(without_secrets(lines, os.environ, sys.argv), end="", file=sys.stderr)
        return _tell("E_DEFECT", DEFECT, message, "please report it with the lines above", as_json=False, log=log)
    return _tell(translated.code, translated.exit_code, translated.message, translated.hint, as_json=as_json, log=log)


def _translated(error: BaseException) -> MlkitError | None:
    if isinstance(error, MlkitError):
        return error
    if isinstance(error, _ParserError):
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path} --help` shows how" if context is not None else None
        return UsageError(error.format_message().rstrip("."), hint=hint)  # type: ignore[attr-defined]  # see _ParserError
    if isinstance(error, OSError) and error.errno is not None:
        # The rooms translate what they know; this is a standard stream, or the machine as a whole.
        what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        hint = "`ulimit -n` shows the limit" if error.errno in (errno.EMFILE, errno.ENFILE) else None
        return StoreError(f"{what}{os.strerror(error.errno)}", hint=hint)
    return None


def _tell(code: str, exit_code: int, message: str, hint: str | None, *, as_json: bool, log: JsonLog | None) -> int:
    told = {"error": {"code": code, "exit": exit_code, "message": message, "hint": hint}}
    if log is not None:
        text = log.line("error", message, **told)
    elif as_json:
        text = json.dumps(told)
    else:
        text = "error: " + escape_lines(message) + (f"\nhint: {escape_lines(hint)}" if hint else "")
    # Where nobody can be told, the exit code still tells.
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return exit_code
