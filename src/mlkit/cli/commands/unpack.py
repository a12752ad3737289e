"""`mlkit unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import transfer
from mlkit.api.pins import check_tag
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import (
    FilterOption,
    IgnoreExistingOption,
    IncludeRemoteOption,
    LabelOption,
    MetricsOption,
    OverwriteOption,
    PolicyOption,
    ReferenceArgument,
    RemoteOption,
    SelectOption,
    StrictOption,
    parse_choice,
    parse_existing,
)
from mlkit.cli.summary import left_lines, unpacked_text


@command(example="mlkit unpack digits:1.2 -d out", network=True)
def unpack(
    call: Call,
    reference: ReferenceArgument,
    directory: Annotated[Path, typer.Option("-d", "--dir", metavar="DIR", help="Write here.")] = Path(),
    labels: LabelOption = None,
    select: SelectOption = None,
    filters: FilterOption = None,
    include_remote: IncludeRemoteOption = False,
    overwrite: OverwriteOption = False,
    ignore_existing: IgnoreExistingOption = False,
    policy: PolicyOption = None,
    strict: StrictOption = False,
    metrics_file: MetricsOption = None,
    remote: RemoteOption = False,
) -> None:
    """Write the files of a kit into a directory.

    All files are verified, and written together or not at all. A kit that is not in the local store streams from its
    registry, and only the selected layers of it. Prints the paths; of more than 20 files a table by entry, and with
    --verbose the paths.
    """
    choice = parse_choice(labels, select)
    existing = parse_existing(overwrite=overwrite, ignore_existing=ignore_existing)
    with call.session(policy=policy, metrics_file=metrics_file) as session:
        if strict:
            check_tag(session, reference)
        unpacked = transfer.unpack(
            session,
            reference,
            directory,
            choice=choice,
            filters=filters or (),
            include_remote=include_remote,
            existing=existing,
            remote=remote,
        )
    call.show(unpacked, unpacked_text(unpacked, is_verbose=call.general.verbosity > 0))
    skipped = f", {render.counted(len(unpacked.skipped), 'file')} left alone" if unpacked.skipped else ""
    written = f"{render.counted(len(unpacked.files), 'file')}, {render.size(unpacked.size)}"
    call.say_all(left_lines(unpacked))
    call.say(f"unpacked {unpacked.reference} into {unpacked.directory}: {written}{skipped}")
