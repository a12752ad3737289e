"""E26 to E29 of threats.md: formats that hold code, formats that hold tensors, and texts that loaders act upon."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import joblib
import numpy
import pytest
from tests.packing import weights
from tests.trust.scan.checkpoints import plain_zip, state_dict, torch_tar, torch_zip, zip_of
from tests.trust.scan.pickles import BAD_PICKLE, look, rules, severity, verdict

from mlkit.trust.scan.findings import Severity, Verdict

U64 = 2**64 - 1


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1",)


def _npy(value: Any) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, value, allow_pickle=True)
    return stream.getvalue()


def _npz(**values: Any) -> bytes:
    stream = io.BytesIO()
    numpy.savez(stream, **values)
    return stream.getvalue()


def _joblib(value: Any, compress: int = 0) -> bytes:
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=compress)
    return stream.getvalue()


def _keras(config: Any) -> bytes:
    return plain_zip({"metadata.json": b"{}", "config.json": _json(config), "model.weights.h5": weights.hdf5()})


def _layer(class_name: str, module: str | None, **config: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": [
        {"module": module, "class_name": class_name, "config": config, "registered_name": None}]}}  # fmt: skip


def _saved_model(*ops: bytes) -> bytes:
    nodes = b"".join(weights.field(1, weights.field(1, b"n") + weights.field(2, op)) for op in ops)
    return weights.field(1, 1) + weights.field(2, weights.field(2, nodes))


def _saved_function(op: bytes) -> bytes:
    function = weights.field(3, weights.field(2, op))
    graph = weights.field(1, weights.field(2, b"Const")) + weights.field(2, weights.field(1, function))
    return weights.field(1, 1) + weights.field(2, weights.field(2, graph))


def _inner_onnx(location: str) -> bytes:
    """External data of a tensor in an attribute of a node, where few look."""
    entry = weights.field(1, b"location") + weights.field(2, location.encode())
    attribute = weights.field(1, b"value") + weights.field(5, weights.field(13, entry))
    node = weights.field(4, b"Constant") + weights.field(5, attribute)
    return weights.field(1, 8) + weights.field(7, weights.field(1, node))


LAMBDA = b'{"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}'
UNSAFE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "legacy tar of PyTorch": ("m.pt", lambda: torch_tar(state_dict()), "torch-legacy-tar"),
    "legacy tar with a command": ("m.pt", lambda: torch_tar(BAD_PICKLE), "pickle-code"),
    "TorchScript": ("m.pt", lambda: zip_of({"m/data.pkl": state_dict(), "m/code/a.py": b"def f(): ...",
                    "m/constants.pkl": b"\x80\x02)."}), "torch-script"),
    "package of PyTorch": ("m.pt", lambda: plain_zip({"m/.data/extern_modules": b"os", "m/a.py": b"import os"}),
                           "torch-package"),
    "joblib of an object": ("m.joblib", lambda: _joblib({"a": numpy.ones(9), "b": _Evil()}), "pickle-code"),
    "joblib, compressed": ("m.joblib", lambda: _joblib({"a": numpy.ones(9), "b": _Evil()}, 3), "pickle-code"),
    "joblib, in an array of objects": ("m.joblib", lambda: _joblib(numpy.array([_Evil(), 1], dtype=object)),
                                       "pickle-code"),
    "npy of objects": ("x.npy", lambda: _npy(numpy.array([{"a": 1}], dtype=object)), "numpy-objects"),
    "npy with a command": ("x.npy", lambda: _npy(numpy.array([_Evil()], dtype=object)), "pickle-code"),
    "npz with a command": ("x.npz", lambda: _npz(a=numpy.ones(3), b=numpy.array([_Evil()], dtype=object)),
                           "pickle-code"),
    "npy with a header that is code": ("x.npy", lambda: b"\x93NUMPY\1\0\x20\0{'descr': __import__('os')}     ",
                                       "format-broken"),
    "Lambda in HDF5": ("m.h5", lambda: weights.hdf5(LAMBDA), "keras-lambda"),
    "Lambda in HDF5, escaped": ("m.h5", lambda: weights.hdf5(LAMBDA.replace(b"Lambda", b"\\u004cambda")),
                                "keras-escaped"),
    "foreign module in HDF5": ("m.h5", lambda: weights.hdf5(b'{"class_name": "x", "module": "os"}'), "keras-foreign"),
    "Lambda in .keras": ("m.keras", lambda: _keras(_layer("Lambda", "keras.layers")), "keras-lambda"),
    "foreign module in .keras (CVE-2025-1550)": ("m.keras", lambda: _keras(_layer("run", "subprocess")),
                                                 "keras-foreign"),
    "function in .keras (CVE-2025-8747)": ("m.keras", lambda: _keras(_layer("get_file", "keras.utils")),
                                           "keras-foreign"),
    "file in .keras (CVE-2025-12058)": ("m.keras", lambda: _keras(_layer("StringLookup", "keras.layers",
                                        vocabulary="/etc/passwd")), "keras-file"),
    "ReadFile in a SavedModel": ("saved_model.pb", lambda: _saved_model(b"Const", b"ReadFile"), "tensorflow-op"),
    "WriteFile in a function": ("saved_model.pb", lambda: _saved_function(b"WriteFile"), "tensorflow-op"),
    "Python in a frozen graph": ("graph.pb", lambda: weights.field(1, weights.field(2, b"PyFunc")), "tensorflow-op"),
    "ONNX with data above": ("m.onnx", lambda: weights.onnx(external="../../etc/passwd"), "onnx-external"),
    "ONNX with data at the root": ("m.onnx", lambda: weights.onnx(external="/etc/passwd"), "onnx-external"),
    "ONNX with data above, in an attribute": ("m.onnx", lambda: _inner_onnx("a/../../b"), "onnx-external"),
    "a program": ("run.bin", lambda: b"\x7fELF\2\1\1" + bytes(60), "native-code"),
    "a model that is a program": ("m.llamafile", lambda: b"MZqFpD='\n" + bytes(60), "native-code"),
    "compiled Python": ("m.pyc", lambda: b"\xa7\r\r\n" + bytes(12) + b"\xe3", "python-bytecode"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSAFE)
def test_e26_formats_that_can_hold_code_are_told(case: str) -> None:
    name, make, rule = UNSAFE[case]

    assert rule in rules(make(), name)
    assert verdict(make(), name) is Verdict.FINDINGS


def _tensors(*spans: tuple[str, list[int], int, int], size: int) -> bytes:
    header = {f"t{number}": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
              for number, (dtype, shape, begin, end) in enumerate(spans)}  # fmt: skip
    return weights.raw_safetensors(_json(header), bytes(size))


BROKEN_SAFETENSORS: dict[str, Callable[[], bytes]] = {
    "header of more than 100 MB": lambda: weights.raw_safetensors(b"{}", length=100_000_001),
    "header beyond the file": lambda: weights.raw_safetensors(b"{}", length=50),
    "header is no object": lambda: weights.raw_safetensors(b"[]"),
    "space before the header": lambda: weights.raw_safetensors(b"   {}"),
    "a name twice": lambda: weights.raw_safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                                     b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"\0"),
    "overlap": lambda: _tensors(("U8", [4], 0, 4), ("U8", [4], 2, 6), size=6),
    "a hole": lambda: _tensors(("U8", [4], 0, 4), ("U8", [4], 6, 10), size=10),
    "a hole in front": lambda: _tensors(("U8", [4], 2, 6), size=6),
    "bytes at the end": lambda: _tensors(("U8", [4], 0, 4), size=9),
    "beyond the end": lambda: _tensors(("U8", [4], 0, 4), size=3),
    "backwards": lambda: _tensors(("U8", [4], 4, 0), size=4),
    "product beyond 2^64": lambda: _tensors(("U8", [2**33, 2**33], 0, 4), size=4),
    "size of another type": lambda: _tensors(("F32", [4], 0, 4), size=4),
    "negative": lambda: _tensors(("U8", [-4], 0, 4), size=4),
    "unknown type": lambda: _tensors(("PICKLE", [4], 0, 4), size=4),
    "metadata of numbers": lambda: weights.raw_safetensors(b'{"__metadata__":{"a":1}}'),
    "a ZIP behind it": lambda: weights.safetensors() + torch_zip(),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_SAFETENSORS)
def test_e27_safetensors_that_contradict_themselves_are_told(case: str) -> None:
    raw = BROKEN_SAFETENSORS[case]()

    assert "safetensors-broken" in rules(raw, "m.safetensors")
    assert severity(raw, "m.safetensors") >= Severity.HIGH


def test_a_million_tensors_are_more_than_is_read() -> None:
    row = b'"%06d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    raw = weights.raw_safetensors(b"{" + b",".join(row % number for number in range(200_000)) + b"}")

    assert verdict(raw, "m.safetensors") is Verdict.UNKNOWN


def _gguf(keys: bytes = b"", tensors: bytes = b"", *, counts: tuple[int, int] = (0, 0), version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, *counts) + keys + tensors + bytes(64)


def _key(name: str, kind: int, value: bytes) -> bytes:
    return weights.text(name) + struct.pack("<I", kind) + value


def _tensor(shape: list[int], kind: int = 0, offset: int = 0, name: str = "t") -> bytes:
    return weights.text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


BROKEN_GGUF: dict[str, Callable[[], bytes]] = {
    "magic": lambda: b"GGUX" + bytes(60),
    "version": lambda: _gguf(version=9),
    "2^64-1 keys": lambda: _gguf(counts=(0, U64)),
    "2^64-1 tensors": lambda: _gguf(counts=(U64, 0)),
    "text beyond the file": lambda: _gguf(_key("a", 8, struct.pack("<Q", U64)), counts=(0, 1)),
    "lists in lists": lambda: _gguf(_key("a", 9, struct.pack("<IQ", 9, 5)), counts=(0, 1)),
    "list beyond the file": lambda: _gguf(_key("a", 9, struct.pack("<IQ", 10, U64 // 8)), counts=(0, 1)),
    "list of more texts than the file": lambda: _gguf(_key("a", 9, struct.pack("<IQ", 8, U64)), counts=(0, 1)),
    "alignment of 0": lambda: _gguf(_key("general.alignment", 4, bytes(4)), counts=(0, 1)),
    "alignment of 24": lambda: _gguf(_key("general.alignment", 4, struct.pack("<I", 24)), counts=(0, 1)),
    "five dimensions": lambda: _gguf(tensors=_tensor([1] * 5), counts=(1, 0)),
    "product beyond 2^64 (CVE-2026-33298)": lambda: _gguf(tensors=_tensor([2**33, 2**33]), counts=(1, 0)),
    "tensor beyond the end (CVE-2026-7482)": lambda: _gguf(tensors=_tensor([1 << 20]), counts=(1, 0)),
    "tensor at the end of time": lambda: _gguf(tensors=_tensor([1], offset=U64 - 31), counts=(1, 0)),
    "tensor between multiples": lambda: _gguf(tensors=_tensor([1], offset=7), counts=(1, 0)),
    "a key twice": lambda: _gguf(_key("a", 7, b"\1") * 2, counts=(0, 2)),
    "a tensor twice": lambda: _gguf(tensors=_tensor([1]) * 2, counts=(2, 0)),
    "unknown type": lambda: _gguf(tensors=_tensor([1], kind=999), counts=(1, 0)),
    "part of a block": lambda: _gguf(tensors=_tensor([31], kind=2), counts=(1, 0)),
}


@pytest.mark.parametrize("case", BROKEN_GGUF)
def test_e28_gguf_that_contradicts_itself_is_told(case: str) -> None:
    assert "gguf-broken" in rules(BROKEN_GGUF[case](), "m.gguf")


TEMPLATES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{% set a = lipsum.__globals__ %}",
    "{{ messages['_' ~ '_class_' ~ '_'] }}",
    "{{ self._TemplateReference }}",
    "{% include '/etc/passwd' %}",
    "{{ messages['%c%cclass%c%c' % (95, 95, 95, 95)] }}",
    "{{ x[u+u+'class'+u+u] }}",
]
TEXTS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "weight_map above": ("model.safetensors.index.json", lambda: _json({"weight_map": {"a": "../../x"}}),
                         "path-escape"),
    "weight_map at the root": ("pytorch_model.bin.index.json", lambda: _json({"weight_map": {"a": "/x"}}),
                               "path-escape"),
    "auto_map": ("config.json", lambda: _json({"auto_map": {"AutoModel": "modeling.Evil"}}), "remote-code"),
    "auto_map, escaped": ("config.json", lambda: b'{"auto\\u005fmap": {"AutoModel": "modeling.Evil"}}', "remote-code"),
    "custom pipelines": ("config.json", lambda: _json({"custom_pipelines": {"x": {"impl": "a.B"}}}), "remote-code"),
    "Python": ("modeling.py", lambda: b"import torch\n", "python-code"),
    "YAML with objects": ("a.yaml", lambda: b"a: !!python/object/apply:os.system [id]\n", "yaml-object"),
    "a notebook": ("a.ipynb", lambda: _json({"cells": [{"cell_type": "code", "source": ["!id\n"], "outputs": []}]}),
                   "notebook-shell"),
    "a notebook with a script": ("a.ipynb", lambda: _json({"cells": [{"cell_type": "code", "source": [], "outputs": [
        {"data": {"text/html": ["<scr", "ipt>alert(1)</script>"]}}]}]}), "notebook-active"),
    "a template in GGUF": ("m.gguf", lambda: weights.gguf({"tokenizer.chat_template": TEMPLATES[0]}, ()),
                           "template-escape"),
    "a template in a tokenizer": ("tokenizer_config.json", lambda: _json({"chat_template": TEMPLATES[0]}),
                                  "template-escape"),
    "a template among several": ("tokenizer_config.json", lambda: _json({"chat_template": [
        {"name": "default", "template": "{{ messages }}"}, {"name": "tool", "template": TEMPLATES[1]}]}),
        "template-escape"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_e29_texts_that_loaders_act_upon_are_told(case: str) -> None:
    name, make, rule = TEXTS[case]

    assert rule in rules(make(), name)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_that_reach_into_python_are_told(template: str) -> None:
    assert rules(template.encode(), "chat_template.jinja") == {"template-escape"}


def test_a_pointer_of_git_lfs_is_no_model_that_was_scanned() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"

    assert verdict(pointer, "m.safetensors") is Verdict.UNKNOWN


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.joblib", "m.npy", "m.h5", "m.onnx", "m.keras", "m.safetensors"])
def test_a_file_that_is_not_what_its_name_says_is_never_clean(name: str) -> None:
    assert verdict(b"\xde\xad\xbe\xef" * 20, name) is Verdict.FINDINGS


def test_findings_name_the_member_that_they_are_of() -> None:
    (finding,) = look(plain_zip({"a/b.zip": plain_zip({"c.dat": BAD_PICKLE})}), "m.zip").findings

    assert finding.path == "m.zip!a/b.zip!c.dat"
