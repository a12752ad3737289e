"""Pickles: one, several in one stream, those of PyTorch and of joblib. Nothing is unpickled."""

from __future__ import annotations

import re
from typing import Final

from mlkit.trust.scan.allowlist import is_allowed, may_be_called, severity_of
from mlkit.trust.scan.findings import Finding, Severity
from mlkit.trust.scan.look import Look
from mlkit.trust.scan.pickle_machine import Ended, Machine, shown_name
from mlkit.trust.scan.pickle_values import ARRAY_WRAPPER, Blob, Global, Made, item_size
from mlkit.trust.scan.source import Forward, Part, Source

MAGICS: Final = (b"\x80\x00", b"\x80\x01", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""What binary pickles begin with; those of protocol 0 and 1 may begin with anything."""
TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The number that `torch.save` wrote first, before it wrote ZIP files."""
_TORCH_PICKLES: Final = 5  # number, version, machine, objects, keys of storages; then the storages
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_TORCH_IDS: Final = ("storage", "module")


def scan_pickles(source: Source, look: Look, *, is_claimed: bool, is_torch: bool = False) -> str | None:
    """Follow every pickle in `source`; the kind that it is, None where it is none.

    `is_claimed`: a name or the first bytes say that it is a pickle, so one that cannot be followed is told. `is_torch`:
    it is the `data.pkl` of a checkpoint, and may ask for its storages. Raises: LimitError.
    """
    stream = Forward(source)
    trial = look.trial()
    watcher = _Watcher(source, trial, is_torch=is_torch)
    machine = Machine(stream, watcher, look.budget)
    first = machine.run()
    # Text may name something by chance; it does not call it too.
    is_sure = first.calls > 0 or (first.problem is None and first.names > 0)
    if not is_claimed and not is_sure and not _is_alarming(trial):
        return None
    if not is_claimed and not is_sure:
        # Text that happens to begin like a pickle names words, not modules of Python.
        trial.findings[:] = [finding for finding in trial.findings if finding.severity >= Severity.HIGH]
    look.adopt(trial)
    _check_end(first, machine, look)
    if first.problem is not None:
        return "pickle"
    if first.result == TORCH_MAGIC:
        return _rest_of_torch(source, stream, look)
    _scan_rest(source, stream, look, is_torch=is_torch)
    return "joblib" if watcher.arrays else "pickle"


def _is_alarming(trial: Look) -> bool:
    return any(finding.severity >= Severity.HIGH for finding in trial.findings)


def _check_end(ended: Ended, machine: Machine, look: Look) -> None:
    if ended.problem is not None:
        look.report("pickle-broken", f"the pickle breaks off: {ended.problem}", position=ended.position)
    if machine.wrappers_named != machine.wrappers_made:
        look.report("pickle-odd", "uses joblib's wrapper of arrays in a way that joblib does not")


def _rest_of_torch(source: Source, stream: Forward, look: Look) -> str:
    """The four pickles after the number; what follows is read by PyTorch as numbers."""
    for _ in range(_TORCH_PICKLES - 1):
        machine = Machine(stream, _Watcher(source, look, is_torch=True), look.budget)
        ended = machine.run()
        _check_end(ended, machine, look)
        if ended.problem is not None:
            return "torch-legacy"
    tail = look.trial()
    Machine(stream, _Watcher(source, tail, is_torch=True), look.budget).run()
    if _is_alarming(tail):
        look.report("pickle-two-readings", "a further pickle lies where PyTorch reads numbers")
    return "torch-legacy"


def _scan_rest(source: Source, stream: Forward, look: Look, *, is_torch: bool) -> None:
    """What comes after a first pickle: further ones, or nothing, or zeros."""
    while head := stream.peek(1):
        look.budget.step(1)
        start = stream.position
        if head == b"\0" and _is_zero(source, start):
            return
        trial = look.trial()
        machine = Machine(stream, _Watcher(source, trial, is_torch=is_torch), look.budget)
        ended = machine.run()
        look.adopt(trial)
        _check_end(ended, machine, look if ended.names else look.trial())
        if ended.problem is not None:
            if not ended.names:
                look.report("pickle-trailing", "bytes after the pickle are no pickle", position=start)
            return


def _is_zero(source: Source, start: int) -> bool:
    """Whether only zeros follow, 1 MiB of them at most."""
    tail = source.read_at(start, (1 << 20) + 1)
    return len(tail) <= 1 << 20 and tail.count(0) == len(tail)


class _Watcher:
    """Judges what a pickle does."""

    def __init__(self, source: Source, look: Look, *, is_torch: bool) -> None:
        self._source = source
        self._look = look
        self._is_torch = is_torch
        self.arrays = 0

    def names(self, found: Global, position: int) -> None:
        if is_allowed(found.module, found.name):
            return
        severity = severity_of(found.module, found.name)
        rule = "pickle-code" if severity is Severity.CRITICAL else "pickle-name"
        if not _WORD.fullmatch(found.module) or not _WORD.fullmatch(found.name):
            severity = Severity.MEDIUM  # nothing of that name can be imported
        self._look.report(rule, f"names {shown_name(found)}", position=position, severity=severity)

    def called(self, found: Global, position: int) -> None:
        if not may_be_called(found.module):
            self._look.report("pickle-odd", f"calls {shown_name(found)}, which picklers only fill", position=position)

    def odd(self, what: str, position: int) -> None:
        self._look.report("pickle-odd", what, position=position)

    def extension(self, code: int, position: int) -> None:
        self._look.report("pickle-extension", f"takes function {code} of the extension registry", position=position)

    def blob(self, found: Blob, *, is_loaded: bool) -> None:
        part = Part(self._source, found.offset, found.size)
        if is_loaded:
            self._look.scan_member(part, "bytes.pt")
            return
        # Nothing loads them unless a name that is told elsewhere does; what they would do is told all the same.
        trial = self._look.inside("bytes").trial()
        if scan_pickles(part, trial, is_claimed=False) is not None:
            trial.findings[:] = [one for one in trial.findings if one.severity >= Severity.HIGH]
            self._look.adopt(trial)

    def persistent(self, pid: object, position: int) -> None:
        is_known = isinstance(pid, tuple) and len(pid) >= 2 and pid[0] in _TORCH_IDS
        if not (is_known and self._is_torch):
            self._look.report("pickle-persistent", "asks its loader for an object", position=position)

    def array(self, wrapper: Made, machine: Machine) -> None:
        self.arrays += 1
        stream = machine.stream
        start = stream.position
        self._check_other_reading(machine, start)
        if machine.frame_end > start:
            self._look.report(
                "pickle-odd", "has an array inside of a frame, which joblib reads after it", position=start
            )
        size = self._array_size(wrapper, stream)
        if size is None:
            self._look.report("pickle-odd", "has an array of joblib whose size cannot be told", position=start)
        elif size < 0:
            self._objects(stream)
        else:
            stream.skip(size)

    def _check_other_reading(self, machine: Machine, start: int) -> None:
        """`pickle.load` takes the bytes of the array for opcodes, and does what they say until it fails."""
        trial = self._look.trial()
        machine.fork(Forward(self._source, start), _Outsider(trial)).run()
        if trial.findings:
            first: Finding = trial.findings[0]
            self._look.report("pickle-two-readings", f"{first.message} where joblib sees an array", position=start)

    def _array_size(self, wrapper: Made, stream: Forward) -> int | None:
        items = wrapper.state.items if wrapper.state is not None else {}
        shape, element = items.get("shape"), item_size(items.get("dtype"))
        subclass = items.get("subclass")
        if not isinstance(shape, tuple) or element is None or not isinstance(subclass, Global):
            return None
        count = 1
        for length in shape:
            if type(length) is not int or not 0 <= length < 1 << 48:
                return None
            count *= length
        if element < 0:
            return -1
        if count * element >= 1 << 62:
            return None
        alignment = items.get("numpy_array_alignment_bytes")
        if type(alignment) is int:
            if not 0 < alignment < 256:
                return None
            padding = stream.byte()
            return count * element + padding
        # joblib before 1.1 neither aligned nor said so.
        return count * element if alignment is None else None

    def _objects(self, stream: Forward) -> None:
        """An array of objects is a pickle of its own, in the same file."""
        watcher = _Watcher(self._source, self._look, is_torch=self._is_torch)
        machine = Machine(stream, watcher, self._look.budget)
        _check_end(machine.run(), machine, self._look)


class _Outsider:
    """Looks only for names of Python itself, in bytes that need not be a pickle at all."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def names(self, found: Global, position: int) -> None:
        is_word = _WORD.fullmatch(found.module) and _WORD.fullmatch(found.name)
        is_bad = not is_allowed(found.module, found.name) and severity_of(found.module, found.name) >= Severity.HIGH
        if is_word and is_bad:
            self._look.report("pickle-code", f"names {shown_name(found)}", position=position)

    def called(self, found: Global, position: int) -> None: ...

    def odd(self, what: str, position: int) -> None: ...

    def extension(self, code: int, position: int) -> None: ...

    def blob(self, found: Blob, *, is_loaded: bool) -> None: ...

    def persistent(self, pid: object, position: int) -> None: ...

    def array(self, wrapper: Made, machine: Machine) -> None: ...


assert is_allowed(*ARRAY_WRAPPER)
