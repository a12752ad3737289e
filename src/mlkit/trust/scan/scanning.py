"""What some content is by its bytes, and what it could do: every reading that fits is followed, not only the first.

A file can be a pickle for one program and a ZIP for another; names only make the scan stricter, never milder.
"""

from __future__ import annotations

import re
from typing import Final

from mlkit.errors import IntegrityError, LimitError
from mlkit.trust.scan.arrays import NUMPY_MAGIC, scan_array
from mlkit.trust.scan.findings import DOUBTS, FileResult
from mlkit.trust.scan.keras import HDF5_MAGIC, scan_hdf5
from mlkit.trust.scan.look import Look
from mlkit.trust.scan.messages import scan_onnx, scan_tensorflow
from mlkit.trust.scan.packed import expanded, sniff_packed
from mlkit.trust.scan.pickles import MAGICS, scan_pickles
from mlkit.trust.scan.secrets import scan_secrets
from mlkit.trust.scan.source import Budget, Expanded, Source
from mlkit.trust.scan.tars import is_tar, scan_tar
from mlkit.trust.scan.tensors import GGUF_MAGIC, looks_like_safetensors, scan_gguf, scan_safetensors
from mlkit.trust.scan.texts import scan_text
from mlkit.trust.scan.zip_directory import has_end
from mlkit.trust.scan.zips import scan_zip

HEAD: Final = 4096
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_PROGRAMS: Final = {
    b"\x7fELF": "an ELF program or library",
    b"\xfe\xed\xfa\xce": "a Mach-O program or library",
    b"\xfe\xed\xfa\xcf": "a Mach-O program or library",
    b"\xce\xfa\xed\xfe": "a Mach-O program or library",
    b"\xcf\xfa\xed\xfe": "a Mach-O program or library",
    b"MZqFpD": "a program that runs on every system",
}
_CLOSED: Final = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\x04\x22\x4d\x18": "LZ4"}
_DATA: Final = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"RIFF": "media",
    b"%PDF": "pdf",
    b"binf": "xgboost",
    b"{L\0\0\0\0\0\0\0\x07": "xgboost",
    b"tree\nversion=": "lightgbm",
    b"tree\r\nversion=": "lightgbm",
    b"CBM1": "catboost",
    b"SQLite format 3\0": "sqlite",
}
# Which suffixes promise which kinds; a Git LFS pointer keeps none of them.
_PROMISES: Final[dict[str, frozenset[str]]] = {
    "safetensors": frozenset({"safetensors"}),
    "gguf": frozenset({"gguf"}),
    "npy": frozenset({"numpy"}),
    "npz": frozenset({"zip"}),
    "h5": frozenset({"hdf5"}),
    "hdf5": frozenset({"hdf5"}),
    "keras": frozenset({"keras"}),
    "onnx": frozenset({"onnx"}),
}
_TEXTS: Final = frozenset({"text", "json", "yaml", "python", "notebook", "template"})
_PICKLES: Final = frozenset({"pkl", "pickle", "pt", "pth", "joblib", "ckpt", "dill", "cloudpickle", "jbl", "p"})
# The first fields of ModelProto and SavedModel: a version, then a text or message.
_MESSAGE = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42]")
_TENSORFLOW: Final = frozenset({"pb", "pbtxt", "meta"})


def scan_file(
    source: Source, path: str, *, is_far: bool = False, secrets: bool = False, budget: Budget | None = None
) -> FileResult:
    """Look at one file, to its end or to a limit; what is not seen is told as a finding."""
    look = Look(path, scan_content, is_far=is_far, budget=budget)
    try:
        kind = scan_content(source, look, path)
        if secrets and kind in _TEXTS:
            scan_secrets(source, look)
    except LimitError as error:
        look.report("limit", error.message)
        kind = "unknown"
    findings = tuple(sorted(look.findings, key=lambda finding: (-finding.severity, finding.path, finding.message)))
    is_complete = not any(finding.rule in DOUBTS for finding in findings)
    return FileResult(path, -1 if isinstance(source, Expanded) else source.size, kind, findings, is_complete)


