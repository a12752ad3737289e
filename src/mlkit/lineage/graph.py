"""The nouns of lineage: things, the links between them, and what each link rests on. Nothing here does I/O.

A link always goes from what came later to what it came from, so that one walk against the links answers "what came of
this?" and one along them "what is this made of?". What a thing *is* is its key: a file that was packed into two kits
under two names is one thing, because its digest is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from mlkit.errors import UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

KEY_LIMIT = 2048
"""Characters of a key; what is longer is cut in the middle by its sha256, never passed over."""

_DIGEST = re.compile(r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})", re.ASCII)
_MD5 = re.compile(r"(?:(?:dvc\+)?md5:)?([0-9a-fA-F]{32})(\.dir)?", re.ASCII)
"""With or without its name: in files of DVC it stands alone."""
_OPAQUE = re.compile(r"mlflow:runs/[\w-]{1,64}|(?:git|hf):[0-9a-f]{40}", re.ASCII)
"""Addresses that look like references."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}:", re.ASCII | re.IGNORECASE)
_HUB = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(datasets/)?([\w.-]+/[\w.-]+?)(?:/(?:tree|commit|blob)/([\w.-]+).*)?/?",
    re.ASCII,
)
_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+\.[\w.-]+):((?!/)[\w./~-]+)", re.ASCII)
_DOT_GIT = re.compile(r"\.git(?=@|$)", re.ASCII)
_REVISION = re.compile(r"@([\w.-]{1,128})", re.ASCII)


class NodeKind(StrEnum):
    """What a thing is, as far as whoever named it told; a word for people, and no part of its identity."""

    KIT = "kit"
    """A manifest, by its digest."""
    CONTENT = "content"
    """The bytes of a file or layer, by their digest."""
    DATASET = "dataset"
    CODE = "code"
    RUN = "run"
    """One run of a training or of a pipeline."""
    URI = "uri"
    """Anything else that has an address."""
    RELEASE = "release"
    """A channel of a repository: what was deployed."""


class EdgeKind(StrEnum):
    """What a link says; `made` is its later end and `origin` its earlier one."""

    CONTAINS = "contains"
    """The kit `made` holds the bytes `origin`."""
    USES = "uses"
    """`made` was made with `origin`: a dataset, code, anything."""
    BASE_MODEL = "base-model"
    """The model `made` was trained further from the model `origin`, or is an adapter of it."""
    DERIVED = "derived"
    """The dataset or file `made` was computed from `origin`."""
    PRODUCES = "produces"
    """The run `origin` produced `made`."""
    PROMOTED = "promoted"
    """The release `made` pointed at the kit `origin`."""


class Standing(StrEnum):
    """How well an answer is founded, the best first."""

    PROVED = "proved"
    """Said by a document that a trusted key has signed."""
    STATED = "stated"
    """Said by the kit or by an attestation that nobody we trust has signed."""
    INFERRED = "inferred"
    """Said by nobody: the same bytes, or a name without a digest."""

    @property
    def rank(self) -> int:
        """0 for the best."""
        return _RANKS[self]


_RANKS = {standing: number for number, standing in enumerate(Standing)}


def weakest(standings: Iterable[Standing]) -> Standing:
    """What a chain of links is worth; PROVED where there is none."""
    return max(standings, key=lambda one: one.rank, default=Standing.PROVED)


@dataclass(frozen=True, slots=True)
class Node:
    """A thing. Two nodes are the same thing when their keys are equal."""

    key: str
    """`sha256:…`, `sha512:…`, `md5:…`, or an address in canonical form."""
    kind: NodeKind

    @property
    def digest(self) -> Digest | None:
        """The digest that the thing is known by; None for an address."""
        return Digest.parse(self.key) if _DIGEST.fullmatch(self.key) else None

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a link is stated, and who answers for it."""

    where: str
    """`kit document`, `Kitfile`, `manifest`, `release record`, or the predicate type of a statement."""
    digest: Digest | None = None
    """Of the document: the kit's manifest, which covers all documents of a kit, or that of the referrer."""
    signed_by: tuple[str, ...] = ()
    """Ids of the keys whose signature on it was checked and holds; whom to trust is for whoever asks to say."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One link."""

    made: Node
    """What came later, or holds the other."""
    origin: Node
    """What it came from."""
    kind: EdgeKind
    evidence: Evidence
    role: str | None = None
    """`dataset`, `base-model`, `adapter-base`, `code`, `run`, `other`; of content, the class it has in the kit."""
    name: str | None = None
    """What `origin` is called there: a path in the kit, a reference, an address as it was written."""
    size: int | None = None
    """Bytes, of content."""


