"""The tables of the index, and how things and words are written in them.

Small where there are millions of rows: digests are 32 bytes and stand once, links are integers, and the table of links
is its own index in both directions. Nothing here opens a database.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from mlkit.lineage.facts import MODEL_CONFIG
from mlkit.lineage.graph import EdgeKind, NodeKind
from mlkit.spec.media_types import Class

SCHEMA_VERSION: Final = 3

KINDS: Final = (*NodeKind,)
"""What a thing is; its number is its place here, so that words are added at the end only. So are the next two."""
LINKS: Final = (*EdgeKind,)
ROLES: Final = (
    None,
    *(cls.value for cls in Class),
    MODEL_CONFIG,
    "dataset",
    "base-model",
    "adapter-base",
    "run",
    "other",
)
OWN: Final = 0
"""`links.source` of what a kit's own documents state; any other number is that of a statement."""

_ID = BigInteger().with_variant(Integer, "sqlite")  # the only type that SQLite numbers rows by
_DIGEST = re.compile(r"(sha256|sha512|md5):([0-9a-f]+)", re.ASCII)
_ALGORITHMS = {"sha256": (b"\x01", 32), "sha512": (b"\x02", 64), "md5": (b"\x03", 16)}
_PREFIXES = {prefix: name for name, (prefix, _) in _ALGORITHMS.items()}

METADATA = MetaData()

about = Table("about", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""The version of the schema, and what was counted when the last scan ended."""

things = Table(
    "things",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("size", BigInteger),
    UniqueConstraint("key"),
)

links = Table(
    "links",
    METADATA,
    Column("made", _ID, nullable=False),
    Column("origin", _ID, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("role", SmallInteger, nullable=False),
    Column("source", _ID, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("made", "origin", "kind", "role", "source", "name"),
    # Without rows of its own, the table is the first index, and this one holds the rest of the key.
    Index("links_by_origin", "origin", "made", "kind", "role", "source", "name"),
    sqlite_with_rowid=False,
)

kits = Table(
    "kits",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("title", Text),
    Column("version", Text),
    Column("size", BigInteger, nullable=False),
    Column("has_model", Boolean, nullable=False),
    Column("closed_layers", Integer, nullable=False),
    Column("problem", Text),
    Column("read_at", BigInteger, nullable=False),
)

places = Table(
    "places",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("is_local", Boolean, nullable=False),
    UniqueConstraint("name"),
)

names = Table(
    "names",
    METADATA,
    Column("place", _ID, nullable=False),
    Column("tag", Text, nullable=False),
    Column("kit", _ID, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    PrimaryKeyConstraint("place", "tag", "kit"),
    Index("names_by_kit", "kit", "place", "tag", "until"),
    sqlite_with_rowid=False,
)
"""A tag that moved leaves its row, with the time at which it was seen elsewhere."""

statements = Table(
    "statements",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("kit", _ID, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("predicate_type", Text, nullable=False),
    Column("vouches", Boolean, nullable=False),
    Column("problem", Text),
    UniqueConstraint("kit", "digest"),
)

signatures = Table(
    "signatures",
    METADATA,
    Column("statement", _ID, nullable=False),
    Column("key_id", Text, nullable=False),
    PrimaryKeyConstraint("statement", "key_id"),
    sqlite_with_rowid=False,
)

targets = Table(
    "targets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("state", Text),
    Column("keys", Text, nullable=False),
    Column("kits", Integer, nullable=False),
    Column("problem", Text),
)

failures = Table(
    "failures",
    METADATA,
    Column("target", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("target", "what"),
)
"""What a scan of a target could not read; gone when a later scan reads it."""

releases = Table(
    "releases",
    METADATA,
    Column("place", _ID, nullable=False),
    Column("channel", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("kit", _ID, nullable=False),
    Column("action", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("message", Text),
    Column("record", LargeBinary, nullable=False),
    Column("keys", Text, nullable=False),
    Column("is_signed", Boolean),
    PrimaryKeyConstraint("place", "channel", "sequence"),
    Index("releases_by_kit", "kit"),
    sqlite_with_rowid=False,
)
"""Histories of channels; since version 2. `is_signed`, by whomever, since version 3."""


def pack_key(key: str) -> bytes:
    """The bytes of a thing's key: a digest as what it is, an address as its text."""
    found = _DIGEST.fullmatch(key)
    if found is not None:
        prefix, length = _ALGORITHMS[found[1]]
        if len(found[2]) == 2 * length:
            return prefix + bytes.fromhex(found[2])
    return b"\x00" + key.encode("utf-8", "surrogatepass")


def unpack_key(raw: bytes) -> str:
    """What `pack_key` was given."""
    raw = bytes(raw)  # drivers give buffers of other kinds
    algorithm = _PREFIXES.get(raw[:1])
    if algorithm is not None:
        return f"{algorithm}:{raw[1:].hex()}"
    return raw[1:].decode("utf-8", "surrogatepass")


def role_number(role: str | None) -> int:
    """The number of a role; words that nobody knows are `other`."""
    return ROLES.index(role) if role in ROLES else ROLES.index("other")
