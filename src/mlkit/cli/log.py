"""Stderr as lines of JSON, for machines that collect logs: one object each, with time, level and message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from mlkit import __version__

LOG_FORMAT = "MLKIT_LOG_FORMAT"
"""The variable of the setting; read before settings are, so that their errors are written in it too."""


@dataclass(frozen=True, slots=True)
class JsonLog:
    """Writes what `Talk` would say to people."""

    stream: TextIO
    command: str
    about: Mapping[str, str]
    """What every line tells of the kit, as far as it is known by then."""

    def write(self, level: str, message: str) -> None:
        """One line; lines of several threads stay whole."""
        self.stream.write(f"{self.line(level, message)}\n")
        self.stream.flush()

    def line(self, level: str, message: str, **more: object) -> str:
        """The object of one line. Beyond ASCII all is escaped, so no terminal acts on it."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"time": moment, "level": level, "message": message, "command": self.command, "mlkit": __version__}
        return json.dumps({**head, **self.about, **more})
