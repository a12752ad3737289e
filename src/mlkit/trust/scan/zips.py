"""ZIP files: checkpoints of PyTorch, `.npz`, `.keras`, and any other, member by member by what is in them."""

from __future__ import annotations

import re
import zlib
from typing import Final

from mlkit.errors import IntegrityError
from mlkit.trust.scan.findings import Severity
from mlkit.trust.scan.keras import scan_keras_config
from mlkit.trust.scan.look import Look, escaped
from mlkit.trust.scan.packed import expanded
from mlkit.trust.scan.pickles import scan_pickles
from mlkit.trust.scan.source import CHUNK, Expanded, Part, Source
from mlkit.trust.scan.zip_directory import Member, data_place, read_directory

_METHODS: Final = {8: "deflate", 12: "bzip2", 93: "zstd"}
_SUM_LIMIT: Final = 64 * 1024 * 1024  # bytes of a member whose sum is checked
_LOADED: Final = frozenset({"pickle", "joblib", "torch", "torch-legacy", "numpy", "keras", "zip"})
_STORAGE = re.compile(r"(?P<root>.+/)?data/[0-9]+")
_SCRIPT = re.compile(r"(?:[^/]+/)?code/.+\.py|(?:[^/]+/)?constants\.pkl")


def scan_zip(source: Source, look: Look) -> str:
    """Look at every member; gives the kind. Raises: LimitError."""
    try:
        members = read_directory(source, look)
    except IntegrityError as error:
        look.report("zip-broken", f"the ZIP cannot be read: {error.message}")
        return "zip"
    names = {member.name for member in members}
    roots = {name.removesuffix("data.pkl") for name in names if name == "data.pkl" or name.endswith("/data.pkl")}
    is_script = bool(roots) and any(_SCRIPT.fullmatch(name) for name in names)
    if is_script:
        look.report("torch-script", "holds a program of TorchScript")
    is_package = any(name.endswith((".data/extern_modules", ".data/python_version")) for name in names)
    if is_package:
        look.report("torch-package", "is a package of PyTorch, which brings Python code along")
    is_keras = {"config.json", "metadata.json"} <= names
    for member in members:
        if not member.is_dir:
            _scan_member(source, member, look, roots=roots, is_keras=is_keras, is_script=is_script)
    if is_script:
        return "torchscript"
    return "torch" if roots else "keras" if is_keras else "zip"


def _scan_member(
    source: Source, member: Member, look: Look, *, roots: set[str], is_keras: bool, is_script: bool
) -> None:
    storage = _STORAGE.fullmatch(member.name)
    is_storage = storage is not None and (storage["root"] or "") in roots
    if is_storage and look.is_far:
        return  # numbers for PyTorch, whatever they are; one request to a registry each
    try:
        place = data_place(source, member, look)
        content = _content(source, member, place, look)
        if content is None:
            return
        inside = look.inside(member.name)
        if is_storage:
            scan_pickles(content, inside, is_claimed=False)
            return
        if member.name.removesuffix("data.pkl") in roots and member.name.endswith("data.pkl"):
            _scan_data(content, inside, is_script=is_script)
            kind = "pickle"
        elif is_keras and member.name == "config.json":
            scan_keras_config(content, inside)
            kind = "keras"
        else:
            kind = look.scan_member(content, member.name)
        if isinstance(content, Expanded) and content.problem is not None:
            look.report("zip-broken", f"the member {escaped(member.name)} cannot be read: {content.problem}")
        elif kind in _LOADED and member.size <= _SUM_LIMIT:
            _check_sum(content, member, look)
    except IntegrityError as error:
        look.report("zip-broken", f"the member {escaped(member.name)} cannot be read: {error.message}")


def _scan_data(content: Source, inside: Look, *, is_script: bool) -> None:
    trial = inside.trial()
    scan_pickles(content, trial, is_claimed=True, is_torch=True)
    if is_script:
        # Names of the program itself, which its own interpreter resolves.
        own = ("names __torch__.", "names torch.jit._pickle.")
        trial.findings[:] = [
            one for one in trial.findings if one.severity >= Severity.CRITICAL or not one.message.startswith(own)
        ]
    inside.adopt(trial)


def _content(source: Source, member: Member, place: int, look: Look) -> Source | None:
    part = Part(source, place, member.packed)
    if member.method == 0:
        return part
    kind = _METHODS.get(member.method)
    content = expanded(part, kind, look.budget) if kind else None
    if content is None:
        look.report(
            "not-scanned",
            f"the member {escaped(member.name)} is compressed by method {member.method}, which is not read",
        )
    return content


def _check_sum(content: Source, member: Member, look: Look) -> None:
    found, position = 0, 0
    while chunk := content.read_at(position, CHUNK):
        found = zlib.crc32(chunk, found)
        position += len(chunk)
        if position > member.size:
            break
    if position != member.size:
        look.report("zip-broken", f"the member {escaped(member.name)} has another size than the directory says")
    elif found != member.crc:
        look.report("zip-broken", f"the member {escaped(member.name)} has a wrong sum, which PyTorch does not mind")
