"""The OCI distribution protocol as one ASGI application: which path and method goes to which endpoint."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlkit.content.layout import Layout
from mlkit.errors import MlkitError
from mlkit.server.blobs import Blobs
from mlkit.server.guard import OnlyHosts, ReadOnly
from mlkit.server.listings import Listings
from mlkit.server.manifests import Manifests
from mlkit.server.refusal import Refusal, failed, refused, unrouted
from mlkit.server.transfers import Transfers
from mlkit.server.uploads import Uploads


def protocol(layout: Layout, *, read_only: bool, hosts: Collection[str] | None) -> ASGIApp:
    """Serve `layout`; where `hosts` is given, only to requests whose Host header names one of them."""
    uploads = Uploads(layout, clock=time.monotonic, new_id=lambda: str(uuid.uuid4()))
    blobs, manifests, listings = Blobs(layout), Manifests(layout), Listings(layout)
    transfers = Transfers(layout, uploads)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        uploads.close()

    session = "/v2/{name:path}/blobs/uploads/{upload:str}"
    manifest = "/v2/{name:path}/manifests/{reference:str}"
    blob = "/v2/{name:path}/blobs/{digest:str}"
    starlette = Starlette(
        routes=[
            Route("/v2/", listings.version, methods=["GET"]),
            Route("/v2", listings.version, methods=["GET"]),
            Route("/v2/_catalog", listings.catalog, methods=["GET"]),
            Route("/v2/{name:path}/tags/list", listings.tags, methods=["GET"]),
            Route("/v2/{name:path}/referrers/{digest:str}", listings.referrers, methods=["GET"]),
            Route("/v2/{name:path}/blobs/uploads/", transfers.start, methods=["POST"]),
            Route("/v2/{name:path}/blobs/uploads", transfers.start, methods=["POST"]),
            Route(session, transfers.status, methods=["GET"]),
            Route(session, transfers.append, methods=["PATCH"]),
            Route(session, transfers.finish, methods=["PUT"]),
            Route(session, transfers.cancel, methods=["DELETE"]),
            Route(blob, blobs.get, methods=["GET"]),
            Route(blob, blobs.delete, methods=["DELETE"]),
            Route(manifest, manifests.get, methods=["GET"]),
            Route(manifest, manifests.put, methods=["PUT"]),
            Route(manifest, manifests.delete, methods=["DELETE"]),
        ],
        exception_handlers={
            Refusal: refused,
            MlkitError: failed,
            HTTPException: unrouted,
            ClientDisconnect: _nobody_listens,
        },
        lifespan=lifespan,
    )
    starlette.router.redirect_slashes = False
    app: ASGIApp = ReadOnly(starlette) if read_only else starlette
    return app if hosts is None else OnlyHosts(app, hosts)


async def _nobody_listens(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)
