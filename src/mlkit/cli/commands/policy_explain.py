"""`mlkit policy explain`."""

from __future__ import annotations

import typer

from mlkit.api import policies
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import (
    LabelOption,
    PolicyOption,
    ReferenceArgument,
    RemoteOption,
    SelectOption,
    parse_choice,
)
from mlkit.cli.policy_text import report_text


@command(example="mlkit policy explain digits:1.2 --policy mlkit-policy.yaml", network=True)
def explain(
    call: Call,
    reference: ReferenceArgument,
    labels: LabelOption = None,
    select: SelectOption = None,
    policy: PolicyOption = None,
    remote: RemoteOption = False,
) -> None:
    """Say which rule is for a kit, and what came of it.

    Exit 1 where the policy would refuse the kit. Nothing is fetched but signatures and the kit's small documents.
    """
    choice = parse_choice(labels, select)
    with call.session(policy=policy) as session:
        report = policies.explain(session, reference, choice=choice, remote=remote)
    call.show(report, report_text(report))
    raise typer.Exit(1 if report.is_refused else 0)
