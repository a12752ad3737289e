"""Opening the database of the index: SQLite in a file, or PostgreSQL by URL; its schema, and what to do with a bad one.

The index is a cache, so a broken file is put aside and made again, and whoever opened it is told so.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from mlkit.errors import MlkitError, StoreError, UsageError
from mlkit.lineage.schema import METADATA, SCHEMA_VERSION, about, releases, targets

_CACHE_KIB = 32 * 1024  # pages of SQLite in memory; the limit for a whole query is 200 MiB
_BUSY_SECONDS = 60  # a batch of another scan is written in much less
_VERSION: Final = "schema"
_CORRUPT = ("malformed", "not a database", "corrupt", "no such table", "no such column")


def _add_releases(connection: Connection) -> None:
    releases.create(connection)
    # What was scanned before had histories that nobody read: every target is to be looked at again.
    connection.execute(targets.update().values(state=None))


def _add_is_signed(connection: Connection) -> None:
    if "is_signed" not in {column["name"] for column in inspect(connection).get_columns(releases.name)}:
        connection.execute(text("ALTER TABLE releases ADD COLUMN is_signed BOOLEAN"))
    connection.execute(targets.update().values(state=None))  # the histories are to be read again


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_add_releases, _add_is_signed)
"""The first makes version 2 of version 1, and so on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that can be asked."""

    engine: Engine
    notes: tuple[str, ...] = ()
    """What a person should know: that it was made again, or brought up to date."""
    is_new: bool = False
    """It holds nothing yet."""
    was_broken: bool = False
    """What it held is lost, and must be read again from where it came."""


def open_database(url: str, *, now: Callable[[], float]) -> Opened:
    """Connect, and make or migrate the tables.

    `url` is a path of a SQLite file, or `sqlite:///…` or `postgresql://…`. Raises: UsageError for another URL, a
    missing driver, or a database that is not ours or newer than we are; StoreError for one that does not answer.
    """
    parsed = _parsed(url)
    try:
        return _opened(parsed)
    except Corrupt as error:
        aside = put_aside(Path(parsed.database or ""), now())
        note = f"the lineage index {parsed.database} was corrupt ({error}) and is made again; the old file is {aside}"
        return Opened(_opened(parsed).engine, (note,), is_new=True, was_broken=True)


def file_of(location: str) -> Path | None:
    """The file of an index in SQLite; None for a server."""
    url = _parsed(location)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def shown(location: str) -> str:
    """A location as people may see it: without a password."""
    return _shown(_parsed(location))


def put_aside(path: Path, now: float) -> str:
    """Take a corrupt index out of the way, and give the name that its file has from now on. Raises: StoreError."""
    aside = path.with_name(f"{path.name}.broken-{int(now)}")
    try:
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise StoreError(f"{path}: a corrupt index that cannot be put aside: {reason}") from error
    return aside.name


class Corrupt(Exception):
    """The file is no sound SQLite database."""


@contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Turn errors of the database into ours, without the password of its URL. Raises: StoreError, Corrupt."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.DatabaseError) as error:
        raise _translated(error, url) from error


def _parsed(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("MLKIT_INDEX_URL is not the URL of a database", hint=_HINT) from error
    backend = parsed.get_backend_name()
    if backend == "postgres":
        parsed, backend = parsed.set(drivername="postgresql"), "postgresql"
    if backend not in ("sqlite", "postgresql"):
        raise UsageError(f"a lineage index is kept in SQLite or PostgreSQL, not in {ascii(backend)[:40]}", hint=_HINT)
    return parsed.set(drivername="postgresql+psycopg" if backend == "postgresql" else "sqlite")


_HINT = "for example postgresql://user@host/lineage, or sqlite:////var/lib/mlkit/lineage.sqlite"


def _opened(url: URL) -> Opened:
    engine = _engine(url)
    try:
        with database_errors(url), engine.begin() as connection:
            return _prepared(engine, connection)
    except BaseException:
        engine.dispose()
        raise


def _prepared(engine: Engine, connection: Connection) -> Opened:
    if connection.dialect.name == "postgresql":
        # Two who make the tables at the same moment do it one after the other; the number is ours.
        connection.execute(text("SELECT pg_advisory_xact_lock(6910417)"))
    present = set(inspect(connection).get_table_names())
    if about.name not in present:
        if present & set(METADATA.tables):
            raise UsageError(f"{_shown(engine.url)}: has tables of other programs where ours would be", hint=_HINT)
        METADATA.create_all(connection)
        connection.execute(about.insert().values(name=_VERSION, value=str(SCHEMA_VERSION)))
        return Opened(engine, is_new=True)
    found = connection.execute(select(about.c.value).where(about.c.name == _VERSION)).scalar()
    version = int(found) if found is not None and found.isdecimal() else 0
    if version == SCHEMA_VERSION:
        return Opened(engine)
    if not 1 <= version < SCHEMA_VERSION:
        raise UsageError(
            f"{_shown(engine.url)}: a lineage index of schema {ascii(found)[:40]} (this mlkit knows {SCHEMA_VERSION})",
            hint="it may come from a newer mlkit: upgrade this one, or delete the index and scan again",
        )
    for migrate in MIGRATIONS[version - 1 :]:
        migrate(connection)
    connection.execute(about.update().where(about.c.name == _VERSION).values(value=str(SCHEMA_VERSION)))
    return Opened(engine, (f"the lineage index was of schema {version} and is now of schema {SCHEMA_VERSION}",))


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "postgresql":
            return create_engine(url, connect_args={"connect_timeout": 10})
        path = Path(url.database or "")
        if url.database and url.database != ":memory:":
            path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise UsageError(
            "PostgreSQL needs psycopg, which is not installed", hint="pip install 'mlkit[postgres]'"
        ) from error
    except OSError as error:
        raise StoreError(f"{url.database}: {os.strerror(error.errno or 0)}") from error
    event.listen(engine, "connect", _tune)
    return engine


def _tune(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # A reader never waits for a scan. What the last seconds before a power cut brought is scanned again.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"cache_size=-{_CACHE_KIB}", "temp_store=FILE"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _translated(error: SQLAlchemyError | sqlite3.DatabaseError, url: URL) -> MlkitError | Corrupt:
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:200]
    if url.get_backend_name() == "sqlite" and any(word in reason for word in _CORRUPT):
        return Corrupt(reason)
    hint = "is the server there, and may you use the database?" if isinstance(error, OperationalError) else None
    return StoreError(f"{_shown(url)}: the lineage index does not answer: {reason}", hint=hint)


def _shown(url: URL) -> str:
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
