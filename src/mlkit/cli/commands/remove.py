"""`mlkit remove`."""

from __future__ import annotations

from mlkit.api import store
from mlkit.api.store import Removed
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument, RemoteOption


@command(example="mlkit remove digits:1.2", network=True)
def remove(call: Call, reference: ReferenceArgument, remote: RemoteOption = False) -> None:
    """Take a name away from a kit.

    The content stays until `mlkit prune`, or as long as another name holds it. A reference by digest takes all names.
    """
    with call.session() as session:
        removed = store.remove(session, reference, remote=remote)
    call.show(removed, str(removed.digest))
    call.say(f"removed {removed.reference}{_what_stays(removed)}")


def _what_stays(removed: Removed) -> str:
    if removed.is_remote:
        return ""
    if removed.names:
        more = f" and {len(removed.names) - 1} more" if len(removed.names) > 1 else ""
        return f"; the kit stays as {removed.names[0]}{more}"
    return "; `mlkit prune` frees its space when it is a day old, with --grace 0 at once"
