"""Other programs write index.json too, and know of no lock: what they lose comes back, what they mean holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import push_manifest

from mlkit.content.layout import Layout
from mlkit.content.prune import prune
from mlkit.errors import ConflictError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import REF_NAME


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def layout(tmp_path: Path, warnings: list[str]) -> Layout:
    return Layout.create(tmp_path / "store", warn=warnings.append)


def read(layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout.root / "index.json").read_bytes())
    return found


def write(layout: Layout, index: dict[str, Any]) -> None:
    """As oras and skopeo do: in place, with white space."""
    (layout.root / "index.json").write_text(json.dumps(index, indent=2))


def entry(desc: Descriptor, name: str) -> dict[str, Any]:
    return desc.with_annotations({REF_NAME: name}).render()


def journal(layout: Layout) -> list[tuple[Any, Any, Any]]:
    lines = (layout.root / ".mlkit" / "journal").read_bytes().splitlines()
    return [(line["who"], line["name"], line["new"]) for line in map(json.loads, lines)]


def test_fault52_what_a_foreign_writer_lost_is_merged_and_not_clobbered(layout: Layout, warnings: list[str]) -> None:
    """Fields and files of other versions are kept too: `test_what_others_wrote_in_the_index_is_kept`."""
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    note = push_manifest(layout, b"more").descriptor
    layout.tag(one, "before:1")
    layout.tag(one, "moved:1")
    stale = read(layout)
    layout.tag(two, "lost:1")
    layout.tag(two, "moved:1")
    layout.record(note)
    layout.untag("before:1")
    stale["manifests"].append(entry(one, "theirs:1"))
    write(layout, stale)

    layout.tag(one, "after:1")

    assert {name: desc.digest for name, desc in layout.names().items()} == {
        "lost:1": two.digest,
        "moved:1": two.digest,
        "theirs:1": one.digest,
        "after:1": one.digest,
    }
    assert note.digest in {desc.digest for desc in layout.manifests()}
    assert len(warnings) == 1
    assert "written by another program" in warnings[0]
    assert ("another program", "theirs:1", str(one.digest)) in journal(layout)
    ours = {(name, new) for who, name, new in journal(layout) if who != "another program"}
    assert {("after:1", str(one.digest)), ("lost:1", str(two.digest)), ("before:1", None)} <= ours


def test_what_a_foreign_writer_knew_of_and_took_away_stays_away(layout: Layout, warnings: list[str]) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "gone:1")
    layout.tag(desc, "kept:1")
    index = read(layout)
    index["manifests"] = [item for item in index["manifests"] if item["annotations"][REF_NAME] != "gone:1"]
    write(layout, index)

    layout.tag(desc, "after:1")

    assert list(layout.names()) == ["kept:1", "after:1"]
    assert warnings == []
    assert ("another program", "gone:1", None) in journal(layout)


def test_where_both_moved_a_name_the_later_word_holds(layout: Layout) -> None:
    one, two, three = (push_manifest(layout, b"%d" % number).descriptor for number in range(3))
    layout.tag(one, "moved:1")
    stale = read(layout)
    layout.tag(two, "moved:1")
    stale["manifests"] = [entry(three, "moved:1")]
    write(layout, stale)

    layout.tag(one, "after:1")

    assert layout.resolve("moved:1").digest == three.digest


def test_what_is_lost_twice_comes_back_twice(layout: Layout) -> None:
    """The second foreign writer read after the first had written, and before mlkit's next change was there."""
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "before:1")
    stale = read(layout)
    layout.tag(desc, "ours:1")
    stale["manifests"].append(entry(desc, "theirs:1"))
    write(layout, stale)
    layout.tag(desc, "ours:2")
    stale["manifests"].append(entry(desc, "theirs:2"))
    write(layout, stale)

    layout.tag(desc, "after:1")

    assert set(layout.names()) == {"before:1", "theirs:1", "theirs:2", "ours:1", "ours:2", "after:1"}


def test_a_change_of_the_other_day_was_not_lost_but_taken_away(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "store", clock=lambda: 1_700_000_000.0)
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "old:1")
    write(layout, {"schemaVersion": 2, "manifests": []})

    layout.tag(desc, "after:1")

    assert list(layout.names()) == ["after:1"]


def test_a_prune_spares_what_only_a_foreign_writer_lost(layout: Layout) -> None:
    desc = push_manifest(layout, b"one").descriptor
    stale = read(layout)
    layout.tag(desc, "lost:1")
    write(layout, stale)

    assert prune(layout, grace_seconds=-10, now=2**31).removed == ()


def test_an_index_that_is_being_written_in_place_is_read_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "kept:1")
    whole = (layout.root / "index.json").read_bytes()
    (layout.root / "index.json").write_bytes(whole[:-5])
    monkeypatch.setattr("time.sleep", lambda _: (layout.root / "index.json").write_bytes(whole))

    assert list(Layout.at(layout.root).names()) == ["kept:1"]


