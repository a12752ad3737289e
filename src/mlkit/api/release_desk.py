"""What promote, rollback and mark have in common: who writes, with which key, on top of which history."""

from __future__ import annotations

import getpass
import random
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlkit.api.channel_store import repository_of
from mlkit.api.evidence import signer_for
from mlkit.api.kit_facts import trusted_keys
from mlkit.api.session import Located, Session
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, PolicyError
from mlkit.release.append import Appended, Timing, append, settle
from mlkit.release.chain import Chain, open_chain
from mlkit.release.records import Record, Seal
from mlkit.release.store import Repository
from mlkit.spec.bundle import render_bundle
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.release import MARKS, Release
from mlkit.spec.statement import Statement
from mlkit.trust.keys import PublicKey
from mlkit.trust.signer import Signer, sign_statement, signers_of

_ACCEPT = "--accept-untrusted goes on from it all the same; your record then vouches for what is there"


@dataclass(frozen=True, slots=True)
class Desk:
    """One repository, and the person who is at work on its channels."""

    session: Session
    reference: Reference
    """Of the repository; tag and digest are not looked at."""
    store: Repository
    keys: Mapping[str, PublicKey]
    signer: Signer | None
    by: str
    now: Callable[[], datetime]
    timing: Timing

    @property
    def repository(self) -> str:
        """As records name it: without a host."""
        return self.reference.repository

    def chain(self, channel: str, tags: Collection[str] | None = None) -> Chain:
        """The history of a channel."""
        return open_chain(self.store, self.repository, channel, tags)

    def signers(self, record: Record) -> tuple[str, ...]:
        """The names of the trusted keys that signed a record."""
        return () if record.envelope is None else signers_of(record.envelope, self.keys)

    def check_head(self, chain: Chain, head: Record | None, *, accept_untrusted: bool, writes: bool = True) -> None:
        """See that the history ends well, and will again: linked, and signed by a trusted key where there are any.

        Raises: IntegrityError where the last record follows one that is nowhere; PolicyError.
        """
        if accept_untrusted:
            return
        if head is not None and head.release.sequence > 1 and chain.before(head) is None:
            raise IntegrityError(f"{self.store.name}: {chain.channel}: {chain.problems[-1]}", hint=_ACCEPT)
        if not self.keys or not writes:
            return
        if head is not None and not self.signers(head):
            told = "signed by no trusted key" if head.envelope is not None else "not signed"
            raise PolicyError(
                f"{self.store.name}: the last record of {head.release.channel} is {told} "
                f"(record {head.release.sequence}, by {ascii(head.release.by)[1:-1][:100]})",
                hint=_ACCEPT,
            )
        if self.signer is None or self.signer.key_id not in {key.key_id for key in self.keys.values()}:
            raise PolicyError(
                f"{self.store.name}: records are to be signed by a trusted key, and "
                + ("there is none to sign with" if self.signer is None else "the given one is none"),
                hint="--key names one, or the setting signing_key; --accept-untrusted goes without",
            )

    def at(self) -> str:
        """Now, as records say it."""
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def append(self, chain: Chain, before: Record | None, release: Callable[[int, Digest | None], Release]) -> Appended:
        """Write a record and move the channel's tag. Raises: ConflictError where somebody else was faster."""
        appended = append(chain, release, before=before, seal=self._seal(), timing=self.timing)
        settle(chain)
        return appended

    def mark(self, release: Callable[[int, Digest | None], Release]) -> Record:
        """Write a mark after all others; two at once are both written."""
        while True:
            chain = self.chain(MARKS)
            appended = append(chain, release, before=chain.head(), seal=self._seal(), timing=self.timing)
            if appended.is_ours:
                return appended.record

    def locate(self, reference: Reference) -> Located:
        """A kit in this repository, and in no mirror or local copy of it. Raises: NotFoundError, ConflictError."""
        if reference.host is None:
            return self.session.here(reference, self.session.local(reference))
        registry = self.session.registry(reference)
        try:
            desc = registry.resolve(reference.target)
        except NotFoundError as error:
            if not error.hint and self.session.find_local(reference) is not None:
                error.hint = f"it is in the local store: `mlkit push {reference}` sends it"
            raise
        return Located(reference, desc, registry, "remote")

    def _seal(self) -> Seal | None:
        signer = self.signer
        if signer is None:
            return None

        def seal(statement: Statement) -> bytes:
            return render_bundle(sign_statement(statement, signer))

        return seal


def open_desk(
    session: Session,
    reference: Reference,
    *,
    key: Path | None = None,
    writes: bool = True,
    now: Callable[[], datetime] | None = None,
    timing: Timing | None = None,
) -> Desk:
    """The desk of a repository; a key is opened only where something is written. Raises: what keys and stores raise."""
    return Desk(
        session=session,
        reference=reference,
        store=repository_of(session, reference),
        keys=trusted_keys(session),
        signer=signer_for(session, key) if writes else None,
        by=session.settings.actor or somebody(),
        now=now or (lambda: datetime.now(UTC)),
        timing=timing or Timing(time.sleep, random.random),
    )


def lost(desk: Desk, winner: Record) -> ConflictError:
    """The error for a channel that somebody else moved first."""
    release = winner.release
    version = f" (version {ascii(release.version)[1:-1][:60]})" if release.version else ""
    return ConflictError(
        f"{desk.store.name}:{release.channel}: was moved to {release.to}{version} by {ascii(release.by)[1:-1][:100]} "
        f"at {release.at} (record {release.sequence}) meanwhile",
        hint="`mlkit history` shows both; do it again if it still should be done",
    )


def somebody() -> str:
    """User and machine; not believed by anybody, which is what signatures are for."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have a number and no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
