"""E24 and E25 of threats.md: the same bytes under other names, and ZIP files that scanners and loaders read apart."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy
import pytest
from tests.trust.scan.checkpoints import plain_zip, state_dict, tar_of, torch_legacy, torch_zip, zip_of
from tests.trust.scan.pickles import BAD_PICKLE, look, messages, rules, severity, verdict

from mlkit.trust.scan import source
from mlkit.trust.scan.findings import Severity, Verdict
from mlkit.trust.scan.scanning import scan_file

NAMES = ["x.dat", "x.safetensors", "x.npy", "x.bin", "x.txt", "x", "x.gguf", "x.json", "x.h5", "x.png", "x.onnx"]


@pytest.mark.parametrize("name", NAMES)
def test_e24_a_pickle_is_found_under_any_name(name: str) -> None:
    """CVE-2025-1889, CVE-2025-10155."""
    assert severity(BAD_PICKLE, name) is Severity.CRITICAL
    assert severity(torch_zip(BAD_PICKLE), name) is Severity.CRITICAL


def _with_crc(raw: bytes) -> bytes:
    return raw.replace(struct.pack("<I", zlib.crc32(BAD_PICKLE)), b"\0\0\0\1")


def _flag(raw: bytes) -> bytes:
    """The encrypted flag, in directory and header alike: PyTorch does not look at it."""
    marked = bytearray(raw)
    for magic, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = marked.find(magic)
        while at >= 0:
            marked[at + place] |= 1
            at = marked.find(magic, at + 4)
    return bytes(marked)


def _with_other_name(raw: bytes) -> bytes:
    return raw.replace(b"archive/data.pkl", b"archive/none.bin", 1)


def _lying_about_size(raw: bytes) -> bytes:
    at = raw.index(b"PK\1\2")
    return raw[: at + 20] + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF) + raw[at + 28 :]


def _with_zip64_end(raw: bytes) -> bytes:
    """An end that says "see the larger one", which lies somewhere else."""
    end = len(raw) - 22
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    return raw[:end] + locator + raw[end : end + 16] + b"\xff\xff\xff\xff" + raw[end + 20 :]


def _with_two_ends(raw: bytes) -> bytes:
    return raw + plain_zip({"readme.txt": b"nothing here"})[-22:]


def _twice() -> bytes:
    raw = zip_of({"a/data.pkl": state_dict(), "b/data.pkl": BAD_PICKLE})
    return raw.replace(b"b/data.pkl", b"a/data.pkl")


ZIPS: dict[str, Callable[[], bytes]] = {
    "wrong sum (CVE-2025-10156)": lambda: _with_crc(torch_zip(BAD_PICKLE)),
    "encrypted flag": lambda: _flag(torch_zip(BAD_PICKLE)),
    "headers disagree": lambda: _with_other_name(torch_zip(BAD_PICKLE)),
    "renamed data.pkl": lambda: plain_zip({"archive/weights.bin": BAD_PICKLE, "archive/version": b"3"}),
    "members leave the archive": lambda: plain_zip({"../../data.pkl": state_dict()}),
    "zip64 lies about sizes": lambda: _lying_about_size(torch_zip(BAD_PICKLE)),
    "zip64 lies about the end": lambda: _with_zip64_end(torch_zip(BAD_PICKLE)),
    "two ends": lambda: _with_two_ends(torch_zip(BAD_PICKLE)),
    "bytes in front": lambda: b"#!/bin/sh\n" * 9 + torch_zip(BAD_PICKLE),
    "bytes behind": lambda: torch_zip(BAD_PICKLE) + b"tail",
    "cut off": lambda: torch_zip(BAD_PICKLE)[:-30],
    "two members of one name": _twice,
    "in a zip in a zip": lambda: plain_zip({"a.zip": plain_zip({"b.zip": torch_zip(BAD_PICKLE)})}),
    "deflated": lambda: plain_zip({"a/data.pkl": BAD_PICKLE}, method=zipfile.ZIP_DEFLATED),
    "bzip2": lambda: plain_zip({"a/data.pkl": BAD_PICKLE}, method=zipfile.ZIP_BZIP2),
    "lzma": lambda: plain_zip({"a/data.pkl": BAD_PICKLE}, method=zipfile.ZIP_LZMA),
    "in a storage": lambda: zip_of({"a/data.pkl": state_dict(), "a/data/0": BAD_PICKLE}),
}


@pytest.mark.parametrize("name", ZIPS)
def test_e25_a_zip_that_is_read_apart_is_never_clean(name: str) -> None:
    assert verdict(ZIPS[name](), "model.pt") is not Verdict.CLEAN


def test_a_wrong_sum_hides_nothing() -> None:
    raw = ZIPS["wrong sum (CVE-2025-10156)"]()

    assert rules(raw, "model.pt") == {"pickle-code", "zip-broken"}


def test_only_the_sum_of_a_harmless_checkpoint_being_wrong_is_told_too() -> None:
    raw = torch_zip()
    broken = raw.replace(struct.pack("<I", zlib.crc32(state_dict())), b"\0\0\0\1")

    assert rules(broken, "model.pt") == {"zip-broken"}


def test_a_bomb_ends_at_the_limit() -> None:
    assert source.EXPANSION_LIMIT == 1 << 30, "threats.md, 2.3"
    large = b"\x80\4B" + struct.pack("<I", 4 << 20) + bytes(4 << 20) + b"0" + BAD_PICKLE[2:]

    budget = source.Budget(expansion=1 << 20)
    found = scan_file(source.BytesSource(gzip.compress(large)), "model.pkl.gz", budget=budget)

    assert {finding.rule for finding in found.findings} == {"limit"}
    assert not found.is_complete


def test_too_many_members_end_at_the_limit() -> None:
    raw = plain_zip({f"{number}.txt": b"" for number in range(400)})
    nested = plain_zip({f"{number}.zip": raw for number in range(170)}, method=zipfile.ZIP_DEFLATED)

    assert "limit" in rules(nested, "data.zip")


def test_archives_in_archives_end_at_the_limit() -> None:
    raw = BAD_PICKLE
    for _ in range(10):
        raw = plain_zip({"inner.zip": raw})

    assert "limit" in rules(raw, "model.zip")


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress], ids=lambda f: f.__module__
)
@pytest.mark.parametrize("name", ["m.joblib", "m.pkl.gz", "m.bin"])
def test_compressed_pickles_are_found(pack: Callable[[bytes], bytes], name: str) -> None:
    assert severity(pack(BAD_PICKLE), name) is Severity.CRITICAL


def test_two_compressed_streams_one_after_the_other_are_one() -> None:
    half = len(BAD_PICKLE) // 2

    assert severity(gzip.compress(BAD_PICKLE[:half]) + gzip.compress(BAD_PICKLE[half:])) is Severity.CRITICAL


def test_what_a_broken_stream_gave_before_it_broke_is_looked_at() -> None:
    raw = gzip.compress(BAD_PICKLE + numpy.random.default_rng(1).bytes(450))

    assert severity(raw[:-20]) is Severity.CRITICAL
    assert verdict(raw[:-20]) is Verdict.FINDINGS


def test_a_compression_that_is_not_read_is_never_clean() -> None:
    assert verdict(b"\x04\x22\x4d\x18" + bytes(100), "m.joblib") is Verdict.UNKNOWN
    assert verdict(b"7z\xbc\xaf\x27\x1c" + bytes(100), "m.7z") is Verdict.UNKNOWN


def test_a_pickle_in_a_tar_is_found() -> None:
    raw = tar_of({"a/readme.md": b"# hello", "a/model.dat": BAD_PICKLE})

    (finding,) = look(gzip.compress(raw), "m.tar.gz").findings

    assert finding.path == "m.tar.gz!m.tar!a/model.dat"


def test_a_tar_with_links_is_told() -> None:
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    assert rules(stream.getvalue(), "m.tar") == {"archive-path"}


def test_a_legacy_checkpoint_is_followed_to_its_storages_and_no_further() -> None:
    assert verdict(torch_legacy(), "model.pt") is Verdict.CLEAN
    assert severity(torch_legacy(BAD_PICKLE), "model.pt") is Severity.CRITICAL


def test_a_pickle_that_is_a_zip_too_is_both() -> None:
    raw = BAD_PICKLE + torch_zip()

    assert "names os.system" in messages(raw, "model.pt")
    assert "zip-broken" in rules(raw, "model.pt"), "bytes in front"


def test_far_files_are_read_where_it_matters_and_nowhere_else() -> None:
    read: list[tuple[int, int]] = []
    raw = torch_zip(storages=40, size=1 << 18)

    class Counted:
        size = len(raw)

        def read_at(self, offset: int, length: int) -> bytes:
            read.append((offset, length))
            return raw[offset : offset + length]

    from mlkit.trust.scan.scanning import scan_file

    found = scan_file(Counted(), "model.pt", is_far=True)

    assert (found.kind, found.findings) == ("torch", ())
    assert sum(length for _, length in read) < len(raw) / 10
