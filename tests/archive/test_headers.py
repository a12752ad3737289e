from __future__ import annotations

import gc
import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.packing import weights
from tests.support import tars

from mlkit.archive.headers import archives, gguf, safetensors
from mlkit.archive.headers.facts import Facts
from mlkit.archive.headers.read import read_facts

U64 = 2**64 - 1


def facts(raw: bytes, form: str) -> Facts:
    return read_facts(io.BytesIO(raw), len(raw), form)


def test_safetensors_tell_numbers_by_precision_and_their_framework() -> None:
    raw = weights.safetensors({"a": ("BF16", [4, 8], 64), "b": ("F32", [3], 12)}, {"format": "pt"})

    found = facts(raw, "safetensors")

    assert found == Facts("safetensors", framework="pytorch", elements={"bf16": 32, "fp32": 3})


def test_safetensors_that_the_library_wrote_are_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"scalar": numpy.array(1, numpy.float32), "empty": numpy.zeros((0, 3), numpy.float16)}
    save_file({**arrays, "w": numpy.ones((5, 7), numpy.float16)}, tmp_path / "m.safetensors", {"format": "np"})

    found = facts((tmp_path / "m.safetensors").read_bytes(), "safetensors")

    assert (found.problem, found.elements) == (None, {"fp32": 1, "fp16": 35})


def test_a_type_of_number_that_is_not_known_yet_leaves_the_count_open() -> None:
    raw = weights.safetensors({"a": ("F3_NEW", [8], 3), "b": ("F32", [1], 4)})

    assert facts(raw, "safetensors") == Facts("safetensors")


def test_gguf_tells_its_keys_and_counts() -> None:
    keys = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.file_type": 15,
        "general.license": "apache-2.0",
        "general.base_model.0.repo_url": "https://huggingface.co/org/base",
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": ["a", "b", "€"],
    }

    found = facts(weights.gguf(keys, [("a", [32, 4], 12), ("b", [8], 0)]), "gguf")

    assert (found.architecture, found.name, found.quantization) == ("llama", "Tiny", "Q4_K_M")
    assert (found.license, found.bases) == ("apache-2.0", ("https://huggingface.co/org/base",))
    assert found.elements == {"quantized": 128, "fp32": 8}
    assert found.problem is None


@pytest.mark.parametrize(("kind", "expected"), [("adapter", "adapter"), ("mmproj", "projector"), ("model", None)])
def test_gguf_tells_what_is_no_model_by_itself(kind: str, expected: str | None) -> None:
    assert facts(weights.gguf({"general.type": kind}), "gguf").kind == expected


def test_onnx_tells_numbers_producer_and_external_files() -> None:
    found = facts(weights.onnx([([2, 3], 1), ([4], 7), ([5], 10)], external="model.onnx_data"), "onnx")

    assert found.framework == "pytorch"
    assert found.elements == {"fp32": 6, "fp16": 5}  # what is int64 are shapes
    assert found.external == ("model.onnx_data",)


def test_onnx_that_the_library_wrote_is_read() -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(numpy.ones((3, 4), numpy.float32), "w")
    packed = helper.make_tensor("p", TensorProto.FLOAT16, [2, 2], numpy.ones(4, numpy.float16).tobytes(), raw=True)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [], [], [weight, packed])
    model = helper.make_model(graph, producer_name="skl2onnx", doc_string="d" * 10_000)

    found = facts(model.SerializeToString(), "onnx")

    assert found == Facts("onnx", framework="scikit-learn", elements={"fp32": 12, "fp16": 4})


@pytest.mark.parametrize(
    ("form", "raw", "expected"),
    [
        ("pytorch", weights.torch(), ("pytorch", "pytorch")),
        ("bin", weights.torch(), ("pytorch", "pytorch")),
        ("pytorch", weights.zipped("m/data.pkl", "m/constants.pkl", "m/code/a.py"), ("torchscript", "pytorch")),
        ("pytorch", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", ("pytorch", "pytorch")),
        ("pickle", weights.pickled(), ("pickle", "scikit-learn")),
        ("joblib", weights.pickled("xgboost.sklearn"), ("joblib", "xgboost")),
        ("pickle", weights.plain_pickle(), ("pickle", None)),
        ("keras", weights.keras(), ("keras", "keras")),
        ("hdf5", weights.hdf5(b"keras_version"), ("hdf5", "keras")),
        ("hdf5", weights.hdf5(), ("hdf5", None)),
        ("tflite", b"\0\0\0\0TFL3", ("tflite", "tensorflow")),
    ],
)
def test_other_formats_tell_their_framework(form: str, raw: bytes, expected: tuple[str, str | None]) -> None:
    found = facts(raw, form)

    assert (found.format, found.framework) == expected
    assert found.problem is None


def tensor(**changes: Any) -> bytes:
    about = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}
    return weights.raw_safetensors(weights.as_json({"a": about}), b"\0" * 4)


