"""Whose credentials our client of oras-py shows to whom."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import oras.utils
import pytest
import requests
from tests.integrations.conftest import Client
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.errors import AuthError, NetworkError, UsageError
from mlkit.integrations.oras import Registry

BASIC = base64.b64encode(b"ada:lovelace").decode()


@pytest.fixture
def other() -> Iterator[SimulatedRegistry]:
    """A second registry, which wants a password too."""
    with simulated_registry() as other:
        other.auth = "basic"
        yield other


@pytest.fixture(autouse=True)
def locked(server: SimulatedRegistry) -> None:
    server.auth = "basic"
    for name in ("team/digits", "team/more"):
        server.repository(name)


def shown(server: SimulatedRegistry) -> set[str]:
    """What the registry was shown."""
    return {request.headers["authorization"] for request in server.requests if "authorization" in request.headers}


def tags(client: Registry, server: SimulatedRegistry) -> list[str]:
    return client.get_tags(f"{server.host}/team/digits")


def test_credentials_are_for_the_registry_that_the_client_is_for(
    ours: Client, server: SimulatedRegistry, other: SimulatedRegistry
) -> None:
    client = ours(server.host)
    client.auth.set_basic_auth("ada", "lovelace")

    with pytest.raises(AuthError):
        tags(client, other)

    assert tags(client, server) == []
    assert shown(other) == set()
    assert shown(server) == {f"Basic {BASIC}"}


def test_without_a_host_they_are_for_the_first_registry_that_is_spoken_to(
    ours: Client, server: SimulatedRegistry, other: SimulatedRegistry
) -> None:
    client = ours()
    client.auth.set_basic_auth("ada", "lovelace")

    assert tags(client, server) == []
    with pytest.raises(AuthError):
        tags(client, other)

    assert shown(other) == set()


def test_a_token_is_shown_as_it_is(ours: Client, server: SimulatedRegistry) -> None:
    server.auth = "bearer"
    server.tokens.add("t0k3n")
    client = ours()

    client.auth.set_token_auth("t0k3n")

    assert tags(client, server) == []
    assert shown(server) == {"Bearer t0k3n"}
    assert server.lines("GET /token") == []


@pytest.mark.parametrize("how", ["header of the client", "header of the request"])
def test_a_header_that_a_program_sets_reaches_its_own_registry_alone(
    ours: Client, server: SimulatedRegistry, other: SimulatedRegistry, how: str
) -> None:
    server.redirect_blobs_to = f"http://{other.host}"
    digest = "sha256:" + "0" * 64
    server.repository("team/digits").blobs[digest] = b"content"
    other.auth = None
    other.repository("team/digits").blobs[digest] = b"content"
    client = ours()
    url = f"http://{server.host}/v2/team/digits/blobs/{digest}"
    headers = {"Range": "bytes=1-3"}
    if how == "header of the client":
        client.set_header("Authorization", f"Basic {BASIC}")
    else:
        headers["authorization"] = f"Basic {BASIC}"

    response = client.do_request(url, headers=headers)

    assert response.content == b"ont"
    assert shown(server) == {f"Basic {BASIC}"}
    assert shown(other) == set()
    assert "Authorization" not in client.headers


def test_a_header_that_is_no_credential_is_refused_without_being_repeated(ours: Client) -> None:
    for value in ("Negotiate s3cr3t", "Basic s3cr3t", "Basic", "Bearer"):
        with pytest.raises(AuthError) as caught:
            ours().set_header("Authorization", value)
        assert "s3cr3t" not in str(caught.value)


def test_new_credentials_are_used_at_once(ours: Client, server: SimulatedRegistry) -> None:
    client = ours(server.host)
    client.auth.set_basic_auth("ada", "wrong")
    with pytest.raises(AuthError):
        tags(client, server)

    client.auth.set_basic_auth("ada", "lovelace")

    assert tags(client, server) == []


def test_files_of_docker_are_read_and_a_named_file_comes_first(
    ours: Client, server: SimulatedRegistry, tmp_path: Path
) -> None:
    docker = Path(os.environ["HOME"]) / ".docker/config.json"
    docker.parent.mkdir()
    docker.write_text(json.dumps({"auths": {server.host: {"auth": BASIC}}}))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"auths": {server.host: {"auth": base64.b64encode(b"ada:wrong").decode()}}}))

    client = ours()
    before = tags(client, server)
    client.auth.load_configs(client.get_container(f"{server.host}/team/digits"), configs=[str(wrong)])

    assert before == []
    with pytest.raises(AuthError):
        tags(client, server)


def test_a_config_path_of_a_pull_is_read(ours: Client, server: SimulatedRegistry, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {server.host: {"auth": BASIC}}}))

    for given in (str(config), [str(config)]):
        with pytest.raises(ValueError, match="not found"):
            ours().pull(f"{server.host}/team/digits:v1", config_path=given, outdir=str(tmp_path / "out"))

    assert shown(server) == {f"Basic {BASIC}"}


def test_the_variables_of_the_basic_backend_are_heeded(
    ours: Client, server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORAS_USER", "ada")
    monkeypatch.setenv("ORAS_PASS", "lovelace")

    assert tags(ours(auth_backend="basic"), server) == []
    with pytest.raises(AuthError):
        tags(ours(), server)


def test_netrc_is_not_read(ours: Client, server: SimulatedRegistry) -> None:
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ada password lovelace\n")
    netrc.chmod(0o600)

    client = ours()

    for get in (client.do_request, client.session.get):
        with pytest.raises(AuthError):
            get(f"http://{server.host}/v2/")

    assert shown(server) == set()


def test_a_login_is_checked_then_kept_where_docker_keeps_it(
    ours: Client, server: SimulatedRegistry, tmp_path: Path
) -> None:
    kept = Path(os.environ["HOME"]) / ".docker/config.json"
    named = tmp_path / "named.json"

    with pytest.raises(AuthError):
        ours().login("ada", "wrong", hostname=server.host)
    was_kept_when_wrong = kept.exists()
    first = ours().login("ada", "lovelace", hostname=server.host)
    ours(server.host).login("ada", "lovelace", config_path=str(named))

    assert not was_kept_when_wrong
    assert first == {"Status": "Login Succeeded"}
    for path in (kept, named):
        assert json.loads(path.read_text())["auths"][server.host]["auth"] == BASIC
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tags(ours(), server) == []


def test_a_login_without_a_host_writes_nothing(ours: Client, server: SimulatedRegistry) -> None:
    client = ours()

    told = client.login("ada", "lovelace")

    assert "Login Succeeded" not in told.values()
    assert tags(client, server) == []
    assert not (Path(os.environ["HOME"]) / ".docker").exists()


def test_a_login_that_lacks_something_does_not_ask_where_nobody_is(
    ours: Client, server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(UsageError):
        ours().login("ada", "", hostname=server.host)

    monkeypatch.setattr(oras.utils, "readline", lambda: "lovelace")
    assert ours().login("ada", "", password_stdin=True, hostname=server.host) == {"Status": "Login Succeeded"}


def test_after_a_logout_nothing_is_shown(ours: Client, server: SimulatedRegistry) -> None:
    client = ours()
    client.login("ada", "lovelace", hostname=server.host)

    client.logout(server.host)

    with pytest.raises(AuthError):
        tags(client, server)


def test_a_client_speaks_the_scheme_that_it_was_made_for(ours: Client, server: SimulatedRegistry) -> None:
    with pytest.raises(UsageError, match="over http by a client that speaks https"):
        ours(insecure=False).do_request(f"http://{server.host}/v2/")
    with pytest.raises(NetworkError) as caught:
        ours(insecure=False).get_tags(f"{server.host}/team/digits")

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, requests.ConnectionError)
    assert server.requests == []


def test_a_program_that_asks_for_boto3_is_told_of_the_helper() -> None:
    with pytest.raises(UsageError) as caught:
        Registry(auth_backend="ecr")

    assert "docker-credential-ecr-login" in (caught.value.hint or "")


def test_a_program_is_told_why_a_token_server_was_shown_nothing(
    ours: Client, server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{server.host}")
    server.host, server.auth, server.realm = "registry.example", "bearer", "http://stranger.example/token"
    client = ours()
    client.auth.set_basic_auth("ada", "lovelace")

    client.get_tags("registry.example/team/digits")

    assert "stranger.example is of another domain and is not shown credentials" in caplog.text
    assert "lovelace" not in caplog.text
