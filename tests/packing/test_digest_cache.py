from __future__ import annotations

import pytest
from tests.packing.trees import source

from mlkit.packing.digest_cache import cache_key, is_settled, parse_content, render_content
from mlkit.packing.plan import PlannedLayer
from mlkit.packing.write_layer import LayerContent
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile import Entry
from mlkit.spec.media_types import Class

CONTENT = LayerContent(Digest.of(b"layer"), 5, Digest.of(b"plain"), (Digest.of(b"1"), Digest.of(b"2")))


def layer(*names: str, kind: str = "tar", mode: int = 0o644, size: int = 10) -> PlannedLayer:
    entry = Entry(Class.CODE, "code[0]", None, ".", None, None, None)
    files = tuple(source(name, size, mode=mode) for name in names)
    return PlannedLayer(kind, "none", Class.CODE, entry, ".", "x/y", files)  # type: ignore[arg-type]  # from a table


def test_what_is_remembered_is_what_was_found() -> None:
    assert parse_content(render_content(CONTENT), file_count=2) == CONTENT


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        render_content(CONTENT)[:-1],
        render_content(CONTENT).replace(b'"size":5', b'"size":-5'),
        render_content(CONTENT).replace(b'"size":5', b'"size":"5"'),
        render_content(CONTENT).replace(b"sha256:", b"sha1:"),
        render_content(LayerContent(CONTENT.digest, 5, CONTENT.diff_id, (CONTENT.digest,))),
        render_content(CONTENT).replace(Digest.of(b"1").hex.encode(), b"z" * 64),
    ],
)
def test_what_is_not_well_formed_counts_for_nothing(raw: bytes) -> None:
    assert parse_content(raw, file_count=2) is None


def test_names_and_modes_matter_in_a_tar_and_not_in_a_raw_layer() -> None:
    assert cache_key(layer("a")) != cache_key(layer("b"))
    assert cache_key(layer("a")) != cache_key(layer("a", mode=0o755))
    assert cache_key(layer("a", kind="raw")) == cache_key(layer("a", kind="raw", mode=0o755))
    assert cache_key(layer("a", kind="raw")) != cache_key(layer("a", kind="raw", size=11))
    assert cache_key(layer("a")) != cache_key(layer("a", kind="raw"))


def test_files_are_settled_when_two_seconds_have_passed() -> None:
    assert not is_settled(layer("a"), now=2_000_000_000)
    assert is_settled(layer("a"), now=2_000_000_001)
    assert not is_settled(layer("a"), now=-5)
