"""Names of a layout: found, told where they are none, and swapped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.content.contract import blob, push_blob, push_manifest
from tests.content.oracle import tree

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.errors import (
    MlkitError,
    NotFoundError,
    UsageError,
)
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCTET_STREAM

THEN = 1_700_000_000.0


def refusal(act: Callable[[], object], kind: type[MlkitError]) -> MlkitError:
    with pytest.raises(kind) as caught:
        act()
    return caught.value


def test_the_state_changes_with_every_name(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    states = [layout.state(), layout.state()]

    layout.tag(desc, "digits:1")
    states.append(layout.state())
    layout.untag("digits:1")
    states.append(layout.state())

    assert states[0] == states[1]
    assert len(set(states)) >= 2
    assert states[2] not in (states[1], states[3])


def test_names_that_other_programs_wrote_and_that_are_none_are_told(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    other = push_manifest(layout, b"other").descriptor

    def entry(of: Descriptor, name: str) -> dict[str, Any]:
        return {**of.render(), "annotations": {"org.opencontainers.image.ref.name": name}}

    entries = [entry(desc, "a b\n" + "x" * 400), entry(desc, "twice:1"), entry(other, "twice:1"), entry(desc, "one:1")]
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

    found = Layout.at(layout.root)

    assert found.findings() == (
        "index.json: 'a b\\n" + "x" * 294 + " is not a name, and is ignored",
        "index.json: twice:1 is given to more than one manifest",
    )
    assert list(found.names()) == ["one:1"]


def test_a_digest_resolves_to_its_own_entry_and_not_to_another(layout: Layout) -> None:
    one = push_manifest(layout, b"one").descriptor.with_annotations({"note": "one"})
    two = push_manifest(layout, b"two").descriptor.with_annotations({"note": "two"})
    layout.tag(one, "digits:1")
    layout.tag(two, "digits:2")

    assert layout.resolve(str(two.digest)).annotations == {"note": "two"}
    assert layout.resolve(str(one.digest)).annotations == {"note": "one"}


def test_a_name_is_found_or_not(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")

    found = layout.find("digits:1")
    assert found is not None
    assert found.digest == desc.digest
    assert layout.find("digits:2") is None
    assert layout.find(str(desc.digest)) is None


NO_NAME = "a b\n" + "x" * 400
NO_NAME_TOLD = "'a b\\n" + "x" * 294 + " is not a name of a kit"


@pytest.mark.parametrize("how", ["tag", "swap"])
def test_what_is_no_name_is_told_with_one(how: str, layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    act = {
        "tag": lambda: layout.tag(desc, NO_NAME),
        "swap": lambda: layout.swap(desc, NO_NAME, expected=None),
    }[how]

    error = refusal(act, UsageError)

    assert (error.message, error.hint) == (NO_NAME_TOLD, "a name reads team/digits:1.2")
    assert layout.manifests() == ()


def test_a_name_that_is_not_there_is_told_cut(layout: Layout) -> None:
    assert refusal(lambda: layout.untag(NO_NAME), NotFoundError).message == (
        "no 'a b\\n" + "x" * 294 + " in this store"
    )


def test_a_name_is_swapped_only_from_what_was_expected(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor

    def at(name: str) -> Digest | None:
        found = layout.find(name)
        return found.digest if found else None

    assert layout.swap(one, "digits:1", expected=two.digest) is False
    assert at("digits:1") is None
    assert layout.swap(one, "digits:1", expected=None) is True
    assert at("digits:1") == one.digest
    before = tree(layout.root)
    assert layout.swap(two, "digits:1", expected=None) is False
    assert layout.swap(two, "digits:1", expected=two.digest) is False
    assert tree(layout.root) == before
    assert layout.swap(two, "digits:1", expected=one.digest) is True
    assert at("digits:1") == two.digest
    assert layout.swap(one, "digits:2", expected=None) is True
    assert (at("digits:1"), at("digits:2")) == (two.digest, one.digest)


def test_a_swap_needs_every_blob(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer")
    layout.delete_blob(blob(b"layer").digest)

    error = refusal(lambda: layout.swap(manifest.descriptor, "digits:1", expected=None), NotFoundError)

    assert error.message == f"{manifest.descriptor.digest}: its blob {blob(b'layer').digest} is not in the store"
    assert error.hint == "pull the whole kit first"


def test_the_largest_manifest_resolves_by_its_digest(layout: Layout) -> None:
    config = Descriptor.of(b"{}", OCI_EMPTY)
    push_blob(layout, b"{}")

    def manifest(size: int) -> Descriptor:
        bare = render_manifest(config=config, layers=(), annotations={"x": ""})
        full = render_manifest(config=config, layers=(), annotations={"x": "x" * (size - len(bare.raw))})
        desc = Descriptor.of(full.raw, OCTET_STREAM)
        layout.push(desc, BytesContent(full.raw))
        return desc

    largest, larger = manifest(MANIFEST_LIMIT), manifest(MANIFEST_LIMIT + 1)

    assert layout.resolve(str(largest.digest)).digest == largest.digest
    assert refusal(lambda: layout.resolve(str(larger.digest)), NotFoundError).message == (
        f"no manifest {larger.digest} in this store"
    )


def test_a_blob_of_another_kind_is_told_as_such(layout: Layout) -> None:
    desc = push_blob(layout, b"weights")

    assert refusal(lambda: layout.resolve(str(desc.digest)), NotFoundError).message == (
        f"no manifest {desc.digest} in this store: that is another kind of content"
    )
