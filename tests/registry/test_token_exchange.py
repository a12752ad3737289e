"""What a token server is asked, word by word, and what becomes of each of its answers. No network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.registry.conftest import ADA

from mlkit.errors import AuthError, MlkitError, NetworkError
from mlkit.registry.auth import TOKEN_LIMIT, Answer, Authenticator, Scope
from mlkit.registry.credentials import Credential
from mlkit.registry.origin import Origin
from mlkit.registry.redaction import Secrets

REGISTRY = Origin("https", "registry.example", 443)
REALM = "https://registry.example/token"
PASSWORD = "Basic " + base64.b64encode(b"ada:lovelace").decode()
CONTENT = Answer(200, httpx.Headers())


def challenge(text: str = f'Bearer realm="{REALM}",service="s"') -> Answer:
    return Answer(401, httpx.Headers({"WWW-Authenticate": text}))


def token(text: str = "t0k3n", **more: Any) -> Answer:
    return Answer(200, httpx.Headers(), json.dumps({"token": text, **more}).encode())


class Door:
    """One registry's authenticator, and what it was asked, told and warned of."""

    def __init__(self, credential: Credential | None = ADA, registry: Origin = REGISTRY) -> None:
        self.secrets = Secrets()
        self.warnings: list[str] = []
        self.names: list[str] = []
        self.now = 1000.0

        def look_up(name: str) -> Credential | None:
            self.names.append(name)
            return credential

        self.authenticator = Authenticator(
            registry,
            "registry.example:443",
            look_up,
            secrets=self.secrets,
            warn=self.warnings.append,
            clock=lambda: self.now,
        )

    def dance(self, *answers: Answer, scope: Scope | None = None) -> list[httpx.Request]:
        """The requests, as they were when they were sent; every answer must be asked for, and no other."""
        original = httpx.Request("GET", "https://registry.example/v2/")
        flow = self.authenticator.flow(original, scope or Scope("team/digits"))
        requests = [self._copy(next(flow))]
        for number, answer in enumerate(answers):
            try:
                request = flow.send(answer)
            except StopIteration:
                assert number == len(answers) - 1
                return requests
            requests.append(self._copy(request))
        pytest.fail(f"more is asked for: {requests[-1]}")

    def _copy(self, request: httpx.Request) -> httpx.Request:
        return httpx.Request(request.method, request.url, headers=request.headers, content=request.content)


def authorizations(requests: list[httpx.Request]) -> list[str | None]:
    return [request.headers.get("Authorization") for request in requests]


def test_an_identity_token_is_exchanged_in_this_form() -> None:
    door = Door(Credential(identity_token="refresh me"))

    _, asked, again = door.dance(challenge(), token(), CONTENT, scope=Scope("team/digits", "pull,push", "team/source"))

    assert (asked.method, str(asked.url)) == ("POST", REALM)
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert httpx.QueryParams(asked.content.decode()).multi_items() == [
        ("service", "s"),
        ("grant_type", "refresh_token"),
        ("client_id", "mlkit"),
        ("scope", "repository:team/digits:pull,push repository:team/source:pull"),
        ("refresh_token", "refresh me"),
    ]
    assert authorizations([asked, again]) == [None, "Bearer t0k3n"]


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        (Scope("a"), ["repository:a:pull"]),
        (Scope("a", "pull,push", "b"), ["repository:a:pull,push", "repository:b:pull"]),
        (Scope(None, "catalog"), ["registry:catalog:*"]),
        (Scope(None), []),
    ],
    ids=["to pull", "to push and mount", "the catalog", "the registry"],
)
def test_a_token_is_asked_for_by_the_texts_of_the_specification(scope: Scope, asked: list[str]) -> None:
    _, request, _ = Door().dance(challenge(), token(), CONTENT, scope=scope)

    assert request.method == "GET"
    assert request.url.params.multi_items() == [("service", "s"), *(("scope", text) for text in asked)]


