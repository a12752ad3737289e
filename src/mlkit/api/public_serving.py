"""The public Python API of serving: a kit behind a server, and what that takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlkit.api import profile as profiling
from mlkit.api import serve as servers
from mlkit.api.public import PathLike, _using
from mlkit.api.session import Session
from mlkit.api.signers import signer_for
from mlkit.api.variants import Choice, Select
from mlkit.spec.reference import Reference


@contextmanager
def serve(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    on_line: Callable[[str], None] | None = None,
    session: Session | None = None,
    **options: Any,
) -> Iterator[servers.Served]:
    """A kit behind a server that is installed here; at the end of the context nothing of it runs.

    `options` are those of `mlkit serve`: `runtime`, `command`, `model`, `name`, `host`, `port` (0 takes a free one),
    `gpu`, `reuse`, `allow_code`, `health`, `ready_seconds`, `arguments`. `on_line` is told what the server says.
    """
    with (
        _using(session, None) as using,
        servers.serving(
            using,
            Reference.parse(reference),
            servers.ServeOptions(**options),
            environ=os.environ,
            choice=Choice.parse(labels, select),
            on_line=on_line,
        ) as one,
    ):
        yield one.served


def profile(
    reference: str,
    *,
    concurrency: Sequence[int] = profiling.LEVELS,
    requests: int = 200,
    request: PathLike | None = None,
    key: PathLike | None = None,
    labels: Iterable[str] = (),
    select: Select | None = None,
    session: Session | None = None,
    **options: Any,
) -> profiling.Profiled:
    """Serve a kit, ask it under load, and give what that takes; with a `key` it is attested too.

    `options` are those of `serve`.
    """
    asked = profiling.ProfileOptions(
        concurrency=tuple(concurrency), requests=requests, request_file=Path(request) if request is not None else None
    )
    with _using(session, None) as using:
        return profiling.profile(
            using,
            Reference.parse(reference),
            servers.ServeOptions(**{"port": 0, **options}),
            asked,
            environ=os.environ,
            choice=Choice.parse(labels, select),
            signer=signer_for(using, Path(key) if key is not None else None),
        )
