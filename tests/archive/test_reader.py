from __future__ import annotations

import contextlib
import io
import resource
import tracemalloc
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tars import (
    BLOCK,
    END,
    Refused,
    archive,
    directory,
    file,
    gnu_name,
    header,
    link,
    padded,
    pax,
    record,
)

from mlkit.archive.compression import compressor, decompressed
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.archive.names import check_name
from mlkit.archive.reader import TarReader
from mlkit.archive.tar import Member
from mlkit.errors import IntegrityError, LimitError, MlkitError, UnsafeError


def _contents(stream: io.BytesIO, limits: Limits = DEFAULT_LIMITS) -> list[tuple[Member, bytes]]:
    return [(member, data.read()) for member, data in TarReader(stream, limits=limits)]


def _names(stream: io.BytesIO) -> list[str]:
    return [member.name for member, _ in _contents(stream)]


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "a/./..//x", "a/..", "..", "...../x", "./../x", "a/b/../../../x", ".././x", "a/.. /x", "./."],
)
def test_a01_a_name_that_climbs_is_refused_by_name(name: str, refused: Refused) -> None:
    error = refused(archive(file(name, b"evil")), UnsafeError)

    assert repr(name.removeprefix("./"))[1:-1] in error.message


@pytest.mark.parametrize("name", ["/etc/x", "//x", "/../x", ".//x", "/", "./" + "/etc/passwd"])
def test_a02_an_absolute_name_is_refused_never_stripped(name: str, refused: Refused) -> None:
    refused(archive(file(name, b"evil")), UnsafeError)


@pytest.mark.parametrize(
    "name",
    [
        "C:\\x",
        "C:/x",
        "\\\\?\\x",
        "a\\b",
        "x:ads",
        "CON",
        "dir/nul.txt",
        "COM1",
        "lpt\u00b9.log",
        "Aux .txt",
        "conin$",
        "trailing.",
        "trailing ",
        "trailing./x",
    ],
)
def test_a03_a_name_that_means_something_else_on_windows_is_refused(name: str, refused: Refused) -> None:
    refused(archive(file(name, b"evil")), UnsafeError)


def test_a04_a_link_out_and_a_file_written_through_it_are_refused(refused: Refused) -> None:
    error = refused(archive(link("out", ".."), file("out/outside.txt", b"evil")), UnsafeError)

    assert "'out' is a symbolic link" in error.message


@pytest.mark.parametrize("length", [2, 3, 16], ids=lambda length: f"{length}-links")
def test_a05_a_chain_of_links_is_refused(length: int, refused: Refused) -> None:
    long_component = "d" * 247
    chain_parts = [
        part
        for number in range(length)
        for part in (directory(f"{long_component}{number:02}"), link(f"l{number:02}", f"{long_component}{number:02}"))
    ]

    refused(archive(*chain_parts, link("escape", "l00/" * length + "../" * length), file("escape/x")), UnsafeError)


def test_a06_links_to_the_directory_itself_are_refused(refused: Refused) -> None:
    refused(archive(link("current", "."), link("parent", "current/.."), file("parent/x", b"evil")), UnsafeError)


@pytest.mark.parametrize("name", ["", ".", "./", "././", "/"])
@pytest.mark.parametrize("typeflag", [b"1", b"2"], ids=["hard", "symbolic"])
def test_a07_a_link_without_a_real_name_is_refused(name: str, typeflag: bytes, refused: Refused) -> None:
    refused(archive(link(name, "/", typeflag=typeflag), file("etc/x", b"evil")), UnsafeError)


@pytest.mark.parametrize(
    "parts",
    [
        [link("x", "/etc/passwd", typeflag=b"1")],
        [link("x", "outside.txt", typeflag=b"1")],
        [link("a", "../outside.txt"), link("x", "a", typeflag=b"1")],
        [file("a", b"1"), link("x", "a", typeflag=b"1")],
    ],
    ids=["outside", "working-directory", "over-a-symlink", "inside"],
)
def test_a08_a_hard_link_is_refused(parts: list[bytes], refused: Refused) -> None:
    refused(archive(*parts), UnsafeError)


