"""Which kit of an index is meant: by its labels, or by the GPU it fits. Nothing here does I/O.

A requirement reads `KEY=VALUE`, `KEY!=VALUE`, or compares amounts with their units: `vram<=24GB`, `params>7B`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, assert_never, cast

from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.quantities import Quantity
from mlkit.spec.kit_index import KitIndex, Variant, label_text

MEMORY_LABEL = "vram"
"""What a variant needs of a GPU's memory, such as `24GB`."""
ARCHITECTURE_LABELS = ("gpuArchs", "gpuArch")
"""The architectures that a variant was made for: a list, or text with commas between, such as `sm_80,sm_90`."""

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Pick = Callable[[Sequence[Variant]], Variant]
"""Decides between the variants that the labels leave; raises where none will do."""

_REQUIREMENT = re.compile(r"([^=<>!]+)(<=|>=|!=|==|=|<|>)(.*)", re.DOTALL)
_ARCHITECTURE = re.compile(r"(?:sm_|compute_)([0-9]{1,2})([0-9])([a-z]?)", re.ASCII)
_SHOWN = 20  # variants in one message
_HINT = "a label reads KEY=VALUE, KEY!=VALUE or, of amounts, KEY<=24GB"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One `-l`."""

    text: str
    key: str
    operator: Operator
    value: str

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Raises: UsageError for what is no requirement, and for an order between what has none."""
        found = _REQUIREMENT.fullmatch(text)
        key = found[1].strip() if found else ""
        if found is None or not key:
            raise UsageError(f"{ascii(text)[:120]} says nothing of a label", hint=_HINT)
        operator = cast(Operator, "=" if found[2] == "==" else found[2])
        requirement = cls(text, key, operator, found[3].strip())
        if operator not in ("=", "!=") and Quantity.parse(requirement.value) is None:
            raise UsageError(
                f"{ascii(text)[:120]}: {ascii(requirement.value)[:60]} is no amount that could be compared",
                hint="an amount is a number with or without a unit: 24GB, 16GiB, 7B, 8.6",
            )
        return requirement

    def is_met(self, variant: Variant) -> bool:
        """Whether a variant is as required. One without the label meets `!=`, and no other requirement."""
        has_label = self.key in variant.labels
        label = variant.labels.get(self.key)
        if self.operator == "=":
            return has_label and _is(label, self.value)
        if self.operator == "!=":
            return not (has_label and _is(label, self.value))
        found, limit = Quantity.parse(label), Quantity.parse(self.value)
        if found is None or limit is None or found.kind != limit.kind:
            return False
        match self.operator:
            case "<":
                return found.amount < limit.amount
            case "<=":
                return found.amount <= limit.amount
            case ">":
                return found.amount > limit.amount
            case ">=":
                return found.amount >= limit.amount
        assert_never(self.operator)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine."""

    name: str
    memory: int
    """Bytes."""
    compute: tuple[int, int] | None = None
    """Compute capability, as (9, 0) of an H200; None where the driver does not tell."""

    def __str__(self) -> str:
        architecture = "" if self.compute is None else f", sm_{self.compute[0]}{self.compute[1]}"
        return f"{ascii(self.name)[1:-1][:60]}, {self.memory / 1e9:.1f} GB{architecture}"


def choose(index: KitIndex, requirements: Sequence[Requirement], *, what: str, pick: Pick | None = None) -> Variant:
    """The one variant that meets all requirements, or which of those that do `pick` takes.

    Raises: NotFoundError where none does, UsageError where several do, each with a list of what there is.
    """
    met = [variant for variant in index.variants if all(one.is_met(variant) for one in requirements)]
    matching = list({variant.desc.digest: variant for variant in met}.values())
    asked = " and ".join(ascii(one.text)[1:-1][:80] for one in requirements)
    if not matching:
        why = f"no kit in the index has {asked}" if index.variants else "the index lists no kit"
        raise NotFoundError(
            f"{what}: {why}{_listed(index.variants)}",
            hint="`mlkit index list` shows labels" if index.variants else "`mlkit index add` enters one",
        )
    if pick is not None:
        return pick(matching)
    if len(matching) > 1:
        which = f"{len(matching)} kits in the index have {asked}" if asked else f"an index of {len(matching)} kits"
        raise UsageError(
            f"{what}: {which}{_listed(matching)}",
            hint="name one by its labels, as in -l KEY=VALUE, or let this machine's GPU decide: --select auto",
        )
    return matching[0]


def nothing_of(index: KitIndex, problem: str) -> NotFoundError:
    """The error for a kit that an index does not list, with a bounded list of what it does."""
    return NotFoundError(f"{problem}{_listed(index.variants)}", hint="`mlkit index list` shows what it lists")


def best_for(gpus: Sequence[Gpu]) -> Pick:
    """Takes the variant that needs most memory among those that fit one of the GPUs: the least cut down.

    Of several that need as much, the one made for the architecture that is nearest. A variant whose labels say nothing
    about GPUs is not taken, since nobody knows whether it fits.
    """

    def pick(variants: Sequence[Variant]) -> Variant:
        ranks = {variant.desc.digest: max(_ranks(variant, gpus), default=None) for variant in variants}
        highest = max((rank for rank in ranks.values() if rank is not None), default=None)
        machine = "; ".join(dict.fromkeys(map(str, gpus)))
        if highest is None:
            raise NotFoundError(
                f"no kit in the index is labelled to fit this machine's GPU ({machine}){_listed(variants)}",
                hint=f"the labels that are looked at are {MEMORY_LABEL} and {ARCHITECTURE_LABELS[0]}; "
                "-l KEY=VALUE takes any kit",
            )
        best = [variant for variant in variants if ranks[variant.desc.digest] == highest]
        if len(best) > 1:
            raise UsageError(
                f"{len(best)} kits in the index fit this machine's GPU ({machine}) equally well{_listed(best)}",
                hint="-l KEY=VALUE beside --select auto tells them apart",
            )
        return best[0]

    return pick


def _is(label: Any, value: str) -> bool:
    if label_text(label) == value:
        return True
    if isinstance(label, list):
        return any(_is(item, value) for item in label)
    found = Quantity.parse(label)
    return found is not None and found == Quantity.parse(value)


_Nearness = tuple[int, int, bool]
"""Of what was made for an architecture to a GPU that runs it; more is nearer."""
_ANY_ARCHITECTURE: _Nearness = (0, 0, False)


def _ranks(variant: Variant, gpus: Sequence[Gpu]) -> Iterator[tuple[Fraction, _Nearness]]:
    """How well a variant suits each of the GPUs that it fits."""
    architectures = [variant.labels[label] for label in ARCHITECTURE_LABELS if label in variant.labels]
    need = Quantity("bytes", Fraction()) if architectures else None
    if MEMORY_LABEL in variant.labels:
        need = Quantity.parse(variant.labels[MEMORY_LABEL])
    if need is None or need.kind != "bytes":
        return
    for gpu in gpus:
        found = [_nearness(name, gpu) for value in architectures for name in _names(value)]
        near = max((one for one in found if one is not None), default=None) if architectures else _ANY_ARCHITECTURE
        if near is not None and need.amount <= gpu.memory:
            yield need.amount, near


def _names(value: Any) -> list[str]:
    items = value if isinstance(value, list) else label_text(value).split(",")
    return [label_text(item).strip() for item in items]


def _nearness(architecture: str, gpu: Gpu) -> _Nearness | None:
    """None where the GPU does not run what was made for the architecture.

    Binaries run on GPUs of the same major version from their own minor one on, those with a letter on their own alone
    (CUDA C++ programming guide, "Binary compatibility").
    """
    found = _ARCHITECTURE.fullmatch(architecture)
    if found is None or gpu.compute is None:
        return _ANY_ARCHITECTURE if architecture.casefold() == gpu.name.casefold() else None
    major, minor, is_special = int(found[1]), int(found[2]), bool(found[3])
    runs = (major, minor) == gpu.compute or (not is_special and major == gpu.compute[0] and minor <= gpu.compute[1])
    return (major, minor, is_special) if runs else None


def _listed(variants: Sequence[Variant]) -> str:
    if not variants:
        return ""
    more = f"; and {len(variants) - _SHOWN} more" if len(variants) > _SHOWN else ""
    return f" (there are: {'; '.join(map(str, variants[:_SHOWN]))}{more})"
