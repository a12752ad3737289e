"""The local store, or another folder, as a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlkit.api.session import Session
from mlkit.content.layout import Layout


def registry_serve(
    session: Session,
    *,
    directory: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    read_only: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until interrupted; `on_ready` is told the URL. Port 0 takes a free one. Raises: UsageError, StoreError."""
    from mlkit.server import serve

    layout = Layout.create(directory) if directory is not None else session.layout
    serve(layout, host=host, port=port, read_only=read_only, on_ready=on_ready)
