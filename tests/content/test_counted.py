"""A store that tells how much was read of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest
from tests.content.contract import blob, push_blob

from mlkit.content.counted import Counted
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import Ranged, open_part
from mlkit.errors import NotFoundError
from mlkit.spec.descriptor import Descriptor

CONTENT = b"0123456789" * 100


class Parts(MemoryStore):
    """A store that can be asked for a part."""

    asked: list[tuple[int, int, bool]]

    @contextmanager
    def open_range(self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False) -> Iterator[BinaryIO]:
        self.asked = [(offset, length, is_exact)]
        with self.open(desc, offset=offset) as stream:
            yield io.BytesIO(stream.read(length))


def test_every_byte_that_is_read_is_counted_and_no_other() -> None:
    store = MemoryStore()
    desc = push_blob(store, CONTENT)
    counted = Counted(store)

    assert counted.exists(desc)
    assert not counted.exists(blob(b"other"))
    with counted.open(desc) as stream:
        assert stream.read(10) == CONTENT[:10]
    with counted.open(desc, offset=990) as stream:
        assert stream.read() == CONTENT[990:]

    assert counted.read_bytes == 20


@pytest.mark.parametrize("store", [MemoryStore(), Parts()], ids=["whole", "parts"])
def test_a_part_is_counted_whether_or_not_the_store_below_can_be_asked_for_one(store: MemoryStore) -> None:
    desc = push_blob(store, CONTENT)
    counted = Counted(store)

    assert isinstance(counted, Ranged)
    with open_part(counted, desc, offset=100, length=50, is_exact=True) as stream:
        assert stream.read(50) == CONTENT[100:150]

    assert counted.read_bytes == 50
    if isinstance(store, Parts):
        assert store.asked == [(100, 50, True)]


def test_what_is_not_there_is_not_there_for_it_either() -> None:
    counted = Counted(MemoryStore())

    with pytest.raises(NotFoundError), counted.open(blob(b"other")):
        pytest.fail("opened what is not there")

    assert counted.read_bytes == 0
