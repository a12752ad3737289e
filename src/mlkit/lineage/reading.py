"""Asking the database, many things at once. Every answer to one question comes from one snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from mlkit.lineage.graph import EdgeKind, Node, Standing
from mlkit.lineage.schema import (
    KINDS,
    LINKS,
    OWN,
    ROLES,
    kits,
    links,
    names,
    pack_key,
    places,
    role_number,
    signatures,
    statements,
    things,
    unpack_key,
)
from mlkit.lineage.writing import chunks

NAMED = "oci://"
"""What the keys of kits begin with that were named without a digest."""
CONTAINS = LINKS.index(EdgeKind.CONTAINS)
TELLING_SIZE = 512
"""Bytes from which on two equal files are taken for the same thing; empty and tiny ones are equal by chance."""
_PREFIX_LIMIT = 10_000  # addresses below one that was asked for

# Built once: a chain of ten thousand kits asks each of them ten thousand times.
_IDS: Any = bindparam("ids", expanding=True)
_other = links.alias("other")
_ONWARD = select(links).where(links.c.origin.in_(_IDS))
_BACK = select(links).where(links.c.made.in_(_IDS))
_ORIGINS = _BACK.where(links.c.kind != CONTAINS)
_NODES = select(things.c.id, things.c.key, things.c.kind).where(things.c.id.in_(_IDS))
_KITS = select(
    kits.c.id,
    kits.c.title,
    kits.c.version,
    kits.c.size,
    kits.c.has_model,
    kits.c.closed_layers,
    kits.c.problem,
    kits.c.read_at,
).where(kits.c.id.in_(_IDS))
_SHARED = (
    select(links)
    .join(things, things.c.id == links.c.origin)
    .where(
        links.c.made.in_(_IDS),
        links.c.kind == CONTAINS,
        links.c.role.in_(bindparam("roles", expanding=True)),
        things.c.size >= TELLING_SIZE,
        exists().where(_other.c.origin == links.c.origin, _other.c.made != links.c.made),
    )
)
_HELD = select(links).where(links.c.made.in_(_IDS), links.c.kind == CONTAINS, links.c.role == bindparam("role"))


@dataclass(frozen=True, slots=True)
class Row:
    """A link, by numbers."""

    made: int
    origin: int
    kind: EdgeKind
    role: str | None
    source: int
    name: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class KitRow:
    """What is known of a kit that was read."""

    title: str | None
    version: str | None
    size: int
    has_model: bool
    closed_layers: int
    problem: str | None
    read_at: int


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name of a kit."""

    place: str
    tag: str
    is_local: bool
    since: int
    until: int | None
    """Unix time at which the tag was found elsewhere; None while it points here."""

    @property
    def text(self) -> str:
        """A reference, where it has one."""
        if self.is_local:
            return self.tag
        return f"{self.place}{self.tag}" if self.tag.startswith("@") else f"{self.place}:{self.tag}"


