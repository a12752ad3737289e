"""Facts as rows: whole batches at once, for a transaction that somebody else holds.

Things get their numbers here. What is there already is left as it is, or made better.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mlkit.lineage.facts import KitFacts, StatementFacts
from mlkit.lineage.graph import Edge, Node, NodeKind
from mlkit.lineage.schema import (
    KINDS,
    LINKS,
    OWN,
    about,
    kits,
    links,
    names,
    pack_key,
    role_number,
    signatures,
    statements,
    things,
    unpack_key,
)
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import Class
from mlkit.spec.statement import COSIGN_SIGN, MODEL_SIGNING, SLSA_PROVENANCE

VOUCHING = frozenset({COSIGN_SIGN, MODEL_SIGNING, SLSA_PROVENANCE})
"""Predicates whose signer stands for the kit as a whole, and so for what its documents state; one who scanned it does
not."""

CHUNK = 500
"""Values in one statement; SQLite takes 999 in its oldest builds."""
COUNTS = "coverage"
"""The row of `about` that says what there was when the last scan ended."""
_SHOWN = 100  # of kits that are named and were never seen, kept as examples
_DIGESTS = b"\x01"  # the keys before it are those of addresses
_NAME_LIMIT = 4096  # characters of a path or reference beside a link, as PATH_MAX

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag as it was found."""

    tag: str
    kit: Digest


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterable[list[Item]]:
    """Lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def nodes_in(found: Sequence[KitFacts], tags: Sequence[Tagged]) -> dict[str, tuple[NodeKind, int | None]]:
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


def number(connection: Connection, nodes: Mapping[str, tuple[NodeKind, int | None]]) -> dict[str, int]:
    packed = {pack_key(key): key for key in nodes}
    rows = [
        {"key": raw, "kind": KINDS.index(nodes[key][0]), "size": nodes[key][1]} for raw, key in sorted(packed.items())
    ]
    insert_new(connection, things, rows)
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


def write_kits(connection: Connection, found: Sequence[KitFacts], ids: Mapping[str, int], at: int) -> None:
    rows = [
        {
            "id": ids[str(facts.digest)],
            "title": bounded(facts.title),
            "version": bounded(facts.version),
            "size": facts.size,
            "has_model": any(edge.role == Class.MODEL.value for edge in facts.edges),
            "closed_layers": facts.closed_layers,
            "problem": bounded(facts.problem),
            "read_at": at,
        }
        for facts in found
    ]
    for chunk in chunks([row["id"] for row in rows]):
        connection.execute(delete(kits).where(kits.c.id.in_(chunk)))
    insert_new(connection, kits, rows)


def write_links(connection: Connection, found: Sequence[KitFacts], ids: Mapping[str, int]) -> None:
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
    # In one order for everybody: two scans that write the same links to PostgreSQL at once wait for each other in turn.
    insert_new(connection, links, sorted(rows, key=lambda row: (row["made"], row["origin"], row["kind"], row["role"])))


def _write_statements(
    connection: Connection, said: Sequence[tuple[int, StatementFacts]]
) -> Mapping[tuple[int, Digest], int]:
    insert_new(
        connection,
        statements,
        [
            {
                "kit": kit,
                "digest": pack_key(str(one.digest)),
                "predicate_type": one.predicate_type,
                "vouches": one.predicate_type in VOUCHING,
                "problem": bounded(one.problem),
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
    insert_new(connection, signatures, [{"statement": number, "key_id": key} for number, key in sorted(signed)])
    return numbers


def write_tags(connection: Connection, place: int, tags: Sequence[Tagged], ids: Mapping[str, int], at: int) -> None:
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
    insert_new(connection, names, new)
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
        "name": bounded(edge.name) or "",
    }


def bounded(text: str | None) -> str | None:
    """At most what a path may have, and nothing that PostgreSQL cannot hold."""
    return None if text is None else text[:_NAME_LIMIT].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if not rows:
        return
    statement: Any
    if connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).on_conflict_do_nothing()
    connection.execute(statement, list(rows))


def count_all(connection: Connection) -> None:
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
    connection.execute(delete(about).where(about.c.name == COUNTS))
    connection.execute(insert(about).values(name=COUNTS, value=json.dumps(value)))


def _keys(connection: Connection, query: Any) -> list[str]:
    return [unpack_key(bytes(key)) for (key,) in connection.execute(query)]
