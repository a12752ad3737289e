"""Files of weights whose headers loaders written in C would believe: what is held against the file itself."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.packing import weights

from mlkit.archive.headers import gguf
from mlkit.archive.headers.gguf_check import TEMPLATE_LIMIT, check_gguf
from mlkit.archive.headers.safetensors import HEADER_LIMIT, check_safetensors
from mlkit.errors import IntegrityError, LimitError

U64 = 2**64 - 1
STRING, LIST, U8, U32, F64 = 8, 9, 0, 4, 12


def key(name: str | bytes, kind: int, value: bytes = b"") -> bytes:
    return weights.text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: list[int], *, kind: int = 0, offset: int = 0) -> bytes:
    return weights.text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def model(*keys: bytes, tensors: tuple[bytes, ...] = (), room: int = 0, version: int = 3) -> bytes:
    """A header, and zeros up to `room` bytes of tensors."""
    raw = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(keys)) + b"".join((*keys, *tensors))
    return raw + b"\0" * (-len(raw) % 32 + room)


def templates(raw: bytes) -> dict[str, bytes]:
    return check_gguf(io.BytesIO(raw), len(raw))


def test_a_file_whose_tensors_lie_side_by_side_is_right_and_its_templates_are_given() -> None:
    raw = model(
        key("general.architecture", STRING, weights.text("llama")),
        key("general.alignment", U32, struct.pack("<I", 32)),
        key("bits", U8, b"\7"),
        key("rate", F64, bytes(8)),
        key("tokens", LIST, struct.pack("<IQ", STRING, 2) + weights.text("a") + weights.text("")),
        key("scores", LIST, struct.pack("<IQ", U32, 3) + bytes(12)),
        key("tokenizer.chat_template", STRING, weights.text("{{ x }}")),
        key("tokenizer.chat_template.tool", STRING, weights.text(b"\xff")),
        # The second lies first: the header may list them in any order. 32 numbers of Q4_0 are 18 bytes.
        tensors=(tensor("b", [4], offset=32), tensor("a", [32], kind=2), tensor("c", [0], offset=64)),
        room=64,
    )

    assert templates(raw) == {"tokenizer.chat_template": b"{{ x }}", "tokenizer.chat_template.tool": b"\xff"}


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_without_tensors_and_keys_is_right(version: int) -> None:
    assert templates(model(version=version)) == {}


def test_a_template_longer_than_any_is_passed_over() -> None:
    within = key("tokenizer.chat_template", STRING, weights.text(b"x" * TEMPLATE_LIMIT))
    beyond = key("tokenizer.chat_template", STRING, weights.text(b"x" * (TEMPLATE_LIMIT + 1)))

    assert list(templates(model(within))) == ["tokenizer.chat_template"]
    assert templates(model(beyond)) == {}


def test_the_alignment_of_the_file_is_the_one_that_counts() -> None:
    aligned = key("general.alignment", U32, struct.pack("<I", 8))
    tensors = (tensor("a", [2]), tensor("b", [2], offset=8))

    assert templates(model(aligned, tensors=tensors, room=16)) == {}
    with pytest.raises(IntegrityError, match="begins at 8, which is no multiple of 32"):
        templates(model(tensors=tensors, room=64))


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "other magic": (lambda: b"GGML" + bytes(20), "does not begin with GGUF"),
    "version 1": (lambda: model(version=1), "version 1 of GGUF is not known"),
    "big endian": (lambda: model(version=3 << 24), "version 50331648 of GGUF"),
    "cut in the header": (lambda: model(key("a", U32, bytes(4)))[:30], "the header says that 8 bytes follow, and 6 do"),
    "2^64-1 keys": (lambda: struct.pack("<4sIQQ", b"GGUF", 3, 0, U64), "more than any model"),
    "2^64-1 tensors": (lambda: struct.pack("<4sIQQ", b"GGUF", 3, U64, 0), "more than any model"),
    "a long name": (lambda: model(key("n" * 65536, U8, b"\0")), "a name in the header has 65536 bytes"),
    "a key twice": (lambda: model(*[key("k", U8, b"\1")] * 2), "'k' occurs twice"),
    "an unknown type": (lambda: model(key("k", 13)), "type 13 of a value is not known"),
    "a list of lists": (lambda: model(key("k", LIST, struct.pack("<IQ", LIST, 1))), "type 9 of the values in a list"),
    "an alignment of 0": (lambda: model(key("general.alignment", U32, bytes(4))), "the alignment is 0"),
    "an alignment of 24": (lambda: model(key("general.alignment", U32, struct.pack("<I", 24))), "the alignment is 24"),
    "an alignment of 4": (lambda: model(key("general.alignment", U32, struct.pack("<I", 4))), "the alignment is 4"),
    "an alignment of 2^31": (lambda: model(key("general.alignment", U32, struct.pack("<I", 2**31))), "the alignment"),
    "an alignment in a byte": (lambda: model(key("general.alignment", U8, b"\x20")), "the alignment is 0"),
    "a text beyond the file": (lambda: model(key("k", STRING, struct.pack("<Q", U64))), f"{U64} bytes follow"),
    "more texts than bytes": (
        lambda: model(key("k", LIST, struct.pack("<IQ", STRING, U64))),
        f"a list of {U64} texts, and [0-9]+ bytes follow",
    ),
    "a list of numbers beyond the file": (
        lambda: model(key("k", LIST, struct.pack("<IQ", 10, 1 << 60))),
        f"{1 << 63} bytes follow",
    ),
    "a tensor twice": (lambda: model(tensors=(tensor("t", [1]),) * 2, room=64), "two tensors have one name"),
    "five dimensions": (lambda: model(tensors=(tensor("t", [1] * 5),), room=64), "has 5 dimensions"),
    "2^63 numbers": (lambda: model(tensors=(tensor("t", [1 << 63]),)), "more than 2\\^63 numbers"),
    "a product beyond 2^64": (lambda: model(tensors=(tensor("t", [2**33, 2**33]),)), "more than 2\\^63 numbers"),
    "numbers of no type": (lambda: model(tensors=(tensor("t", [1], kind=4),), room=64), "type 4, which is not known"),
    "a part of a block": (lambda: model(tensors=(tensor("t", [33], kind=2),), room=64), "rows of 33 numbers"),
    "rows of parts of blocks": (lambda: model(tensors=(tensor("t", [16, 2], kind=2),), room=64), "rows of 16 numbers"),
    "between multiples": (lambda: model(tensors=(tensor("t", [1], offset=4),), room=64), "no multiple of 32"),
    "one over the other": (
        lambda: model(tensors=(tensor("a", [16]), tensor("b", [1], offset=32)), room=64),
        "'b' lies over the one before it",
    ),
    "one byte short": (lambda: model(tensors=(tensor("a", [16]),), room=63), "'a' ends at [0-9]+, and the file has"),
    "an offset at the end of time": (lambda: model(tensors=(tensor("t", [1], offset=U64 - 31),)), "the file has"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_gguf_that_contradicts_itself_is_refused_with_the_reason(case: str) -> None:
    make, told = BROKEN[case]

    with pytest.raises(IntegrityError, match=told):
        templates(make())


def test_more_texts_than_any_vocabulary_has_are_not_passed_one_by_one() -> None:
    many = gguf.STRING_LIMIT + 1
    raw = model(key("k", LIST, struct.pack("<IQ", STRING, many)), room=many * 8)

    with pytest.raises(LimitError, match=f"a list of {many} texts, and {gguf.STRING_LIMIT} are passed over"):
        templates(raw)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_right_or_refused(data: st.DataObject) -> None:
    raw = model(key("a", LIST, struct.pack("<IQ", STRING, 1) + weights.text("x")), tensors=(tensor("t", [8]),), room=32)
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]

    for check, content in ((check_gguf, changed), (check_safetensors, weights.safetensors()[:at] + changed[at:])):
        with suppress(IntegrityError, LimitError):
            check(io.BytesIO(content), len(content))


def tensors(**offsets: tuple[int, int]) -> bytes:
    """Each with as many bytes as its offsets say; eight bytes in all."""
    header = {
        name: {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for name, (begin, end) in offsets.items()
    }
    return weights.raw_safetensors(weights.as_json(header), bytes(8))


def checked(raw: bytes) -> None:
    check_safetensors(io.BytesIO(raw), len(raw))


def test_safetensors_of_which_each_byte_belongs_to_one_tensor_are_right() -> None:
    checked(tensors(b=(4, 8), a=(0, 4), empty=(4, 4)))
    checked(weights.safetensors({"a": ("BF16", [4, 8], 64), "b": ("F32", [3], 12)}, {"format": "pt"}))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param(tensors(a=(0, 4), b=(5, 8)), "'b' begins at 5, and what comes before it ends at 4", id="a hole"),
        pytest.param(tensors(a=(1, 8)), "'a' begins at 1", id="a hole at the start"),
        pytest.param(tensors(a=(0, 5), b=(4, 8)), "'b' begins at 4", id="one over the other"),
        pytest.param(tensors(a=(0, 8), b=(0, 8)), "'b' begins at 0", id="one twice"),
        pytest.param(tensors(a=(0, 7)), "1 bytes at the end belong to no tensor", id="a tail"),
        pytest.param(tensors(), "8 bytes at the end belong to no tensor", id="nothing but a tail"),
        pytest.param(tensors(a=(0, 9)), "lies at 0 to 9, and there are 8 bytes", id="beyond the end"),
        pytest.param(
            weights.safetensors({"a": ("F3_NEW", [8], 3)}), "numbers of type 'F3_NEW', which is not known", id="a type"
        ),
    ],
)
def test_safetensors_with_bytes_of_nobody_or_of_two_are_refused(raw: bytes, told: str) -> None:
    with pytest.raises(IntegrityError, match=told):
        checked(raw)


def test_a_header_of_safetensors_has_at_most_what_its_own_library_reads() -> None:
    def checked(length: int) -> None:
        stream = io.BytesIO(struct.pack("<Q", length) + b"{}")
        check_safetensors(stream, HEADER_LIMIT * 2, limit=1 << 20)

    with pytest.raises(LimitError, match="the header has 100000000 bytes, and 1048576 are read"):
        checked(HEADER_LIMIT)
    with pytest.raises(IntegrityError, match="says that it has 100000001 bytes, and 100000000 can be"):
        checked(HEADER_LIMIT + 1)
