"""One registry, spoken to: every request goes through here, with credentials, redirects, retries and limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import httpx

from mlkit.errors import IntegrityError, MlkitError, NetworkError, UsageError
from mlkit.progress import Progress
from mlkit.registry.auth import TOKEN_LIMIT, Answer, Authenticator, Scope
from mlkit.registry.connection import Connection
from mlkit.registry.credentials import Credential
from mlkit.registry.failures import ERROR_LIMIT, network_failure, refusal
from mlkit.registry.origin import Origin, is_dialable, next_hop
from mlkit.registry.pace import Pace
from mlkit.registry.redaction import Secrets, printable, shown_url
from mlkit.registry.retry import RETRIED_STATUS, Patience, RetryPolicy
from mlkit.registry.transport import Transport
from mlkit.spec.limits import DEFAULT_LIST_LIMITS, ListLimits

_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK = 1024 * 1024  # bytes; what the network must take within one timeout
_WARNINGS = 5  # of a registry that are shown


@dataclass(frozen=True, slots=True)
class Call:
    """A request before anything is known about credentials and redirects."""

    method: str
    url: httpx.URL
    scope: Scope
    what: str
    """The thing that is asked for, to begin an error's sentence with."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    is_repeated: bool = True
    """Whether a failure may be answered by sending it again; those who pass False deal with failures themselves."""


@dataclass(frozen=True, slots=True)
class Document:
    """A response that was read to its end, or to a limit."""

    status: int
    headers: httpx.Headers
    raw: bytes
    url: httpx.URL


class Body(httpx.SyncByteStream):
    """A request body of known size, that starts over each time it is sent.

    httpx sends an open file a second time as nothing at all, so bodies are never files or generators.
    """

    def __init__(self, size: int, start: Callable[[], Iterator[memoryview]]) -> None:
        self.size = size
        self._start = start

    @classmethod
    def of(cls, content: bytes | memoryview) -> Body:
        """A body that is in memory."""
        view = memoryview(content)
        return cls(len(view), lambda: (view[start : start + _BLOCK] for start in range(0, len(view), _BLOCK)))

    def blocks(self) -> Iterator[memoryview]:
        """From the start; a block is valid until the next one is asked for."""
        return self._start()

    def __iter__(self) -> Iterator[bytes]:
        return map(bytes, self.blocks())


