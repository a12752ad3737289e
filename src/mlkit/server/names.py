"""The names that come in the path of a request, checked before anything is looked up."""

from __future__ import annotations

from starlette.requests import Request

from mlkit.errors import IntegrityError, UsageError
from mlkit.server.refusal import Code, Refusal
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference, is_repository, is_tag


def repository(request: Request) -> str:
    """The repository in the path. Raises: Refusal NAME_INVALID."""
    name: str = request.path_params["name"]
    if not is_repository(name) or not _is_local(name):
        raise Refusal(
            Code.NAME_INVALID,
            f"{ascii(name)[:120]} is not a repository name here (lower-case letters, digits, '.', '_', '-' and '/', "
            "and no host name in front)",
        )
    return name


def digest(text: str) -> Digest:
    """Raises: Refusal DIGEST_INVALID."""
    try:
        return Digest.parse(text)
    except IntegrityError as error:
        raise Refusal(Code.DIGEST_INVALID, error.message) from error


def layout_name(repository: str, tag: str) -> str:
    """The name in the layout. Raises: Refusal MANIFEST_INVALID for what is no tag."""
    if not is_tag(tag):
        raise Refusal(Code.MANIFEST_INVALID, f"{ascii(tag)[:140]} is neither a tag nor a digest")
    return f"{repository}:{tag}"


def split(name: str) -> tuple[str, str] | None:
    """Repository and tag of a name in the layout; None for one that is not served, such as one with a host."""
    repository, colon, tag = name.rpartition(":")
    if not colon or not is_repository(repository) or not _is_local(repository) or not is_tag(tag):
        return None
    return repository, tag


def _is_local(repository: str) -> bool:
    # A layout keeps what was pulled as "registry.example/team/digits:1.2". A client that could push such a name would
    # plant a kit that looks as if it came from there.
    try:
        return Reference.parse(repository).host is None
    except UsageError:
        return False
