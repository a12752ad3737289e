"""The report as one HTML page: no scripts, nothing loaded from anywhere, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mlkit.lineage.answer import Answer, Deployment, Hit, Scope, Step
from mlkit.lineage.graph import NodeKind, Standing
from mlkit.lineage.markup import visible
from mlkit.lineage.picture import NODE_LIMIT, picture
from mlkit.lineage.report import Report, View

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border: 1px solid #bbb; overflow-wrap: anywhere; }
th { background: #f0f0f0; white-space: nowrap; } td:first-child { min-width: 9rem; }
code { overflow-wrap: anywhere; font-size: .85em; } ol.way { margin: .3rem 0; padding-left: 1.2rem; }
.proved, .stated, .inferred { font-weight: bold; } .proved { color: #0a6b2d; } .stated { color: #1f4e9e; }
.inferred { color: #a04a00; } .warning { border-left: .4rem solid #a04a00; padding: .3rem .8rem; background: #fff8e6; }
.picture { overflow: auto; max-height: 80vh; border: 1px solid #bbb; } .hit { margin: 1rem 0; }
.hit:target { outline: 3px solid #1f4e9e; outline-offset: .3rem; } a { color: #1f4e9e; }
a:focus, .picture:focus { outline: 3px solid #1f4e9e; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
@media print {
  body { max-width: none; font-size: 11px; padding: 0; } .picture { overflow: visible; max-height: none; border: 0; }
  .picture svg { max-width: 100%; height: auto; } .hit, tr { break-inside: avoid; } h2 { break-after: avoid; }
  a { color: inherit; text-decoration: none; } .skip { display: none; }
}
"""
_TITLES = {
    View.DATA: "Which models came of this data, and where did they run?",
    View.PCI: "Where is this data?",
    View.AI_ACT: "Where does the training data of this model come from?",
}
_MEANINGS = {
    Standing.PROVED: "said by a document that a trusted key has signed",
    Standing.STATED: "said by the kit or an attestation, and signed by nobody who is trusted",
    Standing.INFERRED: "said by nobody: the same bytes, or a name without a digest",
}


