"""What a model card says in its head of YAML (Hugging Face, "Model Cards"). Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.errors import LimitError
from mlkit.spec.yaml_text import read_yaml

HEAD_LIMIT = 32 * 1024
"""Bytes of the YAML; cards with evaluation results have some thousand."""

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_RELATIONS = frozenset({"adapter", "finetune", "merge", "quantized"})
_NAMES = 32  # of bases or datasets; a merge of more is a list that nobody reads


@dataclass(frozen=True, slots=True)
class Card:
    """The fields of a model card that a Kitfile has room for."""

    license: str | None = None
    """As the card has it: `apache-2.0`, `llama3`, `other`."""
    bases: tuple[str, ...] = ()
    """Repositories of models on the hub."""
    relation: str | None = None
    """`adapter`, `finetune`, `merge` or `quantized`."""
    datasets: tuple[str, ...] = ()
    """Repositories of datasets on the hub."""


def parse_card(text: str) -> Card:
    """The head of a card; empty where there is none, or none that can be read."""
    found = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if found is None or len(found[1].encode("utf-8")) > HEAD_LIMIT:
        return Card()
    try:
        value = read_yaml(found[1].encode("utf-8"), what="model card").value
    except LimitError:  # a card is a hint; one nested to a hundred levels gives none
        return Card()
    if not isinstance(value, dict):
        return Card()
    relation = value.get("base_model_relation")
    licence = value.get("license")
    return Card(
        license=licence if isinstance(licence, str) and len(licence) <= 64 else None,
        bases=_repositories(value, "base_model"),
        relation=relation if isinstance(relation, str) and relation in _RELATIONS else None,
        datasets=_repositories(value, "datasets"),
    )


def is_repository(name: str) -> bool:
    """Whether it is `owner/name`, as models and datasets on the hub are called. A path may look the same."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name


def _repositories(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    named = value.get(key)
    names = named if isinstance(named, list) else [named]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and is_repository(name)))[:_NAMES]