def gguf_start(*, version: int = 3, tensors: int = 0, keys: int = 0) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, keys)


def large_zip(*, place_of_end: int | None = None, end64: bytes = b"PK\6\6", length: int | None = None) -> bytes:
    """As of more than 4 GiB, with one member."""
    name = b"archive/data.pkl"
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, 7, 7, len(name), 0, 0, 0, 0, 0, 0) + name
    start = b"PK\3\4" + b"\0" * 100
    length = len(entry) if length is None else length
    large = struct.pack("<4sQ2H2I4Q", end64, 44, 45, 45, 0, 0, 1, 1, length, len(start))
    at = len(start) + len(entry) if place_of_end is None else place_of_end
    place = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return start + entry + large + place + end


HOSTILE = {
    "safetensors: no bytes": ("safetensors", b""),
    "safetensors: cut in the length": ("safetensors", b"\1\0\0"),
    "safetensors: length 2^63": ("safetensors", weights.raw_safetensors(b"{}", length=2**63)),
    "safetensors: length -1": ("safetensors", weights.raw_safetensors(b"{}", length=U64)),
    "safetensors: length 0": ("safetensors", weights.raw_safetensors(b"")),
    "safetensors: longer than the file": ("safetensors", weights.raw_safetensors(b"{}", length=3)),
    "safetensors: more than 100 MB": ("safetensors", weights.raw_safetensors(b"{}", length=100_000_001)),
    "safetensors: more than is read": ("safetensors", weights.raw_safetensors(b"{}" + b" " * (4 << 20))),
    "safetensors: deep": ("safetensors", weights.raw_safetensors(b'{"a":' * 100_000)),
    "safetensors: deep lists": ("safetensors", weights.raw_safetensors(b'{"a":' + b"[" * 4_000_000)),
    "safetensors: names twice": ("safetensors", weights.raw_safetensors(b'{"a":{},"a":{}}')),
    "safetensors: a list": ("safetensors", weights.raw_safetensors(b"[1]")),
    "safetensors: not UTF-8": ("safetensors", weights.raw_safetensors(b'{"\xff":1}')),
    "safetensors: NaN": ("safetensors", weights.raw_safetensors(b'{"a":NaN}')),
    "safetensors: metadata no texts": ("safetensors", weights.raw_safetensors(b'{"__metadata__":{"a":1}}')),
    "safetensors: tensor no object": ("safetensors", weights.raw_safetensors(b'{"a":1}')),
    "safetensors: negative shape": ("safetensors", tensor(shape=[-1])),
    "safetensors: shape of 2^63": ("safetensors", tensor(shape=[2**62, 2**62])),
    "safetensors: shape of 100,000 sizes": ("safetensors", tensor(shape=[9] * 100_000)),
    "safetensors: shape of truths": ("safetensors", tensor(shape=[True])),
    "safetensors: shape and bytes differ": ("safetensors", tensor(shape=[2])),
    "safetensors: beyond the file": ("safetensors", tensor(shape=[2], data_offsets=[0, 8])),
    "safetensors: backwards": ("safetensors", tensor(data_offsets=[4, 0])),
    "safetensors: negative offsets": ("safetensors", tensor(data_offsets=[-4, 0])),
    "safetensors: million keys": (
        "safetensors",
        weights.raw_safetensors(b"{" + b",".join(b'"%d":{}' % number for number in range(350_000)) + b"}"),
    ),
    "gguf: cut": ("gguf", b"GGUF\3\0"),
    "gguf: version 0": ("gguf", gguf_start(version=0)),
    "gguf: big endian": ("gguf", gguf_start(version=3 << 24)),
    "gguf: 2^64-1 keys": ("gguf", gguf_start(keys=U64)),
    "gguf: 2^64-1 tensors": ("gguf", gguf_start(tensors=U64)),
    "gguf: key longer than the file": ("gguf", gguf_start(keys=1) + struct.pack("<Q", U64) + b"abc"),
    "gguf: text longer than the file": (
        "gguf",
        gguf_start(keys=1) + weights.text("general.name") + struct.pack("<IQ", 8, 2**63),
    ),
    "gguf: list longer than the file": (
        "gguf",
        gguf_start(keys=1) + weights.text("k") + struct.pack("<IIQ", 9, 4, 2**62),
    ),
    "gguf: list of 2^62 texts": (
        "gguf",
        gguf_start(keys=1) + weights.text("k") + struct.pack("<IIQ", 9, 8, 2**62),
    ),
    "gguf: lists in lists": (
        "gguf",
        gguf_start(keys=1) + weights.text("k") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 50_000,
    ),
    "gguf: unknown type": ("gguf", gguf_start(keys=1) + weights.text("k") + struct.pack("<I", 99)),
    "gguf: a key twice": (
        "gguf",
        gguf_start(keys=2) + (weights.text("k") + weights.gguf_value(1)) * 2,
    ),
    "gguf: many dimensions": ("gguf", gguf_start(tensors=1) + weights.text("t") + struct.pack("<I", 2**31)),
    "gguf: shape overflow": ("gguf", weights.gguf({}, [("t", [2**62, 2**62], 0)])),
    "onnx: no bytes": ("onnx", b""),
    "onnx: text": ("onnx", b"this is not a model"),
    "onnx: number without end": ("onnx", b"\xff" * 100),
    "onnx: a graph of 2^63 bytes": ("onnx", weights.field(1, 8) + b"\x3a" + weights.varint(2**63)),
    "onnx: a tensor beyond its graph": ("onnx", weights.field(7, b"\x2a" + weights.varint(500) + b"\x08")),
    "onnx: group": ("onnx", weights.field(1, 8) + b"\x3b" * 100),
    "onnx: negative size": ("onnx", weights.onnx([([U64], 1)])),
    "onnx: shape overflow": ("onnx", weights.onnx([([2**62, 2**62], 1)])),
    "onnx: thousand dimensions": ("onnx", weights.onnx([([1] * 1000, 1)])),
    "onnx: million fields": ("onnx", weights.field(7, b"\x0a\0" * 600_000)),
    "torch: cut ZIP": ("pytorch", weights.torch()[:60]),
    "torch: another ZIP": ("pytorch", weights.zipped("a.txt")),
    "torch: directory beyond the file": (
        "pytorch",
        b"PK\3\4" + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 2**31, 2**31, 0),
    ),
    "torch: large ZIP without its place": (
        "pytorch",
        b"PK\3\4" + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 2**32 - 1, 0),
    ),
    "torch: directory of something else": (
        "pytorch",
        b"PK\3\4" + b"x" * 96 + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 96, 4, 0),
    ),
    "torch: entries of something else": (
        "pytorch",
        b"PK\3\4" + b"x" * 96 + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 96, 4, 0),
    ),
    "torch: large ZIP whose directory is elsewhere": ("pytorch", large_zip(place_of_end=7)),
    "torch: large ZIP whose directory is none": ("pytorch", large_zip(end64=b"PK\6\5")),
    "torch: large ZIP with a directory beyond the file": ("pytorch", large_zip(length=2**40)),
    "keras: no ZIP": ("keras", b"nothing"),
    "keras: another ZIP": ("keras", weights.zipped("config.json", "weights.h5")),
}


