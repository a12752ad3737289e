"""No secret is seen by anyone, however much is said: on success, on failure, in a crash, in what programs catch.

The registry echoes what it was sent wherever it can, and hands out tokens and signatures; a proxy with a password is on
the way; every run is at `-vvv`.
"""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.cli import CommandLine, Completed
from tests.support.http_proxy import HttpProxy, http_proxy
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer, Request

import mlkit as api
from mlkit.errors import MlkitError
from mlkit.registry.store import RegistryStore

PASSWORD = "correct-h0rse"
SIGNATURE = "5ignature0123456789abcdef0123456789abcdef"
PROXY_PASSWORD = "pr0xy p@ss"
IDENTITY = "identity-t0ken-of-ada"
VERBOSE = ("--plain-http", "-vvv")


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class Talkative:
    """A registry behind a proxy, and every secret that has to do with it."""

    mlkit: CommandLine
    server: SimulatedRegistry
    storage: SimulatedRegistry
    """Where the registry sends downloads."""
    proxy: HttpProxy
    reference: str = "registry.example/team/digits:1.2"
    said: list[str] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return {"HTTP_PROXY": f"http://user:pr0xy%20p%40ss@{self.proxy.address}"}

    def __call__(self, *arguments: str, env: dict[str, str] | None = None, input: str | None = None) -> Completed:
        done = self.mlkit(*arguments, *VERBOSE, env={**self.env, **(env or {})}, input=input)
        self.said += [done.stdout, done.stderr]
        return done

    def leaked(self) -> list[str]:
        """The secrets that were said."""
        secrets = [PASSWORD, _basic("ada", PASSWORD), SIGNATURE, PROXY_PASSWORD, "pr0xy%20p%40ss", IDENTITY]
        secrets += [_basic("user", PROXY_PASSWORD), *self.server.tokens]
        return [secret for secret in secrets if any(secret in text for text in self.said)]


@pytest.fixture
def talkative(packed: CommandLine) -> Iterator[Talkative]:
    routes: dict[str, str] = {}
    with simulated_registry() as server, simulated_registry() as store, http_proxy(routes) as proxy:
        routes.update({"registry.example": server.host, "cdn.registry.example": store.host})
        proxy.authorization = f"Basic {_basic('user', PROXY_PASSWORD)}"
        server.auth = "bearer"
        server.users = {"ada": PASSWORD}
        server.realm = "http://registry.example/token"

        def to_store(request: Request) -> Answer | None:
            store.repository("team/digits").blobs = server.repository("team/digits").blobs
            location = f"http://cdn.registry.example{request.path}?X-Amz-Signature={SIGNATURE}"
            return Answer(307, headers={"Location": location}) if "authorization" in request.headers else None

        server.answer("GET /v2/team/digits/blobs/.*", to_store)
        yield Talkative(packed, server, store, proxy)


@pytest.fixture
def logged_in(talkative: Talkative) -> Talkative:
    assert talkative("login", "registry.example", "-u", "ada", "-p", PASSWORD).code == 0
    return talkative


def _echo(server: SimulatedRegistry, on: str, status: int, secret: str = PASSWORD) -> None:
    """Answer with what was sent, as an error and as a warning; what was not sent is nobody's secret here."""

    def echo(request: Request) -> Answer | None:
        seen = f"{request.headers.get('authorization')} {secret} {request.body.decode()}"
        body = json.dumps({"errors": [{"code": "DENIED", "message": seen}]}).encode()
        is_telling = "authorization" in request.headers or bool(request.body)
        return Answer(status, body, {"Warning": f'299 - "{seen}"'}) if is_telling else None

    server.answer(on, echo)


def test_nothing_secret_is_said_when_all_goes_well(logged_in: Talkative, tmp_path: Path) -> None:
    done = logged_in("push", "digits:1.2", logged_in.reference)
    assert done.code == 0
    assert "/token?" in done.stderr
    elsewhere = {"MLKIT_HOME": str(tmp_path / "elsewhere")}
    for arguments in (
        ("pull", logged_in.reference),
        ("unpack", logged_in.reference, "-d", str(tmp_path / "there")),
        ("list", "registry.example/team/digits"),
        ("doctor", "registry.example"),
        ("config", "show"),
        ("config", "show", "--json"),
        ("inspect", logged_in.reference, "--remote", "--json"),
        ("logout", "registry.example"),
    ):
        assert logged_in(*arguments, env=elsewhere).code == 0, arguments

    assert logged_in.server.tokens
    assert "X-Amz-Signature=***" in "".join(logged_in.said)
    assert logged_in.leaked() == []


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    ("on", "status", "exit_code"),
    [("GET /v2/.*", 403, 6), ("GET /v2/.*", 500, 7), ("GET /v2/.*", 400, 7), ("GET /token", 401, 6)],
)
def test_nothing_secret_is_said_when_the_registry_echoes_it(
    logged_in: Talkative, on: str, status: int, exit_code: int, as_json: list[str]
) -> None:
    _echo(logged_in.server, on, status)
    env = {"MLKIT_RETRY_BUDGET": "0"}

    done = logged_in("pull", logged_in.reference, *as_json, env=env)

    assert done.code == exit_code
    assert logged_in.leaked() == []