def test_a09_even_a_link_wholly_inside_the_tree_is_refused(refused: Refused) -> None:
    refused(archive(directory("a"), file("a/file", b"1"), link("latest", "a/file")), UnsafeError)


@pytest.mark.parametrize(
    "parts",
    [
        [file("a", b"1"), file("a", b"2")],
        [file("a", b"1"), file("./a", b"2")],
        [file("a", b"1"), directory("a/")],
        [directory("a/"), file("a", b"1")],
        [file("a", b"1"), file("a/b", b"2")],
        [file("a/b", b"1"), file("a", b"2")],
        [file("a", b"1"), pax(record("path", "a")), file("b", b"2")],
    ],
    ids=["file-file", "dotted", "file-dir", "dir-file", "file-parent", "parent-file", "effective-name"],
)
def test_a10_a_name_that_comes_twice_is_refused(parts: list[bytes], refused: Refused) -> None:
    assert "twice" in refused(archive(*parts), UnsafeError).message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.bin", "a.bin"),
        ("\u00e9", "e\u0301"),
        ("\ufb01le", "file"),
        ("stra\u00dfe", "straSSE"),
        ("Dir/one", "dir/two"),
    ],
    ids=["case", "nfc-nfd", "ligature", "sharp-s", "directories"],
)
def test_a11_names_that_collide_somewhere_are_refused_everywhere(one: str, other: str, refused: Refused) -> None:
    refused(archive(file(one, b"1"), file(other, b"2")), UnsafeError)


@pytest.mark.parametrize("typeflag", [bytes([flag]) for flag in b"3467KSVMDXNAZ@"])
def test_a12_only_regular_files_and_directories_are_taken(typeflag: bytes, refused: Refused) -> None:
    error = refused(archive(header("odd", typeflag=typeflag, linkname="x")), UnsafeError)

    assert "odd" in error.message
    old = archive(file("old", b"v7", typeflag=b"\0", magic=bytes(8)), header("dir/", typeflag=b"\0", magic=bytes(8)))
    assert _contents(old) == [(Member("old", 2, 0o644), b"v7"), (Member("dir", 0, 0o755, is_dir=True), b"")]


@pytest.mark.parametrize(
    ("field", "mode"),
    [
        (b"0000644\0", 0o644),
        (b"0004755\0", 0o755),
        (b"0007777\0", 0o755),
        (b"0000000\0", 0o644),
        (b"0000666\0", 0o644),
        (b"0000011\0", 0o644),
        (b"100744 \0", 0o755),
        (b"\0" * 8, 0o644),
    ],
)
def test_a13_modes_come_down_to_two(field: bytes, mode: int) -> None:
    [(found, _)] = _contents(archive(file("a", b"1", mode=field)))
    [(found_directory, _)] = _contents(archive(header("d", typeflag=b"5", mode=field)))

    assert found.mode == mode
    assert found_directory.mode == 0o755


def test_a14_owners_and_attributes_are_ignored() -> None:
    extended = pax(
        record("uid", "0"),
        record("uname", "root"),
        record("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02\xff\n\x00"),
        record("SCHILY.acl.access", "user::rwx"),
        record("LIBARCHIVE.xattr.user.x", "eA=="),
    )

    assert _contents(archive(extended, file("a", b"1", owner=b"garbage\xff"))) == [(Member("a", 1, 0o644), b"1")]


@pytest.mark.parametrize("mtime", [b"-0000000001\0", b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"x" * 12])
def test_a15_times_are_ignored(mtime: bytes) -> None:
    extended = pax(record("mtime", "253402300800"), record("atime", "-1"), record("ctime", "9223372036854775808"))

    assert _contents(archive(extended, file("a", b"1", mtime=mtime))) == [(Member("a", 1, 0o644), b"1")]