@pytest.mark.timeout(120)  # two seconds for the longest, and ten times that where each line is counted
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_a_problem_that_is_named(name: str) -> None:
    form, raw = HOSTILE[name]

    found = facts(raw, form)

    assert found.problem
    assert len(found.problem) < 500
    assert found.format == form
    assert not found.elements


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name",
    ["safetensors: million keys", "safetensors: more than is read", "gguf: lists in lists"],
)
def test_a_hostile_header_takes_little_memory(name: str) -> None:
    form, raw = HOSTILE[name]
    stream = io.BytesIO(raw)
    gc.collect()
    tracemalloc.start()

    read_facts(stream, len(raw), form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # Parsed JSON takes up to thirty times its text.
    assert peak < 30 * safetensors.READ_LIMIT


def test_tensors_are_passed_over_not_read() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.taken += len(content)
            return content

    for form, raw in (
        ("safetensors", weights.safetensors({"w": ("U8", [10_000_000], 10_000_000)})),
        ("gguf", weights.gguf({"general.name": "x"}) + b"\0" * 10_000_000),
        ("onnx", weights.field(7, weights.field(5, weights.field(9, b"\0" * 10_000_000) + weights.field(2, 1)))),
    ):
        stream = Counting(raw)
        assert read_facts(stream, len(raw), form).problem is None
        assert stream.taken < 1000


@pytest.mark.timeout(60)
def test_long_lists_of_texts_are_passed_over_up_to_a_limit() -> None:
    few = gguf_start(keys=1) + weights.text("tokens") + struct.pack("<IIQ", 9, 8, 300_000) + b"\0" * 8 * 300_000
    many = gguf_start(keys=1) + weights.text("tokens") + struct.pack("<IIQ", 9, 8, gguf.STRING_LIMIT + 1)

    assert facts(few, "gguf").problem is None
    assert "texts" in (facts(many, "gguf").problem or "")


def test_lists_of_numbers_are_passed_over_whatever_their_length() -> None:
    listed = weights.text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, 100_000) + b"\1\0\0\0" * 100_000
    raw = gguf_start(keys=2) + listed + weights.text("general.name") + weights.gguf_value("Tiny")

    assert facts(raw, "gguf").name == "Tiny"