def test_the_realm_stays_as_it_is_where_nothing_is_to_be_added() -> None:
    realm = f"{REALM}?account=a%20b"

    _, plain, _ = Door().dance(challenge(f'Bearer realm="{realm}"'), token(), CONTENT, scope=Scope(None))
    _, scoped, _ = Door().dance(challenge(f'Bearer realm="{realm}"'), token(), CONTENT, scope=Scope("a"))

    assert str(plain.url) == realm
    assert scoped.url.params.multi_items() == [("account", "a b"), ("scope", "repository:a:pull")]


def test_a_user_without_a_password_and_a_password_without_a_user() -> None:
    _, empty, _ = Door(Credential("ada")).dance(challenge(), token(), CONTENT)
    _, nobody, _ = Door(Credential(password="lovelace")).dance(challenge(), token(), CONTENT)

    assert authorizations([empty, nobody]) == ["Basic " + base64.b64encode(b"ada:").decode(), None]


def test_names_and_passwords_are_sent_as_utf_8() -> None:
    _, shown = Door(Credential("ada", "pässwort")).dance(challenge('Basic realm="x"'), CONTENT)

    assert authorizations([shown]) == ["Basic " + base64.b64encode("ada:pässwort".encode()).decode()]


def test_a_basic_challenge_is_met_by_nobody_without_a_name() -> None:
    assert len(Door(Credential(password="lovelace")).dance(challenge('Basic realm="x"'))) == 1
    assert len(Door(Credential(identity_token="refresh")).dance(challenge('Basic realm="x"'))) == 1


@pytest.mark.parametrize("text", [f'Bearer realm="{REALM}"', 'Basic realm="x"'], ids=["bearer", "basic"])
def test_a_registry_token_meets_every_challenge_and_asks_nobody(text: str) -> None:
    requests = Door(Credential("ada", "lovelace", registry_token="mine")).dance(challenge(text), CONTENT)

    assert authorizations(requests) == [None, "Bearer mine"]


def test_an_answer_that_is_no_challenge_ends_it() -> None:
    assert len(Door().dance(CONTENT)) == 1
    assert len(Door().dance(Answer(403, challenge().headers))) == 1
    assert len(Door().dance(Answer(401, httpx.Headers()))) == 1


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ('Negotiate, Digest realm="x", Basic realm="y"', True),
        ('Bearer service="x", Basic realm="y"', True),
        ('Bearer service="x"', False),
        ("Negotiate", False),
        (f'Digest realm="{REALM}"', False),
    ],
)
def test_a_challenge_that_cannot_be_met_is_passed_over(text: str, is_met: bool) -> None:
    requests = Door().dance(challenge(text), *([CONTENT] if is_met else []))

    assert authorizations(requests) == [None, PASSWORD][: len(requests)]
    assert len(requests) == 1 + is_met


def test_what_was_refused_once_is_not_shown_again() -> None:
    assert authorizations(Door().dance(challenge('Basic realm="x"'), challenge('Basic realm="x"'))) == [None, PASSWORD]


def test_a_token_that_is_refused_is_asked_for_anew_and_twice_at_most() -> None:
    door = Door()

    requests = door.dance(challenge(), token("first"), challenge(), token("second"), challenge())

    tokens = [None, PASSWORD, "Bearer first", PASSWORD, "Bearer second"]
    assert authorizations(requests) == tokens
    # The last one that was given is the one that is known, and it is shown at once.
    assert authorizations(door.dance(CONTENT)) == ["Bearer second"]


def test_a_door_that_is_known_is_met_before_it_is_asked_for() -> None:
    door = Door()
    door.dance(challenge(), token("first"), CONTENT)

    again = door.dance(CONTENT)
    other = door.dance(token("other"), CONTENT, scope=Scope("team/other"))
    basic = Door()
    basic.dance(challenge('Basic realm="x"'), CONTENT)

    assert authorizations(again) == ["Bearer first"]
    assert authorizations(other) == [PASSWORD, "Bearer other"]
    assert authorizations(basic.dance(CONTENT)) == [PASSWORD]