ROLE_KINDS: dict[str, tuple[EdgeKind, NodeKind]] = {
    "dataset": (EdgeKind.USES, NodeKind.DATASET),
    "base-model": (EdgeKind.BASE_MODEL, NodeKind.CONTENT),
    "adapter-base": (EdgeKind.BASE_MODEL, NodeKind.CONTENT),
    "code": (EdgeKind.USES, NodeKind.CODE),
    "run": (EdgeKind.PRODUCES, NodeKind.RUN),
}
"""What a role of `inputs:` amounts to; any other role is a plain use."""


def node_of(digest: Digest, kind: NodeKind = NodeKind.CONTENT) -> Node:
    """The thing that has a digest."""
    return Node(str(digest), kind)


def node_of_reference(reference: Reference) -> Node:
    """The kit that a reference names: by its digest where it has one, else by a name that may have moved since."""
    if reference.digest is not None:
        return node_of(reference.digest, NodeKind.KIT)
    return Node(f"oci://{reference.name}:{reference.tag or 'latest'}", NodeKind.KIT)


def node_of_uri(uri: str, kind: NodeKind = NodeKind.URI) -> Node:
    """The thing at an address, in canonical form, without the passwords that addresses may hold.

    Known besides URLs: digests, `md5:…` and `dvc+md5:…`, pages of the Hugging Face hub, `user@host:path` of Git.
    Raises: UsageError for empty text and control characters.
    """
    text = uri.strip()
    if not text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise UsageError(f"{ascii(uri)[:100]} is not an address")
    return Node(_bounded(_canonical(text)), kind)


def unpinned(node: Node) -> Node | None:
    """The same address without its revision, as in `hf://org/name@commit`; None where it has none."""
    scheme, separator, rest = node.key.partition("://")
    if not separator or not scheme.startswith(("hf", "git", "models", "delta")):
        return None
    address, at, fragment = rest.partition("#")
    head, last = address.rpartition("/")[::2]
    found = _REVISION.search(last)
    if found is None:
        return None
    return Node(f"{scheme}://{head}/{last[: found.start()]}{at}{fragment}", node.kind)


def looks_like_address(text: str) -> bool:
    """Whether text that a person gave is an address, and not a reference or a path."""
    return "://" in text or any(shape.fullmatch(text) for shape in (_MD5, _DIGEST, _OPAQUE))


def _canonical(text: str) -> str:
    md5 = _MD5.fullmatch(text)
    if md5 is not None:
        return f"md5:{md5[1].lower()}{md5[2] or ''}"
    hub = _HUB.fullmatch(text)
    if hub is not None:
        revision = f"@{hub[3]}" if hub[3] else ""
        return f"hf://{hub[1] or ''}{hub[2]}{revision}"
    if _DIGEST.fullmatch(text):
        return text
    scp = None if _SCHEME.match(text) else _SCP.fullmatch(text)
    if scp is not None:
        return f"git+ssh://{scp[1].lower()}/{_DOT_GIT.sub('', scp[2])}"
    if "://" not in text:
        return text
    return _canonical_url(text)


def _canonical_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return text
    host = (parts.hostname or "").lower()
    if not parts.scheme.lower().endswith(("http", "https", "ssh", "ftp")) and parts.netloc:
        # Buckets and owners are case-sensitive names, and no hosts; what stands before @ may still be a password.
        user, _, rest = parts.netloc.rpartition("@")
        host, port = rest if ":" in user else parts.netloc, None
    netloc = host if port is None or port == {"https": 443, "http": 80}.get(parts.scheme) else f"{host}:{port}"
    # A query holds signatures and tokens of object stores, and says nothing about which object it is.
    query = "" if parts.scheme in ("http", "https", "s3", "gs") else parts.query
    path = parts.path.rstrip("/")
    if parts.scheme.lower().startswith("git"):
        path = _DOT_GIT.sub("", path)
    return urlunsplit((parts.scheme.lower(), netloc, path, query, parts.fragment))


def _bounded(key: str) -> str:
    if len(key) <= KEY_LIMIT:
        return key
    return f"{key[: KEY_LIMIT - 80]}…{Digest.of(key.encode('utf-8', 'surrogatepass'))}"