@pytest.mark.parametrize(
    "parts",
    [
        [pax(record("GNU.sparse.numblocks", "1"), record("GNU.sparse.size", "9")), file("a", b"1")],
        [pax(record("GNU.sparse.map", "0,1"), record("GNU.sparse.size", "9")), file("a", b"1")],
        [pax(record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0")), file("a", padded(b"1\n0\n1\n"))],
        [pax(record("GNU.sparse.name", "../x")), file("a", b"1")],
        [pax(record("SCHILY.realsize", "9")), file("a", b"1")],
        [file("a", b"1", typeflag=b"S", magic=b"ustar  \0")],
    ],
    ids=["0.0", "0.1", "1.0", "name", "star", "old-gnu"],
)
def test_a16_a_sparse_file_is_refused(parts: list[bytes], refused: Refused) -> None:
    refused(archive(*parts), UnsafeError)


def test_a17_a_huge_pax_header_is_refused_before_it_is_read(refused: Refused) -> None:
    head = header("././@PaxHeader", typeflag=b"x", size=1 << 30)
    zeros = io.BytesIO()
    squeezed = compressor("gzip", zeros)
    for block in chain([head], repeat(bytes(1 << 20), 32)):
        squeezed.write(block)
    squeezed.finish()
    zeros.seek(0)

    tracemalloc.start()
    refused(decompressed(zeros, "gzip"), LimitError)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 << 20


_TRAPS: dict[str, tuple[list[bytes], type[MlkitError]]] = {
    "size-differs": ([pax(record("size", "3")), file("a", b"12345")], IntegrityError),
    "size-hides-a-header": ([pax(record("size", "1024")), file("a"), file("../x", b"evil")], IntegrityError),
    "size-not-a-number": ([pax(record("size", "-1")), file("a", b"1")], IntegrityError),
    "size-beyond-63-bits": ([pax(record("size", str(2**63))), file("a", b"1")], IntegrityError),
    "size-empty": ([pax(record("size", "")), file("a", b"1")], IntegrityError),
    "path-climbs": ([pax(record("path", "../x")), file("a", b"1")], UnsafeError),
    "path-absolute": ([pax(record("path", "/x")), file("a", b"1")], UnsafeError),
    "path-empty": ([pax(record("path", "")), file("a", b"1")], UnsafeError),
    "path-nul": ([pax(record("path", "a\0.txt")), file("a", b"1")], UnsafeError),
    "path-not-utf8": ([pax(record("path", b"\xff\xfe")), file("a", b"1")], UnsafeError),
    "path-twice": ([pax(record("path", "a"), record("path", "b")), file("a", b"1")], IntegrityError),
    "linkpath": ([pax(record("linkpath", "/etc")), file("a", b"1")], UnsafeError),
    "charset": ([pax(record("hdrcharset", "BINARY")), file("a", b"1")], UnsafeError),
    "global-path": ([pax(record("path", "x"), typeflag=b"g"), file("a", b"1")], UnsafeError),
    "global-size": ([pax(record("size", "1"), typeflag=b"g"), file("a", b"1")], UnsafeError),
    "global-sparse": ([pax(record("GNU.sparse.size", "1"), typeflag=b"g"), file("a", b"1")], UnsafeError),
    "length-0": ([pax(b"0 path=x\n"), file("a", b"1")], IntegrityError),
    "length-00": ([pax(b"00011 path=x\n"), file("a", b"1")], IntegrityError),
    "length-too-small": ([pax(b"5 path=x\n"), file("a", b"1")], IntegrityError),
    "length-too-large": ([pax(b"99 path=x\n"), file("a", b"1")], IntegrityError),
    "length-huge": ([pax(b"9" * 300 + b" path=x\n"), file("a", b"1")], IntegrityError),
    "length-signed": ([pax(b"+9 path=x\n"), file("a", b"1")], IntegrityError),
    "length-missing": ([pax(b" path=x\n"), file("a", b"1")], IntegrityError),
    "no-newline": ([pax(b"8 path=xy"), file("a", b"1")], IntegrityError),
    "no-equals": ([pax(b"9 pathxx\n"), file("a", b"1")], IntegrityError),
    "no-key": ([pax(b"5 =x\n"), file("a", b"1")], IntegrityError),
    "key-not-utf8": ([pax(record(b"\xff", "1")), file("a", b"1")], IntegrityError),
    "only-zeros": ([pax(bytes(100)), file("a", b"1")], IntegrityError),
    "two-headers": ([pax(record("path", "a")), pax(record("comment", "b")), file("a", b"1")], IntegrityError),
    "no-entry": ([pax(record("path", "a"))], IntegrityError),
}


@pytest.mark.parametrize(("parts", "kind"), _TRAPS.values(), ids=_TRAPS)
def test_a18_a_pax_header_that_two_readers_could_read_differently_is_refused(
    parts: list[bytes], kind: type[MlkitError], refused: Refused
) -> None:
    refused(archive(*parts), kind)


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([gnu_name(b"x" * 120), file("a", b"1")], IntegrityError),
        ([gnu_name(b"x" * 120 + b"\0")] * 1000 + [file("a", b"1")], IntegrityError),
        ([gnu_name(b"x" * 120 + b"\0"), pax(record("path", "b")), file("a", b"1")], IntegrityError),
        ([pax(record("path", "b")), gnu_name(b"x" * 120 + b"\0"), file("a", b"1")], IntegrityError),
        ([pax(record("comment", "b")), gnu_name(b"x" * 120 + b"\0"), file("a", b"1")], IntegrityError),
        ([header("././@LongLink", typeflag=b"L", size=1 << 30)], LimitError),
        ([gnu_name(b"../x\0"), file("a", b"1")], UnsafeError),
        ([gnu_name(b"a\0b\0"), file("a", b"1")], UnsafeError),
        ([gnu_name(b"")], IntegrityError),
        ([gnu_name(b"x\0")], IntegrityError),
    ],
    ids=["no-nul", "chained", "then-pax", "after-pax", "after-comment", "huge", "climbs", "nul", "empty", "no-entry"],
)
def test_a19_a_long_name_that_is_malformed_or_competes_is_refused(
    parts: list[bytes], kind: type[MlkitError], refused: Refused
) -> None:
    refused(archive(*parts), kind)


