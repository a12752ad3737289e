"""`mlkit.fsck`: the store's soundness, for programs."""

from __future__ import annotations

from mlkit.api import fsck as api
from mlkit.api.public import _using
from mlkit.api.session import Session


def fsck(
    *, deep: bool = False, repair: bool = False, offline: bool = False, session: Session | None = None
) -> api.Report:
    """Look at the local store, and with `repair` mend it; `deep` reads every byte."""
    with _using(session, None) as own:
        return api.fsck(own, deep=deep, repair=repair, offline=offline)
