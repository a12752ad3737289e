"""Weights, and what lies beside them, told apart by name alone."""

from __future__ import annotations

# What lies beside weights without being weights (ModelPack, "weight.config": tokenizer.json, config.json and the like).
_CONFIG_SUFFIXES = frozenset(
    {"json", "yaml", "yml", "toml", "ini", "cfg", "txt", "md", "jinja", "jinja2", "model", "vocab", "py", "html", "xml"}
)
_CONFIG_NAMES = frozenset({"license", "notice", "readme", "vocab", "merges", ".gitattributes"})


def is_weight(path: str) -> bool:
    """Whether a file of a model holds weights, by its name: all that is not known to be configuration."""
    name = path.rpartition("/")[2].lower()
    return name not in _CONFIG_NAMES and ("." not in name or name.rpartition(".")[2] not in _CONFIG_SUFFIXES)