@pytest.mark.parametrize(
    "size",
    [
        b"-0000000001\0",
        b"\xff" * 12,
        b"\x80" + b"\xff" * 11,
        b"\x80" + bytes(3) + b"\x80" + bytes(7),
        b"0000000009\0\0",
        b"0x000000010\0",
        b"00000 00010\0",
        b"77777777777\0",
        b"00000002000\0",
    ],
    ids=["minus", "base-256-minus", "base-256-huge", "2^63", "nine", "hex", "blank", "8-gib", "beyond-the-end"],
)
def test_a20_a_size_that_is_none_or_not_there_is_refused(size: bytes, refused: Refused) -> None:
    refused(archive(header("a", size=size) + padded(b"123")), IntegrityError)


_WHOLE = archive(directory("d"), file("d/a", b"x" * 700), file("b", b"1")).getvalue()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        _WHOLE[:100],
        _WHOLE[: BLOCK + 100],
        _WHOLE[: 2 * BLOCK + 100],
        _WHOLE[: 2 * BLOCK + 700],
        _WHOLE[: -2 * BLOCK],
        _WHOLE[:-BLOCK],
        _WHOLE[:-1],
        _WHOLE + b"\0" * 100 + b"x",
        _WHOLE + _WHOLE,
        _WHOLE[: -2 * BLOCK] + bytes(BLOCK) + file("c", b"hidden") + END,
        header("././@PaxHeader", typeflag=b"x", size=100),
        header("././@PaxHeader", typeflag=b"x", size=100) + b"x" * 50,
    ],
    ids=[
        "empty",
        "mid-header",
        "mid-second-header",
        "mid-data",
        "mid-padding",
        "no-end",
        "half-an-end",
        "short-end",
        "garbage",
        "two-tars",
        "after-one-zero-block",
        "no-pax",
        "mid-pax",
    ],
)
def test_a21_a_tar_that_breaks_off_or_goes_on_is_refused(broken: bytes, refused: Refused) -> None:
    assert _names(io.BytesIO(_WHOLE + bytes(10_240 - len(_WHOLE)))) == ["d", "d/a", "b"]
    refused(io.BytesIO(broken), IntegrityError)


