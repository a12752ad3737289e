"""What a server is asked: a small request that it should be able to answer, and how a person would send it.

For the Open Inference Protocol V2 it is made from the metadata that the server gives of its model, which are those of
somebody else's file: sizes are bounded. Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.serving.runtimes import Protocol
from mlkit.spec.json_text import parse_object

METADATA_PATH = "/v2/models/{name}"
_ELEMENTS = 4_000_000  # in one request; a batch of one is far below, video models excepted
_SHOWN = 1500  # characters of a command that somebody may want to copy
_RUN = re.compile(r'(,(?:0|false|"text"))\1{63,}')
_ZEROS: Mapping[str, object] = {"BOOL": False, "BYTES": "text"}
_NUMBERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64")
_KNOWN = frozenset(("BOOL", "BYTES", *_NUMBERS))


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it goes over the wire."""

    method: str
    path: str
    body: bytes = b""

    def curl(self, url: str) -> str | None:
        """The command that sends it, None where it is too long for anybody to copy.

        The zeros of a large input are made by the command: `printf` repeats its format for every argument, here none
        of which it prints.
        """
        if self.method == "GET":
            return f"curl -s {url}{self.path}"
        send = f"curl -s {url}{self.path} -H 'Content-Type: application/json' -d"
        text = self.body.decode("utf-8")
        if len(text) <= _SHOWN:
            return f"{send} {shlex.quote(text)}"
        parts, end = [], 0
        for run in _RUN.finditer(text):
            zero = run[1]
            parts += [
                f"printf %s {shlex.quote(text[end : run.start()])}",
                f"printf {shlex.quote(f'{zero}%.0s')} $(seq {len(run[0]) // len(zero)})",
            ]
            end = run.end()
        parts.append(f"printf %s {shlex.quote(text[end:])}")
        command = f"{{ {'; '.join(parts)}; }} | {send} @-"
        return command if len(command) <= _SHOWN else None


def sample_request(protocol: Protocol, name: str, *, metadata: bytes | None = None, ready: str = "/") -> Request:
    """A request that a server of this protocol answers; of V2 with zeros in the shapes that `metadata` tells.

    Raises: IntegrityError, LimitError for metadata that make no sense.
    """
    match protocol:
        case "openai":
            value: Mapping[str, object] = {"model": name, "prompt": "Hello", "max_tokens": 16, "temperature": 0}
            return Request("POST", "/v1/completions", _dumped(value))
        case "v2":
            path = METADATA_PATH.format(name=name)
            inputs = _inputs(metadata, f"metadata of {name}") if metadata is not None else []
            return Request("POST", f"{path}/infer", _dumped({"inputs": inputs})) if inputs else Request("GET", path)
        case "invocations":
            return Request("POST", "/invocations", _dumped({"inputs": [[0.0]]}))
        case "any":
            return Request("GET", ready)


def _inputs(raw: bytes, what: str) -> list[dict[str, Any]]:
    found = parse_object(raw, what=what).get("inputs")
    if not isinstance(found, list):
        return []
    inputs = []
    for item in found:
        fields = item if isinstance(item, dict) else {}
        name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
        if not isinstance(name, str) or datatype not in _KNOWN or not isinstance(shape, list) or not _is_shape(shape):
            raise IntegrityError(f"{what}: {ascii(item)[:200]} is no input (expected name, datatype and shape)")
        sizes = [1 if size < 1 else size for size in shape]
        if prod(sizes) > _ELEMENTS:
            raise LimitError(f"{what}: an input of {prod(sizes)} elements (at most {_ELEMENTS})")
        data = [_ZEROS.get(datatype, 0)] * prod(sizes)
        inputs.append({"name": name, "shape": sizes, "datatype": datatype, "data": data})
    return inputs


def _is_shape(value: list[object]) -> bool:
    return len(value) <= 16 and all(type(size) is int for size in value)


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")
