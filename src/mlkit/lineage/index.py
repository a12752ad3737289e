"""The index: what was found in which place, written in batches so that a scan can be killed and gone on with.

It is a cache of facts that lie in registries and stores. Nothing is ever taken out of it by a scan: a tag that moved
leaves its old kit, whose facts stay true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mlkit.lineage.facts import KitFacts, StatementFacts
from mlkit.lineage.graph import Edge, Node, NodeKind
from mlkit.lineage.schema import (
    KINDS,
    LINKS,
    OWN,
    about,
    failures,
    kits,
    links,
    names,
    pack_key,
    places,
    role_number,
    signatures,
    statements,
    targets,
    things,
    unpack_key,
)
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import Class
from mlkit.spec.statement import COSIGN_SIGN, MODEL_SIGNING, SLSA_PROVENANCE

VOUCHING = frozenset({COSIGN_SIGN, MODEL_SIGNING, SLSA_PROVENANCE})
"""Predicates whose signer stands for the kit as a whole, and so for what its documents state; one who scanned it does
not."""

UNFINISHED = "the scan did not come to its end"

CHUNK = 500
"""Values in one statement; SQLite takes 999 in its oldest builds."""
_COUNTS = "coverage"
_SHOWN = 100  # of kits that are named and were never seen, kept as examples
_DIGESTS = b"\x01"  # the keys before it are those of addresses
_NAME_LIMIT = 4096  # characters of a path or reference beside a link, as PATH_MAX

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag as it was found."""

    tag: str
    kit: Digest


@dataclass(frozen=True, slots=True)
class TargetState:
    """What is known of an earlier scan of a target."""

    name: str
    started_at: int
    finished_at: int | None
    """None: the scan did not come to its end."""
    state: str | None
    """What the registry said of the state of all that it holds, where it says such a thing."""
    keys: frozenset[str]
    """Ids of the keys that signatures were checked with."""
    kits: int
    problem: str | None


class Index:
    """Thread-safe as its engine is; each call is a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    def place(self, name: str, *, is_local: bool) -> int:
        """The number of a repository or store."""
        with self.engine.begin() as connection:
            _insert_new(connection, places, [{"name": name, "is_local": is_local}])
            return int(connection.execute(select(places.c.id).where(places.c.name == name)).scalar_one())

    def known(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """Which of these kits were read before, and could be."""
        found: set[Digest] = set()
        with self.engine.connect() as connection:
            for chunk in chunks(digests):
                keys = [pack_key(str(digest)) for digest in chunk]
                query = (
                    select(things.c.key)
                    .join(kits, kits.c.id == things.c.id)
                    .where(things.c.key.in_(keys), kits.c.problem.is_(None))
                )
                found.update(Digest.parse(unpack_key(key)) for key in connection.scalars(query))
        return frozenset(found)

    def current_tags(self, place: int) -> Mapping[str, Digest]:
        """What the tags of a place pointed at when it was last seen."""
        query = (
            select(names.c.tag, things.c.key)
            .join(things, things.c.id == names.c.kit)
            .where(names.c.place == place, names.c.until.is_(None))
        )
        with self.engine.connect() as connection:
            return {tag: Digest.parse(unpack_key(key)) for tag, key in connection.execute(query)}

    def write(self, place: int, found: Sequence[KitFacts], tags: Sequence[Tagged], *, at: int) -> None:
        """Add what was read, in one transaction. What is there already is left as it is, or made better."""
        with self.engine.begin() as connection:
            ids = _ids(connection, _nodes(found, tags))
            _write_kits(connection, found, ids, at)
            _write_links(connection, found, ids)
            _write_tags(connection, place, tags, ids, at)

    def write_statements(self, found: Sequence[KitFacts]) -> None:
        """Add the statements about kits that were read before; all else that `found` holds is left alone."""
        with self.engine.begin() as connection:
            only = [KitFacts(facts.digest, statements=facts.statements) for facts in found]
            _write_links(connection, only, _ids(connection, _nodes(only, ())))

    def forget_tags(self, place: int, tags: Iterable[str], *, at: int) -> None:
        """These tags are gone; what they pointed at stays known."""
        with self.engine.begin() as connection:
            for chunk in chunks(tags):
                connection.execute(
                    update(names)
                    .where(names.c.place == place, names.c.tag.in_(chunk), names.c.until.is_(None))
                    .values(until=at)
                )

    def target(self, name: str) -> TargetState | None:
        """What is known of a target."""
        return next((one for one in self.targets() if one.name == name), None)

    def targets(self) -> tuple[TargetState, ...]:
        """Every target that was ever scanned, by name."""
        with self.engine.connect() as connection:
            return tuple(
                TargetState(
                    row.name,
                    row.started_at,
                    row.finished_at,
                    row.state,
                    frozenset(row.keys.split()),
                    row.kits,
                    row.problem,
                )
                for row in connection.execute(select(targets).order_by(targets.c.name))
            )

    def start(self, name: str, *, at: int, keys: Iterable[str]) -> None:
        """A scan of a target begins: until it ends, what is known of the target is partial."""
        row = {"name": name, "started_at": at, "finished_at": None, "state": None, "keys": " ".join(sorted(keys))}
        with self.engine.begin() as connection:
            known = connection.execute(select(targets.c.kits).where(targets.c.name == name)).scalar()
            connection.execute(delete(targets).where(targets.c.name == name))
            connection.execute(
                insert(targets).values(**row, kits=known or 0, problem="the scan did not come to its end")
            )

    def finish(
        self, name: str, *, at: int, kit_count: int, state: str | None, problem: str | None, failed: Mapping[str, str]
    ) -> None:
        """A scan has ended; `failed` is what could not be read, and `problem` why it is not whole, if it is not."""
        with self.engine.begin() as connection:
            connection.execute(
                update(targets)
                .where(targets.c.name == name)
                .values(finished_at=at if problem is None else None, state=state, kits=kit_count, problem=problem)
            )
            connection.execute(delete(failures).where(failures.c.target == name))
            if failed:
                connection.execute(
                    insert(failures),
                    [{"target": name, "what": what, "problem": why, "at": at} for what, why in failed.items()],
                )
            _count(connection)

    def confirm(self, name: str, *, at: int) -> None:
        """A target is as it was when it was last scanned whole."""
        with self.engine.begin() as connection:
            connection.execute(update(targets).where(targets.c.name == name).values(started_at=at, finished_at=at))

    def forget(self, name: str) -> None:
        """A target is no longer asked about; what it brought stays."""
        with self.engine.begin() as connection:
            connection.execute(delete(targets).where(targets.c.name == name))
            connection.execute(delete(failures).where(failures.c.target == name))

    def counts(self) -> Mapping[str, Any]:
        """What was counted when the last scan ended; empty where none ever did."""
        with self.engine.connect() as connection:
            found = connection.execute(select(about.c.value).where(about.c.name == _COUNTS)).scalar()
        return json.loads(found) if found else {}


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterable[list[Item]]:
    """Lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _nodes(found: Sequence[KitFacts], tags: Sequence[Tagged]) -> dict[str, tuple[NodeKind, int | None]]:
    """Every thing that occurs, once; what is known to be a kit is called one, whoever else named it."""
    nodes: dict[str, tuple[NodeKind, int | None]] = {}

    def add(node: Node, size: int | None) -> None:
        kind, known = nodes.get(node.key, (node.kind, None))
        nodes[node.key] = (NodeKind.KIT if NodeKind.KIT in (kind, node.kind) else kind, known or size)

    for facts in found:
        for edge in _edges(facts):
            add(edge.made, None)
            add(edge.origin, edge.size)
        nodes[str(facts.digest)] = (NodeKind.KIT, facts.size)
    for tagged in tags:
        nodes.setdefault(str(tagged.kit), (NodeKind.KIT, None))
    return nodes