@pytest.mark.parametrize(
    "damaged",
    [
        header("a", checksum=b"000000\0 "),
        header("a", checksum=b"\0" * 8),
        header("a", checksum=b"garbage!"),
        b"b" + header("a")[1:],
        header("a", magic=b"weird!!!"),
        header("a", tail=b"tar\0"),
        b"PK\x03\x04" + bytes(508),
    ],
    ids=["zero", "empty", "garbage", "bit", "magic", "star", "zip"],
)
def test_a22_a_header_that_does_not_add_up_is_refused(damaged: bytes, refused: Refused) -> None:
    refused(archive(damaged), IntegrityError)


@pytest.mark.parametrize(
    "parts",
    [
        [pax(record("path", "a/" * 1_000 + "a")), file("x")],
        [pax(record("path", "a/" * 400_000 + "a")), file("x")],
        [pax(record("path", "c" * 300)), file("x")],
        [pax(record("path", "\u00e9" * 150)), file("x")],
        [pax(record("path", "/".join(["p" * 99] * 50))), file("x")],
        [gnu_name(b"n" * 4_999 + b"\0"), file("x")],
    ],
    ids=["deep", "400000-deep", "component", "component-in-bytes", "path", "long-name"],
)
def test_a23_names_beyond_the_limits_are_refused(parts: list[bytes], refused: Refused) -> None:
    refused(archive(*parts), LimitError)


def test_more_entries_than_the_limit_are_refused_whatever_they_are(refused: Refused) -> None:
    limits = Limits(entries=10)
    assert len(_contents(archive(*(file(f"f{number}") for number in range(10))), limits)) == 10

    refused(archive(*(file(f"f{number}") for number in range(11))), LimitError, limits=limits)
    refused(archive(*[pax(record("comment", "x"), typeflag=b"g")] * 11), LimitError, limits=limits)


def test_more_bytes_than_the_limit_are_refused_before_they_are_read(refused: Refused) -> None:
    limits = Limits(max_size=1_000)
    assert len(_contents(archive(file("a", b"x" * 500), file("b", b"x" * 500)), limits)) == 2

    refused(archive(file("a", b"x" * 500), header("b", size=501)), LimitError, limits=limits)


def test_zeros_without_end_are_refused(refused: Refused) -> None:
    refused(archive(file("a", b"1"), end=END + bytes(3 << 20)), LimitError)


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "\ufeffa",
        "a\u2028b",
        b"a\xffb",
        b"\xed\xa0\x80",
        "a\x7f",
        "a\u0085b",
        "a\u200eb",
    ],
    ids=ascii,
)
def test_a29_a_name_that_hides_something_is_refused_and_shown_escaped(name: str | bytes, refused: Refused) -> None:
    error = refused(archive(file(name, b"1")), UnsafeError)

    assert error.message.isascii()
    assert error.message.isprintable()


def test_names_are_normalised_as_foreign_packers_write_them() -> None:
    stream = archive(directory("./"), directory("./d/"), file("./d/a", b"1"), directory("e"), directory("e/"))

    assert _names(stream) == ["d", "d/a", "e", "e"]


