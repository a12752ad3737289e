"""What a server is asked."""

from __future__ import annotations

import json
import subprocess

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


@pytest.mark.parametrize("datatype", ["INT32", "BOOL", "BYTES"])
def test_the_command_for_a_large_input_makes_it(datatype: str) -> None:
    shapes = [
        {"name": name, "datatype": datatype, "shape": [-1, size]} for name, size in (("x's", 2048), ("y", 100_000))
    ]
    request = sample_request("v2", "m", metadata=metadata(*shapes))

    command = request.curl("http://h:1")

    assert command is not None
    assert len(command) < 500
    making, _, sending = command.rpartition(" | ")
    assert sending == "curl -s http://h:1/v2/models/m/infer -H 'Content-Type: application/json' -d @-"
    for shell in ("sh", "bash"):
        made = subprocess.run([shell, "-euc", making], capture_output=True, check=True).stdout
        assert made == request.body


def test_a_body_that_no_short_command_makes_is_not_shown() -> None:
    body = json.dumps(list(range(1000))).encode()

    assert Request("POST", "/x", body).curl("http://h:1") is None


def test_every_protocol_has_a_request() -> None:
    assert sample_request("openai", "m").path == "/v1/completions"
    assert sample_request("invocations", "m").path == "/invocations"
    assert sample_request("any", "m", ready="/up") == Request("GET", "/up")
