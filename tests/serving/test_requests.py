"""What a server is asked."""

from __future__ import annotations

import json

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.serving.requests import Request, sample_request


def metadata(*inputs: object) -> bytes:
    return json.dumps({"name": "digits", "inputs": list(inputs)}).encode()


def test_a_v2_request_has_zeros_in_the_shape_that_the_server_tells() -> None:
    raw = metadata(
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]}, {"name": "t", "datatype": "BYTES", "shape": [1]}
    )

    request = sample_request("v2", "digits", metadata=raw)

    assert request.path == "/v2/models/digits/infer"
    assert json.loads(request.body) == {
        "inputs": [
            {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]},
            {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["text"]},
        ]
    }


@pytest.mark.parametrize("raw", [None, b"{}", b'{"inputs": []}', b'{"inputs": 3}'])
def test_where_a_server_tells_no_inputs_its_metadata_are_asked_for(raw: bytes | None) -> None:
    assert sample_request("v2", "digits", metadata=raw) == Request("GET", "/v2/models/digits")


@pytest.mark.parametrize(
    "item",
    [
        3,
        {},
        {"name": 3, "datatype": "FP32", "shape": [1]},
        {"name": "x", "datatype": "FP31", "shape": [1]},
        {"name": "x", "datatype": "FP32", "shape": 1},
        {"name": "x", "datatype": "FP32", "shape": ["1"]},
        {"name": "x", "datatype": "FP32", "shape": [True]},
        {"name": "x", "datatype": "FP32", "shape": [1] * 17},
    ],
)
def test_metadata_that_make_no_sense_are_refused(item: object) -> None:
    with pytest.raises(IntegrityError, match="is no input"):
        sample_request("v2", "digits", metadata=metadata(item))


def test_a_model_that_wants_too_much_is_not_asked() -> None:
    with pytest.raises(LimitError, match="an input of 1000000000000 elements"):
        sample_request("v2", "m", metadata=metadata({"name": "x", "datatype": "FP32", "shape": [10**6, 10**6]}))


def test_a_person_can_copy_the_command_whatever_is_in_it() -> None:
    request = Request("POST", "/v1/completions", b'{"prompt":"it\'s"}')

    assert request.curl("http://h:1").endswith("""-d '{"prompt":"it'"'"'s"}'""")
    assert Request("POST", "/x", b"[" + b"0," * 1000 + b"0]").curl("http://h:1").endswith("-d @request.json")


def test_every_protocol_has_a_request() -> None:
    assert sample_request("openai", "m").path == "/v1/completions"
    assert sample_request("invocations", "m").path == "/invocations"
    assert sample_request("any", "m", ready="/up") == Request("GET", "/up")
