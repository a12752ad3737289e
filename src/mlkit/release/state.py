"""What the channels of a repository point at, as it is shown. Values only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mlkit.spec.digest import Digest
from mlkit.spec.release import EntryVersion, Release, Verdict


@dataclass(frozen=True, slots=True)
class LastCheck:
    """What the newest result of a kit's checks says, of those that count: signed by a trusted key, or any without one.

    It may be younger than the promotion, and is what `promote --require checks` and `rollback` go by.
    """

    passed: bool
    at: str | None
    """RFC 3339, as the signed statement says."""
    signed_by: tuple[str, ...]
    """The trusted keys whose signature holds; empty where no key is trusted."""
    attestation: Digest
    """Of the manifest that holds the result."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """Where a channel is."""

    channel: str
    digest: Digest | None
    """What the tag points at; None where it is gone."""
    release: Release | None
    """What the history says last; None where it cannot be read. Its evidence is that of the day of the promotion."""
    record: Digest | None
    is_signed: bool
    """Whether the record is signed."""
    signed_by: tuple[str, ...]
    mark: Verdict | None
    drift: str | None
    """How tag and history differ; None where they do not."""
    problem: str | None
    recent: tuple[Release, ...] = ()
    """The last records, newest first, where they were asked for."""
    check: LastCheck | None = None
    """Of the kit that the tag points at; None where no result counts, or none could be read."""
    check_problem: str | None = None
    """Why the results of its checks could not be read; None where they could."""

    @property
    def had_checks(self) -> bool:
        """Whether it was promoted with a result of checks that had passed."""
        return self.release is not None and any(one.kind == "checks" for one in self.release.evidence)


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry whose version is not the same in all channels."""

    entry: EntryVersion
    """Its version is None; see `versions`."""
    versions: tuple[tuple[str, str | None], ...]
    """By channel."""


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """The channels of one repository."""

    repository: str
    channels: tuple[ChannelState, ...]
    differences: tuple[Difference, ...]
    problem: str | None = None
    """Why nothing is known of it."""


def drift_of(digest: Digest | None, recorded: Digest | None) -> str | None:
    """How what a tag points at differs from what its history says; None where it does not."""
    if recorded is None or digest == recorded:
        return None
    return "the tag is gone" if digest is None else f"the history says {recorded}"


def differences_of(channels: Sequence[ChannelState]) -> tuple[Difference, ...]:
    """The entries whose versions differ between channels, and the kit's own version, as the entry `kit`."""
    versions: defaultdict[tuple[str, str | None], dict[str, str | None]] = defaultdict(dict)
    known = [(state.channel, state.release) for state in channels if state.release is not None]
    for channel, release in known:
        versions["kit", None][channel] = release.version
        for entry in release.entries:
            versions[entry.id, entry.name][channel] = entry.version
    return tuple(
        Difference(EntryVersion(entry, name, None), tuple((channel, of.get(channel)) for channel, _ in known))
        for (entry, name), of in versions.items()
        if len({of.get(channel) for channel, _ in known}) > 1
    )
