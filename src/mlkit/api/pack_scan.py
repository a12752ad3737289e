"""A look at the pickles among what is packed, for a warning. It is quick and leaves much out; `mlkit scan` does not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from mlkit.api.session import Session
from mlkit.archive.walk import SourceFile
from mlkit.packing.plan import PackPlan
from mlkit.spec.media_types import Class

_HEADS: Final = 1000
"""Files whose first bytes are read: a tenth of a second. A dataset of a million images is no place for models."""
_SECONDS: Final = 20
_SHOWN: Final = 5
_SUFFIXES: Final = frozenset(
    [".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".model", ".dat"]
)
_HEAD: Final = 64
_PICKLED: Final = (b"\x80\0", b"\x80\1", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")
_RULES: Final = frozenset({"pickle-code", "pickle-odd", "pickle-extension", "pickle-two-readings"})


def warn_of_pickles(session: Session, plan: PackPlan) -> None:
    """Tell of pickles that run code when they are loaded; what cannot be read is for the pack to tell."""
    found = list(_pickles(plan))
    if not found:
        return
    # Most projects have none, and then nothing of the scan is imported and no process started.
    from mlkit.trust.scan.sandbox import Limits, Sandbox, Task

    bad: list[str] = []
    with Sandbox(secrets=False, limits=Limits(seconds=_SECONDS)) as sandbox:
        for file in found:
            try:
                descriptor = os.open(file.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                result, _ = sandbox.scan(Task(file.path, file.size, descriptor=descriptor))
            finally:
                os.close(descriptor)
            worst = next((one for one in result.findings if one.rule in _RULES), None)
            if worst is not None:
                bad.append(f"{file.path!a} {worst.message}")
    if bad:
        more = f", and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        session.progress.warn(
            f"loading these files runs code: {'; '.join(bad[:_SHOWN])}{more} "
            "(`mlkit scan` tells all; --no-scan is silent)"
        )


def _pickles(plan: PackPlan) -> Iterator[SourceFile]:
    left = _HEADS
    for file in _files(plan):
        if left == 0:
            return
        left -= 1
        if _looks_pickled(file):
            yield file


def _files(plan: PackPlan) -> Iterable[SourceFile]:
    """Those of models first, then what is called like a pickle elsewhere."""
    for layer in plan.layers:
        if layer.cls is Class.MODEL:
            yield from layer.files
    for layer in plan.layers:
        if layer.cls is not Class.MODEL:
            yield from (file for file in layer.files if os.path.splitext(file.path)[1].lower() in _SUFFIXES)  # noqa: PTH122  # for speed


def _looks_pickled(file: SourceFile) -> bool:
    try:
        descriptor = os.open(file.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        head = os.read(descriptor, _HEAD)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    is_named = os.path.splitext(file.path)[1].lower() in _SUFFIXES  # noqa: PTH122  # for speed
    is_zip = head.startswith(b"PK\3\4") and (is_named or b"data.pkl" in head)
    return (
        head.startswith(_PICKLED) or is_zip or (is_named and head[:1] in (b"c", b"(", b"]", b"}", b"\x1f", b"x", b"B"))
    )
