"""What the JSON files beside weights tell: configs of transformers, diffusers and PEFT, indexes of shards. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONFIG_NAMES = ("config.json", "model_index.json", "adapter_config.json")
CONFIG_LIMIT = 1024 * 1024
"""Bytes of a config; those with thousands of labels have 200,000."""
INDEX_LIMIT = 4 * 1024 * 1024
"""Bytes of an index: one line for each tensor of the model."""

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[a-z0-9]+)", re.IGNORECASE)
_TEXT = 200  # characters of a value that goes into a Kitfile


@dataclass(frozen=True, slots=True)
class Shard:
    """The place of a file in a model that was cut into several."""

    group: str
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """What PEFT says of an adapter."""

    type: str | None
    rank: int | None
    alpha: int | float | None
    base: str | None
    revision: str | None


def shard_of(path: str) -> Shard | None:
    """By its name, `model-00001-of-00003.safetensors`; None for a file that is whole."""
    directory, slash, name = path.rpartition("/")
    found = _SHARD.fullmatch(name)
    if found is None or not 1 <= int(found["number"]) <= int(found["count"]):
        return None
    group = f"{directory}{slash}{found['stem']}-of-{found['count']}{found['suffix']}"
    return Shard(group, int(found["number"]), int(found["count"]))


def indexed_files(index: Mapping[str, Any]) -> set[str]:
    """Names of the files that an index puts tensors into."""
    weights = index.get("weight_map")
    return {name for name in weights.values() if isinstance(name, str)} if isinstance(weights, dict) else set()


def architecture_of(configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The class that loads the model; `configs` are by file name."""
    named = configs.get("config.json", {}).get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    found = _text(first) or _text(configs.get("config.json", {}).get("model_type"))
    return _text(configs.get("model_index.json", {}).get("_class_name")) or found


def framework_of(names: set[str], configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The library that loads the model, by the files that lie beside the weights."""
    if "adapter_config.json" in names:
        return "peft"
    if "model_index.json" in names:
        return "diffusers"
    if {"modules.json", "config_sentence_transformers.json"} & names:
        return "sentence-transformers"
    config = configs.get("config.json", {})
    return "transformers" if {"transformers_version", "model_type", "architectures"} & config.keys() else None


def quantization_of(configs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Method and width: `gptq-4bit`, `fp8`."""
    config = configs.get("config.json", {}).get("quantization_config")
    if not isinstance(config, dict):
        return None
    method = _text(config.get("quant_method"))
    bits = config.get("bits")
    if config.get("load_in_4bit") is True:
        bits = 4
    elif config.get("load_in_8bit") is True:
        bits = 8
    return f"{method}-{bits}bit" if method and type(bits) is int and 1 <= bits <= 32 else method


def adapter_of(configs: Mapping[str, Mapping[str, Any]]) -> Adapter | None:
    """What is known of the adapter, None where it is none."""
    config = configs.get("adapter_config.json")
    if config is None:
        return None
    rank, alpha = config.get("r"), config.get("lora_alpha")
    return Adapter(
        type=_text(config.get("peft_type")),
        rank=rank if type(rank) is int and 0 < rank < 2**31 else None,
        alpha=alpha if isinstance(alpha, int | float) and alpha is not True and 0 < alpha < 2**31 else None,
        base=_text(config.get("base_model_name_or_path")),
        revision=_text(config.get("revision")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _TEXT and value.isprintable() else None
