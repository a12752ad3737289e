"""Who signs where signing is only asked for now and then. Imports no cryptography where it is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlkit.api.session import Session
    from mlkit.trust.signer import Signer


def named_signer(session: Session, key: str | os.PathLike[str] | None) -> Signer | None:
    """The private key in a file that was named; None where none was, whatever the settings say."""
    if key is None:
        return None
    from mlkit.api.signers import require_signer

    return require_signer(session, Path(key))
