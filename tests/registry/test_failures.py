"""What a registry says of its own refusals, as far as it is read."""

from __future__ import annotations

import json

from mlkit.registry.failures import ERROR_LIMIT, registry_words
from mlkit.registry.redaction import Secrets


def test_an_error_of_64_kib_is_read_and_no_more() -> None:
    raw = json.dumps({"errors": [{"code": "DENIED", "message": "not you"}]}).encode()

    assert "not you" in registry_words(raw.ljust(ERROR_LIMIT), Secrets())
    assert registry_words(raw.ljust(ERROR_LIMIT + 1), Secrets()) == ""