def test_texts_in_onnx_that_are_too_long_to_be_names_are_passed_over() -> None:
    long = weights.onnx(producer="p" * 100_000, external="e" * 100_000)

    found = facts(long, "onnx")

    assert (found.framework, found.external, found.problem) == (None, (), None)
    assert found.elements == {"fp32": 6}


def test_what_a_header_said_before_a_limit_is_kept() -> None:
    raw = (
        gguf_start(keys=1, tensors=gguf.TENSOR_LIMIT + 1)
        + weights.text("general.architecture")
        + weights.gguf_value("llama")
    )

    found = facts(raw, "gguf")

    assert found.architecture == "llama"
    assert found.problem is not None


@given(raw=st.binary(max_size=300), form=st.sampled_from(["safetensors", "gguf", "onnx", "pytorch", "keras", "pickle"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_facts_and_no_error(raw: bytes, form: str) -> None:
    starts = {"gguf": b"GGUF\3\0\0\0", "pytorch": b"PK\3\4", "keras": b"PK\3\4"}

    assert isinstance(facts(starts.get(form, b"") + raw, form), Facts)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_gives_facts_and_no_error(data: st.DataObject) -> None:
    form, raw = data.draw(
        st.sampled_from(
            [
                ("safetensors", weights.safetensors()),
                ("gguf", weights.gguf({"general.name": "n", "t": ["a"]})),
                ("onnx", weights.onnx(external="x")),
                ("pytorch", weights.torch()),
            ]
        )
    )
    at = data.draw(st.integers(0, len(raw) - 1))

    changed = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]

    assert isinstance(facts(changed, form), Facts)


def test_names_in_a_zip_of_more_than_4_gib_are_found() -> None:
    raw = large_zip()

    assert archives.zip_names(io.BytesIO(raw), len(raw)) == ("archive/data.pkl",)


def test_names_in_a_tar_are_those_of_its_first_files() -> None:
    raw = weights.tar(*(f"{number:06}.jpg" for number in range(20)))

    assert archives.tar_names(io.BytesIO(raw), len(raw)) == tuple(f"{number:06}.jpg" for number in range(8))
    assert archives.tar_names(io.BytesIO(b"x" * 2000), 2000) == ()


def test_of_a_tar_only_files_are_named_and_only_what_a_plain_header_tells() -> None:
    samples = tars.directory("train/") + tars.file("train/0.jpg", b"1") + tars.file("train/0.cls", b"2", typeflag=b"\0")
    cut = samples + tars.header("train/1.jpg", size=10_000)

    for raw in (samples, cut):
        found = archives.tar_names(io.BytesIO(raw), len(raw))
        assert found[:2] == ("train/0.jpg", "train/0.cls")
    for size in (b"\x80" + bytes(10) + b"\1", b"99999999999\0", b" " * 12):
        raw = tars.file("0.jpg", b"1") + tars.header("1.jpg", size=size)
        assert archives.tar_names(io.BytesIO(raw), len(raw)) == ("0.jpg",)


def test_a_file_that_became_shorter_meanwhile_is_a_problem() -> None:
    raw = weights.gguf({"general.name": "x"})

    assert "cut off" in (read_facts(io.BytesIO(raw[:40]), len(raw), "gguf").problem or "")


def test_a_header_in_many_pieces_is_read_up_to_the_limit() -> None:
    # Names of keys are within their own limit, and together beyond what is read of a header.
    key = weights.text("k" * 65000)
    keys = gguf.READ_LIMIT // 65000 + 1
    names = [f"{number:05}" for number in range(keys)]
    raw = gguf_start(keys=keys) + b"".join(
        key[:8] + name.encode() + key[13:] + struct.pack("<IB", 0, 1) for name in names
    )

    assert facts(raw, "gguf").problem == "the header is longer than what is read of one"