class Reader:
    """Not thread-safe: it has one connection. `keys` are the ids of those whose signatures count."""

    def __init__(self, connection: Connection, keys: Collection[str]) -> None:
        self._connection = connection
        self.keys = frozenset(keys)
        # A walk meets a thing, and whoever describes it meets it again.
        self._nodes: dict[int, Node] = {}
        self._kits: dict[int, KitRow | None] = {}

    def ids(self, keys: Iterable[str]) -> dict[str, int]:
        """The numbers of the things that are known."""
        found: dict[str, int] = {}
        for chunk in chunks(keys):
            packed = {pack_key(key): key for key in chunk}
            query = select(things.c.key, things.c.id).where(things.c.key.in_(packed))
            found.update((packed[bytes(raw)], number) for raw, number in self._connection.execute(query))
        return found

    def below(self, key: str) -> tuple[int, ...]:
        """The things whose address begins with `key`, at most 10,000."""
        low = pack_key(key)
        query = select(things.c.id).where(things.c.key > low, things.c.key < low + b"\xff").limit(_PREFIX_LIMIT)
        return tuple(self._connection.scalars(query))

    def nodes(self, ids: Iterable[int]) -> dict[int, Node]:
        """What the numbers stand for."""
        wanted = list(ids)
        for chunk in chunks(number for number in wanted if number not in self._nodes):
            for number, raw, kind in self._connection.execute(_NODES, {"ids": chunk}):
                self._nodes[number] = Node(unpack_key(raw), KINDS[kind])
        return {number: self._nodes[number] for number in wanted if number in self._nodes}

    def onward(self, ids: Iterable[int]) -> Iterator[Row]:
        """Every link to something that came of these things, or holds them."""
        for chunk in chunks(ids):
            yield from self._rows(self._connection.execute(_ONWARD, {"ids": chunk}))

    def back(self, ids: Iterable[int], *, contents: bool) -> Iterator[Row]:
        """Every link to what these things came from; with `contents`, to the bytes that they hold too."""
        for chunk in chunks(ids):
            yield from self._rows(self._connection.execute(_BACK if contents else _ORIGINS, {"ids": chunk}))

    def contents(self, ids: Iterable[int], role: str, limit: int) -> Iterator[Row]:
        """The bytes that these things hold with a role, at most `limit` of five hundred of them together."""
        for chunk in chunks(ids):
            query = _HELD.limit(limit)
            yield from self._rows(self._connection.execute(query, {"ids": chunk, "role": role_number(role)}))

    def meant(self, keys: Mapping[int, str]) -> dict[int, int]:
        """The kits that names without a digest point at now, by the numbers of those names."""
        found: dict[int, int] = {}
        for number, key in keys.items():
            text = key.removeprefix(NAMED)
            if text == key:
                continue
            place, _, tag = text.rpartition(":")
            kit = self.named(place, tag, is_local=False) or self.named("", text, is_local=True)
            if kit is not None:
                found[number] = kit
        return found

    def shared(self, ids: Iterable[int], roles: Collection[str]) -> Iterator[Row]:
        """The contents of these kits that something else holds or names too, with these roles, if they are telling."""
        numbers = [role_number(role) for role in roles]
        for chunk in chunks(ids):
            yield from self._rows(self._connection.execute(_SHARED, {"ids": chunk, "roles": numbers}))

    def holdings(self, holders: Iterable[int], contents: Collection[int]) -> frozenset[int]:
        """Which of these contents one of the holders has."""
        found: set[int] = set()
        wanted = list(contents)
        for some in chunks(holders, 50):
            for chunk in chunks(wanted, 400):
                query = select(links.c.origin).where(
                    links.c.made.in_(some), links.c.origin.in_(chunk), links.c.kind == CONTAINS
                )
                found.update(self._connection.scalars(query))
        return frozenset(found)

    def kits(self, ids: Iterable[int]) -> dict[int, KitRow]:
        """What is known of the kits among these things."""
        wanted = list(ids)
        for chunk in chunks(number for number in wanted if number not in self._kits):
            self._kits.update(dict.fromkeys(chunk))
            for number, *rest in self._connection.execute(_KITS, {"ids": chunk}):
                self._kits[number] = KitRow(*rest)
        return {number: row for number in wanted if (row := self._kits.get(number)) is not None}

    def names(self, ids: Iterable[int]) -> dict[int, tuple[NameRow, ...]]:
        """The names of kits, those that hold now first."""
        found: dict[int, list[NameRow]] = {}
        for chunk in chunks(ids):
            query = (
                select(names, places.c.name.label("where"), places.c.is_local)
                .join(places, places.c.id == names.c.place)
                .where(names.c.kit.in_(chunk))
                .order_by(places.c.is_local, places.c.name, names.c.tag)
            )
            for row in self._connection.execute(query):
                found.setdefault(row.kit, []).append(
                    NameRow(row.where, row.tag, bool(row.is_local), row.since, row.until)
                )
        return {kit: tuple(sorted(some, key=lambda name: name.until is not None)) for kit, some in found.items()}

    def named(self, place: str, tag: str, *, is_local: bool) -> int | None:
        """The kit that a name points at now."""
        query = (
            select(names.c.kit)
            .join(places, places.c.id == names.c.place)
            .where(names.c.tag == tag, names.c.until.is_(None), places.c.is_local == is_local)
        )
        if not is_local:
            query = query.where(places.c.name == place)
        found: int | None = self._connection.execute(query.limit(1)).scalar()
        return found

    def sources(self, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Digest and predicate type of statements."""
        found: dict[int, tuple[str, str]] = {}
        for chunk in chunks(numbers):
            query = select(statements.c.id, statements.c.digest, statements.c.predicate_type).where(
                statements.c.id.in_(chunk)
            )
            for number, raw, kind in self._connection.execute(query):
                found[number] = (unpack_key(bytes(raw)), kind)
        return found

    def vouchers(self, kit_ids: Iterable[int]) -> dict[int, frozenset[str]]:
        """The trusted keys that stand for kits as a whole."""
        found: dict[int, set[str]] = {}
        for chunk in chunks(kit_ids if self.keys else ()):
            query = (
                select(statements.c.kit, signatures.c.key_id)
                .join(signatures, signatures.c.statement == statements.c.id)
                .where(statements.c.kit.in_(chunk), statements.c.vouches, signatures.c.key_id.in_(self.keys))
            )
            for kit, key in self._connection.execute(query):
                found.setdefault(kit, set()).add(key)
        return {kit: frozenset(some) for kit, some in found.items()}

    def signed(self, kit_ids: Iterable[int]) -> frozenset[int]:
        """The kits as a whole that anybody has signed, trusted or not."""
        found: set[int] = set()
        for chunk in chunks(kit_ids):
            query = select(statements.c.kit).where(
                statements.c.kit.in_(chunk), statements.c.vouches, statements.c.problem.is_(None)
            )
            found.update(self._connection.scalars(query))
        return frozenset(found)

    def signers(self, numbers: Iterable[int]) -> dict[int, frozenset[str]]:
        """The trusted keys that signed statements."""
        found: dict[int, set[str]] = {}
        for chunk in chunks(numbers if self.keys else ()):
            query = select(signatures.c.statement, signatures.c.key_id).where(
                signatures.c.statement.in_(chunk), signatures.c.key_id.in_(self.keys)
            )
            for number, key in self._connection.execute(query):
                found.setdefault(number, set()).add(key)
        return {number: frozenset(some) for number, some in found.items()}

    def rows(self, query: Any) -> list[Any]:
        """The rows of a query of one's own."""
        return list(self._connection.execute(query))

    def _rows(self, found: Iterable[Any]) -> Iterator[Row]:
        rows = list(found)
        own = self.vouchers({row.made for row in rows if row.source == OWN})
        said = self.signers({row.source for row in rows if row.source != OWN})
        for row in rows:
            is_proved = row.made in own if row.source == OWN else row.source in said
            yield Row(
                row.made,
                row.origin,
                LINKS[row.kind],
                ROLES[row.role],
                row.source,
                row.name,
                Standing.PROVED if is_proved else Standing.STATED,
            )