def render_report_page(report: Report) -> str:
    """The whole page."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{_TITLES[report.view]} {report.answer.asked}"
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{visible(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#hits">To the hits</a>',
            *_body(report),
            "</body>",
            "</html>",
            "",
        )
    )


def _body(report: Report) -> Iterator[str]:
    answer = report.answer
    yield f"<header><h1>{visible(_TITLES[report.view])}</h1></header>"
    yield "<main>"
    yield from _question(report)
    yield from _summary(report)
    if report.view is View.AI_ACT:
        yield from _annex(answer)
    if report.view is View.PCI:
        yield from _whereabouts(report)
    yield from _runs(report)
    yield from _picture(answer)
    yield from _hits(answer)
    yield from _scope(answer.scope)
    yield from _limits(answer)
    yield from _again(report)
    yield "</main>"


def _question(report: Report) -> Iterator[str]:
    answer = report.answer
    yield f"<p>Asked about {_code(answer.asked)} at {visible(answer.scope.asked_at)}. It was understood as:</p>"
    rows = [(thing.kind.value, thing.key, ", ".join(thing.names) or "-") for thing in answer.subjects]
    yield _table(
        ("kind", "digest or address", "names"), ((kind, _code(key), visible(names)) for kind, key, names in rows)
    )


def _summary(report: Report) -> Iterator[str]:
    answer = report.answer
    yield "<h2>Answer</h2>"
    if not answer.hits:
        yield "<p><strong>Nothing was found in what was scanned.</strong> That is not the same as none: see limits.</p>"
    else:
        models = sum(hit.thing.has_model is True for hit in answer.hits)
        kits = sum(hit.thing.kind is NodeKind.KIT for hit in answer.hits)
        found = f"{len(answer.hits)} things were found: {kits} kits, {models} of them with a model."
        yield f"<p><strong>{found}</strong></p>"
    rows = ((_standing(one), str(answer.counts[one.value]), visible(_MEANINGS[one])) for one in Standing)
    yield _table(("standing", "hits", "meaning"), rows)
    if not answer.scope.is_whole:
        yield '<p class="warning">Not everything was scanned to its end: there may be more than is shown here.</p>'
    if answer.is_cut:
        yield '<p class="warning">There is more than the limits of one answer allow; the rest is left out.</p>'


def _annex(answer: Answer) -> Iterator[str]:
    """What Annex IV, 2 (d) asks for, as far as lineage can say it."""
    yield "<h2>Training data (EU AI Act, Annex IV, point 2 (d))</h2>"
    datasets = [hit for hit in answer.hits if hit.steps[-1].role in ("dataset", "datasets")]
    rows = (
        (
            visible(hit.steps[-1].name or hit.thing.text),
            _code(hit.thing.key),
            _standing(hit.standing),
            _link(hit),
        )
        for hit in datasets
    )
    yield _table(("training data set", "digest or address", "provenance", "details"), rows)
    if not datasets:
        yield '<p class="warning">Nobody stated which data sets the model was trained with.</p>'
    yield (
        "<p>Provenance is what this page documents. The rest of what point 2 (d) asks for is not in a kit, and is for "
        "the provider to write: scope and main characteristics of the data sets, how the data was obtained and "
        "selected, labelling procedures, and data cleaning methodologies.</p>"
    )


def _whereabouts(report: Report) -> Iterator[str]:
    yield "<h2>Where the data lies</h2>"
    held = (
        (visible(hit.thing.text), _code(hit.thing.key), visible(hit.steps[1].name or "-"), _standing(hit.standing))
        for hit in report.holders
    )
    yield _table(("kit", "digest", "path in the kit", "standing"), held)
    yield "<h2>What came of it</h2>"
    rows = (
        (visible(hit.thing.text), _code(hit.thing.key), _model(hit), _standing(hit.standing), _link(hit))
        for hit in report.descendants
    )
    yield _table(("kit", "digest", "what", "standing", "details"), rows)
    yield "<p>What is deleted from a registry may still lie in stores, caches and images that were made of it.</p>"


def _runs(report: Report) -> Iterator[str]:
    deployed = report.deployed
    if deployed is None:
        return
    yield "<h2>Where it ran</h2>"
    if not deployed.deployments:
        yield (
            f"<p>No history of a channel names any of these kits; {deployed.histories} channels with a history were "
            "scanned. What was deployed without a channel is not known.</p>"
        )
        return
    yield _table(
        ("kit", "repository and channel", "from", "until", "moved by", "standing", "record"),
        (_deployment(one) for one in deployed.deployments),
    )


def _deployment(one: Deployment) -> Sequence[str]:
    until = "still" if one.until is None else f"{one.until} ({one.until_by})"
    unsigned = "not signed" if one.is_signed is False else "signed by no trusted key"
    record = f"{_code(one.record)}<br>{visible('signed' if one.signed_by else unsigned)}"
    where = f"{one.place} {one.channel}"
    return (
        visible(one.thing.text),
        visible(where),
        visible(one.since),
        visible(until),
        visible(one.by),
        _standing(one.standing),
        record,
    )


def _picture(answer: Answer) -> Iterator[str]:
    if not answer.hits:
        return
    anchors = {hit.thing.key: _anchor(hit) for hit in answer.hits}
    svg, left_out = picture(answer, anchors)
    yield "<h2>Picture</h2>"
    yield (
        "<p>From what was asked about, on the left. Thick lines are proved, thin ones stated, dashed ones inferred; "
        "boxes with a blue ground hold a model.</p>"
    )
    if left_out:
        yield f'<p class="warning">Only {NODE_LIMIT} things are drawn; {left_out} ways go on beyond them.</p>'
    yield f'<div class="picture" id="picture" tabindex="0" role="region" aria-label="Picture">{svg}</div>'


def _hits(answer: Answer) -> Iterator[str]:
    yield '<h2 id="hits">Hits, with their evidence</h2>'
    for number, hit in enumerate(answer.hits, 1):
        yield f'<section class="hit" id="{_anchor(hit)}"><h3>{number}. {visible(hit.thing.text)}</h3>'
        yield f"<p>{_standing(hit.standing)}, {_model(hit)}, {_code(hit.thing.key)}</p>"
        if hit.thing.problem:
            yield f'<p class="warning">Not read whole: {visible(hit.thing.problem)}</p>'
        yield '<ol class="way">'
        yield from (f"<li>{_step(step)}</li>" for step in hit.steps)
        yield "</ol>"
        if hit.left_out:
            yield f"<p>{hit.left_out} steps in the middle are left out.</p>"
        yield "</section>"


def _step(step: Step) -> str:
    name = f" as <code>{visible(step.name)}</code>" if step.name else ""
    thing = (
        f"{visible(step.thing.text)} ({_code(step.thing.key)})"
        if step.thing.text != step.thing.key
        else _code(step.thing.key)
    )
    if step.relation is None:
        return f"{thing}{name}"
    note = f", {visible(step.note)}" if step.note else ""
    told = ""
    if step.evidence is not None:
        signed = ", signed by no trusted key" if step.evidence.is_signed else ", not signed"
        if step.evidence.signed_by:
            signed = f", signed by {visible(', '.join(step.evidence.signed_by))}"
        told = f"<br>evidence: {visible(step.evidence.where)} {_code(step.evidence.digest or '')}{signed}"
    return f"{visible(step.relation)} {thing}{name}: {_standing(step.standing)}{note}{told}"


def _scope(scope: Scope) -> Iterator[str]:
    yield "<h2>What was scanned</h2>"
    rows = (
        (
            _code(target.name),
            visible(target.at or "never to its end"),
            str(target.kits),
            visible("whole" if target.is_whole else f"partial: {target.problem}"),
        )
        for target in scope.targets
    )
    yield _table(("target", "scanned", "kits", "state"), rows)
    for target in scope.targets:
        if target.unchecked_keys:
            yield (
                f'<p class="warning">{_code(target.name)} was scanned before '
                f"{_code(', '.join(target.unchecked_keys))} was trusted, so that what that key has signed counts as "
                f"stated here: {_code(f'mlkit lineage index {target.name}')} looks again.</p>"
            )
    keys = ", ".join(scope.keys) or "none, so nothing can be proved"
    yield f"<p>Index: {_code(scope.index)}, {scope.kits} kits. Trusted keys: {_code(keys)}.</p>"


def _limits(answer: Answer) -> Iterator[str]:
    yield "<h2>Limits</h2>"
    yield (
        "<p>What was not scanned is not known. What a kit states is what its maker said; a signature says who stands "
        "for it, and not that it is true. A model whose kit states nothing may have been trained with anything.</p>"
    )
    if answer.gaps:
        yield "<p>Not resolved, and more may be behind it:</p>"
        yield _table(("what", "why"), ((_code(gap.what), visible(gap.why)) for gap in answer.gaps))


def _again(report: Report) -> Iterator[str]:
    yield "<h2>How to ask again</h2>"
    targets = " ".join(target.name for target in report.answer.scope.targets)
    yield f"<pre><code>mlkit lineage index {visible(targets)}\n{visible(report.command)}</code></pre>"
    yield f"<p>Written by mlkit {visible(report.mlkit)}. Digests are those of the bytes: anybody can check them.</p>"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of `rows` are HTML already."""
    head = "".join(f'<th scope="col">{visible(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _model(hit: Hit) -> str:
    if hit.thing.kind is not NodeKind.KIT:
        return visible(hit.thing.kind.value)
    return {True: "holds a model", False: "holds no model", None: "never read"}[hit.thing.has_model]


def _link(hit: Hit) -> str:
    return f'<a href="#{visible(_anchor(hit))}">way</a>'


def _anchor(hit: Hit) -> str:
    return f"key-{hashlib.sha256(hit.thing.key.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _standing(standing: Standing) -> str:
    return f'<span class="{standing.value}">{standing.value}</span>'


def _code(text: str) -> str:
    return f"<code>{visible(text)}</code>"
