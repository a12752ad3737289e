"""From numbers to what people read: things with their names, and the steps of a way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlkit.lineage.answer import Evidence, Hit, Step, Thing
from mlkit.lineage.graph import EdgeKind, NodeKind
from mlkit.lineage.reading import NameRow, Reader, Row
from mlkit.lineage.schema import OWN
from mlkit.lineage.spread import Spread, Visit

_SHOWN_STEPS = 20  # of a way; longer ones lose their middle
_SHOWN_NAMES = 20  # of one kit
_FORWARD = {
    EdgeKind.CONTAINS: "is in",
    EdgeKind.USES: "was used by",
    EdgeKind.BASE_MODEL: "is the base of",
    EdgeKind.DERIVED: "became",
    EdgeKind.PRODUCES: "produced",
    EdgeKind.PROMOTED: "was released as",
}
_BACKWARD = {
    EdgeKind.CONTAINS: "holds",
    EdgeKind.USES: "used",
    EdgeKind.BASE_MODEL: "is based on",
    EdgeKind.DERIVED: "came from",
    EdgeKind.PRODUCES: "was produced by",
    EdgeKind.PROMOTED: "pointed at",
}


def describe(reader: Reader, ids: Iterable[int]) -> dict[int, Thing]:
    """The things behind numbers."""
    wanted = list(ids)
    nodes = reader.nodes(wanted)
    kits = reader.kits(number for number, node in nodes.items() if node.kind is NodeKind.KIT)
    names = reader.names(kits)
    return {
        number: Thing(
            key=node.key,
            kind=node.kind,
            names=_texts(name for name in names.get(number, ()) if name.until is None),
            former_names=_texts(name for name in names.get(number, ()) if name.until is not None),
            title=kits[number].title if number in kits else None,
            version=kits[number].version if number in kits else None,
            has_model=kits[number].has_model if number in kits else None,
            problem=kits[number].problem if number in kits else None,
        )
        for number, node in nodes.items()
    }


def hits(reader: Reader, found: Spread, numbers: Iterable[int], labels: Mapping[str, str | None]) -> list[Hit]:
    """Each of these things with the way to it; `labels` are what the things that were asked about are called."""
    ways = found.ways(numbers, _SHOWN_STEPS // 2)
    steps = steps_of(reader, found, dict.fromkeys(at for way, _ in ways.values() for at in way), labels)
    return [
        Hit(
            steps[number].thing,
            found.visits[number].standing,
            found.visits[number].depth,
            tuple(steps[at] for at in way),
            left_out,
        )
        for number, (way, left_out) in ways.items()
    ]


def steps_of(
    reader: Reader, found: Spread, numbers: Iterable[int], labels: Mapping[str, str | None] | None = None
) -> dict[int, Step]:
    """How each of these things was reached."""
    visits = {number: found.visits[number] for number in numbers}
    things = describe(reader, visits)
    evidence = evidence_of_rows(reader, (visit.row for visit in visits.values() if visit.row), things)
    return {number: _step(things[number], visit, evidence, labels or {}) for number, visit in visits.items()}


def evidence_of_rows(
    reader: Reader, rows: Iterable[Row], things: Mapping[int, Thing]
) -> dict[tuple[int, int], Evidence]:
    """What each link rests on, by what it makes and its source."""
    wanted = list(rows)
    kits = {row.made for row in wanted if row.source == OWN}
    own, signed = reader.vouchers(kits), reader.signed(kits)
    numbers = {row.source for row in wanted if row.source != OWN}
    statements, signers = reader.sources(numbers), reader.signers(numbers)
    absent = {row.made for row in wanted if row.made not in things}
    keys = {**{number: thing.key for number, thing in things.items()}}
    keys |= {number: node.key for number, node in reader.nodes(absent).items()}
    found: dict[tuple[int, int], Evidence] = {}
    for row in wanted:
        if row.source == OWN:
            keys_of = tuple(sorted(own.get(row.made, ())))
            found[row.made, OWN] = Evidence("kit", keys[row.made], keys_of, row.made in signed)
        else:
            digest, kind = statements[row.source]
            # A statement is read out of an envelope, and there is none without a signature.
            keys_of = tuple(sorted(signers.get(row.source, ())))
            found[row.made, row.source] = Evidence(kind, digest, keys_of, is_signed=True)
    return found


def relation(row: Row, *, to: int, is_same_bytes: bool = False) -> str:
    """What a link says, read towards one of its ends."""
    if is_same_bytes:
        return "has the same bytes as"
    return (_FORWARD if to == row.made else _BACKWARD)[row.kind]


def _step(
    thing: Thing, visit: Visit, evidence: Mapping[tuple[int, int], Evidence], labels: Mapping[str, str | None]
) -> Step:
    row = visit.row
    if row is None:
        relation_to = None if visit.origin is None else "is known by the name"
        return Step(thing, relation_to, name=labels.get(thing.key), standing=visit.standing, note=visit.note)
    at = row.origin if visit.origin == row.made else row.made
    return Step(
        thing,
        relation(row, to=at),
        row.role,
        row.name or None,
        visit.own or row.standing,
        evidence[row.made, row.source],
        visit.note,
    )


def _texts(names: Iterable[NameRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.text for name in names if not name.text.startswith("@")))[:_SHOWN_NAMES]
