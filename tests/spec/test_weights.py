"""What of a model is weights, by name."""

from __future__ import annotations

import pytest

from mlkit.spec.weights import is_weight


@pytest.mark.parametrize(
    "path", ["model.safetensors", "a/b/pytorch_model-00001-of-00002.bin", "weights", "x.GGUF", ".x"]
)
def test_what_is_not_known_to_be_configuration_is_weights(path: str) -> None:
    assert is_weight(path)


@pytest.mark.parametrize(
    "path",
    ["config.json", "a/tokenizer.model", "LICENSE", "a/README", "Readme.MD", "vocab", "a/merges.TXT", ".gitattributes"],
)
def test_what_lies_beside_weights_is_none(path: str) -> None:
    assert not is_weight(path)
