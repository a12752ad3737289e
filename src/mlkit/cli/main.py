"""The entry of `mlkit`: quick answers, signals, and the one place where errors end.

Nothing of weight is imported at the top: `mlkit version` and `mlkit --help` answer before the parser is loaded.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlkit.cli.log import JsonLog


def run() -> None:
    """Run the command line of this process, and leave with the exit code of cli.md."""
    _open_standard_streams()
    # A list of a hundred thousand files is no garbage; looking for cycles in it time and again is a tenth of a pack.
    gc.set_threshold(100_000)
    arguments = sys.argv[1:]
    come: list[BaseException] = []
    try:
        code = _answer(arguments, come)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # the one place where errors end
        from mlkit.cli.failures import report

        code = report(error, as_json=asks_for_json(arguments), come=come, log=asked_log(arguments))
    _leave(code)


def asks_for_json(arguments: list[str]) -> bool:
    """Whether `--json` is among the flags; it must be known before, and even where, the arguments do not parse."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in flags


def asked_log(arguments: list[str]) -> JsonLog | None:
    """The log that `--log-format json` or MLKIT_LOG_FORMAT ask for, on stderr."""
    from mlkit.cli.log import LOG_FORMAT, JsonLog

    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    asked = os.environ.get(LOG_FORMAT)
    words = ["mlkit"]
    for before, flag in zip(["", *flags], flags, strict=False):
        if before == "--log-format":
            asked = flag
        elif flag.startswith("--log-format="):
            asked = flag.partition("=")[2]
        elif not flag.startswith("-"):
            words.append(flag)
    return JsonLog(sys.stderr, " ".join(words[:2]), {}) if asked == "json" else None


def _answer(arguments: list[str], come: list[BaseException]) -> int:
    """The exit code. `come` gets what a signal raised: extension modules turn that into errors of their own."""
    if arguments in ([], ["--help"], ["-h"]) and "_MLKIT_COMPLETE" not in os.environ:
        from mlkit.cli.front_page import front_page

        print(front_page())
        return 0
    if arguments in (["version"], ["--version"], ["version", "--json"], ["--version", "--json"]):
        from mlkit.cli.version import version_text

        print(version_text(as_json="--json" in arguments))
        return 0
    import signal

    from mlkit.cli.failures import Terminated

    def terminate(*_: object) -> None:
        come.append(Terminated())
        raise come[-1]

    def interrupt(*_: object) -> None:
        come.append(KeyboardInterrupt())
        raise come[-1]

    signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background jobs ignore it
        signal.signal(signal.SIGINT, interrupt)
    # httpx brings a command line of its own, with a parser and a highlighter: nearly half of what importing it costs.
    # It does without where that cannot be imported, which this entry says (importlib: None stands for "not there").
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only
    _pass_over_plugins()

    from mlkit.cli.application import dispatch

    # A copy: the parser takes away what it has read, and how errors are told depends on all of it.
    return dispatch(list(arguments))


def _pass_over_plugins() -> None:
    """Let pydantic not ask every package that is installed whether it is a plugin of it.

    That is a sixth of what reading a Kitfile costs in a small environment and more than all the rest in a large one;
    and what a kit says is for nobody else to see or change. Its own switch is a variable of the environment, which
    programs that are started from here would inherit.
    """
    from types import ModuleType

    name = "pydantic.plugin._loader"
    loader = ModuleType(name)
    loader.get_plugins = tuple  # type: ignore[attr-defined]  # a module of our own making
    sys.modules.setdefault(name, loader)


def _open_standard_streams() -> None:
    """Fill closed standard streams, lest the first file that is opened becomes stdout and is written over."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    # A name that the locale cannot spell is shown escaped, not answered with a traceback.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text files here


def _leave(code: int) -> None:
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            # What could not be written has been reported, or cannot be; the interpreter must not try again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    if code in (130, 143):
        # Threads may still sit in a system call; nothing of theirs is needed any more, all context managers have ended.
        os._exit(code)
    sys.exit(code)
