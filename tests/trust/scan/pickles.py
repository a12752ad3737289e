"""Pickles written by hand, opcode by opcode, and what the scan says of some bytes."""

from __future__ import annotations

import struct

from mlkit.trust.scan.findings import FileResult, Severity, Verdict, verdict_on
from mlkit.trust.scan.scanning import scan_file
from mlkit.trust.scan.source import BytesSource

COMMAND = b"echo pwned"


def look(raw: bytes, name: str = "model.pkl", *, is_far: bool = False) -> FileResult:
    return scan_file(BytesSource(raw), name, is_far=is_far)


def verdict(raw: bytes, name: str = "model.pkl") -> Verdict:
    found = look(raw, name)
    return verdict_on(found.findings, is_complete=found.is_complete)


def rules(raw: bytes, name: str = "model.pkl") -> set[str]:
    return {finding.rule for finding in look(raw, name).findings}


def severity(raw: bytes, name: str = "model.pkl") -> Severity:
    return max((finding.severity for finding in look(raw, name).findings), default=Severity.NOTE)


def messages(raw: bytes, name: str = "model.pkl") -> str:
    return "\n".join(finding.message for finding in look(raw, name).findings)


def text(value: str) -> bytes:
    """BINUNICODE."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def data(value: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(value)) + value


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def called(module: str, name: str, *args: bytes, protocol: int = 4) -> bytes:
    """A pickle that calls a function; each argument is the pickle of a value, without its end."""
    return b"\x80" + bytes([protocol]) + call(module, name, *args) + b"."


def call(module: str, name: str, *args: bytes) -> bytes:
    return stack_global(module, name) + b"(" + b"".join(args) + b"tR"


def old(module: str, name: str, *args: str) -> bytes:
    """The same in protocol 0."""
    given = "".join(f"S'{arg}'\n" for arg in args)
    return f"c{module}\n{name}\n({given}tR.".encode()


BAD_PICKLE = b"\x80\x02cos\nsystem\n(X\x0a\x00\x00\x00echo pwnedtR."
