"""Opens the files of a tree as far as it takes to say what each is: first bytes, headers, small configs, cards."""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeVar

from mlkit.archive.headers.archives import tar_names, zip_names
from mlkit.archive.headers.facts import Facts
from mlkit.archive.headers.read import read_facts
from mlkit.archive.walk import SourceFile
from mlkit.errors import IntegrityError, LimitError, StoreError
from mlkit.packing.credentials import holds_token, is_credential
from mlkit.packing.recognise import HEAD_SIZE, Guess, needs_head, recognise
from mlkit.packing.sources import open_source
from mlkit.packing.surroundings import survey
from mlkit.spec.json_text import parse_object
from mlkit.spec.media_types import Class
from mlkit.spec.yaml_problems import quoted

TEXT_LIMIT = 256 * 1024
"""Bytes that are read of a licence or model card, the longest common licence has 35,000, and of texts for tokens."""

_ARCHIVE_DOUBT = "is an archive; taken for a dataset"
_BUFFER = 256 * 1024
# As editors and downloads name it. A dataset may have such names too, so only where nobody named it.
_HALF_DONE = re.compile(r".*\.(?:tmp|part|partial|incomplete|crdownload|aria2)", re.IGNORECASE | re.DOTALL)
_SAMPLE = re.compile(r"[^/.][^.]*")

Found = TypeVar("Found")


@dataclass(slots=True)
class Seen:
    """What is known of a tree after looking at it."""

    files: dict[str, SourceFile]
    guesses: dict[str, Guess] = field(default_factory=dict)
    """Of files that hold no credentials, and of directories that were not looked into."""
    facts: dict[str, Facts] = field(default_factory=dict)
    """Of files of weights."""
    credentials: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Files with a token among other things, which are left out as credentials are."""
    half_done: list[str] = field(default_factory=list)
    """Files that somebody has not finished writing, by their names; left out as well."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Path, and what is wrong with a file that ought to say something."""


def look(files: Iterable[SourceFile]) -> Seen:
    """Recognise each file.

    Raises: ConflictError for one that changes meanwhile, StoreError for one that cannot be read.
    """
    seen = Seen({file.path: file for file in files})
    around = survey(seen.files)
    for path, file in seen.files.items():
        if _HALF_DONE.fullmatch(path):
            seen.half_done.append(path)
            continue
        head = _read(file, lambda stream: stream.read(HEAD_SIZE)) if needs_head(path, file.size) else b""
        guess = recognise(path, head, around=around)
        if guess.format is None and is_credential(head):
            seen.credentials.append(path)
            continue
        if guess.format is None and holds_token(_text_of(file, guess, head)):
            if guess.cls is not Class.MODEL:
                seen.tokens.append(path)
                continue
            # Without a tokenizer or config the model is none, and a vocabulary may hold whatever people write.
            seen.problems.append((path, "holds what looks like an access token; look at it before you pack"))
        if guess.format is not None and file.size and not _is_pointer(guess):
            seen.facts[path] = _facts(file, guess.format)
            guess = replace(guess, format=seen.facts[path].format)
        seen.guesses[path] = _checked(file, guess, seen)
    for path, facts in tuple(seen.facts.items()):
        _claim_external(seen, path, facts)
    return seen


def read_text(file: SourceFile) -> str:
    """The first 256 KiB of a text."""
    return _read(file, lambda stream: stream.read(TEXT_LIMIT)).decode("utf-8", "replace")


def read_config(seen: Seen, path: str, *, limit: int) -> Mapping[str, Any]:
    """A JSON object of a config, empty where it is none, which is then a problem."""
    raw = _read(seen.files[path], lambda stream: stream.read(limit + 1))
    try:
        return parse_object(raw, what="it", limit=limit)
    except (IntegrityError, LimitError) as error:
        seen.problems.append((path, f"is not read: {error.message}"))
        return {}


def _text_of(file: SourceFile, guess: Guess, head: bytes) -> bytes:
    """What is searched for a token: of what people write by hand more than the first bytes."""
    is_written = guess.cls not in (Class.MODEL, Class.DATASETS, Class.MCPSERVERS) and b"\0" not in head
    if not is_written or not HEAD_SIZE == len(head) < file.size:
        return head
    return _read(file, lambda stream: stream.read(TEXT_LIMIT))


def _facts(file: SourceFile, form: str) -> Facts:
    return _read(file, lambda stream: read_facts(stream, file.size, form))


def _checked(file: SourceFile, guess: Guess, seen: Seen) -> Guess:
    """A guess by name, after a look at what the name promises."""
    if guess.cls is Class.MCPSERVERS:
        try:
            names = _read(file, lambda stream: zip_names(stream, file.size))
        except IntegrityError as error:
            seen.problems.append((file.path, f"is no bundle of an MCP server: {error.message}"))
        else:
            if "manifest.json" not in names:
                seen.problems.append((file.path, "is no bundle of an MCP server: it has no manifest.json"))
    elif guess.doubt == _ARCHIVE_DOUBT and file.path.endswith(".tar") and _is_web_dataset(file):
        return replace(guess, doubt=None)
    return guess


def _claim_external(seen: Seen, path: str, facts: Facts) -> None:
    """Files that hold the tensors of a model are parts of it, whatever they are called."""
    missing: list[str] = []
    for name in facts.external:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        guess = seen.guesses.get(place)
        if guess is not None:
            # A header does not overrule what is known of a file.
            if guess.doubt is not None or (guess.cls is Class.MODEL and guess.format is None):
                seen.guesses[place] = Guess(Class.MODEL, type="external-data")
                seen.facts.pop(place, None)
        else:  # what climbs out of the tree or is absolute is not there either
            missing.append(name)
    if missing:
        shown = ", ".join(quoted(name) for name in missing[:3]) + (" and more" if len(missing) > 3 else "")
        seen.problems.append((path, f"keeps tensors in files that are not there: {shown}"))


def _is_web_dataset(file: SourceFile) -> bool:
    """Whether it begins with samples: files that share a name, each with a suffix of its own (webdataset, "Format")."""
    try:
        names = _read(file, lambda stream: tar_names(stream, file.size))
    except (IntegrityError, LimitError):
        return False  # the archive stays what it was taken for, with the doubt
    keys = [name.rpartition("/")[2].partition(".") for name in names]
    if not keys or not all(_SAMPLE.fullmatch(stem) and suffix for stem, _, suffix in keys):
        return False
    stems = [stem for stem, _, _ in keys]
    return len(set(stems)) < len(stems) or all(stem.isdigit() for stem in stems)


def _is_pointer(guess: Guess) -> bool:
    return guess.doubt is not None and "Git LFS" in guess.doubt


def _read(file: SourceFile, read: Callable[[BinaryIO], Found]) -> Found:
    with open_source(file) as raw:
        try:
            return read(io.BufferedReader(raw, _BUFFER))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StoreError(f"{file.path!a} cannot be read: {reason}") from error