def _edges(facts: KitFacts) -> Iterable[Edge]:
    yield from facts.edges
    for statement in facts.statements:
        yield from statement.edges


def _ids(connection: Connection, nodes: Mapping[str, tuple[NodeKind, int | None]]) -> dict[str, int]:
    packed = {pack_key(key): key for key in nodes}
    rows = [
        {"key": raw, "kind": KINDS.index(nodes[key][0]), "size": nodes[key][1]} for raw, key in sorted(packed.items())
    ]
    _insert_new(connection, things, rows)
    ids: dict[str, int] = {}
    meant_as_kits: list[int] = []
    for chunk in chunks(packed):
        for number, raw, kind in connection.execute(
            select(things.c.id, things.c.key, things.c.kind).where(things.c.key.in_(chunk))
        ):
            key = packed[bytes(raw)]
            ids[key] = number
            if nodes[key][0] is NodeKind.KIT and kind != KINDS.index(NodeKind.KIT):
                meant_as_kits.append(number)
    for some in chunks(meant_as_kits):
        connection.execute(update(things).where(things.c.id.in_(some)).values(kind=KINDS.index(NodeKind.KIT)))
    return ids


def _write_kits(connection: Connection, found: Sequence[KitFacts], ids: Mapping[str, int], at: int) -> None:
    rows = [
        {
            "id": ids[str(facts.digest)],
            "title": _bounded(facts.title),
            "version": _bounded(facts.version),
            "size": facts.size,
            "has_model": any(edge.role == Class.MODEL.value for edge in facts.edges),
            "closed_layers": facts.closed_layers,
            "problem": _bounded(facts.problem),
            "read_at": at,
        }
        for facts in found
    ]
    for chunk in chunks([row["id"] for row in rows]):
        connection.execute(delete(kits).where(kits.c.id.in_(chunk)))
    _insert_new(connection, kits, rows)


