"""The dance before a registry lets us in, and who may see a password."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from tests.content.contract import blob, push_blob, read
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer as HttpAnswer

from mlkit.errors import AuthError, MlkitError, NetworkError
from mlkit.progress import NoProgress
from mlkit.registry.auth import Answer, Authenticator, Scope
from mlkit.registry.connection import Connection
from mlkit.registry.credentials import Credential
from mlkit.registry.host import Registry
from mlkit.registry.origin import Origin
from mlkit.registry.realm import checked_realm, may_see_credentials
from mlkit.registry.redaction import Secrets
from mlkit.registry.retry import RetryPolicy

REGISTRY = Origin("https", "registry.example", 443)
BASIC = "Basic " + base64.b64encode(b"ada:lovelace").decode()


def dance(
    challenge: str,
    *,
    token: Mapping[str, Any] | bytes | None = None,
    credential: Credential | None = ADA,
    registry: Origin = REGISTRY,
    scope: Scope | None = None,
    token_status: int = 200,
) -> list[httpx.Request]:
    """The requests of a dance with a registry that gives this challenge once, without a network."""
    authenticator = Authenticator(
        registry, registry.host, lambda _: credential, secrets=Secrets(), warn=lambda _: None, clock=lambda: 0.0
    )
    original = httpx.Request("GET", "https://registry.example/v2/")
    flow = authenticator.flow(original, scope or Scope("team/digits"))
    requests = [next(flow)]
    raw = token if isinstance(token, bytes) else json.dumps(token or {"token": "t0k3n"}).encode()
    answer = Answer(401, httpx.Headers({"WWW-Authenticate": challenge}))
    while True:
        try:
            request = flow.send(answer)
        except StopIteration:
            return requests
        requests.append(request)
        answer = Answer(200 if request is original else token_status, httpx.Headers(), raw)


def bearer(realm: str, more: str = "") -> str:
    return f'Bearer realm="{realm}",service="registry.example"{more}'


def test_a_token_is_asked_for_with_the_password_and_shown_to_the_registry() -> None:
    first, token, again = dance(bearer("https://auth.registry.example/token?x=1"))

    assert first is again
    assert token.method == "GET"
    assert str(token.url) == (
        "https://auth.registry.example/token?x=1&service=registry.example&scope=repository%3Ateam%2Fdigits%3Apull"
    )
    assert token.headers["Authorization"] == BASIC
    assert again.headers["Authorization"] == "Bearer t0k3n"


def test_an_identity_token_is_exchanged_in_a_form() -> None:
    _, token, _ = dance(bearer("https://registry.example/token"), credential=Credential(identity_token="refresh me"))

    assert token.method == "POST"
    assert "Authorization" not in token.headers
    assert httpx.QueryParams(token.content.decode())["refresh_token"] == "refresh me"
    assert "refresh" not in str(token.url)


def test_a_registry_token_is_shown_as_it_is() -> None:
    _, again = dance(bearer("https://registry.example/token"), credential=Credential(registry_token="mine"))

    assert again.headers["Authorization"] == "Bearer mine"


def test_without_credentials_the_token_is_an_anonymous_one() -> None:
    _, token, again = dance(bearer("https://registry.example/token"), credential=None)

    assert "Authorization" not in token.headers
    assert again.headers["Authorization"] == "Bearer t0k3n"


def test_without_credentials_a_basic_challenge_cannot_be_met() -> None:
    assert len(dance('Basic realm="x"', credential=None)) == 1


@pytest.mark.parametrize("realm", ["http://auth.registry.example/token", "http://registry.example/token"])
def test_g01_a_realm_without_tls_is_refused(realm: str) -> None:
    with pytest.raises(AuthError, match="unencrypted"):
        dance(bearer(realm))


@pytest.mark.parametrize(
    ("registry", "realm", "sees"),
    [
        ("registry.example", "registry.example", True),
        ("registry.example.com", "auth.example.com", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.example.co.uk", "auth.example.co.uk", True),
        ("registry.example.com", "auth.evil.com", False),
        ("registry.example.com", "example.com.evil.net", False),
        ("registry.example.com", "notexample.com", False),
        ("one.co.uk", "two.co.uk", False),
        ("one.azurecr.io", "two.azurecr.io", False),
        ("victim.s3.amazonaws.com", "evil.s3.amazonaws.com", False),
        ("registry", "auth", False),
        ("registry", "registry", True),
        ("com", "evil.com", False),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "example.com", False),
        ("8.8.8.8", "8.8.4.8", False),
        ("example.8", "evil.8", False),
    ],
)
def test_g02_a_password_stays_within_the_registrys_domain(registry: str, realm: str, sees: bool) -> None:
    assert may_see_credentials(Origin("https", realm, 443), Origin("https", registry, 443)) is sees


def test_a_token_server_of_another_domain_is_asked_anonymously_and_that_is_said(server: SimulatedRegistry) -> None:
    told: list[str] = []

    class Listener(NoProgress):
        def warn(self, message: str) -> None:
            told.append(message)

    _, token, again = dance(bearer("https://auth.evil.example.net/token"))
    assert "Authorization" not in token.headers
    assert again.headers["Authorization"] == "Bearer t0k3n"

    authenticator = Authenticator(REGISTRY, "registry.example", lambda _: ADA, secrets=Secrets(), warn=Listener().warn)
    for scope in (Scope("a"), Scope("b")):
        flow = authenticator.flow(httpx.Request("GET", "https://registry.example/v2/"), scope)
        next(flow)
        flow.send(Answer(401, httpx.Headers({"WWW-Authenticate": bearer("https://auth.evil.example.net/token")})))
    assert len(told) == 1
    assert "auth.evil.example.net is of another domain" in told[0]


@pytest.mark.parametrize(
    "realm",
    [
        "",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "/token",
        "token",
        "https://",
        "https://user:secret@registry.example/token",
        "https://registry.example/" + "x" * 3000,
        "https://registry.example/\r\nX: y",
        "https://[",
        "https://127.0.0.1/token",
        "https://169.254.169.254/token",
        "https://10.1.2.3/token",
        "https://[::1]/token",
        "https://localhost/token",
        "https://0x7f.1/token",
        "https://xn--a/token",
    ],
)
def test_g03_a_realm_that_is_no_public_https_url_is_refused(realm: str) -> None:
    with pytest.raises(AuthError) as refused:
        checked_realm(realm, REGISTRY)

    assert "\r" not in str(refused.value)


def test_a_challenge_without_a_realm_cannot_be_met() -> None:
    assert len(dance('Bearer service="x"')) == 1


def test_a_realm_beside_a_registry_on_loopback_is_fine() -> None:
    registry = Origin("http", "localhost", 5000)

    assert str(checked_realm("http://127.0.0.1:5001/token#x", registry)) == "http://127.0.0.1:5001/token"


def test_g04_a_token_server_that_redirects_loses_the_password(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    with simulated_registry() as other:
        other.answer("GET /moved", lambda _: HttpAnswer(200, b'{"token":"elsewhere"}'))
        server.tokens.add("elsewhere")
        server.answer("GET /token", lambda _: HttpAnswer(307, headers={"Location": f"http://{other.host}/moved"}))

        connect(server.host, ADA).check()

    assert server.requests[1].headers["authorization"] == BASIC
    assert "authorization" not in other.requests[0].headers


def test_a_token_server_that_redirects_to_itself_keeps_the_password_and_ends(
    server: SimulatedRegistry, connect: Connect
) -> None:
    server.auth = "bearer"
    server.answer("GET /token", lambda _: HttpAnswer(302, headers={"Location": "/token/"}))
    server.answer("GET /token/", lambda _: HttpAnswer(302, headers={"Location": "/token/"}))

    with pytest.raises(NetworkError, match="redirects more than"):
        connect(server.host, ADA).check()

    assert len(server.requests) == 7
    assert server.requests[-1].headers["authorization"] == BASIC


@pytest.mark.parametrize("where", ["http://10.0.0.1/x", "file:///x", "https://user@x.example/"])
def test_a_token_server_does_not_lead_astray(where: str, server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    server.answer("GET /token", lambda _: HttpAnswer(302, headers={"Location": where}))

    with pytest.raises(AuthError, match="refused"):
        connect(server.host, ADA).check()


@pytest.mark.parametrize(
    "asked", ["repository:*:*", "repository:other/repo:pull,push", "registry:catalog:*", "a b c", ""]
)
def test_g05_only_our_own_scope_is_asked_for(asked: str) -> None:
    _, token, _ = dance(
        bearer("https://registry.example/token", f',scope="{asked}"'),
        scope=Scope("team/digits", "pull,push", "team/source"),
    )

    assert token.url.params.get_list("scope") == ["repository:team/digits:pull,push", "repository:team/source:pull"]


def test_g06_a_password_goes_over_plain_http_only_where_plain_http_was_asked_for(
    server: SimulatedRegistry, connect: Connect
) -> None:
    server.auth = "basic"

    connect(server.host, ADA).check()
    with pytest.raises(NetworkError):
        connect(server.host, ADA, plain_http=False).check()

    shown = [request.headers.get("authorization") for request in server.requests]
    assert shown == [None, BASIC]


def test_the_first_challenge_that_can_be_met_is_chosen() -> None:
    assert dance('Negotiate, Digest realm="x", Basic realm="y", Bearer realm="z"')[-1].headers["Authorization"] == BASIC


@pytest.mark.parametrize(
    "token",
    [b"", b"x", b"[]", b"null", b"{}", b'{"token":""}', b'{"token":7}', b'{"token":"a b"}', b'{"token":"a\\r\\nX: y"}',
     b'{"token":"\\u00e9"}', b'{"token":"a","token":"b"}', b'{"token":"' + b"x" * 70_000 + b'"}', b"\xff\xfe{"],
    ids=["empty", "text", "list", "null", "none", "blank", "number", "space", "crlf", "accent", "twice", "large",
         "bom"],
)  # fmt: skip
def test_g08_a_token_that_is_none_is_refused(token: bytes) -> None:
    with pytest.raises(AuthError):
        dance(bearer("https://registry.example/token"), token=token)


@pytest.mark.parametrize(
    ("expires", "believed"),
    [(None, 60), (-1, 60), (0, 60), (1, 60), (300, 300), (1e99, 3600), ("300", 60), (True, 60), (10**18, 3600)],
)
def test_a_token_is_believed_between_a_minute_and_an_hour(expires: object, believed: int) -> None:
    now = [0.0]
    authenticator = Authenticator(
        REGISTRY, "registry.example", lambda _: None, secrets=Secrets(), warn=lambda _: None, clock=lambda: now[0]
    )

    def asks_for_token() -> bool:
        flow = authenticator.flow(httpx.Request("GET", "https://registry.example/v2/"), Scope("a"))
        request = next(flow)
        asked = False
        challenge = Answer(401, httpx.Headers({"WWW-Authenticate": bearer("https://registry.example/token")}))
        while True:
            if "token" in str(request.url):
                asked = True
                answer = Answer(200, httpx.Headers(), json.dumps({"token": "x", "expires_in": expires}).encode())
            elif "Authorization" in request.headers:
                answer = Answer(200, httpx.Headers())
            else:
                answer = challenge
            try:
                request = flow.send(answer)
            except StopIteration:
                return asked

    assert asks_for_token()
    now[0] = believed - 11
    assert not asks_for_token()
    now[0] = believed - 9
    assert asks_for_token()


def test_g09_a_registry_that_is_never_content_is_asked_three_times(server: SimulatedRegistry, connect: Connect) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'}
    server.answer("GET /v2/", lambda _: HttpAnswer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', challenge))

    with pytest.raises(AuthError, match="UNAUTHORIZED"):
        connect(server.host, ADA).check()

    assert len(server.lines("GET /v2/")) == 3
    assert len(server.lines("GET /token")) == 2


def test_a_denial_with_a_token_is_final(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    server.deny = {"POST"}

    with pytest.raises(AuthError, match="denies"):
        push_blob(connect(server.host, ADA).repository("a"), b"x")

    assert len(server.lines("POST .*")) == 1


def test_g10_tokens_of_two_repositories_and_two_registries_are_kept_apart(
    server: SimulatedRegistry, connect: Connect
) -> None:
    server.auth = "bearer"
    with simulated_registry() as other:
        other.auth = "bearer"
        one, two = connect(server.host, ADA), connect(other.host, ADA)
        for _ in range(3):
            one.repository("a").exists(blob(b"x"))
            one.repository("b").exists(blob(b"x"))
            two.repository("a").exists(blob(b"x"))

    scopes = [request.query["scope"] for request in server.requests if request.path == "/token"]
    assert scopes == ["repository:a:pull", "repository:b:pull"]
    assert len(other.lines("GET /token")) == 1
    shown = {request.headers.get("authorization", "").removeprefix("Bearer ") for request in server.requests}
    assert server.tokens < shown
    assert other.tokens.isdisjoint(shown)


def test_a_token_is_used_as_long_as_it_lives(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    store = connect(server.host, ADA).repository("a")

    desc = push_blob(store, b"x")
    for _ in range(5):
        read(store, desc)

    assert len(server.lines("GET /token")) == 2  # to pull, and to push


def test_wrong_credentials_are_told_with_what_to_do(server: SimulatedRegistry, connect: Connect) -> None:
    for server.auth in ("basic", "bearer"):
        with pytest.raises(AuthError) as refused:
            connect(server.host, Credential("ada", "wrong-password")).check()

        assert f"mlkit login {server.host}" in (refused.value.hint or "")
        assert "wrong-password" not in str(refused.value)


def test_credentials_are_looked_up_for_the_repository(server: SimulatedRegistry) -> None:
    server.auth = "basic"
    asked: list[str] = []

    def lookup(key: str) -> Credential:
        asked.append(key)
        return ADA

    with Registry(Connection(server.host, plain_http=True), lookup) as registry:
        registry.check()
        registry.repository("team/digits").exists(blob(b"x"))
        registry.repository("team/digits").exists(blob(b"y"))

    assert asked == [server.host, f"{server.host}/team/digits"]


def test_a_token_server_that_is_down_is_tried_again_and_named(server: SimulatedRegistry) -> None:
    waits: list[float] = []
    server.auth = "bearer"
    server.realm = "http://127.0.0.1:1/token"
    policy = RetryPolicy(sleep=waits.append, random=lambda: 0.5)

    with Registry(Connection(server.host, plain_http=True), lambda _: ADA, retries=policy) as registry:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:1: refuses connections"):
            registry.check()
        server.realm = None
        server.fail_times(503, 2, on="GET /token")
        registry.check()

    assert len(waits) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_token_server_that_refuses_ends_it(status: int) -> None:
    with pytest.raises(MlkitError, match=f"{status}"):
        dance(bearer("https://registry.example/token"), token_status=status)
