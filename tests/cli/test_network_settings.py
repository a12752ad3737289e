"""Credentials of the environment, mirrors and rates, from the command line to the wire."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.errors import AuthError, NotFoundError

USER = {"MLKIT_REGISTRY_USER": "ada", "MLKIT_REGISTRY_PASSWORD": "lovelace"}


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def other() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as other:
        yield other


def _shown(server: SimulatedRegistry) -> set[str]:
    """The credentials that a registry was sent."""
    return {request.headers["authorization"] for request in server.requests if "authorization" in request.headers}


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_ci_pushes_with_the_credentials_of_its_environment(
    packed: CommandLine, server: SimulatedRegistry, kind: str
) -> None:
    server.auth = kind

    packed.ok("push", "digits:1.2", f"{server.host}/team/digits:1.2", "--plain-http", env=USER)

    assert "1.2" in server.repository("team/digits").tags


def test_a_token_of_the_environment_is_sent_as_it_is(packed: CommandLine, server: SimulatedRegistry) -> None:
    server.auth = "bearer"
    server.tokens.add("t0ken")
    reference = f"{server.host}/team/digits:1.2"

    packed.ok("push", "digits:1.2", reference, "--plain-http", env={"MLKIT_REGISTRY_TOKEN": "t0ken"})

    assert _shown(server) == {"Bearer t0ken"}


def test_credentials_of_the_environment_go_to_no_registry_that_only_a_kit_names(
    mlkit: CommandLine, server: SimulatedRegistry
) -> None:
    server.auth = "basic"
    (mlkit.cwd / "Kitfile").write_text(
        f'manifestVersion: "1.0.0"\nmodel:\n  name: m\n  path: {server.host}/evil/base:1\n'
    )

    done = mlkit("pack", ".", "-t", "mine:1", "--plain-http", env=USER)

    assert done.code == 6
    assert "MLKIT_REGISTRY_HOST is not set" in done.stderr
    assert server.requests
    assert _shown(server) == set()


def test_credentials_of_the_environment_go_only_to_the_hosts_that_they_are_for(
    packed: CommandLine, server: SimulatedRegistry, other: SimulatedRegistry
) -> None:
    server.auth = other.auth = "basic"
    env = {**USER, "MLKIT_REGISTRY_HOST": f"registry.example, {other.host}"}

    refused = packed("push", "digits:1.2", f"{server.host}/a:1", "--plain-http", env=env)
    packed.ok("push", "digits:1.2", f"{other.host}/a:1", "--plain-http", env=env)

    assert refused.code == 6
    assert _shown(server) == set()
    assert _shown(other) == {"Basic " + b64encode(b"ada:lovelace").decode()}


def test_credentials_of_the_environment_are_not_guessed_to_be_for_one_of_two(
    packed: CommandLine, server: SimulatedRegistry, other: SimulatedRegistry
) -> None:
    server.auth = other.auth = "basic"
    packed.ok("tag", "digits:1.2", f"{server.host}/a:1")

    done = packed("push", f"{server.host}/a:1", f"{other.host}/a:1", "--plain-http", env=USER)

    assert done.code == 2
    assert f"names 2: {', '.join(sorted((server.host, other.host)))}" in done.stderr
    assert "hint: MLKIT_REGISTRY_HOST says which" in done.stderr
    assert _shown(server) | _shown(other) == set()


def test_a_credential_file_that_a_flag_names_stands_alone(packed: CommandLine, server: SimulatedRegistry) -> None:
    server.auth = "basic"
    server.users["eve"] = "s3cret"
    file = packed.cwd / "auth.json"
    file.write_text(json.dumps({"auths": {server.host: {"auth": b64encode(b"eve:s3cret").decode()}}}))

    packed.ok("push", "digits:1.2", f"{server.host}/a:1", "--plain-http", "--authfile", file, env=USER)

    assert _shown(server) == {"Basic " + b64encode(b"eve:s3cret").decode()}


def test_a_program_says_which_registry_the_environment_is_for(
    server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.auth = "basic"
    for name, value in USER.items():
        monkeypatch.setenv(name, value)

    with mlkit.session(plain_http=True) as session, pytest.raises(AuthError):
        mlkit.inspect(f"{server.host}/a:1", session=session)
    assert _shown(server) == set()
    monkeypatch.setenv("MLKIT_REGISTRY_HOST", server.host)
    with mlkit.session(plain_http=True) as session, pytest.raises(NotFoundError):
        mlkit.inspect(f"{server.host}/a:1", session=session)


def test_a_pull_asks_the_mirror_of_the_users_settings_and_a_push_does_not(
    packed: CommandLine, server: SimulatedRegistry, other: SimulatedRegistry, tmp_path: Path
) -> None:
    server.auth = "basic"
    config = packed.home / ".config/mlkit/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[registries."{server.host}"]\nmirrors = ["http://{other.host}/cache"]\n')
    reference = f"{server.host}/team/digits:1.2"
    flags = (reference, "--plain-http")

    packed.ok("push", "digits:1.2", *flags, env=USER)
    assert other.requests == []
    copied = other.repository("cache/team/digits")
    copied.blobs = dict(server.repository("team/digits").blobs)
    copied.manifests = dict(server.repository("team/digits").manifests)
    server.requests.clear()
    puller = replace(packed, home=tmp_path / "elsewhere")
    puller.home.mkdir()
    env = {**USER, "XDG_CONFIG_HOME": str(packed.home / ".config")}
    puller.ok("pull", *flags, env=env)

    assert [line for line in server.lines() if "/blobs/" in line] == []
    assert [line for line in other.lines() if "/blobs/" in line] != []
    assert _shown(server) != set()
    assert _shown(other) == set()
    assert {request.query.get("ns") for request in other.requests} == {server.host}


def test_config_show_tells_mirrors_and_no_secrets(mlkit: CommandLine) -> None:
    config = mlkit.home / ".config/mlkit/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        'proxy = "http://user:p%40ss@proxy.example:3128"\n[registries."a.example"]\nmirrors = ["https://b.example"]\n'
    )

    text = mlkit.ok("config", "show", "--limit-rate", "20M", env=USER).stdout
    found = {entry["name"]: entry for entry in mlkit.ok("config", "show", "--json", env=USER).json}

    assert ["limit_rate", "20971520", "flag"] in [line.split() for line in text.splitlines()]
    assert "a.example: https://b.example" in text
    assert found["proxy"]["value"] == "http://user:***@proxy.example:3128"
    assert found["given_credential"] == {
        "name": "given_credential",
        "value": "***",
        "source": "MLKIT_REGISTRY_PASSWORD",
    }
    assert not any(secret in text + json.dumps(found) for secret in ("lovelace", "p%40ss"))


def test_a_push_takes_at_least_as_long_as_the_limit_says(mlkit: CommandLine, server: SimulatedRegistry) -> None:
    (mlkit.cwd / "weights.safetensors").write_bytes(bytes(300 * 1024))
    (mlkit.cwd / "Kitfile").write_text('manifestVersion: "1.0.0"\nmodel:\n  name: m\n  path: weights.safetensors\n')
    mlkit.ok("pack", ".", "-t", "m:1")
    started = time.monotonic()

    mlkit.ok("push", "m:1", f"{server.host}/m:1", "--plain-http", "--limit-rate", "200K")

    assert time.monotonic() - started >= 1.0


def test_doctor_asks_the_mirrors_too(mlkit: CommandLine, server: SimulatedRegistry, other: SimulatedRegistry) -> None:
    server.auth = "basic"
    config = mlkit.home / ".config/mlkit/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[registries."{server.host}"]\nmirrors = ["http://{other.host}", "http://127.0.0.1:1"]\n')

    findings = mlkit.ok("doctor", server.host, "--plain-http", "--json", env=USER).json

    found = {finding["name"]: finding for finding in findings}
    assert found["credentials"]["detail"] == f"MLKIT_REGISTRY_PASSWORD; for {server.host}"
    assert [found[name]["status"] for name in (server.host, f"mirror http://{other.host}")] == ["ok", "ok"]
    assert found["mirror http://127.0.0.1:1"]["status"] == "warn"
    assert _shown(other) == set()
