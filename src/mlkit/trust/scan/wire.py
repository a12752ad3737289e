"""What the scanner's process and its parent say to each other: frames with a length in front. Nothing here judges."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

from mlkit.errors import IntegrityError
from mlkit.spec.json_text import parse_object, render_json
from mlkit.trust.scan.findings import FileResult, Finding, Severity
from mlkit.trust.scan.rules import RULES

FRAME_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a frame: 200 findings with paths and messages, or a part of a file."""
READ_LIMIT: Final = 1024 * 1024
"""Bytes that may be asked for at once."""
_LENGTH = struct.Struct("<I")
_TEXT_LIMIT: Final = 8192


def send(link: socket.socket, content: bytes) -> None:
    """One frame."""
    link.sendall(_LENGTH.pack(len(content)) + content)


def receive(link: socket.socket) -> bytes:
    """One frame. Raises: EOFError where the other side is gone; IntegrityError for one that is too long."""
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    if length > FRAME_LIMIT:
        raise IntegrityError(f"a frame of {length} bytes")
    return _exactly(link, length)


def send_object(link: socket.socket, value: dict[str, Any]) -> None:
    """One frame with a JSON object."""
    send(link, render_json(value))


def receive_object(link: socket.socket) -> dict[str, Any]:
    """The object of the next frame. Raises: EOFError, IntegrityError."""
    return parse_object(receive(link), what="a message of the scanner", limit=FRAME_LIMIT)


def rendered(result: FileResult, opinion: str | None) -> dict[str, Any]:
    """A result as it travels."""
    return {
        "size": result.size,
        "kind": result.kind,
        "complete": result.is_complete,
        "opinion": opinion,
        "findings": [
            [one.rule, int(one.severity), _sendable(one.path), _sendable(one.message), one.position]
            for one in result.findings
        ],
    }


def parsed(value: dict[str, Any], path: str, size: int) -> tuple[FileResult, str | None]:
    """The result of a process that read hostile bytes: checked like anything else from outside.

    Raises: IntegrityError.
    """
    kind, opinion, complete, listed = (value.get(name) for name in ("kind", "opinion", "complete", "findings"))
    if not isinstance(kind, str) or not isinstance(complete, bool) or not isinstance(listed, list):
        raise IntegrityError("a message of the scanner is no result")
    if opinion is not None and not isinstance(opinion, str):
        raise IntegrityError("a message of the scanner is no result")
    return FileResult(path, size, kind[:80], tuple(_finding(one) for one in listed), complete), opinion


def _finding(value: object) -> Finding:
    if not isinstance(value, list) or len(value) != 5:
        raise IntegrityError("a message of the scanner is no result")
    rule, severity, path, message, position = value
    is_sound = (
        isinstance(rule, str)
        and rule in RULES
        and type(severity) is int
        and severity in tuple(Severity)
        and isinstance(path, str)
        and isinstance(message, str)
        and (position is None or type(position) is int)
    )
    if not is_sound:
        raise IntegrityError("a message of the scanner is no result")
    return Finding(rule, Severity(severity), path[:_TEXT_LIMIT], message[:_TEXT_LIMIT], position)


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _exactly(link: socket.socket, count: int) -> bytes:
    pieces: list[bytes] = []
    while count:
        piece = link.recv(min(count, READ_LIMIT))
        if not piece:
            raise EOFError
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
