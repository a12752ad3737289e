"""From what a person types to what is meant: files are hashed, references resolved, addresses made canonical."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from mlkit.api.session import Session
from mlkit.errors import LimitError, MlkitError, NetworkError, NotFoundError, StoreError, UsageError
from mlkit.lineage.ask import Questions, Subject
from mlkit.lineage.graph import looks_like_address, node_of_uri
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

_CHUNK = 1024 * 1024
_FILE_LIMIT = 1_000_000  # files of a directory; as many as a kit may hold


def subject_of(session: Session, questions: Questions, text: str) -> Subject:
    """What `text` means: an address or digest, a file or directory that is here, or a reference, in this order.

    Raises: UsageError for what is none of these; NotFoundError for a kit that nobody knows; StoreError, LimitError.
    """
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif looks_like_address(text):
        return Subject(text, {node_of_uri(text).key: None})
    path = Path(text).expanduser()
    if path.is_file() or path.is_dir():
        return Subject(text, dict(_keys(path)))
    if text.startswith(("/", "./", "../", "~")):
        raise NotFoundError(f"{ascii(text)[:200]}: no such file or directory")
    return Subject(text, {str(resolve(session, questions, text)): None})


def resolve(session: Session, questions: Questions, text: str) -> Digest:
    """The digest of the kit that a reference means: here, in its registry, or, where that is gone, by the index.

    Raises: UsageError, NotFoundError; NetworkError, AuthError where the registry does not answer either.
    """
    if text.startswith(("sha256:", "sha512:")):
        return Digest.parse(text)
    reference = Reference.parse(text)
    if reference.digest is not None:
        return reference.digest
    try:
        return session.locate(reference).desc.digest
    except MlkitError as error:
        known = questions.named(reference)
        if known is None:
            if isinstance(error, NotFoundError) and not error.hint:
                error.hint = "a repository of Hugging Face is hf://owner/name, and a file is named by its path"
            raise
        if not isinstance(error, NotFoundError | NetworkError):
            raise
        session.progress.warn(f"{reference}: is not there any more; {known} is what the index knows of it")
        return known


def _keys(path: Path) -> Iterator[tuple[str, str | None]]:
    """The sha256 of each file, and what DVC calls it: the md5, and for a directory that of its list."""
    if path.is_file():
        sha256, md5 = _hashed(path)
        yield sha256, str(path)
        yield f"md5:{md5}", str(path)
        return
    listed: list[dict[str, str]] = []
    for file in _files(path):
        sha256, md5 = _hashed(file)
        name = file.relative_to(path).as_posix()
        listed.append({"md5": md5, "relpath": name})
        if len(listed) > _FILE_LIMIT:
            raise LimitError(f"{path}: more than {_FILE_LIMIT} files")
        # Equal to every other empty file by chance, `__init__.py` and `_SUCCESS` among them.
        if file.stat().st_size:
            yield sha256, str(file)
            yield f"md5:{md5}", str(file)
    if not listed:
        raise UsageError(f"{path}: there are no files in it")
    # As DVC writes the list of a directory (dvc-data, Tree.as_bytes).
    tree = json.dumps(sorted(listed, key=itemgetter("relpath")), sort_keys=True)
    yield f"md5:{hashlib.md5(tree.encode(), usedforsecurity=False).hexdigest()}.dir", str(path)


def _files(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                yield file


def _hashed(path: Path) -> tuple[str, str]:
    """sha256 with its name, and md5 without, in one pass. Raises: StoreError."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                sha256.update(chunk)
                md5.update(chunk)
    except OSError as error:
        raise StoreError(f"{path}: {os.strerror(error.errno or 0)}") from error
    return f"sha256:{sha256.hexdigest()}", md5.hexdigest()
