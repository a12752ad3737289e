"""What a registry says when it refuses (OCI distribution specification 1.1, "Error Codes")."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from enum import StrEnum

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mlkit.errors import LimitError, MlkitError

_LOG = logging.getLogger("mlkit.server")


class Code(StrEnum):
    """The codes of the specification; UNKNOWN is Docker's, for what has none."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNKNOWN = "UNKNOWN"


_STATUS = {
    Code.BLOB_UNKNOWN: 404,
    Code.BLOB_UPLOAD_UNKNOWN: 404,
    Code.MANIFEST_UNKNOWN: 404,
    Code.NAME_UNKNOWN: 404,
    Code.DENIED: 403,
    Code.UNSUPPORTED: 405,
    Code.TOOMANYREQUESTS: 429,
    Code.UNKNOWN: 500,
}
"""All others are 400."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Refusal(Exception):
    """A request that the registry does not grant."""

    def __init__(
        self, code: Code, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _STATUS.get(code, 400) if status is None else status
        self.headers = headers or {}

    @classmethod
    def by_store(cls, error: MlkitError) -> Refusal:
        """What a client is told when the store fails; where and why is in the log only, for it names local paths."""
        if isinstance(error, LimitError):
            return cls(Code.UNKNOWN, error.message, status=413)
        _LOG.error("the store failed: %s", error.message)
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return cls(Code.UNKNOWN, "no space left in the store of the registry", status=507)
        return cls(Code.UNKNOWN, "the store of the registry failed; its log says why")

    def response(self) -> Response:
        """The answer, with the body of the specification."""
        body = {"errors": [{"code": str(self.code), "message": self.message}]}
        return JSONResponse(body, status_code=self.status, headers=dict(self.headers))


async def refused(_request: Request, error: Exception) -> Response:
    """Answer a Refusal."""
    assert isinstance(error, Refusal)
    return error.response()


async def failed(_request: Request, error: Exception) -> Response:
    """Answer an error of the store that no endpoint foresaw."""
    assert isinstance(error, MlkitError)
    return Refusal.by_store(error).response()


async def unrouted(request: Request, error: Exception) -> Response:
    """Answer a path or a method that the protocol does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return Refusal(Code.UNSUPPORTED, f"{request.method} is not supported here", headers=error.headers).response()
    return Refusal(
        Code.UNSUPPORTED, "no such path in the OCI distribution protocol", status=error.status_code
    ).response()
