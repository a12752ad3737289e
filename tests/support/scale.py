"""How much of what could go on for ever a run does: a slice in `make test`, more in `make soak` and `make fuzz`."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("MLKIT_TEST_SCALE", "1"))
"""By how much rounds and examples are multiplied."""