def test_the_prefix_belongs_to_posix_headers_only() -> None:
    posix = file("name", b"1", prefix=b"long/prefix")
    gnu = file("gnu", b"1", magic=b"ustar  \0", prefix=b"01234567\0")

    assert _names(archive(posix, gnu)) == ["long/prefix/name", "gnu"]


def test_a_regular_file_whose_name_ends_in_a_slash_is_refused(refused: Refused) -> None:
    refused(archive(file("a/", b"1")), UnsafeError)


def test_a_directory_with_data_is_refused(refused: Refused) -> None:
    refused(archive(header("a/", typeflag=b"5", size=3) + padded(b"123")), IntegrityError)


def test_a_global_header_that_changes_nothing_is_passed_over() -> None:
    # `git archive` writes the commit that way.
    assert _names(archive(pax(record("comment", "0" * 40), typeflag=b"g"), file("a", b"1"))) == ["a"]


def test_a_size_beyond_octal_is_read_from_where_each_packer_puts_it() -> None:
    size = 9 << 30
    for head in (
        pax(record("size", str(size))) + header("a", size=0),
        pax(record("size", str(size))) + header("a", size=b"77777777777\0"),
        header("a", size=b"\x80" + size.to_bytes(11, "big"), magic=b"ustar  \0"),
    ):
        member, _ = next(iter(TarReader(io.BytesIO(head))))

        assert member == Member("a", size, 0o644)


def test_data_that_is_not_read_is_passed_over() -> None:
    stream = archive(file("a", b"x" * 3_000_000), file("b", b"2"), file("c", b"3"))

    found = []
    for member, data in TarReader(stream):
        found.append((member.name, data.read(1)))

    assert found == [("a", b"x"), ("b", b"2"), ("c", b"3")]


def test_data_can_be_read_into_a_buffer_and_ends_where_the_member_does() -> None:
    _, data = next(iter(TarReader(archive(file("a", b"hello"), file("b", b"x")))))
    buffer = bytearray(10)

    assert data.read(2) == b"he"
    assert data.readinto(buffer) == 3  # type: ignore[attr-defined]
    assert buffer[:3] == b"llo"
    assert data.read() == b""
    assert data.readinto(buffer) == 0  # type: ignore[attr-defined]


