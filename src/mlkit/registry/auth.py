"""The dance before a registry lets us in: a generator of requests that is given answers. Nothing here does I/O.

Tokens: the distribution project's token specification, sections "Requesting a token" and "OAuth2 authentication".
Which token server gets to see a password: threats.md, rows G01 to G05.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from mlkit.errors import AuthError, IntegrityError, LimitError, NetworkError
from mlkit.registry.challenge import Challenge, parse_challenges
from mlkit.registry.credentials import Credential
from mlkit.registry.origin import Origin
from mlkit.registry.realm import checked_realm, may_see_credentials
from mlkit.registry.redaction import Secrets, shown_url
from mlkit.spec.json_text import parse_object

TOKEN_LIMIT = 64 * 1024
"""Bytes of a token server's answer."""

_REFRESHES = 2  # per request; a registry that wants a third is not going to be content
_HOPS = 5
_LIFE = (60.0, 3600.0)  # seconds, least and most that a token is believed to live
_EARLY = 10.0  # seconds before its end at which a token is not used any more
_AUTHORIZATION = "Authorization"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request needs: actions on a repository, and perhaps to read another one (mount)."""

    repository: str | None = None
    """None for the registry itself."""
    actions: str = "pull"
    """Comma-separated, sorted."""
    source: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """As token servers want them."""
        if self.repository is None:
            # What Docker's registry asks for where somebody wants its catalog.
            return ("registry:catalog:*",) if self.actions == "catalog" else ()
        own = f"repository:{self.repository}:{self.actions}"
        return (own,) if self.source is None else (own, f"repository:{self.source}:pull")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as the dance needs it."""

    status: int
    headers: httpx.Headers
    raw: bytes = b""
    """The body, where the request was one for a token."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    ends: float


class Authenticator:
    """What is known about one registry's doors. Thread-safe; two threads may fetch the same token once each."""

    def __init__(
        self,
        registry: Origin,
        host: str,
        credentials: Callable[[str], Credential | None],
        *,
        secrets: Secrets,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._host = host
        self._credentials = credentials
        self._secrets = secrets
        self._warn = warn
        self._withheld: set[str] = set()
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, Credential | None] = {}
        self._tokens: dict[tuple[Origin, str | None, tuple[str, ...]], _Token] = {}
        self._challenge: Challenge | None = None

    def flow(self, request: httpx.Request, scope: Scope) -> Generator[httpx.Request, Answer, None]:
        """Yields `request`, signed as far as is known, and, where the answer is a challenge, what it takes to meet it.

        Ends when nothing more can be done: the last answer to `request` stands.
        Raises: AuthError for challenges and tokens that are not acceptable, NetworkError for a token server that fails.
        """
        if self._challenge is not None:
            yield from self._sign(request, self._challenge, scope)
        answer = yield request
        for _ in range(_REFRESHES):
            if answer.status != 401:
                return
            challenge = _choose(answer.headers)
            if challenge is None:
                return
            refused = request.headers.get(_AUTHORIZATION)
            self._forget(challenge, scope)
            yield from self._sign(request, challenge, scope)
            if request.headers.get(_AUTHORIZATION) in (None, refused):
                return  # there is nothing new to show
            self._challenge = challenge
            answer = yield request

    def _sign(
        self, request: httpx.Request, challenge: Challenge, scope: Scope
    ) -> Generator[httpx.Request, Answer, None]:
        credential = self._credential(scope)
        if credential is not None and credential.registry_token:
            request.headers[_AUTHORIZATION] = f"Bearer {credential.registry_token}"
        elif challenge.scheme == "basic":
            if credential is not None and credential.username is not None:
                request.headers[_AUTHORIZATION] = _basic(credential)
        else:
            token = yield from self._token(challenge, scope, credential)
            request.headers[_AUTHORIZATION] = f"Bearer {token}"

    def _token(
        self, challenge: Challenge, scope: Scope, credential: Credential | None
    ) -> Generator[httpx.Request, Answer, str]:
        key = self._key(challenge, scope)
        with self._lock:
            known = self._tokens.get(key)
        if known is not None and self._clock() < known.ends - _EARLY:
            return known.text
        realm = checked_realm(challenge.parameters.get("realm"), self._registry)
        if credential is not None and not may_see_credentials(Origin.of(realm), self._registry):
            self._withhold(realm)
            credential = None
        token = yield from self._fetch(realm, challenge.parameters.get("service"), scope, credential)
        with self._lock:
            self._tokens[key] = token
        return token.text

    def _withhold(self, realm: httpx.URL) -> None:
        """Say, once, why the credentials stay here."""
        with self._lock:
            is_news = realm.host not in self._withheld
            self._withheld.add(realm.host)
        if is_news:
            self._warn(f"{self._host}: its token server {realm.host} is of another domain and is not shown credentials")

    def _fetch(
        self, realm: httpx.URL, service: str | None, scope: Scope, credential: Credential | None
    ) -> Generator[httpx.Request, Answer, _Token]:
        request = _token_request(realm, service, scope, credential)
        for _ in range(_HOPS + 1):
            answer = yield request
            if answer.status not in (301, 302, 303, 307, 308) or request.method != "GET":
                return self._read_token(answer, request.url)
            # The rules hold at each hop, and a password goes no further than the server it was meant for (G04).
            following = checked_realm(answer.headers.get("Location"), self._registry, base=request.url)
            authorization = request.headers.get(_AUTHORIZATION)
            is_same = Origin.of(following) == Origin.of(request.url)
            request = httpx.Request("GET", following)
            if authorization is not None and is_same:
                request.headers[_AUTHORIZATION] = authorization
        raise NetworkError(f"{self._host}: its token server redirects more than {_HOPS} times")

    def _read_token(self, answer: Answer, url: httpx.URL) -> _Token:
        shown = shown_url(url.copy_with(query=None))
        hint = f"mlkit login {self._host}"
        if answer.status in (400, 401, 403):
            raise AuthError(f"{self._host}: {shown} does not accept the credentials ({answer.status})", hint=hint)
        if answer.status != 200:
            raise NetworkError(f"{self._host}: its token server {shown} answered {answer.status}")
        try:
            value = parse_object(answer.raw, what=f"the token of {shown}", limit=TOKEN_LIMIT)
        except (IntegrityError, LimitError) as error:
            raise AuthError(error.message) from error
        text = value.get("token") or value.get("access_token")
        # A line break in it would end our header and begin another.
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise AuthError(f"{self._host}: {shown} answered without a usable token")
        self._secrets.add(text)
        return _Token(text, self._clock() + _life(value.get("expires_in")))

    def _credential(self, scope: Scope) -> Credential | None:
        name = self._host if scope.repository is None else f"{self._host}/{scope.repository}"
        with self._lock:
            if name not in self._found:
                self._found[name] = self._credentials(name)
            credential = self._found[name]
        if credential is not None:
            for secret in (credential.password, credential.identity_token, credential.registry_token):
                self._secrets.add(secret)
            if credential.username is not None:
                self._secrets.add(_basic(credential).removeprefix("Basic "))
        return credential

    def _forget(self, challenge: Challenge, scope: Scope) -> None:
        with self._lock:
            self._tokens.pop(self._key(challenge, scope), None)

    def _key(self, challenge: Challenge, scope: Scope) -> tuple[Origin, str | None, tuple[str, ...]]:
        return self._registry, challenge.parameters.get("service"), scope.texts


