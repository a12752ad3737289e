"""Two stores as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.content.contract import blob, push_blob

from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.overlay import Overlay
from mlkit.content.storage import open_part
from mlkit.errors import DigestMismatch, NotFoundError


def test_content_comes_from_the_first_store_that_has_it(layout: Layout) -> None:
    remote = MemoryStore()
    here, there = push_blob(layout, b"here"), push_blob(remote, b"there")
    both = Overlay(layout, remote)

    assert both.exists(here)
    assert both.exists(there)
    assert not both.exists(blob(b"nowhere"))
    with both.open(here) as first, both.open(there, offset=2) as second:
        assert (first.read(), second.read()) == (b"here", b"ere")


def test_what_neither_has_is_not_found(layout: Layout) -> None:
    with pytest.raises(NotFoundError):
        Overlay(layout, MemoryStore()).open(blob(b"nowhere"))


def test_a_broken_local_blob_is_an_error_and_no_reason_to_go_elsewhere(layout: Layout) -> None:
    remote = MemoryStore()
    desc = push_blob(layout, b"sound")
    push_blob(remote, b"sound")
    path = layout.blobs.path(desc.digest)
    path.chmod(0o644)
    path.write_bytes(b"SOUND")

    with pytest.raises(DigestMismatch), Overlay(layout, remote).open(desc) as stream:
        stream.read()


def test_only_local_content_has_a_file(layout: Layout) -> None:
    remote = MemoryStore()
    here, there = push_blob(layout, b"here"), push_blob(remote, b"there")
    both = Overlay(layout, remote)

    found = both.path(here)

    assert isinstance(found, Path)
    assert found.read_bytes() == b"here"
    assert both.path(there) is None
    assert Overlay(remote, layout).path(here) is None


def test_a_part_comes_from_the_store_that_has_it_and_one_of_no_bytes_from_none(layout: Layout) -> None:
    remote = MemoryStore()
    here, there = push_blob(layout, b"here"), push_blob(remote, b"there")
    both = Overlay(layout, remote)

    with (
        open_part(both, here, offset=1, length=2) as first,
        open_part(both, there, offset=2, length=1) as second,
        open_part(both, blob(b"nowhere"), offset=2, length=0) as nothing,
    ):
        assert (first.read(2), second.read(1), nothing.read()) == (b"er", b"e", b"")
