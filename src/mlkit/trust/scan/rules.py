"""Every rule of the scan, in one table: `docs/reference/scan-rules.md` is made from it. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlkit.trust.scan.findings import Severity

VERSION: Final = "1"
"""Of the rules; an attestation tells by which it was made. Counted up when a file may get another verdict."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    id: str
    severity: Severity
    """Where the finding does not say another one."""
    title: str
    why: str


def _rules(*rules: tuple[str, Severity, str, str]) -> dict[str, Rule]:
    return {rule[0]: Rule(*rule) for rule in rules}


_N, _L, _M, _H, _C = Severity.NOTE, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL

RULES: Final = _rules(
    # Pickles
    ("pickle-code", _C, "names a function that runs code", "Loading it calls, or can call, commands and code."),
    ("pickle-name", _M, "names what is not on the list of harmless names", "Loading it imports a module and may call "
     "what it finds there; high where the module is part of Python itself."),
    ("pickle-extension", _H, "uses the extension registry", "The number stands for a function that the file does not "
     "name (`copyreg.add_extension`)."),
    ("pickle-odd", _H, "does what no pickler writes", "Names put together while loading, calls of what was made, state "
     "set on classes: ways around a scanner."),
    ("pickle-broken", _M, "breaks off or cannot be followed", "Everything before the break runs when it is loaded."),
    ("pickle-trailing", _M, "has bytes after its end that are no pickle", "A program that reads on finds them; this "
     "one cannot tell what they are."),
    ("pickle-persistent", _M, "asks its loader for objects", "What a persistent id means is up to the program that "
     "loads it; only those of PyTorch are known."),
    ("pickle-two-readings", _C, "is read differently by joblib and by pickle", "Bytes of an array are code for a "
     "program that does not know arrays."),
    # Archives
    ("zip-broken", _H, "is a ZIP that contradicts itself", "Wrong sums, encryption, headers that disagree, members "
     "that overlap or occur twice: programs read different members, or scanners none."),
    ("archive-path", _H, "has a member with a path that leaves the archive", "Unpacking it may write elsewhere."),
    ("archive-broken", _M, "is an archive that cannot be read to its end", "What is in it was not all seen."),
    ("limit", _M, "is larger than what is looked at", "More than 1 GiB comes out of its archives, they have more than "
     "65,535 members, or a pickle never ends. Counts as not scanned."),
    ("not-scanned", _M, "was not looked at", "A layer that is not here, an encryption or compression that is not "
     "known. Never counted as clean."),
    ("scanner-failed", _M, "ended the scanner", "It crashed, took too long or too much memory; the file is as good as "
     "not scanned."),
    # Formats that hold code
    ("torch-script", _M, "is TorchScript", "A program with its own interpreter, not only weights; it can read files."),
    ("torch-package", _H, "is a package of PyTorch with Python code", "Loading it runs the code."),
    ("torch-legacy-tar", _M, "is a checkpoint of PyTorch before 0.2, in a tar", "Pickles with raw data between them, "
     "which cannot be followed to the end."),
    ("numpy-objects", _M, "is an array of Python objects", "NumPy unpickles them where `allow_pickle` is given."),
    ("keras-lambda", _H, "has a Lambda layer", "Python code, run when the model is loaded without `safe_mode`."),
    ("keras-foreign", _H, "names a class or function outside Keras", "Keras imports and calls what the config names "
     "(CVE-2025-1550)."),
    ("keras-escaped", _H, "writes plain letters as escapes in its config", "No program does that; it hides names from "
     "searches."),
    ("keras-file", _H, "reads a file when it is loaded", "A vocabulary by path (CVE-2025-12058)."),
    ("tensorflow-op", _H, "has an operation that touches files or runs Python", "ReadFile, WriteFile, PyFunc and the "
     "like do so when the graph runs."),
    ("onnx-external", _H, "keeps tensors at a path outside of its folder", "Loading it reads that file."),
    ("onnx-operators", _L, "uses operators of other domains", "They come from a library that has to be loaded."),
    ("native-code", _M, "is a program or library", "Machine code: nothing here can judge it."),
    ("python-bytecode", _M, "is compiled Python code", "Nothing here can judge it."),
    # Formats that hold data
    ("safetensors-broken", _H, "is no sound safetensors file", "Its header contradicts itself or the file."),
    ("gguf-broken", _H, "is no sound GGUF file", "Its header contradicts itself or the file (CVE-2026-33298, "
     "CVE-2026-7482): loaders written in C may read or write elsewhere."),
    ("format-broken", _M, "is not what its name says", "A file of this name ought to begin otherwise."),
    # Texts
    ("remote-code", _M, "names Python code that loading runs", "`auto_map` and `custom_pipelines`: run with "
     "`trust_remote_code`."),
    ("path-escape", _H, "names a file outside of its folder", "`weight_map` and the like, followed by loaders."),
    ("template-escape", _H, "has a chat template that reaches into Python", "Jinja without a sandbox runs it "
     "(CVE-2024-34359)."),
    ("yaml-object", _H, "makes Python objects from YAML", "A loader that is not the safe one calls what they name."),
    ("python-code", _N, "is Python code", "Runs when it is imported or named by a config."),
    ("notebook", _N, "is a notebook", "Has code, which runs when somebody runs it."),
    ("notebook-shell", _L, "is a notebook that runs commands of the shell", "Lines with `!` or `%%bash`."),
    ("notebook-active", _M, "is a notebook whose saved output runs scripts", "A browser runs them when it is opened as "
     "trusted."),
    ("secret", _H, "holds what looks like a secret", "A key, token or password that everybody with the kit can read."),
)  # fmt: skip
