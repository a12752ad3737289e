"""Policies for tests: people with keys, and short ways to write the rest."""

from __future__ import annotations

from mlkit.errors import NotFoundError
from mlkit.trust.keys import generate, render_private_key
from mlkit.trust.policy import Policy
from mlkit.trust.policy_text import parse_policy

ALICE = generate()
BOB = generate("ed25519")
CAROL = generate()

KEYS = {
    "alice.pub": ALICE.public.pem.encode(),
    "bob.pub": BOB.public.pem.encode(),
    "carol.pub": CAROL.public.pem.encode(),
    "alice.key": render_private_key(ALICE, None).encode(),
}
_HEAD = "keys: {alice: {file: alice.pub}, bob: {file: bob.pub}}\n"


def policy(text: str) -> Policy:
    """A policy; the version is added where it is not told, and the keys of alice and bob where there are none."""
    head = "" if "keys: {" in text.partition("rules:")[0] or "keys:\n" in text else _HEAD
    version = "" if "version:" in text else "version: 1\n"
    return parse_policy((version + head + text).encode(), what="mlkit-policy.yaml", read_key=_read)


def _read(path: str) -> bytes:
    if path not in KEYS:
        raise NotFoundError(f"{path}: no such key")
    return KEYS[path]
