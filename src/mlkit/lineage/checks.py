"""What ran where, and what nobody can tell the origin of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import exists, func, select

from mlkit.lineage.answer import Answer, Deployed, Deployment, Unprovenanced
from mlkit.lineage.describe import describe
from mlkit.lineage.graph import Standing, weakest
from mlkit.lineage.reading import CONTAINS, Reader
from mlkit.lineage.schema import kits, links, places, releases, role_number, signatures, statements, unpack_key
from mlkit.lineage.writing import chunks
from mlkit.spec.media_types import Class

_RECORD_LIMIT = 100_000  # records of all channels that pointed at what was asked for


def deployments(reader: Reader, answer: Answer, standings: Mapping[int, Standing]) -> Deployed:
    """When which channel pointed at one of these kits."""
    wanted: set[tuple[int, str]] = set()
    for chunk in chunks(standings):
        query = select(releases.c.place, releases.c.channel).where(releases.c.kit.in_(chunk)).distinct()
        wanted.update((row.place, row.channel) for row in reader.rows(query))
    records = [row for place, channel in sorted(wanted) for row in _history(reader, place, channel)]
    things = describe(reader, {row.kit for row in records if row.kit in standings})
    found: list[Deployment] = []
    for number, row in enumerate(records[:_RECORD_LIMIT]):
        if row.kit not in standings:
            continue
        following = records[number + 1] if number + 1 < len(records) else None
        is_same = following is not None and (following.place, following.channel) == (row.place, row.channel)
        keys = tuple(sorted(reader.keys & set(row.keys.split())))
        found.append(
            Deployment(
                thing=things[row.kit],
                standing=weakest((standings[row.kit], Standing.PROVED if keys else Standing.STATED)),
                place=row.where,
                channel=row.channel,
                since=row.at,
                by=row.by,
                until=following.at if following is not None and is_same else None,
                until_by=following.by if following is not None and is_same else None,
                action=row.action,
                message=row.message,
                record=unpack_key(bytes(row.record)),
                signed_by=keys,
                is_signed=row.is_signed,
            )
        )
    counted = select(func.count()).select_from(select(releases.c.place, releases.c.channel).distinct().subquery())
    return Deployed(
        answer,
        tuple(sorted(found, key=lambda one: (one.until is not None, one.since))),
        unreleased=len(standings) - len({row.kit for row in records} & standings.keys()),
        histories=int(reader.rows(counted)[0][0]),
    )


def untold(reader: Reader, limit: int) -> tuple[int, tuple[Unprovenanced, ...]]:
    """How many kits with a model have no origin, and some of them."""
    other = links.alias("other")
    is_silent = kits.c.has_model & ~exists().where(
        other.c.made == kits.c.id,
        (other.c.kind != CONTAINS) | (other.c.role == role_number(Class.DATASETS.value)),
    )
    reasons: dict[str, Any] = {"states no inputs and holds no dataset": is_silent}
    if reader.keys:
        is_signed = exists().where(
            statements.c.kit == kits.c.id,
            statements.c.vouches,
            signatures.c.statement == statements.c.id,
            signatures.c.key_id.in_(sorted(reader.keys)),
        )
        reasons["states inputs, and nobody trusted has signed it"] = kits.c.has_model & ~is_silent & ~is_signed
    count = 0
    found: list[Unprovenanced] = []
    for reason, condition in reasons.items():
        count += int(reader.rows(select(func.count()).select_from(kits).where(condition))[0][0])
        numbers = [row.id for row in reader.rows(select(kits.c.id).where(condition).order_by(kits.c.id).limit(limit))]
        things = describe(reader, numbers)
        found += [Unprovenanced(things[number], reason) for number in numbers]
    return count, tuple(found[:limit])


def _history(reader: Reader, place: int, channel: str) -> Iterator[Any]:
    query = (
        select(releases, places.c.name.label("where"))
        .join(places, places.c.id == releases.c.place)
        .where(releases.c.place == place, releases.c.channel == channel)
        .order_by(releases.c.sequence)
        .limit(_RECORD_LIMIT)
    )
    return iter(reader.rows(query))
