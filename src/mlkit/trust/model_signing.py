"""Statements of OpenSSF model-signing, version 1.0: every file of a model with its digest.

github.com/sigstore/model-transparency, `model_signing/_signing/signing.py`. Their subject is not an artifact but one
digest over those of all files, so their verifier checks a directory; the kit that it was unpacked from is named by an
annotation of the signed subject, which their verifier passes over. Nothing here does I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import CREATED, KIT_DIGEST
from mlkit.spec.statement import MODEL_SIGNING, Statement, Subject
from mlkit.trust.keys import PrivateKey
from mlkit.trust.signer import Signer

IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
"""What their program leaves out of a directory, by the name at its root, unless it is told otherwise."""


def predicate_of(files: Mapping[str, Digest]) -> dict[str, Any]:
    """What is said of these files, by their paths. Raises: IntegrityError where one has another digest than sha256."""
    resources = []
    for path in sorted(files, key=lambda path: PurePosixPath(path).parts):
        digest = files[path]
        if digest.algorithm != "sha256":
            raise IntegrityError(f"{ascii(path)[:200]}: model-signing wants sha256, and there is {digest.algorithm}")
        if PurePosixPath(path).parts[0] not in IGNORED:
            resources.append({"name": path, "algorithm": "sha256", "digest": digest.hex})
    return {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": list(IGNORED),
        },
        "resources": resources,
    }


def statement_of(predicate: Mapping[str, Any], *, name: str, kit: Digest, created: str) -> Statement:
    """A statement with such a predicate, about a kit. Raises: IntegrityError for another shape of predicate."""
    subject = Subject(name, _root(_resources(predicate)), {CREATED: created, KIT_DIGEST: str(kit)})
    return Statement((subject,), MODEL_SIGNING, predicate)


def files_of(statement: Statement) -> dict[str, Digest]:
    """The files that a statement speaks of. Raises: IntegrityError where it contradicts itself, or hashes in shards."""
    files = _resources(statement.predicate)
    if [subject.digest for subject in statement.subjects] != [_root(files)]:
        raise IntegrityError("model-signing: the subject is not the digest of the files that are listed")
    return files


def is_ignored(path: str, statement: Statement) -> bool:
    """Whether whoever signed left a file out on purpose."""
    serialization = statement.predicate.get("serialization")
    told = serialization.get("ignore_paths") if isinstance(serialization, Mapping) else None
    ignored = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
    return any(path == one or path.startswith(f"{one}/") for one in (*ignored, *IGNORED) if one not in ("", "."))


def hint_of(signer: Signer) -> str | None:
    """What their verifier compares with its key: sha256 of the PEM, in hex. None for a key that is elsewhere."""
    return hashlib.sha256(signer.public.pem.encode("ascii")).hexdigest() if isinstance(signer, PrivateKey) else None


def _resources(predicate: Mapping[str, Any]) -> dict[str, Digest]:
    serialization = predicate.get("serialization")
    method = serialization.get("method") if isinstance(serialization, Mapping) else None
    if method != "files":
        raise IntegrityError(f"model-signing: method {ascii(method)[:50]} is not supported (expected 'files')")
    listed = predicate.get("resources")
    if not isinstance(listed, list):
        raise IntegrityError("model-signing: resources is not a list")
    files: dict[str, Digest] = {}
    for item in listed:
        name = item.get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not name or name in files:
            raise IntegrityError(f"model-signing: {ascii(name)[:200]} is no name of a file, or is there twice")
        if item.get("algorithm") != "sha256":
            raise IntegrityError(f"model-signing: {ascii(name)[:200]}: the digest is not sha256")
        files[name] = Digest.parse(f"sha256:{item.get('digest')}")
    return files


def _root(files: Mapping[str, Digest]) -> Digest:
    """In the order in which they are listed, which is their paths' where their program wrote it."""
    hasher = hashlib.sha256()
    for digest in files.values():
        hasher.update(bytes.fromhex(digest.hex))
    return Digest.finished(hasher)