def _write_links(connection: Connection, found: Sequence[KitFacts], ids: Mapping[str, int]) -> None:
    said = [(ids[str(facts.digest)], statement) for facts in found for statement in facts.statements]
    numbers = _write_statements(connection, said)
    rows = [
        _row(edge, ids, source)
        for facts in found
        for source, edges in [
            (OWN, facts.edges),
            *((numbers[ids[str(facts.digest)], one.digest], one.edges) for one in facts.statements),
        ]
        for edge in edges
    ]
    _insert_new(connection, links, rows)


def _write_statements(
    connection: Connection, said: Sequence[tuple[int, StatementFacts]]
) -> Mapping[tuple[int, Digest], int]:
    _insert_new(
        connection,
        statements,
        [
            {
                "kit": kit,
                "digest": pack_key(str(one.digest)),
                "predicate_type": one.predicate_type,
                "vouches": one.predicate_type in VOUCHING,
                "problem": _bounded(one.problem),
            }
            for kit, one in said
        ],
    )
    numbers: dict[tuple[int, Digest], int] = {}
    for chunk in chunks({kit for kit, _ in said}):
        query = select(statements.c.id, statements.c.kit, statements.c.digest).where(statements.c.kit.in_(chunk))
        for number, kit, raw in connection.execute(query):
            numbers[kit, Digest.parse(unpack_key(bytes(raw)))] = number
    # Keys may have been forgotten or added since these were last checked: what holds now replaces what held.
    for some in chunks([numbers[kit, one.digest] for kit, one in said]):
        connection.execute(delete(signatures).where(signatures.c.statement.in_(some)))
    signed = {(numbers[kit, one.digest], key_id) for kit, one in said for key_id in one.signed_by}
    _insert_new(connection, signatures, [{"statement": number, "key_id": key} for number, key in sorted(signed)])
    return numbers


def _write_tags(connection: Connection, place: int, tags: Sequence[Tagged], ids: Mapping[str, int], at: int) -> None:
    pointed = {tagged.tag: ids[str(tagged.kit)] for tagged in tags}
    current: dict[str, int] = {}
    for chunk in chunks(pointed):
        query = select(names.c.tag, names.c.kit).where(
            names.c.place == place, names.c.tag.in_(chunk), names.c.until.is_(None)
        )
        current.update((tag, kit) for tag, kit in connection.execute(query))
    moved = [tag for tag, kit in current.items() if pointed[tag] != kit]
    for chunk in chunks(moved):
        connection.execute(
            update(names)
            .where(names.c.place == place, names.c.tag.in_(chunk), names.c.until.is_(None))
            .values(until=at)
        )
    new = [
        {"place": place, "tag": tag, "kit": kit, "since": at, "until": None}
        for tag, kit in pointed.items()
        if current.get(tag) != kit
    ]
    _insert_new(connection, names, new)
    for row in new:
        if row["tag"] in current or len(new) < CHUNK:
            # A tag that came back to where it was before: its old row says until when, which is no longer so.
            connection.execute(
                update(names)
                .where(names.c.place == place, names.c.tag == row["tag"], names.c.kit == row["kit"])
                .values(until=None)
            )


def _row(edge: Edge, ids: Mapping[str, int], source: int) -> dict[str, Any]:
    return {
        "made": ids[edge.made.key],
        "origin": ids[edge.origin.key],
        "kind": LINKS.index(edge.kind),
        "role": role_number(edge.role),
        "source": source,
        "name": _bounded(edge.name) or "",
    }


def _bounded(text: str | None) -> str | None:
    """At most what a path may have, and nothing that PostgreSQL cannot hold."""
    return None if text is None else text[:_NAME_LIMIT].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if not rows:
        return
    statement: Any
    if connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).on_conflict_do_nothing()
    connection.execute(statement, list(rows))


def _count(connection: Connection) -> None:
    """Count what answers have to tell of, so that asking costs nothing later."""
    is_named = things.c.key < _DIGESTS
    absent = (things.c.kind == KINDS.index(NodeKind.KIT)) & kits.c.id.is_(None)
    joined = things.outerjoin(kits, kits.c.id == things.c.id)
    examples = select(things.c.key).select_from(joined).where(absent).order_by(things.c.id).limit(_SHOWN)
    counted = {
        "kits": select(func.count()).select_from(kits),
        "links": select(func.count()).select_from(links),
        "unread_kits": select(func.count()).select_from(joined).where(absent, ~is_named),
        "unpinned_kits": select(func.count()).select_from(joined).where(absent, is_named),
        "broken_kits": select(func.count()).select_from(kits).where(kits.c.problem.is_not(None)),
        "closed_kits": select(func.count()).select_from(kits).where(kits.c.closed_layers > 0),
    }
    value = {
        **{name: int(connection.execute(query).scalar_one()) for name, query in counted.items()},
        "unread_examples": _keys(connection, examples.where(~is_named)),
        "unpinned_examples": _keys(connection, examples.where(is_named)),
    }
    connection.execute(delete(about).where(about.c.name == _COUNTS))
    connection.execute(insert(about).values(name=_COUNTS, value=json.dumps(value)))


def _keys(connection: Connection, query: Any) -> list[str]:
    return [unpack_key(bytes(key)) for (key,) in connection.execute(query)]
