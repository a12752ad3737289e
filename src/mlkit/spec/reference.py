"""References: `[host[:port]/]repo[/…][:tag][@digest]`.

The first component is a host only if it has `.` or `:` or is `localhost`; without a host a reference is in the local
store. Names and tags follow the OCI distribution specification, "Pulling manifests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.digest import Digest

_LIMIT = 1024  # characters of a whole reference
_REPOSITORY_LIMIT = 255  # registries commonly store names in a column of this width
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
# Tags of this shape belong to the referrers fallback and to cosign; a user's tag there would be overwritten.
_RESERVED_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64,}(?:\..*)?", re.ASCII)
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]{{2,45}}\])(?::([0-9]{{1,5}}))?", re.ASCII)

_HINT = "a reference reads [host[:port]/]repository[:tag][@digest], for example registry.example/team/digits:1.2"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """Where a kit is. One in hand is always well formed; `str()` gives the text that parses to it."""

    host: str | None
    """Host with port, as written; None for the local store."""
    repository: str
    tag: str | None = None
    digest: Digest | None = None
    """Wins over the tag where both are given."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read one reference with at most one tag. Raises: UsageError."""
        reference, tags = cls.parse_tags(text)
        if len(tags) > 1:
            raise UsageError(f"{_shown(text)}: several tags make no sense here", hint=_HINT)
        return reference

    @classmethod
    def parse_tags(cls, text: str) -> tuple[Reference, tuple[str, ...]]:
        """Read `repo:tag1,tag2`: the reference with the first tag, and all tags in order. Raises: UsageError."""
        if not text or len(text) > _LIMIT:
            raise UsageError(f"{_shown(text)} is not a reference", hint=_HINT)
        if "://" in text:
            raise UsageError(f"{_shown(text)}: a reference has no scheme such as http://", hint=_HINT)
        name, at, digest_text = text.partition("@")
        try:
            digest = Digest.parse(digest_text) if at else None
        except IntegrityError as error:
            raise UsageError(f"{_shown(text)}: {error.message}", hint=_HINT) from error
        host, path = _split_host(name, text)
        repository, colon, tag_text = path.partition(":")
        if not _REPOSITORY.fullmatch(repository) or len(repository) > _REPOSITORY_LIMIT:
            raise UsageError(
                f"{_shown(text)}: {_shown(repository)} is not a repository name",
                hint="use lower-case letters, digits, '.', '_', '-' and '/', for example team/digits",
            )
        tags = tuple(dict.fromkeys(tag_text.split(","))) if colon else ()
        for tag in tags:
            check_tag(tag)
        return cls(host, repository, tags[0] if tags else None, digest), tags

    @property
    def name(self) -> str:
        """Host and repository, without tag and digest."""
        return self.repository if self.host is None else f"{self.host}/{self.repository}"

    @property
    def local_name(self) -> str:
        """The name under which the local store keeps the kit: host, repository and tag, by default `latest`."""
        return f"{self.name}:{self.tag or 'latest'}"

    @property
    def target(self) -> str:
        """What to resolve in the repository: the digest if there is one, else the tag, else `latest`."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """The same repository under another tag and no digest. Raises: UsageError for what is no tag."""
        check_tag(tag)
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository and tag, pinned."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def check_tag(tag: str) -> None:
    """Raises: UsageError where `tag` is no tag, or one of the shapes that signatures and referrers use."""
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{_shown(tag)} is not a tag", hint="use at most 128 letters, digits, '.', '_' and '-', first no '.' or '-'"
        )
    if is_reserved_tag(tag):
        raise UsageError(f"{_shown(tag)}: tags of this shape are kept for signatures and referrers")


def is_tag(text: str) -> bool:
    """Whether a registry or a layout may use `text` as a tag; reserved shapes count."""
    return _TAG.fullmatch(text) is not None


def is_reserved_tag(tag: str) -> bool:
    """Whether signatures and referrers use tags of this shape, and people do not."""
    return _RESERVED_TAG.fullmatch(tag) is not None


def is_repository(text: str) -> bool:
    """Whether `text` is a repository name without host, tag and digest."""
    return len(text) <= _REPOSITORY_LIMIT and _REPOSITORY.fullmatch(text) is not None


def check_host(text: str) -> str:
    """`text`, if it is `host[:port]` of a registry, with the host in lower case. Raises: UsageError."""
    found = _HOST.fullmatch(text)
    if found is None or (found[2] is not None and not 0 < int(found[2]) < 65536) or len(text) > 260:
        raise UsageError(
            f"{_shown(text)} is not a registry host", hint="a host reads registry.example or localhost:5000"
        )
    return text.lower()


def _split_host(name: str, text: str) -> tuple[str | None, str]:
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first.lower() == "localhost"):
        return None, name
    if not rest:
        raise UsageError(f"{_shown(text)}: no repository after the host", hint=_HINT)
    return check_host(first), rest


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 120 else shown[:117] + "..."
