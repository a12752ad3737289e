"""The history of one channel as it lies in a repository: read from its tags, newest record first, each link checked.

Only what the next record names as its previous one belongs to the chain; whatever else was claimed under the same
number lost a race, and is shown as such.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.release.claims import Claim, claims_in, decided, is_contested, value_of
from mlkit.release.records import Record, read_content, read_record
from mlkit.release.store import Repository

_REPAIR = "whoever can push here can break a history: look at its tags, and remove what mlkit did not write"


@dataclass(slots=True)
class Chain:
    """A look at one history; what was read is kept, so that a second look at it costs nothing."""

    store: Repository
    repository: str
    """Without its host, as records name it."""
    channel: str
    claims: dict[int, set[Claim]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What is wrong with it, one sentence each."""
    notes: list[str] = field(default_factory=list)
    """What was found to be odd, and mended by looking elsewhere."""
    _read: dict[tuple[int, str], Record | None] = field(default_factory=dict)

    def look(self, tags: Iterable[str] | None = None) -> None:
        """List the claims anew."""
        self.claims = claims_in(self.store.tags() if tags is None else tags, self.channel)

    def sound(self, sequence: int) -> set[Claim]:
        """The claims to a record that are for records of this number in this channel."""
        return {claim for claim in self.claims.get(sequence, ()) if self.record(sequence, claim.value) is not None}

    def record(self, sequence: int, value: str) -> Record | None:
        """The record that `value` stands for; None where it cannot be read, or is not what its tag says."""
        key = (sequence, value)
        if self._read.get(key) is None:
            self._read[key] = self._find(sequence, value)
        return self._read[key]

    def head(self) -> Record | None:
        """The last record that was agreed on; None where there is none.

        Raises: IntegrityError where something was agreed on that cannot be read, or is no record of this channel, or
        where two records were agreed on under one number.
        """
        for sequence in sorted(self.claims, reverse=True):
            claims = self.claims[sequence]
            self.check_uncontested(self.sound(sequence))
            agreed = decided(self.sound(sequence))
            if agreed is not None:
                return self.record(sequence, agreed)
            commits = {claim.value for claim in claims if claim.phase == "c"}
            if commits and not self.sound(sequence):
                raise IntegrityError(
                    f"{self.store.name}: record {sequence} of {self.channel} is missing or forged", hint=_REPAIR
                )
        return None

    def check_uncontested(self, claims: Collection[Claim]) -> None:
        """Raises: IntegrityError where tags say that two records were agreed on."""
        if is_contested(claims):
            number = next(iter(claims)).sequence
            raise IntegrityError(
                f"{self.store.name}: record {number} of {self.channel} was agreed on twice: one of the two is forged",
                hint=_REPAIR,
            )

    def unfinished(self, after: int) -> set[str]:
        """Records that were begun after number `after` and never agreed on: their writers died, or are at work."""
        return {claim.value for sequence, claims in self.claims.items() if sequence > after for claim in claims}

    def losers(self, sequence: int, winner: Record) -> tuple[Record, ...]:
        """The sound records that were wanted under the same number, and did not become it."""
        values = {claim.value for claim in self.sound(sequence)} - {value_of(winner.digest)}
        found = (self.record(sequence, value) for value in sorted(values))
        return tuple(record for record in found if record is not None)

    def walk(self, head: Record | None = None) -> Iterator[Record]:
        """From the last record to the first, each the previous one of the one before.

        Ends early, with a problem noted, where one cannot be found.
        """
        record = head if head is not None else self.head()
        while record is not None:
            yield record
            record = self.before(record)

    def before(self, record: Record) -> Record | None:
        """The previous record; None for the first, and, with a problem noted, where the chain has a gap."""
        previous, sequence = record.release.previous, record.release.sequence - 1
        if previous is None:
            return None
        found = self.record(sequence, value_of(previous))
        if found is not None and found.digest == previous:
            return found
        try:
            kept = next((layer for layer in record.window if layer.digest == previous), None)
            found = None if kept is None else read_content(self.store, kept, what=str(previous))
        except (NotFoundError, IntegrityError, LimitError):
            found = None
        if found is None or not self._is_ours(found, sequence):
            self._note(
                f"record {sequence} is missing: record {sequence + 1} comes after {previous}, which is not here; "
                "what was before cannot be known"
            )
            return None
        self.notes.append(f"record {sequence} has lost its tags, and was found through record {sequence + 1}")
        # Its own window is lost with its manifest: what the later record keeps is what there is.
        return Record(found.release, found.content, found.media_type, found.envelope, record.manifest)

    def prefetch(self, threads: int) -> None:
        """Read what was agreed on of every number, several at once."""
        wanted = [
            (claim.sequence, claim.value) for claims in self.claims.values() for claim in claims if claim.phase == "c"
        ]
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda key: self.record(*key), sorted(set(wanted), reverse=True)):
                pass

    def _find(self, sequence: int, value: str) -> Record | None:
        tags = [claim.tag for claim in sorted(self.claims.get(sequence, ()), reverse=True) if claim.value == value]
        for tag in tags:
            try:
                found = read_record(self.store, tag)
            except (IntegrityError, LimitError, NotFoundError) as error:
                self._note(f"{tag}: {error.message}")
                continue
            if found is None:
                continue  # a tag that is just being written, or was deleted since
            if value_of(found.digest) != value:
                self._note(f"{tag}: holds another record than its name says")
            elif not self._is_ours(found, sequence):
                told = f"record {found.release.sequence} of {found.release.channel} in {found.release.repository}"
                self._note(f"{tag}: holds {ascii(told)[1:-1][:200]}")
            else:
                return found
        return None

    def _is_ours(self, record: Record, sequence: int) -> bool:
        release = record.release
        return (release.sequence, release.channel, release.repository) == (sequence, self.channel, self.repository)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def open_chain(store: Repository, repository: str, channel: str, tags: Collection[str] | None = None) -> Chain:
    """The history of a channel as it is now; `tags` where they were listed already."""
    chain = Chain(store, repository, channel)
    chain.look(tags)
    return chain
