"""From flags to what a command works with: the session it calls the API with, and the two streams it talks on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.cli.log import LOG_FORMAT, JsonLog
from mlkit.cli.options import General, Network
from mlkit.cli.progress import Talk, listening
from mlkit.cli.render import document
from mlkit.cli.terminal import secret_asker
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.api.session import Session
    from mlkit.api.settings import Settings

_SHOWS_REQUESTS = 2  # how many -v
_INSECURE = (
    "CERTIFICATES ARE NOT CHECKED (--insecure): anyone on the way can read your credentials and change what is moved"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command: what was asked of all commands alike."""

    general: General
    network: Network
    named_hosts: frozenset[str] = frozenset()
    """The registries that its arguments name."""
    command: str = "mlkit"
    """As it was called: `mlkit pull`."""
    about: dict[str, str] = field(default_factory=dict)
    """What it came to be about: `reference`, `digest` and `version` of a kit, once they are known."""

    @property
    def talk(self) -> Talk:
        """Stderr."""
        asked = self.general.log_format.value if self.general.log_format else os.environ.get(LOG_FORMAT)
        log = JsonLog(sys.stderr, self.command, self.about) if asked == "json" else None
        return Talk(sys.stderr, as_json=self.general.as_json, is_quiet=self.general.quiet, log=log)

    def settings(self, **own: object) -> Settings:
        """Flags, environment and files joined; `own` are settings that a flag of this command alone changes.

        Raises: UsageError.
        """
        # Imported here and below: help and usage errors need neither settings nor stores.
        from mlkit.api.settings import load_settings

        overrides = {**self.general.overrides, **self.network.overrides, **own}
        return load_settings(os.environ, _current_directory(), overrides)

    @contextmanager
    def session(self, **own: object) -> Iterator[Session]:
        """A session that shows its progress and closes its connections at the end; see `settings` for `own`."""
        from mlkit.api.session import Session
        from mlkit.api.telemetry import tracing

        settings = self.settings(**own)
        talk = self.talk
        if settings.insecure:
            talk.warn(_INSECURE)
        log = talk.detail if self.general.verbosity >= _SHOWS_REQUESTS else None
        with (
            listening(settings.progress, talk, is_verbose=self.general.verbosity > 0) as progress,
            tracing(settings.telemetry) as tracer,
            tracer.span(self.command),
            Session(
                settings,
                progress=progress,
                tracer=tracer,
                log=log,
                named_hosts=self.named_hosts,
                ask_secret=secret_asker(),
            ) as session,
        ):
            yield session

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment, for programs that are run on behalf of the person."""
        return os.environ

    def show(self, value: object, text: str, *, flush: bool = False) -> None:
        """Print the result: `value` as JSON where that was asked for, else `text`, nothing where that is empty.

        `flush`: it is read while the command goes on.
        """
        for name in ("reference", "digest", "version"):
            known = getattr(value, name, None)
            if known is not None:
                self.about[name] = str(known)
        if self.general.as_json:
            print(document(value), flush=flush)
        elif text:
            print(text, flush=flush)

    def say(self, text: str) -> None:
        """Tell people, on stderr, how it went; programs read the result instead."""
        self.talk.say(text)

    def say_all(self, texts: Iterable[str]) -> None:
        """Like `say`, for each."""
        for text in texts:
            self.talk.say(text)

    def warn_all(self, texts: Iterable[str]) -> None:
        """Tell people what they should know even when quiet was asked for."""
        for text in texts:
            self.talk.warn(text)


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the current directory is gone", hint="change to one that exists") from error
