"""A slice of `make fuzz`: seeds and what random changes make of them, always the same ones."""

from __future__ import annotations

import random

import pytest
from tests.fuzz.targets import TARGETS
from tests.support.scale import SCALE


def mutated(seed: bytes, chosen: random.Random) -> bytes:
    """A few bytes changed, taken out, put in, or given twice."""
    raw = bytearray(seed)
    for _ in range(chosen.randint(1, 6)):
        at = chosen.randrange(len(raw) + 1)
        match chosen.randrange(5):
            case 0 if at < len(raw):
                raw[at] = chosen.choice([0, 255, 0x2E, 0x2F, 0x22, 0x7B, chosen.randrange(256)])
            case 1:
                del raw[at : at + chosen.randint(1, 16)]
            case 2:
                raw[at:at] = chosen.randbytes(chosen.randint(1, 16))
            case 3:
                raw[at:at] = raw[at : at + chosen.randint(1, 64)]
            case _ if at < len(raw):
                raw[at] ^= 1 << chosen.randrange(8)
    return bytes(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    chosen = random.Random(name)

    for seed in target.seeds:
        target.check(seed)
    for _ in range(300 * SCALE):
        target.check(mutated(chosen.choice(target.seeds), chosen))
        target.check(chosen.randbytes(chosen.randint(0, 200)))