def _choose(headers: httpx.Headers) -> Challenge | None:
    """The first challenge that can be met, in the registry's order."""
    for challenge in parse_challenges(headers.get_list("WWW-Authenticate")):
        if challenge.scheme == "basic" or (challenge.scheme == "bearer" and "realm" in challenge.parameters):
            return challenge
    return None


def _token_request(realm: httpx.URL, service: str | None, scope: Scope, credential: Credential | None) -> httpx.Request:
    # Our own scope, never the one that the challenge asks for (G05).
    fields: list[tuple[str, str | int | float | bool | None]] = [("service", service)] if service else []
    if credential is not None and credential.identity_token:
        fields += [
            ("grant_type", "refresh_token"),
            ("client_id", "mlkit"),
            ("scope", " ".join(scope.texts)),
            ("refresh_token", credential.identity_token),
        ]
        form = urlencode([(name, str(value)) for name, value in fields]).encode("ascii")
        return httpx.Request("POST", realm, headers=_FORM, content=form)
    fields += [("scope", text) for text in scope.texts]
    request = httpx.Request("GET", realm.copy_merge_params(httpx.QueryParams(fields)) if fields else realm)
    if credential is not None and credential.username is not None:
        request.headers[_AUTHORIZATION] = _basic(credential)
    return request


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password or ''}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def _life(seconds: Any) -> float:
    """How long to believe in a token; 60 s where the server does not say (token specification)."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return _LIFE[0]
    return min(max(float(seconds), _LIFE[0]), _LIFE[1])