def test_tokens_of_two_services_are_kept_apart() -> None:
    door = Door()

    door.dance(challenge(), token("first"), CONTENT)
    requests = door.dance(challenge(f'Bearer realm="{REALM}",service="z"'), token("second"), CONTENT)

    assert authorizations(requests) == ["Bearer first", PASSWORD, "Bearer second"]
    assert requests[1].url.params["service"] == "z"
    # The service that was named last is the one whose token is shown.
    other = challenge(f'Bearer realm="{REALM}",service="z"')
    door.dance(token("of-z"), challenge(), token("of-s"), CONTENT, scope=Scope("a"))
    door.dance(token("s-b"), other, token("z-b"), CONTENT, scope=Scope("b"))
    assert authorizations(door.dance(CONTENT, scope=Scope("a"))) == ["Bearer of-z"]


@pytest.mark.parametrize("seconds", [69.9, 70.0], ids=["before", "at"])
def test_a_token_is_not_used_from_ten_seconds_before_its_end(seconds: float) -> None:
    door = Door()
    door.dance(challenge(), token("first", expires_in=80), CONTENT)

    door.now += seconds

    if seconds < 70:
        assert authorizations(door.dance(CONTENT)) == ["Bearer first"]
    else:
        assert authorizations(door.dance(token("second"), CONTENT)) == [PASSWORD, "Bearer second"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_the_password_on_the_same_server_only(status: int) -> None:
    def to(where: str) -> Answer:
        return Answer(status, httpx.Headers({"Location": where}))

    requests = Door().dance(challenge(), to("/other?x=1"), to("https://auth.registry.example/y"), token(), CONTENT)

    assert [(request.method, str(request.url)) for request in requests[2:4]] == [
        ("GET", "https://registry.example/other?x=1"),
        ("GET", "https://auth.registry.example/y"),
    ]
    assert authorizations(requests[1:]) == [PASSWORD, PASSWORD, None, "Bearer t0k3n"]


def test_a_redirect_of_an_anonymous_request_stays_anonymous() -> None:
    moved = Answer(302, httpx.Headers({"Location": "/other"}))

    assert authorizations(Door(None).dance(challenge(), moved, token(), CONTENT)) == [None, None, None, "Bearer t0k3n"]


def test_five_redirects_are_followed_and_not_six() -> None:
    moved = Answer(302, httpx.Headers({"Location": "/other"}))

    assert len(Door().dance(challenge(), *[moved] * 5, token(), CONTENT)) == 8
    with pytest.raises(NetworkError) as refused:
        Door().dance(challenge(), *[moved] * 6)
    assert refused.value.message == "registry.example:443: its token server redirects more than 5 times"


def test_a_secret_in_a_form_is_sent_nowhere_else() -> None:
    with pytest.raises(NetworkError) as refused:
        Door(Credential(identity_token="refresh me")).dance(
            challenge(), Answer(307, httpx.Headers({"Location": "/other"}))
        )
    assert refused.value.message == f"registry.example:443: its token server {REALM} answered 307"


@pytest.mark.parametrize("status", [201, 204, 300, 304, 305, 306, 309, 402, 404, 429, 500])
def test_a_token_server_that_fails_is_a_network_that_fails(status: int) -> None:
    with pytest.raises(NetworkError) as refused:
        Door().dance(challenge(f'Bearer realm="{REALM}?secret=1"'), Answer(status, httpx.Headers()))

    assert refused.value.message == f"registry.example:443: its token server {REALM} answered {status}"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_credentials_that_are_not_accepted_say_what_to_do(status: int) -> None:
    with pytest.raises(AuthError) as refused:
        Door().dance(challenge(), Answer(status, httpx.Headers()))

    assert refused.value.message == f"registry.example:443: {REALM} does not accept the credentials ({status})"
    assert refused.value.hint == "mlkit login registry.example:443"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"[]", f"the token of {REALM}: expected a JSON object, found list"),
        (b"{}" + b" " * TOKEN_LIMIT, f"the token of {REALM}: 65538 bytes is more than the limit of 65536"),
        (b"{}", f"registry.example:443: {REALM} answered without a usable token"),
        (b'{"token":7}', f"registry.example:443: {REALM} answered without a usable token"),
        (b'{"token":"a\\nb"}', f"registry.example:443: {REALM} answered without a usable token"),
    ],
    ids=["a list", "large", "none", "a number", "two lines"],
)
def test_an_answer_without_a_token_is_told(raw: bytes, told: str) -> None:
    with pytest.raises(AuthError) as refused:
        Door().dance(challenge(), Answer(200, httpx.Headers(), raw))

    assert refused.value.message == told


