"""Ways around this very scanner that were thought of while it was written."""

from __future__ import annotations

import io
import json
import pickle
import struct

import numpy
import pytest
from tests.packing import weights
from tests.trust.scan.checkpoints import plain_zip, state_dict, torch_legacy, zip_of
from tests.trust.scan.pickles import (
    BAD_PICKLE,
    call,
    called,
    look,
    messages,
    rules,
    severity,
    stack_global,
    text,
    verdict,
)

from mlkit.trust.scan.findings import Severity, Verdict

COMMAND = b"cos\nsystem\n(X\x04\x00\x00\x00echotR"


def _wrapper(count: int, *, dtype: bytes | None = None, shape: bytes | None = None) -> bytes:
    """joblib's wrapper of an array of `count` bytes, as joblib before 1.1 wrote it: the bytes follow at once."""
    state = b"}(" + text("subclass") + stack_global("numpy", "ndarray")
    state += text("shape") + (shape or b"M" + struct.pack("<H", count) + b"\x85") + text("order") + text("C")
    state += text("dtype") + (dtype or call("numpy", "dtype", text("u1"))) + text("allow_mmap") + b"\x88u"
    return stack_global("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81" + state + b"b"


def test_an_array_that_is_code_for_who_knows_no_arrays_is_told() -> None:
    payload = b"0" + COMMAND + b"."
    raw = b"\x80\x04" + _wrapper(len(payload)) + payload + b"."

    assert rules(raw, "m.joblib") == {"pickle-two-readings"}


def test_an_array_of_the_wrong_size_hides_nothing() -> None:
    """Where the scan and joblib see two sizes, one of them reads opcodes where the other has numbers."""
    for dtype in (text("V8"), text("U8"), text("f3"), text("O"), b"K\x01", text("u1,u1"), text("")):
        raw = b"\x80\x04" + _wrapper(4, dtype=call("numpy", "dtype", dtype)) + b"\xff" * 4 + COMMAND + b"."
        assert verdict(raw, "m.joblib") is Verdict.FINDINGS
    for shape in (b"J\xff\xff\xff\xff\x85", text("x") + b"\x85", b"]", call("builtins", "int", b"K\4") + b"\x85"):
        raw = b"\x80\x04" + _wrapper(4, shape=shape) + b"\xff" * 4 + COMMAND + b"."
        assert verdict(raw, "m.joblib") is Verdict.FINDINGS


def test_a_wrapper_of_arrays_that_is_made_in_secret_is_told() -> None:
    hidden = b"(" + stack_global("joblib.numpy_pickle", "NumpyArrayWrapper") + b"N" * 40 + b"t"

    assert "pickle-odd" in rules(b"\x80\x04" + hidden + b".", "m.joblib")


def test_an_array_inside_of_a_frame_is_told() -> None:
    body = _wrapper(4) + b"\xff" * 4 + b"."
    raw = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body

    assert "pickle-odd" in rules(raw, "m.joblib")


def test_harmless_findings_do_not_crowd_out_the_one_that_matters() -> None:
    members = {f"{number}.py": b"x = 1\n" for number in range(300)} | {"z.bin": BAD_PICKLE}

    assert severity(plain_zip(members), "code.zip") is Severity.CRITICAL


def test_unknown_names_do_not_crowd_out_the_one_that_matters() -> None:
    names = b"".join(stack_global(f"package{number}", "run") + b"0" for number in range(300))

    assert severity(b"\x80\x04" + names + COMMAND + b".") is Severity.CRITICAL


def test_a_call_of_somebodys_module_is_told_under_any_name_and_however_it_ends() -> None:
    raw = b"cevil_package\nrun\n(tR\xff\xff"

    assert verdict(raw, "weights.dat") is Verdict.FINDINGS


@pytest.mark.parametrize(
    "descr", ["'\\x7cO'", "'|' 'O'", "[('a', 'object')]", "[('a', '\\x7cO')]", "[('a', [('b', 'O')])]"]
)
def test_arrays_of_objects_are_found_however_their_type_is_written(descr: str) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
    raw = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + BAD_PICKLE

    assert rules(raw, "x.npy") >= {"numpy-objects", "pickle-code"}


def test_a_lambda_is_found_behind_any_amount_of_space() -> None:
    raw = weights.hdf5(b'{"class_name":' + b" " * (1 << 20) + b'"Lambda"}')

    assert "keras-lambda" in rules(raw, "m.h5")


def test_a_graph_is_found_under_another_name() -> None:
    assert "onnx-external" in rules(weights.onnx(external="../x"), "weights.bin")


def test_a_pickle_behind_the_storages_of_an_old_checkpoint_is_told() -> None:
    raw = torch_legacy()
    storages = raw.index(struct.pack("<q", 8), len(raw) - 80)

    assert rules(raw[:storages] + BAD_PICKLE, "m.pt") == {"pickle-two-readings"}


def test_the_template_is_found_behind_any_amount_of_padding() -> None:
    raw = json.dumps({"padding": " " * (17 << 20), "chat_template": "{{ x.__class__ }}"}).encode()

    assert verdict(raw, "tokenizer_config.json") is Verdict.UNKNOWN
    assert verdict(raw, "chat_template.json") is Verdict.UNKNOWN


def test_the_memo_of_a_fork_is_its_own() -> None:
    """Following the other reading of an array must not change what the first one sees."""
    array = b"q\x05" + bytes(20)
    raw = b"\x80\x04" + text("os") + b"q\x050" + _wrapper(len(array)) + array + b"h\x05" + text("system") + b"\x93."

    assert "names os.system" in messages(raw, "m.joblib")


def test_a_big_number_costs_nothing() -> None:
    raw = b"\x80\x04\x8b" + struct.pack("<I", 1 << 20) + b"\xff" * (1 << 20) + b"."

    assert look(raw).findings == ()


def test_a_place_in_the_memo_beyond_reason_is_a_limit() -> None:
    assert rules(b"\x80\x04Nr\xff\xff\xff\x7f.") == {"limit"}


def test_arrays_of_numbers_that_the_libraries_write_are_still_clean() -> None:
    stream = io.BytesIO()
    numpy.save(stream, numpy.zeros(2, dtype=[("a", "<f4"), ("b", "<M8[ns]"), ("c", [("d", "|S3")])]))

    assert look(stream.getvalue(), "x.npy").findings == ()
    assert look(pickle.dumps(numpy.zeros(3)), "x.pkl").findings == ()


def test_a_place_in_the_memo_that_is_taken_twice_counts_once() -> None:
    raw = b"\x80\x04" + text("a") + b"q\x00q\x000" + text("os") + b"\x940" + b"h\x01" + text("system") + b"\x93."

    assert rules(raw) == {"pickle-code"}


def test_a_member_inside_of_another_one_is_told() -> None:
    """What a reader of headers sees and one of the directory does not, and the way in which bombs are made."""
    inner = zip_of({"b.bin": b"inside"}, flags=0)
    held = inner[: inner.index(b"PK\1\2")]
    raw = zip_of({"a.bin": held}, flags=0)
    start, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    own = inner[inner.index(b"PK\1\2") : inner.index(b"PK\5\6")]
    own = own[:42] + struct.pack("<I", raw.index(held)) + own[46:]
    directory = raw[start:end] + own
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), start, 0)

    assert "overlaps" in messages(raw[:start] + directory + tail, "m.zip")


def test_a_sum_that_only_the_header_has_otherwise_is_told() -> None:
    raw = bytearray(zip_of({"a/data.pkl": state_dict()}, flags=0))
    raw[14] ^= 1

    assert "says otherwise" in messages(bytes(raw), "m.pt")


def test_what_is_of_python_itself_matters_more_than_somebodys_library() -> None:
    assert severity(called("statistics", "mean")) is Severity.HIGH
    assert severity(called("somebodys_library", "mean")) is Severity.MEDIUM


def test_classes_that_open_files_when_they_are_called_may_only_be_filled() -> None:
    call_of_it = called("xgboost.core", "Booster", b"N", b")", text("/etc/passwd"))

    assert rules(call_of_it) == {"pickle-odd"}
    assert verdict(b"\x80\x04" + stack_global("xgboost.core", "Booster") + b")\x81.") is Verdict.CLEAN


def test_objects_that_the_loader_must_know_are_told_outside_of_checkpoints() -> None:
    assert rules(b"\x80\x02" + text("x") + b"Q.") == {"pickle-persistent"}
    assert rules(state_dict(), "data.pkl") == {"pickle-persistent"}
    assert rules(b"\x80\x05\x97.") == {"pickle-persistent"}