class _Trickle(io.RawIOBase):
    """A stream that gives one byte a call, as a slow network does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._content.readinto(memoryview(buffer)[:1])


class _OnlyRead:
    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 7))


@pytest.mark.parametrize("stream", [_Trickle(_WHOLE), _OnlyRead(_WHOLE)], ids=["one-byte", "no-readinto"])
def test_a_stream_that_gives_little_at_a_time_is_read_whole(stream: io.BytesIO) -> None:
    assert [(member.name, len(content)) for member, content in _contents(stream)] == [("d", 0), ("d/a", 700), ("b", 1)]


def test_a_million_headers_take_little_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    entry = pax(record("comment", "x"), typeflag=b"g")
    stream = io.BufferedReader(_Repeated(entry, 20_000))

    with pytest.raises(IntegrityError):
        _contents(stream)  # type: ignore[arg-type]

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


class _Repeated(io.RawIOBase):
    def __init__(self, content: bytes, times: int) -> None:
        self._content = content
        self._left = times

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            return 0
        self._left -= 1
        buffer[: len(self._content)] = self._content
        return len(self._content)


_VARIED = archive(
    directory("./d"),
    pax(record("path", "d/\u00e9" * 20), record("mtime", "1.5")),
    file("x", b"pax"),
    gnu_name(b"g" * 150 + b"\0"),
    file("y", b"gnu", magic=b"ustar  \0"),
    file("z", b"z" * 600, prefix=b"p/q"),
).getvalue()


@given(st.data())
def test_whatever_is_done_to_a_tar_it_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(_VARIED)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        # With checksums that are right, the damage gets further in.
        for start in range(0, len(damaged), BLOCK):
            if damaged[start + 257 : start + 262] == b"ustar":
                block = damaged[start : start + BLOCK]
                block[148:156] = b" " * 8
                damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    cut = data.draw(st.integers(0, len(damaged)))

    for content in (bytes(damaged), bytes(damaged[:cut])):
        with contextlib.suppress(MlkitError):
            for member, content_of_member in _contents(io.BytesIO(content)):
                assert check_name(member.name) == member.name
                assert len(content_of_member) == member.size


@given(st.binary(max_size=80) | st.text("0123456789 =\npathsize", max_size=40).map(str.encode))
def test_any_pax_body_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(MlkitError):
        _contents(archive(pax(body), file("a", b"1")))


def _within(stream: io.BytesIO, only: str = "models/net") -> dict[str, bytes | None]:
    """What lies in one directory of a layer of an image; None for directories."""
    return {member.name: None if member.is_dir else data.read() for member, data in TarReader(stream, only=only)}


def test_of_a_layer_of_an_image_only_one_directory_is_read() -> None:
    layer = archive(
        directory("etc/"),
        file("etc/passwd", b"root" * 1000),
        link("bin", "usr/bin"),
        link("bin/sh", "busybox", typeflag=b"1"),
        header("dev/null", typeflag=b"3"),
        file("etc/.wh.shadow"),
        file("models/network", b"not within"),
        pax(record("path", "etc/" + "n" * 300)),
        file("short", b"passed over by its long name"),
        file("\udcff".encode("utf-8", "surrogateescape"), b"a name that is none"),
        directory("./models/net/"),
        pax(record("path", "models/net/" + "n" * 200)),
        file("short", b"long"),
        file("./models/net/w.bin", b"weights"),
        file("models/net.bin", b"not within"),
    )

    assert _within(layer) == {"models/net": None, "models/net/" + "n" * 200: b"long", "models/net/w.bin": b"weights"}


def test_a_link_that_claims_data_is_passed_over_as_other_readers_do() -> None:
    layer = archive(header("x", typeflag=b"2", linkname="y", size=1024), file("models/net/w", b"w"))

    assert _within(layer) == {"models/net/w": b"w"}


_ONE = file("models/net/w", b"w" * 700)


@pytest.mark.parametrize("raw", [_ONE, _ONE.rstrip(b"\0"), _ONE + bytes(BLOCK)], ids=["no-end", "no-padding", "half"])
def test_a_layer_of_an_image_may_end_as_umoci_leaves_it_and_a_kit_may_not(raw: bytes) -> None:
    assert _within(io.BytesIO(raw)) == {"models/net/w": b"w" * 700}
    with pytest.raises(IntegrityError, match="breaks off"):
        _contents(io.BytesIO(raw))


@pytest.mark.parametrize(
    "part",
    [
        link("models/net", "elsewhere"),
        link("models/net/w", "/etc/passwd"),
        link("models/net/w", "models/net/x", typeflag=b"1"),
        header("models/net/pipe", typeflag=b"6"),
        file("models/net/.wh.w"),
        file("models/net/d/.wh..wh..opq"),
        file("models/net/../../etc/passwd"),
        file("models/net//w"),
    ],
    ids=["the-directory", "a-link", "a-hard-link", "a-pipe", "a-whiteout", "an-opaque-whiteout", "climbing", "unclean"],
)
def test_what_lies_in_the_directory_is_held_to_the_rules_of_a_kit(part: bytes) -> None:
    with pytest.raises(UnsafeError):
        _within(archive(part))


def test_a_layer_that_breaks_off_in_what_is_passed_over_is_refused() -> None:
    with pytest.raises(IntegrityError):
        _within(io.BytesIO(header("etc/x", size=10_000) + bytes(512)))


def test_more_entries_than_the_limit_are_refused_also_where_they_are_passed_over() -> None:
    layer = archive(*[file(f"etc/{number}") for number in range(4)])

    with pytest.raises(LimitError, match="more than 3 entries"):
        list(TarReader(layer, only="models", limits=Limits(entries=3)))