def test_a_token_as_large_as_may_be_is_taken() -> None:
    raw = json.dumps({"token": "t0k3n"}).encode()

    requests = Door().dance(challenge(), Answer(200, httpx.Headers(), raw + b" " * (TOKEN_LIMIT - len(raw))), CONTENT)

    assert authorizations(requests)[-1] == "Bearer t0k3n"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"access_token": "oauth"}, "Bearer oauth"),
        ({"token": "", "access_token": "oauth"}, "Bearer oauth"),
        ({"token": "t0k3n", "access_token": "oauth"}, "Bearer t0k3n"),
    ],
    ids=["OAuth2", "an empty one beside it", "both"],
)
def test_a_token_goes_by_two_names(body: dict[str, str], shown: str) -> None:
    requests = Door().dance(challenge(), Answer(200, httpx.Headers(), json.dumps(body).encode()), CONTENT)

    assert authorizations(requests)[-1] == shown


@pytest.mark.parametrize(
    ("credential", "secret"),
    [
        (ADA, "lovelace"),
        (ADA, PASSWORD.removeprefix("Basic ")),
        (ADA, "t0k3n"),
        (Credential(identity_token="refresh me"), "refresh me"),
    ],
    ids=["password", "header", "token", "identity token"],
)
def test_no_secret_is_shown_when_somebody_echoes_it(credential: Credential, secret: str) -> None:
    door = Door(credential)

    door.dance(challenge(), token(), CONTENT)

    assert door.secrets.hide(f"<{secret}>") == "<***>"


def test_a_registry_token_is_a_secret() -> None:
    door = Door(Credential(registry_token="mine, all mine"))

    door.dance(challenge(), CONTENT)

    assert door.secrets.hide("<mine, all mine>") == "<***>"


def test_each_token_server_of_another_domain_is_told_of_once() -> None:
    door = Door()

    def other(host: str) -> Answer:
        return challenge(f'Bearer realm="https://{host}/token"')

    first = door.dance(other("auth.one.net"), token(), CONTENT, scope=Scope("a"))
    door.dance(token(), CONTENT, scope=Scope("b"))
    door.dance(token(), other("auth.two.net"), token("second"), CONTENT, scope=Scope("c"))

    assert authorizations(first) == [None, None, "Bearer t0k3n"]
    assert door.warnings == [
        f"registry.example:443: its token server {host} is of another domain and is not shown credentials"
        for host in ("auth.one.net", "auth.two.net")
    ]


def test_a_token_server_of_another_domain_warns_nobody_who_has_no_password() -> None:
    door = Door(None)

    door.dance(challenge('Bearer realm="https://auth.one.net/token"'), token(), CONTENT)

    assert door.warnings == []


def test_credentials_are_looked_up_once_for_each_repository_and_for_the_registry() -> None:
    door = Door()

    for scope in (Scope("a"), Scope("b"), Scope("a", "pull,push"), Scope(None), Scope(None, "catalog")):
        door.dance(*_met(door), scope=scope)

    assert door.names == ["registry.example:443/a", "registry.example:443/b", "registry.example:443"]


def _met(door: Door) -> tuple[Answer, ...]:
    return (token(), CONTENT) if door.names else (challenge(), token(), CONTENT)


@pytest.mark.parametrize("make", [lambda: Door(), lambda: Door(None)], ids=["with a password", "without"])
def test_a_realm_that_is_refused_is_asked_by_nobody(make: Callable[[], Door]) -> None:
    with pytest.raises(MlkitError) as refused:
        make().dance(challenge('Bearer realm="http://registry.example/token"'))

    assert refused.value.message == (
        "registry.example: its token server 'http://registry.example/token' is refused: "
        "a password would travel unencrypted (expected https)"
    )