def scan_content(source: Source, look: Look, name: str) -> str:
    """Look at content under a name, whatever it is; gives its kind, `data` for what nobody runs. Raises: LimitError."""
    head = source.read_at(0, HEAD)
    if not head:
        return "empty"
    suffix = name.rpartition("/")[2].rpartition(".")[2].lower()
    kinds: list[str] = []
    try:
        kinds += _binary(source, look, head, name, suffix)
        if not isinstance(source, Expanded) and not head.startswith(b"PK\x03\x04") and has_end(source):
            kinds.append(scan_zip(source, look))
    except IntegrityError as error:
        look.report("archive-broken", f"cannot be read to its end: {error.message}")
    kinds += _pickle(source, look, head, is_other=bool(kinds))
    if not kinds:
        text = scan_text(source, look, name)
        kinds += [text] if text is not None else []
    _check_promise(look, kinds, head, suffix)
    if kinds:
        return kinds[0]
    return next((kind for magic, kind in _DATA.items() if head.startswith(magic)), _plain(head))


def _binary(source: Source, look: Look, head: bytes, name: str, suffix: str) -> list[str]:
    """The kinds that first bytes tell without doubt, or a name where they cannot."""
    for magic, what in _PROGRAMS.items():
        if head.startswith(magic):
            look.report("native-code", f"is {what}")
            return ["program"]
    if head.startswith(b"MZ") and b"PE\0\0" in head:
        look.report("native-code", "is a program or library of Windows")
        return ["program"]
    if suffix in ("pyc", "pyo") or (
        head[2:4] == b"\r\n" and head[4:8] in (b"\0\0\0\0", b"\1\0\0\0") and head[16:17] == b"\xe3"
    ):
        look.report("python-bytecode", "is compiled Python code")
        return ["bytecode"]
    for magic, what in _CLOSED.items():
        if head.startswith(magic):
            look.report("not-scanned", f"is packed by {what}, which is not read")
            return [what.lower()]
    if head.startswith(b"PK\x03\x04"):
        return [scan_zip(source, look)]
    if head.startswith(GGUF_MAGIC):
        scan_gguf(source, look)
        return ["gguf"]
    if head.startswith(NUMPY_MAGIC):
        scan_array(source, look)
        return ["numpy"]
    if head.startswith(HDF5_MAGIC):
        scan_hdf5(source, look)
        return ["hdf5"]
    if looks_like_safetensors(head, source.size if not isinstance(source, Expanded) else 1 << 40):
        scan_safetensors(source, look)
        return ["safetensors"]
    if is_tar(head):
        return [scan_tar(source, look)]
    packed = sniff_packed(head)
    if packed is not None:
        return _expanded(source, look, packed, name)
    if suffix == "onnx" or suffix in _TENSORFLOW:
        return _message(source, look, suffix)
    if _MESSAGE.match(head):
        return _message(source, look, "onnx") or _message(source, look, "pb")
    return []


def _expanded(source: Source, look: Look, packed: str, name: str) -> list[str]:
    inside = expanded(source, packed, look.budget)
    assert inside is not None, "every compression that is sniffed can be read, or is refused before"
    if not inside.read_at(0, 1) and packed in ("zlib", "lzma"):
        return []  # a few bytes that any text may begin with
    base = name.rpartition("/")[2]
    shown = base.rpartition(".")[0] if base.lower().endswith((".gz", ".bz2", ".xz", ".zst", ".z")) else base
    kind = look.scan_member(inside, shown or packed)
    if inside.problem is not None:
        look.report("archive-broken", f"cannot be read to its end: {inside.problem}")
    return [f"{packed} of {kind}"]


def _message(source: Source, look: Look, suffix: str) -> list[str]:
    trial = look.trial()
    try:
        if suffix == "onnx":
            is_found, kind = scan_onnx(source, trial), "onnx"
        else:
            is_found, kind = scan_tensorflow(source, trial), "tensorflow"
    except IntegrityError:
        is_found, kind = False, ""
    look.adopt(trial)
    return [kind] if is_found else []


def _pickle(source: Source, look: Look, head: bytes, *, is_other: bool) -> list[str]:
    is_claimed = head.startswith(MAGICS) and not is_other
    kind = scan_pickles(source, look, is_claimed=is_claimed)
    return [kind] if kind is not None else []


def _check_promise(look: Look, kinds: list[str], head: bytes, suffix: str) -> None:
    """Report a file whose name promises what its bytes do not keep."""
    promised = _PROMISES.get(suffix)
    if suffix in _PICKLES and not kinds:
        promised = frozenset({"pickle"})
    if promised is None or promised & set(kinds):
        return
    if head.startswith(_POINTER):
        look.report("not-scanned", "is a pointer of Git LFS, not the file itself")
    elif suffix in ("safetensors", "gguf"):
        look.report(f"{suffix}-broken", f"does not begin like a {suffix} file")
    else:
        look.report("format-broken", f"does not begin like a file called .{suffix}")


def _plain(head: bytes) -> str:
    return "data" if b"\0" in head else "text"
