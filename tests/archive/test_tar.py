from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.archive.reader import TarReader
from mlkit.archive.tar import BLOCK, END, Member, layout_offsets, link_header, padding, tar_header

_MEMBERS = (
    Member("code", 0, 0o755, is_dir=True),
    Member("code/run.sh", 11, 0o755),
    Member("empty", 0, 0o755, is_dir=True),
    Member("exactly-100-" + "x" * 88, 1, 0o644),
    Member("long/" + "y" * 120, 512, 0o644),
    Member("p" * 90 + "/" + "q" * 90, 513, 0o644),
    Member("p" * 155 + "/" + "q" * 100, 1, 0o644),
    Member("r" * 90 + "/" + "s" * 99, 0, 0o755, is_dir=True),
    Member("w" * 100, 0, 0o755, is_dir=True),
    Member("zero", 0, 0o644),
    Member("\u00e9t\u00e9/\u6a21\u578b.bin", 3, 0o644),
    Member("\u00e9" * 120, 3, 0o644),
)


def _tar(members: tuple[Member, ...] = _MEMBERS) -> bytes:
    parts = []
    for member in members:
        parts += [tar_header(member), b"z" * member.size, padding(member.size)]
    return b"".join(parts) + END


def test_pythons_tarfile_reads_what_is_written() -> None:
    with tarfile.open(fileobj=io.BytesIO(_tar())) as tar:
        found = [Member(one.name, one.size, one.mode, is_dir=one.isdir()) for one in tar]
        owners = {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in tar}

    assert tuple(found) == _MEMBERS
    assert owners == {(0, 0, "", "", 0)}


def test_gnu_tar_extracts_what_is_written(tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=_tar(), check=True, env={"LC_ALL": "C.UTF-8"})

    for member in _MEMBERS:
        path = tmp_path / member.name
        assert path.is_dir() == member.is_dir
        assert member.is_dir or path.read_bytes() == b"z" * member.size
        assert path.stat().st_mode & 0o777 == member.mode
    assert (tmp_path / "zero").stat().st_mtime == 0


def test_our_own_reader_gives_back_what_is_written() -> None:
    assert tuple(member for member, _ in TarReader(io.BytesIO(_tar()))) == _MEMBERS


def test_the_layout_is_known_before_anything_is_written() -> None:
    offsets, total = layout_offsets(_MEMBERS)
    content = _tar()

    assert total == len(content)
    for member, offset in zip(_MEMBERS, offsets, strict=True):
        assert content[offset : offset + member.size] == b"z" * member.size
    assert layout_offsets(()) == ((), len(END))


def test_a_size_beyond_octal_is_told_by_pax() -> None:
    member = Member("weights.bin", 9 << 30, 0o644)

    with tarfile.open(fileobj=io.BytesIO(tar_header(member) + bytes(BLOCK)), mode="r|") as tar:
        assert tar.next().size == member.size  # type: ignore[union-attr]
    read, _ = next(iter(TarReader(io.BytesIO(tar_header(member)))))
    assert read == member
    assert layout_offsets([member]) == ((3 * BLOCK,), 3 * BLOCK + member.size + len(END))
    assert len(tar_header(Member("weights.bin", 8**11 - 1, 0o644))) == BLOCK


def test_the_bytes_of_a_header_never_change() -> None:
    # The digests of every kit depend on this one: change it only with a new version of the format.
    header = tar_header(Member("model/weights.bin", 1234, 0o644))

    assert header[:17] == b"model/weights.bin"
    assert header[100:157] == b"0000644\x000000000\x000000000\x0000000002322\x0000000000000\x00012450\x00 0"
    assert header[257:265] == b"ustar\x0000"
    assert header[329:345] == b"0000000\x000000000\x00"
    assert not any(header[157:257] + header[265:329] + header[345:])


_component = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), min_size=1, max_size=60
)


@given(st.lists(_component.filter(lambda text: "/" not in text and "\\" not in text), min_size=1, max_size=8))
def test_any_name_survives_the_way_through_tarfile(components: list[str]) -> None:
    name = "/".join(components)
    if name.startswith("/") or "." in components or ".." in components:
        return
    content = _tar((Member(name, 1, 0o644),))

    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [one.name for one in tar] == [name]
    assert layout_offsets([Member(name, 1, 0o644)])[1] == len(content)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1 << 40])
def test_padding_fills_the_last_block(size: int) -> None:
    assert (size + len(padding(size))) % BLOCK == 0
    assert len(padding(size)) < BLOCK
    assert not any(padding(size))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("models/model", "../layers/a"),
        ("n" * 100, "t" * 100),
        ("n" * 101, "t"),
        ("n", "t" * 101),
        ("\u00e9t\u00e9", "t"),
        ("n", "\u00e9t\u00e9/\u6a21\u578b.bin"),
        ("d/" * 100 + "n", "../" * 100 + "t"),
    ],
)
def test_links_are_written_as_pythons_tarfile_and_gnu_tar_read_them(name: str, target: str, tmp_path: Path) -> None:
    raw = link_header(name, target) + END

    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        (member,) = tar.getmembers()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=raw, check=True, env={"LC_ALL": "C.UTF-8"})

    assert (member.issym(), member.name, member.linkname, member.size) == (True, name, target, 0)
    assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
    assert str((tmp_path / name).readlink()) == target


def test_a_short_link_is_one_block_and_a_long_one_brings_a_header_for_it() -> None:
    assert len(link_header("n", "t")) == BLOCK
    assert len(link_header("n" * 101, "t")) == 3 * BLOCK