def test_nothing_secret_is_said_when_the_storage_behind_the_registry_echoes_it(
    logged_in: Talkative, tmp_path: Path
) -> None:
    assert logged_in("push", "digits:1.2", logged_in.reference).code == 0
    words = json.dumps({"errors": [{"message": f"SignatureDoesNotMatch {SIGNATURE}"}]}).encode()
    logged_in.storage.answer(".*", lambda _: Answer(403, words))

    done = logged_in("pull", logged_in.reference, env={"MLKIT_HOME": str(tmp_path / "elsewhere")})

    assert done.code == 6
    assert "SignatureDoesNotMatch ***" in done.stderr
    assert logged_in.leaked() == []


@pytest.mark.parametrize(
    "env",
    [
        {"MLKIT_REGISTRY_USER": "ada", "MLKIT_REGISTRY_PASSWORD": PASSWORD + "-not"},
        {"MLKIT_REGISTRY_TOKEN": IDENTITY},
        {"HTTP_PROXY": f"http://user:{PASSWORD}@127.0.0.1:1"},
        {"HTTP_PROXY": f"socks5://user:{PASSWORD}@127.0.0.1:1"},
        {"HTTP_PROXY": f"http://user:{PASSWORD}@["},
        {"MLKIT_PROXY": f"http://user:{PASSWORD}@nowhere.invalid:3128"},
    ],
    ids=["wrong password", "wrong token", "dead proxy", "socks", "no url", "unknown proxy"],
)
def test_nothing_secret_is_said_when_credentials_or_proxies_do_not_fit(
    talkative: Talkative, env: dict[str, str]
) -> None:
    done = talkative("pull", talkative.reference, env={"MLKIT_RETRY_BUDGET": "0", **env})

    assert done.code in (2, 6, 7)
    assert talkative.leaked() == []


def test_nothing_secret_is_said_of_an_identity_token(talkative: Talkative) -> None:
    docker = talkative.mlkit.home / ".docker/config.json"
    docker.parent.mkdir()
    entry = {"auth": _basic("00000000-0000-0000-0000-000000000000", ""), "identitytoken": IDENTITY}
    docker.write_text(json.dumps({"auths": {"registry.example": entry}}))
    _echo(talkative.server, "POST /token", 401, IDENTITY)

    assert talkative("pull", talkative.reference).code == 6
    assert talkative.leaked() == []


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_nothing_secret_is_said_in_a_crash(
    talkative: Talkative, monkeypatch: pytest.MonkeyPatch, as_json: list[str]
) -> None:
    def crash(*_: object) -> None:
        try:
            raise KeyError(
                f"Authorization: Basic {_basic('ada', PASSWORD)} for https://ada:{PASSWORD}@registry.example/"
            )
        except KeyError as error:
            raise RuntimeError(
                f"{PASSWORD} Bearer {IDENTITY} http://user:{PROXY_PASSWORD}@proxy/ https://s3/x?a=1&X-Amz-Signature={SIGNATURE}"
            ) from error

    monkeypatch.setattr(RegistryStore, "resolve", crash)
    env = {"MLKIT_REGISTRY_USER": "ada", "MLKIT_REGISTRY_PASSWORD": PASSWORD}

    done = talkative("pull", talkative.reference, *as_json, env=env)

    assert done.code == 70
    assert "RuntimeError" in done.stderr
    assert "https://s3/x?a=***&X-Amz-Signature=***" in done.stderr
    assert talkative.leaked() == []


def test_nothing_secret_is_in_what_programs_catch_and_print(
    logged_in: Talkative, monkeypatch: pytest.MonkeyPatch
) -> None:
    _echo(logged_in.server, "GET /v2/.*", 403)
    monkeypatch.setenv("HTTP_PROXY", logged_in.env["HTTP_PROXY"])
    for name, value in {"USER": "ada", "PASSWORD": PASSWORD, "HOST": "registry.example"}.items():
        monkeypatch.setenv(f"MLKIT_REGISTRY_{name}", value)

    with api.session(plain_http=True) as session, pytest.raises(MlkitError) as caught:
        api.inspect(logged_in.reference, session=session)

    error = caught.value
    logged_in.said += [repr(error), str(error), str(error.hint), repr(session.settings), repr(vars(error))]
    logged_in.said += traceback.format_exception(error)
    assert logged_in.leaked() == []