def during(layout: Layout, monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Let `action` happen once while the next change of the index is being made durable."""
    real, is_due = os.fsync, [True]

    def fsync(file: int) -> None:
        real(file)
        if is_due and Path(f"/proc/self/fd/{file}").readlink().name == "index.json.new":
            is_due.clear()
            action()

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_foreign_write_in_the_middle_of_a_change_is_not_written_over(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "before:1")
    index = read(layout)
    index["manifests"].append(entry(desc, "theirs:1"))
    during(layout, monkeypatch, lambda: write(layout, index))

    layout.tag(desc, "after:1")

    assert set(layout.names()) == {"before:1", "theirs:1", "after:1"}
    assert [name for _, name, _ in journal(layout)] == ["before:1", "theirs:1", "after:1"]


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["whole", "opened"])
def test_a_foreign_write_into_the_file_that_is_being_replaced_is_not_lost(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, is_cut_off: bool
) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "before:1")
    stale = read(layout)
    layout.tag(desc, "between:1")
    stale["manifests"].append(entry(desc, "theirs:1"))
    path = layout.root / "index.json"
    theirs = path.open("r+b", buffering=0)  # opened under its old name, and written when that is another file's
    raw = json.dumps(stale, indent=2).encode()
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        done = real(self, target)
        if self.name == "index.json.new" and not theirs.closed:
            theirs.truncate(0)
            if is_cut_off:
                # It is stopped between open(2) and write(2), and goes on while we wait.
                monkeypatch.setattr("time.sleep", lambda _: path.write_bytes(raw))
            else:
                theirs.write(raw)
            theirs.close()
        return done

    monkeypatch.setattr(Path, "replace", replace)

    layout.tag(desc, "after:1")

    assert theirs.closed
    assert set(layout.names()) == {"before:1", "between:1", "theirs:1", "after:1"}
    assert [name for _, name, _ in journal(layout)][:2] == ["before:1", "between:1"]
    assert set(Layout.at(layout.root).names()) == set(layout.names())


class _Death(BaseException):
    pass


def test_a_change_that_reached_the_journal_alone_was_not_made(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "before:1")
    with monkeypatch.context() as patch:
        during(layout, patch, lambda: (_ for _ in ()).throw(_Death()))
        with pytest.raises(_Death):
            layout.tag(desc, "half:1")
    assert journal(layout)[-1][1] == "half:1"

    again = Layout.at(layout.root)
    again.tag(desc, "after:1")

    assert set(again.names()) == {"before:1", "after:1"}
    assert [name for _, name, _ in journal(layout)] == ["before:1", "after:1"]


def test_an_index_of_ours_is_taken_apart_as_it_is_parsed(layout: Layout) -> None:
    desc = push_manifest(layout, b"one").descriptor
    odd = {**entry(desc, "odd:1"), "platform": {REF_NAME: "inner:1"}, "x": [1.5, None, "},\n{"]}
    write(layout, {"schemaVersion": 2, "x-field": {"a": "b"}, "manifests": [odd]})
    layout.tag(desc, "one:1")

    again = Layout.at(layout.root)
    again.tag(desc, "inner:1")
    again.untag("one:1")

    assert set(again.names()) == {"odd:1", "inner:1"}
    assert read(layout)["manifests"][0] == odd
    assert read(layout)["x-field"] == {"a": "b"}


def test_where_other_programs_never_stop_a_change_is_given_up_and_leaves_no_trace(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "before:1")
    before = journal(layout)
    real, count = os.fsync, [0]

    def fsync(file: int) -> None:
        real(file)
        if Path(f"/proc/self/fd/{file}").readlink().name == "index.json.new":
            count[0] += 1
            write(layout, {"schemaVersion": 2, "x": count[0], "manifests": [entry(desc, "before:1")]})

    monkeypatch.setattr(os, "fsync", fsync)

    with pytest.raises(ConflictError, match="other programs write it all the time"):
        layout.tag(desc, "ours:1")

    assert set(layout.names()) == {"before:1"}
    assert journal(layout) == before


def test_a_foreign_index_beside_a_lost_copy_of_the_one_before_is_taken_as_it_is(
    layout: Layout, warnings: list[str]
) -> None:
    """Nobody knows then what was in ours: what the other one says is all there is."""
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "a:1")
    layout.tag(desc, "b:1")
    for damage in (Path.unlink, lambda path: path.write_bytes(b"{}"), lambda path: path.write_bytes(b"no json")):
        damage(layout.root / ".mlkit/index.json.prev")
        write(layout, {"schemaVersion": 2, "manifests": [entry(desc, "theirs:1")]})

        assert set(layout.index_file.settled().index.by_name) == {"theirs:1"}
        (layout.root / ".mlkit/index.json.prev").touch()
