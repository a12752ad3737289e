"""Other programs write into the store of mlkit while it does: real ones, which know of no lock."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.content.contract import push_manifest
from tests.support.cli import write_project
from tests.support.crash.checker import names_of
from tests.support.programs import Program

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout

WRITERS: dict[str, Callable[[Path, str, int], tuple[str, ...]]] = {
    "oras": lambda store, name, number: ("tag", "--oci-layout", f"{store}:{name}", f"theirs-{number}"),
    # It writes a manifest over the one that is there, which for everybody but root is read-only: so another each time.
    "skopeo": lambda store, name, number: (
        *("copy", "--quiet", f"oci:{store.parent / 'elsewhere'}:{number}", f"oci:{store}:theirs-{number}"),
    ),
}
"""How each gives a name to something."""


@pytest.fixture
def store(session: Session, tmp_path: Path) -> Path:
    mlkit.pack(write_project(tmp_path / "project"), tag="digits:1", session=session)
    session.layout.tag(session.layout.resolve("digits:1"), "first")
    return session.layout.root


@pytest.mark.parametrize("program", ["oras", "skopeo"])
def test_what_another_program_tags_and_what_mlkit_tags_are_both_there(
    store: Path, program: str, session: Session
) -> None:
    rounds, writer = 6, Program(program)
    writer.found()  # to skip in a thread would be a failure
    elsewhere = Layout.create(store.parent / "elsewhere")
    for number in range(rounds):
        elsewhere.tag(push_manifest(elsewhere, b"layer %d" % number).descriptor, str(number))
    lost: list[str] = []
    mine = Layout.at(store, warn=lost.append)
    desc = mine.resolve("first")

    def theirs() -> None:
        for number in range(rounds):
            writer(*WRITERS[program](store, "first", number))

    other = threading.Thread(target=theirs)
    other.start()
    count = 0
    while other.is_alive() and count < 500:
        mine.tag(desc, f"ours-{count}")
        count += 1
    other.join()
    # What the last foreign write lost is back with the next change.
    mine.tag(desc, "last")

    names = set(names_of(store))
    assert {"first", "digits:1", "last", *(f"ours-{number}" for number in range(count))} <= names
    assert f"theirs-{rounds - 1}" in names, "the one that nobody of their own wrote after"
    assert mlkit.fsck(deep=True, session=session).is_sound
    writers = {json.dumps(json.loads(line)["who"]) for line in (store / ".mlkit/journal").read_bytes().splitlines()}
    assert '"another program"' in writers
