"""Credentials by what stands in a file, where its name does not tell. Nothing here does I/O."""

from __future__ import annotations

import re

# In front of a key, not inside a program that looks for one.
_KEY = re.compile(
    rb"\A\s*-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----|\APuTTY-User-Key-File-"
    rb"|\"private_key\"\s*:\s*\"-----BEGIN"
)
_DOCKER = re.compile(rb"\A\s*\{.*\"auths\"\s*:.*\"(?:auth|identitytoken)\"\s*:", re.DOTALL)
_TOKEN = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}"
    rb"|AKIA[0-9A-Z]{16}|xox[abp]-[A-Za-z0-9-]{20,}"
    # Classes of style sheets begin so too, in small letters.
    rb"|sk-(?=[A-Za-z_-]{0,99}[0-9])(?=[a-z0-9_-]{0,99}[A-Z])[A-Za-z0-9_-]{32,})"
)
_PREFIX = re.compile(rb"\A(?:hf_|gh[pousr]_|github_pat_|glpat-|AKIA|xox[abp]-|sk-)")
_VARIED = 6  # different characters; `hf_xxxx...` and `ghp_0000...` stand where a token would
_TOKEN_FILE = 512  # bytes; the longest of these tokens has 200


def is_credential(head: bytes) -> bool:
    """Whether a file that begins so is a private key, a saved login, or a token and nothing else."""
    if _KEY.search(head) or _DOCKER.match(head):
        return True
    return len(head) <= _TOKEN_FILE and _TOKEN.fullmatch(head.strip()) is not None


def holds_token(head: bytes) -> bool:
    """Whether one of the common tokens stands in it, as in a script that should have read it from elsewhere.

    What a manual shows in place of a token is none.
    """
    return any(not _is_example(found[0]) for found in _TOKEN.finditer(head))


def _is_example(token: bytes) -> bool:
    return b"EXAMPLE" in token or len(set(_PREFIX.sub(b"", token))) < _VARIED
