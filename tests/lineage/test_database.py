"""Opening an index: new, old, newer, broken, somebody else's, and one whose server is not there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.facts import Filled, digest, kit, subject
from tests.support.postgres import new_database

from mlkit.errors import StoreError, UsageError
from mlkit.lineage.ask import Questions
from mlkit.lineage.database import Corrupt, open_database, shown
from mlkit.lineage.facts import ReleaseFacts
from mlkit.lineage.index import Index


def opened(location: Path | str) -> tuple[str, ...]:
    found = open_database(str(location), now=lambda: 1234.5)
    found.engine.dispose()
    return found.notes


def downgrade(filled: Filled) -> None:
    """What version 1 was: without histories of channels."""
    with filled.index.engine.begin() as connection:
        connection.execute(text("DROP TABLE releases"))
        connection.execute(text("UPDATE about SET value = '1' WHERE name = 'schema'"))


def test_an_index_of_an_older_schema_is_migrated_and_keeps_what_it_held(filled: Filled) -> None:
    filled.add(kit("a", holds={"data": "datasets"})).finish()
    filled.index.finish("host.example", at=1, kit_count=1, state="unchanged", problem=None, failed={})
    downgrade(filled)
    filled.index.close()

    again = Filled(filled.location)

    assert again.opened.notes == ("the lineage index was of schema 1 and is now of schema 3",)
    assert again.found("data") == {"a": "stated"}
    again.index.write_releases(
        again.place, [ReleaseFacts("prod", 1, "promote", digest("a"), None, "2026-01-01T00:00:00Z", "ada", digest("r"))]
    )
    assert len(again.questions().deployed(subject("a")).deployments) == 1
    target = again.index.target("host.example")
    assert target is not None
    assert target.state is None, "its histories were never read"
    again.index.close()
    assert opened(again.location) == ()


def test_an_index_that_did_not_know_who_signs_records_asks_the_histories_again(filled: Filled) -> None:
    record = ReleaseFacts("prod", 1, "promote", digest("a"), None, "2026-01-01T00:00:00Z", "ada", digest("r"))
    filled.add(kit("a", holds={"data": "datasets"})).finish()
    filled.index.finish("host.example", at=1, kit_count=1, state="unchanged", problem=None, failed={})
    filled.index.write_releases(filled.place, [record])
    with filled.index.engine.begin() as connection:
        connection.execute(text("ALTER TABLE releases DROP COLUMN is_signed"))
        connection.execute(text("UPDATE about SET value = '2' WHERE name = 'schema'"))
    filled.index.close()

    again = Filled(filled.location)

    (deployment,) = again.questions().deployed(subject("a")).deployments
    assert deployment.is_signed is None
    target = again.index.target("host.example")
    assert target is not None
    assert target.state is None
    again.index.close()


def test_an_index_of_a_newer_schema_is_left_alone(filled: Filled) -> None:
    with filled.index.engine.begin() as connection:
        connection.execute(text("UPDATE about SET value = '99' WHERE name = 'schema'"))

    with pytest.raises(UsageError, match="schema '99'"):
        opened(filled.location)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE links (url TEXT)")
    connection.close()

    with pytest.raises(UsageError, match="tables of other programs"):
        opened(path)


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8192], ids=["text", "torn"]
)
def test_a_file_that_is_no_index_is_put_aside_and_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lineage.sqlite"
    path.write_bytes(content)

    found = open_database(str(path), now=lambda: 1234.5)
    found.engine.dispose()

    assert found.was_broken
    assert "was corrupt" in found.notes[0]
    assert (tmp_path / "lineage.sqlite.broken-1234").read_bytes() == content


def test_pages_that_are_damaged_later_are_found_when_they_are_read(in_sqlite: Filled) -> None:
    in_sqlite.add(*(kit(f"k{number}", holds={"data": "datasets"}) for number in range(2000))).finish()
    in_sqlite.index.close()
    path = Path(in_sqlite.location)
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(4096 * 3)
        stream.write(b"\xff" * (size - 4096 * 4))

    found = open_database(str(path), now=lambda: 1.0)
    questions = Questions(Index(found.engine), keys=(), now=lambda: 1.0, name="test")
    with pytest.raises(Corrupt):
        questions.trained_on(subject("data"))
    found.engine.dispose()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://user:secret@host/x", "SQLite or PostgreSQL"),
        ("://", "not the URL of a database"),
    ],
)
def test_another_url_is_refused_without_its_password(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        opened(url)

    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_said_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")

    with pytest.raises(StoreError) as caught:
        opened("postgresql://user:secret@127.0.0.1:1/lineage")

    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    assert shown("postgres://user:secret@host/x") == "postgresql+psycopg://user:***@host/x"


def test_two_who_open_a_new_index_at_once_both_find_it(postgres: str) -> None:
    url = new_database(postgres)

    assert [opened(url), opened(url)] == [(), ()]


def test_a_file_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError):
        opened(tmp_path / "file/lineage.sqlite")
