"""`mlkit prune --remote`: the plan and what came of it, told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.releasing import parse_duration
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from mlkit.api.retention import Pruned
    from mlkit.release.retention import Decision, Rules

_TAGS = 4  # of one kit in a table


def parse_rules(keep: int | None, keep_within: str | None, *, is_whole: bool) -> Rules:
    """What is kept. Raises: UsageError."""
    from mlkit.release.retention import Rules

    within = timedelta(seconds=parse_duration(keep_within)) if keep_within is not None else None
    return Rules(keep, within, is_whole)


def prune_repository(call: Call, repository: Reference, rules: Rules, *, dry_run: bool) -> None:
    """Plan, and where that was asked for, delete; then tell."""
    from mlkit.api import retention

    with call.session() as session:
        pruned = retention.prune_remote(session, repository, rules, dry_run=dry_run)
    call.show(pruned, _table(pruned))
    going = sum(not decision.is_kept for decision in pruned.decisions)
    if dry_run:
        call.say(
            f"would remove {render.counted(going, 'kit')} of {len(pruned.decisions)}: nothing is done without --yes"
        )
        return
    along = f", with {render.counted(pruned.referrers, 'referrer')}" if pruned.referrers else ""
    call.say(f"removed {render.counted(len(pruned.removed), 'kit')} of {len(pruned.decisions)}{along}")
    call.say_all(f"spared {digest}: a channel was moved to it meanwhile" for digest in pruned.spared)
    if pruned.removed:
        call.say("its blobs go when the registry collects its garbage")


def _table(pruned: Pruned) -> str:
    removed = set(pruned.removed) | (
        {one.kit.digest for one in pruned.decisions if not one.is_kept} if pruned.dry_run else set()
    )
    rows = [
        (
            "remove" if one.kit.digest in removed else "keep",
            render.cell(_tags(one), 30),
            one.kit.digest.short,
            one.kit.created.strftime("%Y-%m-%d") if one.kit.created else "-",
            render.cell(one.reason, 30),
        )
        for one in pruned.decisions
    ]
    return render.table(("", "TAGS", "DIGEST", "SEEN", "BECAUSE"), rows)


def _tags(one: Decision) -> str:
    tags = sorted(one.kit.tags)
    more = f" +{len(tags) - _TAGS}" if len(tags) > _TAGS else ""
    return ",".join(tags[:_TAGS]) + more
