"""What a registry holds: its repositories, where it tells them, and whether anything changed since the last look.

`/v2/_catalog` is Docker's, and the OCI specification only reserves it: many registries answer it to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlkit.errors import IntegrityError, LimitError
from mlkit.registry.auth import Scope
from mlkit.registry.tags import PAGE_SIZE, pages
from mlkit.registry.wire import Call, Wire
from mlkit.spec.json_text import parse_object
from mlkit.spec.limits import raised_by
from mlkit.spec.media_types import STATE_HEADER
from mlkit.spec.reference import is_repository

_STATE = re.compile(r"[!-~]{1,200}", re.ASCII)


def list_repositories(wire: Wire) -> Iterator[str]:
    """Every repository that the registry lets us know of, each once.

    Raises: NotFoundError where it has no catalog; AuthError where we may not read it; IntegrityError; LimitError.
    """
    what = f"{wire.host}: catalog"
    call = Call("GET", wire.url("_catalog", {"n": str(PAGE_SIZE)}), Scope(actions="catalog"), what)
    seen: set[str] = set()
    for _, raw in pages(wire, call, absent=frozenset({404, 405, 501})):
        found = parse_object(raw, what=what).get("repositories")
        if found is not None and not isinstance(found, list):
            raise IntegrityError(f"{what}: the repositories are not a list")
        for name in found or ():
            if not isinstance(name, str) or not is_repository(name) or name in seen:
                continue
            if len(seen) >= wire.limits.tags:
                raise LimitError(f"{what}: more than {wire.limits.tags} repositories", hint=raised_by("tags"))
            seen.add(name)
            yield name


def state(wire: Wire) -> str | None:
    """What the registry says of the state of all that it holds: the same text as long as nothing in it changed.

    mlkit's own registry says it; others do not, and then this is None.
    """
    answer = wire.document(Call("GET", wire.base_url, Scope(), wire.host))
    told = answer.headers.get(STATE_HEADER, "")
    return told if answer.status == 200 and _STATE.fullmatch(told) else None
