"""Names of files are UTF-8 in every kit, whatever the locale of the machine says."""

from __future__ import annotations

import sys

from mlkit.errors import UsageError


def require_utf8() -> None:
    """Call before names are read from a disk or written to one.

    Under a locale with another encoding, Python reads the bytes of a name as other characters than they are elsewhere,
    and the same tree would be another kit. Raises: UsageError.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UsageError(
            f"this locale has file names in {encoding} (expected UTF-8)", hint="set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        )
