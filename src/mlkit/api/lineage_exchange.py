"""Lineage for other tools: pictures, events, bills of materials; and sending events to a catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlkit import __version__
from mlkit.api import boms, lineage
from mlkit.api.session import Session
from mlkit.errors import NetworkError, UsageError
from mlkit.lineage.exchange.diagrams import dot, mermaid
from mlkit.lineage.exchange.openlineage import events
from mlkit.spec.json_text import render_json
from mlkit.spec.reference import Reference

Form = Literal["openlineage", "cyclonedx", "dot", "mermaid"]

_WIDTH = 1000
_SEND_SECONDS = 30.0
_PRODUCER = f"https://mlkit.dev/mlkit/{__version__}"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    form: Form
    text: str
    sent: int | None
    """Events that a catalogue took; None where none was to be sent."""
    is_cut: bool
    """There is more than `depth` and limits allow."""


def export(
    session: Session,
    what: str,
    form: Form,
    *,
    depth: int = 10,
    now: datetime,
    send: str | None = None,
    token: str | None = None,
    refresh: bool = False,
) -> Exported:
    """What a kit came from and what came of it. With `send`, a URL, each event is posted there, the earliest first.

    Marquez takes events at `/api/v1/lineage`. Raises: UsageError; NetworkError, and then the events before were taken.
    """
    if send is not None and form != "openlineage":
        raise UsageError(f"{form} is nothing that a catalogue takes", hint="--format openlineage has events")
    if form == "cyclonedx":
        bill = boms.bom(session, Reference.parse(what))
        return Exported(form, json.dumps(bill, indent=2, ensure_ascii=False, sort_keys=True), None, is_cut=False)
    tree = lineage.tree(session, what, depth=depth, width=_WIDTH, refresh=refresh)
    if form != "openlineage":
        text = dot(tree) if form == "dot" else mermaid(tree)
        return Exported(form, text.rstrip("\n"), None, tree.is_cut)
    found = events(tree, at=now, producer=_PRODUCER)
    lines = [render_json(event) for event in found]
    if send is not None:
        for line in lines:
            _send(session, send, line, token)
    text = "\n".join(line.decode("utf-8") for line in lines)
    return Exported(form, text, len(lines) if send is not None else None, tree.is_cut)


def _send(session: Session, url: str, event: bytes, token: str | None) -> None:
    from mlkit.registry.visit import visit

    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = visit(url, session.outside(), method="POST", body=event, headers=headers, timeout=_SEND_SECONDS)
    if not answer.is_good:
        raise NetworkError(f"{url}: answered {answer.status} to an event", hint="Marquez takes them at /api/v1/lineage")
