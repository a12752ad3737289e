"""The index: what was found in which place, written in batches so that a scan can be killed and gone on with.

It is a cache of facts that lie in registries and stores. Nothing is ever taken out of it by a scan: a tag that moved
leaves its old kit, whose facts stay true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, bindparam, delete, insert, select, update

from mlkit.lineage.facts import KitFacts, ReleaseFacts
from mlkit.lineage.graph import NodeKind
from mlkit.lineage.schema import (
    about,
    failures,
    kits,
    names,
    pack_key,
    places,
    releases,
    targets,
    things,
    unpack_key,
)
from mlkit.lineage.writing import (
    COUNTS,
    Tagged,
    bounded,
    chunks,
    count_all,
    insert_new,
    nodes_in,
    number,
    write_kits,
    write_links,
    write_tags,
)
from mlkit.spec.digest import Digest

UNFINISHED = "the scan did not come to its end"

_KNOWN = (
    select(things.c.key)
    .join(kits, kits.c.id == things.c.id)
    .where(things.c.key.in_(bindparam("keys", expanding=True)), kits.c.problem.is_(None))
)


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
    """Ids of the keys that the signatures on everything it holds were checked with."""
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
            insert_new(connection, places, [{"name": name, "is_local": is_local}])
            return int(connection.execute(select(places.c.id).where(places.c.name == name)).scalar_one())

    def known(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """Which of these kits were read before, and could be."""
        found: set[Digest] = set()
        with self.engine.connect() as connection:
            for chunk in chunks(digests):
                keys = [pack_key(str(digest)) for digest in chunk]
                found.update(Digest.parse(unpack_key(key)) for key in connection.scalars(_KNOWN, {"keys": keys}))
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
            ids = number(connection, nodes_in(found, tags))
            write_kits(connection, found, ids, at)
            write_links(connection, found, ids)
            write_tags(connection, place, tags, ids, at)

    def write_statements(self, found: Sequence[KitFacts]) -> None:
        """Add the statements about kits that were read before; all else that `found` holds is left alone."""
        with self.engine.begin() as connection:
            only = [KitFacts(facts.digest, statements=facts.statements) for facts in found]
            write_links(connection, only, number(connection, nodes_in(only, ())))

    def write_releases(self, place: int, found: Sequence[ReleaseFacts]) -> None:
        """The histories of the channels of a place, which take the place of what was known of these channels."""
        if not found:
            return
        with self.engine.begin() as connection:
            ids = number(connection, {str(one.kit): (NodeKind.KIT, None) for one in found})
            for channel in {one.channel for one in found}:
                connection.execute(delete(releases).where(releases.c.place == place, releases.c.channel == channel))
            rows = [
                {
                    "place": place,
                    "channel": one.channel,
                    "sequence": one.sequence,
                    "kit": ids[str(one.kit)],
                    "action": one.action,
                    "at": one.at,
                    "by": bounded(one.by),
                    "message": bounded(one.message),
                    "record": pack_key(str(one.record)),
                    "keys": " ".join(sorted(one.signed_by)),
                    "is_signed": one.is_signed,
                }
                for one in found
            ]
            insert_new(connection, releases, rows)

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
        self,
        name: str,
        *,
        at: int,
        kit_count: int,
        state: str | None,
        problem: str | None,
        failed: Mapping[str, str],
        keys: Iterable[str] | None = None,
    ) -> None:
        """A scan has ended; `failed` is what could not be read, and `problem` why it is not whole, if it is not.

        `keys` are those that every signature was checked with by then; without them, they are those of the start.
        """
        with self.engine.begin() as connection:
            if keys is not None:
                checked = " ".join(sorted(keys))
                connection.execute(update(targets).where(targets.c.name == name).values(keys=checked))
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
            count_all(connection)

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
            found = connection.execute(select(about.c.value).where(about.c.name == COUNTS)).scalar()
        return json.loads(found) if found else {}
