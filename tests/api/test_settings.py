from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.api.settings import load_settings
from mlkit.errors import UsageError


def test_flags_win_over_environment_over_project_over_user(tmp_path: Path) -> None:
    project, user = tmp_path / "project/sub", tmp_path / "home/.config/mlkit"
    project.mkdir(parents=True)
    user.mkdir(parents=True)
    (user / "config.toml").write_text(
        'concurrency = 2\nproxy = "http://user"\nprogress = "none"\nauthfile = "a.json"\n'
    )
    (tmp_path / "project/.mlkit.toml").write_text('concurrency = 3\nproxy = "http://project"\nprogress = "plain"\n')
    environ = {"HOME": str(tmp_path / "home"), "MLKIT_CONCURRENCY": "5", "MLKIT_PROXY": "http://environment"}

    settings = load_settings(environ, project, {"concurrency": 7, "proxy": None})

    assert settings.concurrency == 7
    assert settings.proxy == "http://environment"
    assert settings.progress == "plain"
    assert settings.authfile == user / "a.json"
    assert settings.home == tmp_path / "home/.local/share/mlkit"
    assert settings.sources["concurrency"] == "flag"
    assert settings.sources["proxy"] == "MLKIT_PROXY"
    assert settings.sources["progress"] == str(tmp_path / "project/.mlkit.toml")
    assert settings.sources["authfile"] == str(user / "config.toml")
    assert settings.sources["home"] == "default"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("concurency = 3", "unknown setting 'concurency'"),
        ("concurrency = 0", "0 is not a number from 1 to 64"),
        ("concurrency = true", "True is not a number from 1 to 64"),
        ("plain_http = 3", "3 is neither true nor false"),
        ("ca_files = 3", "3 is not a list of text"),
        ("home = 3", "3 is not text"),
        ('progress = "loud"', "'loud' is none of auto, plain, none"),
        ("home = [", "not valid TOML"),
        ("home = '\xff'", "not valid TOML"),
        ("#" * 300_000, "more than 262144 bytes"),
    ],
    ids=lambda value: value[:20],
)
def test_a_settings_file_that_does_not_fit_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / ".mlkit.toml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(UsageError, match=r"mlkit\.toml") as caught:
        load_settings({}, tmp_path)

    assert complaint in caught.value.message


def test_a_near_miss_is_suggested(tmp_path: Path) -> None:
    (tmp_path / ".mlkit.toml").write_text("concurency = 3")

    with pytest.raises(UsageError) as caught:
        load_settings({}, tmp_path)

    assert caught.value.hint == "did you mean 'concurrency'?"


def test_relative_paths_in_a_file_are_meant_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".mlkit.toml").write_text('home = "store"\nca_files = ["a.pem", "/b.pem"]\n')

    settings = load_settings({}, tmp_path / "sub")

    assert settings.home == tmp_path / "store"
    assert settings.ca_files == (tmp_path / "a.pem", Path("/b.pem"))


@pytest.mark.parametrize(
    ("hosts", "host", "expected"),
    [
        ("loopback", "127.0.0.1:5000", True),
        ("loopback", "localhost", True),
        ("loopback", "localhost:5000", True),
        ("loopback", "[::1]:5000", True),
        ("loopback", "localhost.evil.example", False),
        ("loopback", "127.0.0.1.evil.example", False),
        ("loopback", "registry.example", False),
        ("registry.example:5000", "registry.example:5000", True),
        ("registry.example:5000", "registry.example", False),
        ("", "localhost:5000", False),
    ],
)
def test_c02_plain_http_is_spoken_only_where_it_was_asked_for(
    tmp_path: Path, hosts: str, host: str, expected: bool
) -> None:
    settings = load_settings({"MLKIT_PLAIN_HTTP_HOSTS": hosts}, tmp_path)

    assert settings.speaks_plain_http(host) is expected


def test_credentials_are_looked_up_where_other_tools_keep_them(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/u", "DOCKER_CONFIG": "/d"}

    settings = load_settings(environ, tmp_path)

    assert [str(path) for path in settings.credential_files] == [
        "/run/u/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/d/config.json",
    ]
    assert settings.login_file == Path("/d/config.json")


def test_a_credential_file_that_is_named_stands_alone(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "REGISTRY_AUTH_FILE": "/r.json"}

    assert load_settings(environ, tmp_path).credential_files == (Path("/r.json"),)
    assert load_settings(environ, tmp_path, {"authfile": Path("/f.json")}).credential_files == (Path("/f.json"),)


@pytest.mark.parametrize(("epoch", "created"), [("0", "1970-01-01T00:00:00Z"), ("1700000000", "2023-11-14T22:13:20Z")])
def test_source_date_epoch_becomes_a_time(tmp_path: Path, epoch: str, created: str) -> None:
    assert load_settings({"SOURCE_DATE_EPOCH": epoch}, tmp_path).created == created


@pytest.mark.parametrize("epoch", ["yesterday", "1e9", "9" * 30])
def test_a_source_date_epoch_that_is_no_number_is_refused(tmp_path: Path, epoch: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        load_settings({"SOURCE_DATE_EPOCH": epoch}, tmp_path)