class Wire:
    """Thread-safe. Close it to end every transfer."""

    def __init__(
        self,
        connection: Connection,
        credentials: Callable[[str], Credential | None],
        *,
        policy: RetryPolicy,
        progress: Progress,
        log: Callable[[str], None] | None,
        transport: httpx.BaseTransport | None = None,
        pace: Pace | None = None,
        limits: ListLimits = DEFAULT_LIST_LIMITS,
    ) -> None:
        self.limits = limits
        self.host = connection.host
        self.base_url = connection.base_url
        self.origin = Origin.of(self.base_url)
        if not is_dialable(self.origin.host):
            raise UsageError(f"{self.host}: not a host name", hint="check the name of the registry")
        self.policy = policy
        self.progress = progress
        self.secrets = Secrets()
        self._user_agent = connection.user_agent
        self._namespace = {"ns": connection.namespace} if connection.namespace else {}
        self._log = log
        self._transport = transport or Transport(connection, pace)
        self._auth = Authenticator(self.origin, connection.host, credentials, secrets=self.secrets, warn=progress.warn)
        self._warned: set[str] = set()

    def close(self) -> None:
        self._transport.close()

    def url(self, path: str, parameters: Mapping[str, str] | None = None) -> httpx.URL:
        """A URL of the API; `path` without `/v2/`."""
        url = self.base_url.join(path)
        merged = {**(parameters or {}), **self._namespace}
        return url.copy_merge_params(merged) if merged else url

    def send(self, call: Call, patience: Patience | None = None) -> httpx.Response:
        """The response, whatever its status, its body still to be read: the caller closes it.

        `patience` is the caller's, where this request is one of several for one thing.
        Raises: NetworkError where there is none after all retries; AuthError for what the dance came to.
        """
        patience = patience or Patience(self.policy)
        while True:
            try:
                response = self._follow(call)
            except httpx.TransportError as error:
                if call.is_repeated and patience.pause(error=error):
                    continue
                raise network_failure(error, host=self.host, what=call.what) from error
            if not call.is_repeated or response.status_code not in RETRIED_STATUS:
                return response
            raw = _rest(response)
            if not patience.pause(retry_after=response.headers.get("Retry-After")):
                raise self.refusal(Document(response.status_code, response.headers, raw, call.url), call.what)

    def document(self, call: Call, *, limit: int = ERROR_LIMIT) -> Document:
        """The response with its body, of which no more than `limit` + 1 bytes are read. Raises: like `send`."""
        patience = Patience(self.policy)
        while True:
            response = self.send(call, patience)
            try:
                if response.is_success:
                    check_encoding(response)
                raw = read_at_most(response, limit)
            except httpx.TransportError as error:
                if call.is_repeated and patience.pause(error=error):
                    continue
                raise network_failure(error, host=self.host, what=call.what) from error
            return Document(response.status_code, response.headers, raw, call.url)

    def refusal(self, document: Document, what: str) -> MlkitError:
        """The error for an answer that is none of those that were hoped for."""
        return refusal(
            document.status,
            document.raw,
            host=self.host,
            what=what,
            secrets=self.secrets,
            retry_after=document.headers.get("Retry-After"),
        )

    def _follow(self, call: Call) -> httpx.Response:
        """Send, and go where the registry leads; credentials stay with the registry's own origin."""
        url = call.url
        for _ in range(_HOPS + 1):
            request = self._request(call, url)
            is_ours = Origin.of(url) == self.origin
            response = self._authorized(request, call) if is_ours else self._deliver(request)
            if response.status_code not in _REDIRECTS:
                return response
            location = response.headers.get("Location")
            response.close()
            target = next_hop(url, location, registry=self.origin, what=call.what)
            is_same_request = response.status_code in (307, 308) and Origin.of(target) == Origin.of(url)
            if call.method not in ("GET", "HEAD") and not is_same_request:
                raise NetworkError(
                    f"{call.what}: {self.host} redirects a {call.method} to {shown_url(target)}, which is refused"
                )
            url = target
        raise NetworkError(f"{call.what}: {self.host} redirects more than {_HOPS} times")

    def _request(self, call: Call, url: httpx.URL) -> httpx.Request:
        self.secrets.add_url(url)
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **call.headers}
        if call.body is not None or call.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(call.body.size if call.body is not None else 0)
        return httpx.Request(call.method, url, headers=headers, stream=call.body or Body.of(b""))

    def _authorized(self, request: httpx.Request, call: Call) -> httpx.Response:
        flow = self._auth.flow(request, call.scope)
        response: httpx.Response | None = None
        following = next(flow)
        while True:
            if following is request:
                response = self._deliver(request)
                answer = Answer(response.status_code, response.headers)
            else:
                answer = self._ask_for_token(following)
            try:
                following = flow.send(answer)
            except StopIteration:
                assert response is not None, "the dance ends with an answer to the request"
                return response
            except BaseException:
                if response is not None:
                    response.close()
                raise
            if response is not None and not response.is_closed:
                # Read to the end, so that the connection can be used again; kept, for it may stay the last word.
                kept = httpx.ByteStream(_rest(response))
                response = httpx.Response(response.status_code, headers=response.headers, stream=kept, request=request)

    def _ask_for_token(self, request: httpx.Request) -> Answer:
        request.headers["User-Agent"] = self._user_agent
        request.headers["Accept-Encoding"] = "identity"
        patience = Patience(self.policy)
        while True:
            try:
                response = self._deliver(request)
                raw = read_at_most(response, TOKEN_LIMIT)
            except httpx.TransportError as error:
                if patience.pause(error=error):
                    continue
                raise network_failure(error, host=self.host, what=f"the token server of {self.host}") from error
            retry_after = response.headers.get("Retry-After")
            if response.status_code in RETRIED_STATUS and patience.pause(retry_after=retry_after):
                continue
            return Answer(response.status_code, response.headers, raw)

    def _deliver(self, request: httpx.Request) -> httpx.Response:
        started = time.monotonic()
        try:
            response = self._transport.handle_request(request)
        except httpx.TransportError as error:
            self._tell(f"{request.method} {shown_url(request.url)} failed: {printable(str(error), limit=200)}")
            error.request = request
            raise
        took = time.monotonic() - started
        self._tell(f"{request.method} {shown_url(request.url)} {response.status_code} ({took:.3f} s)")
        self._show_warnings(response.headers)
        return response

    def _tell(self, line: str) -> None:
        if self._log is not None:
            self._log(self.secrets.hide(line))

    def _show_warnings(self, headers: httpx.Headers) -> None:
        """`Warning: 299 - "text"` is how registries speak to people (OCI distribution, "Warnings")."""
        for value in headers.get_list("Warning"):
            if value.startswith("299 ") and len(self._warned) < _WARNINGS and value not in self._warned:
                self._warned.add(value)
                text = value[4:].partition(" ")[2].strip().strip('"')
                self.progress.warn(f"{self.host}: {printable(self.secrets.hide(text), limit=300)}")


def read_at_most(response: httpx.Response, limit: int) -> bytes:
    """The body, or its first `limit` + 1 bytes; closes the response. Raises: httpx.TransportError."""
    found = bytearray()
    try:
        assert isinstance(response.stream, httpx.SyncByteStream)
        for block in response.stream:
            found += block[: limit + 1 - len(found)]
            if len(found) > limit:
                break
    finally:
        response.close()
    return bytes(found)


def check_encoding(response: httpx.Response) -> None:
    """Close the response and refuse it where its body is not the content itself. Raises: IntegrityError."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        response.close()
        raise IntegrityError(f"the registry sent a body in the encoding {ascii(encoding)[:60]}, which nobody asked for")


def _rest(response: httpx.Response) -> bytes:
    """The body of an error, as far as it can be had."""
    try:
        return read_at_most(response, ERROR_LIMIT)
    except httpx.TransportError:
        return b""
