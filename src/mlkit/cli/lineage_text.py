"""Answers about lineage as text for people; in JSON they are what the API gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlkit.cli import render
from mlkit.lineage.answer import Answer, Branch, Comparison, Deployed, Gap, Hit, Scope, Step, Thing, Tree, Untold
from mlkit.lineage.graph import NodeKind

_GAPS = 10  # that are shown; all of them are in --json


def answer_text(found: Answer) -> str:
    """What was found, how it is known, and what it is about."""
    return "\n\n".join(block for block in (_head(found), *_hits(found.hits), foot(found)) if block)


def answer_document(found: Answer) -> dict[str, Any]:
    """The JSON form."""
    value: dict[str, Any] = render.jsonable(found)
    return {**value, "counts": dict(found.counts), "is_whole": found.scope.is_whole and not found.gaps}


def deployed_document(found: Deployed) -> dict[str, Any]:
    """The JSON form."""
    return {**render.jsonable(found), "answer": answer_document(found.answer)}


def tree_text(found: Tree) -> str:
    """A kit between its two trees."""
    blocks = []
    for title, some in (("came from", found.origins), ("came of it", found.results)):
        lines = list(_branches(some, "")) or ["  nothing that was scanned says"]
        blocks.append("\n".join([title, *lines]))
    head = f"{thing_text(found.thing)}  {short_key(found.thing.key)}"
    cut = ["more than can be shown; the rest is left out"] if found.is_cut else []
    return "\n\n".join([head, *blocks, *cut, _about(found.scope, found.gaps)])


def deployed_text(found: Deployed) -> str:
    """Channels and times, and what else came of it."""
    lines = []
    for one in found.deployments:
        until = "and still" if one.until is None else f"until {one.until} (moved by {render.cell(one.until_by)})"
        unsigned = "not signed" if one.is_signed is False else "signed by no trusted key"
        signed = ", signed" if one.signed_by else f", record {unsigned}"
        lines.append(f"{render.escape(one.place)} {render.escape(one.channel)}: {thing_text(one.thing)}")
        lines.append(f"  {one.standing}: since {one.since} {until} ({one.action} by {render.cell(one.by)}{signed})")
        if one.message:
            lines.append(f"  {render.cell(one.message, 300)}")
    kits = render.counted(len(found.answer.hits), "kit")
    if not lines:
        histories = render.counted(found.histories, "channel")
        lines.append(f"no history names it, or any of the {kits} that came of it; {histories} were scanned")
    lines.append(f"{kits} came of it, {found.unreleased} of them in no history (`mlkit lineage trained-on` lists them)")
    return "\n\n".join(["\n".join(render.wrapped(lines)), _about(found.answer.scope, found.answer.gaps)])


def untold_text(found: Untold) -> str:
    """Kits and what is missing."""
    rows = [(short_key(one.thing.key), thing_text(one.thing), one.reason) for one in found.kits]
    lines = [f"{key}  {name}: {reason}" for key, name, reason in rows]
    if found.count > len(found.kits):
        lines.append(f"and {found.count - len(found.kits)} more (see --limit)")
    head = (
        "\n".join(render.wrapped(lines)) if lines else "every kit with a model that was scanned says where it came from"
    )
    return "\n\n".join([head, _about(found.scope, found.gaps)])


def comparison_text(found: Comparison) -> str:
    """What was taken away and added."""
    lines = [f"- {thing_text(hit.thing)}{_named(hit)} [{hit.standing}]" for hit in found.removed]
    lines += [f"+ {thing_text(hit.thing)}{_named(hit)} [{hit.standing}]" for hit in found.added]
    lines.append(f"{found.kept} in both" if lines else f"the same {found.kept}, as far as anybody said")
    return "\n\n".join(["\n".join(render.wrapped(lines)), _about(found.scope, found.gaps)])


def foot(found: Answer) -> str:
    """What an answer is about, and what it cannot say."""
    return "\n".join(render.wrapped(_foot(found)))


def _about(scope: Scope, gaps: tuple[Gap, ...]) -> str:
    return "\n".join(render.wrapped([*_scope(scope), *_gaps(gaps)]))


def _named(hit: Hit) -> str:
    return _as_named(hit.steps[-1])


def _as_named(step: Step) -> str:
    # The digest of a pinned reference is that of the thing, which stands beside it.
    name = (step.name or "").partition("@sha256:")[0]
    return f" as {render.escape(name)}" if name and name != step.thing.text else ""


def _branches(branches: tuple[Branch, ...], prefix: str) -> Iterator[str]:
    for number, branch in enumerate(branches):
        is_last = number == len(branches) - 1
        yield f"{prefix}{'`-- ' if is_last else '|-- '}{step_text(branch.step)}"
        following = f"{prefix}{'    ' if is_last else '|   '}"
        yield from _branches(branch.branches, following)
        if branch.left_out:
            yield f"{following}`-- {branch.left_out} more (see --depth and --width)"


def thing_text(thing: Thing) -> str:
    """A thing on one line."""
    if thing.names or thing.former_names:
        gone = "" if thing.names else " (formerly)"
        return f"{render.escape(thing.text)}{gone}"
    return short_key(thing.key)


def short_key(key: str) -> str:
    """A digest as it stands in tables; an address as it is."""
    algorithm, colon, rest = key.partition(":")
    if colon and algorithm in ("sha256", "sha512", "md5") and len(rest) >= 32:
        return f"{algorithm}:{render.escape(rest[:12])}"
    return render.escape(key)


def step_text(step: Step) -> str:
    """How a thing hangs on the one before it."""
    name = _as_named(step)
    signed = "" if step.evidence is None or not step.evidence.signed_by else ", signed"
    note = f", {render.escape(step.note)}" if step.note else ""
    return f"{step.relation} {thing_text(step.thing)}{name} [{step.standing}{signed}{note}]"


def _head(found: Answer) -> str:
    counts = found.counts
    told = ", ".join(f"{count} {standing}" for standing, count in counts.items())
    more = " (there are more: see --limit)" if found.is_cut else ""
    if not found.hits:
        return f"nothing found for {render.escape(found.asked)} in what was scanned"
    return f"{render.escape(found.asked)}: {render.counted(len(found.hits), 'hit')}: {told}{more}"


def _hits(hits: Iterable[Hit]) -> Iterator[str]:
    for hit in hits:
        yield "\n".join(render.wrapped(_hit(hit)))


def _hit(hit: Hit) -> Iterator[str]:
    model = {True: "model", False: "no model", None: "never read"}[hit.thing.has_model]
    if hit.thing.kind is not NodeKind.KIT:
        model = hit.thing.kind.value
    version = f", version {render.cell(hit.thing.version)}" if hit.thing.version else ""
    yield f"{hit.standing.upper()}  {thing_text(hit.thing)}"
    yield f"  {short_key(hit.thing.key)}, {model}{version}"
    if hit.thing.problem:
        yield f"  not read whole: {render.cell(hit.thing.problem)}"
    for number, step in enumerate(hit.steps):
        if hit.left_out and number == len(hit.steps) // 2:
            yield f"  ... {render.counted(hit.left_out, 'step')} left out"
        if step.relation is None:
            name = f" ({render.escape(step.name)})" if step.name else ""
            yield f"  {thing_text(step.thing)}{name}"
        else:
            yield f"  {step_text(step)}"


def _foot(found: Answer) -> Iterator[str]:
    yield from _scope(found.scope)
    yield from _gaps(found.gaps)
    for note in found.notes:
        yield f"note: {render.escape(note)}"


def _scope(scope: Scope) -> Iterator[str]:
    if not scope.targets:
        yield "scanned: nothing; `mlkit lineage index TARGET` scans a store, a repository or a registry"
    else:
        whole = "" if scope.is_whole else ", NOT WHOLE"
        kits, targets = render.counted(scope.kits, "kit"), render.counted(len(scope.targets), "target")
        yield f"scanned: {kits} in {targets}{whole}"
    for target in scope.targets:
        state = "" if target.is_whole else f", partial: {render.cell(target.problem, 200)}"
        kits = render.counted(target.kits, "kit")
        yield f"  {render.escape(target.name)}  {render.moment(target.at)}  {kits}{state}"
        for key in target.unchecked_keys:
            again = f"`mlkit lineage index {render.escape(target.name)}`"
            yield f"    scanned before key {render.escape(key)} was trusted; {again} looks again"
    if not scope.keys:
        yield "trusted keys: none, so nothing can be proved (setting trusted_keys)"
    else:
        yield f"trusted keys: {', '.join(scope.keys)}"


def _gaps(gaps: tuple[Gap, ...]) -> Iterator[str]:
    if not gaps:
        return
    yield "not resolved, and more may be behind it:"
    for gap in gaps[:_GAPS]:
        yield f"  {render.cell(gap.what)}: {render.cell(gap.why, 300)}"
    if len(gaps) > _GAPS:
        yield f"  and {len(gaps) - _GAPS} more (--json shows them)"
