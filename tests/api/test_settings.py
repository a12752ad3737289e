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
        ('limit_rate = "fast"', "'fast' is not a rate"),
        ("limit_rate = 1023", "1023 is not a rate of at least 1024"),
        ("limit_rate = true", "True is not a rate"),
        ("ranges = 1", "1 is none of auto, off and the numbers from 2 to 8"),
        ("ranges = 9", "9 is none of"),
        ("retry_budget = -1", "-1 is not a number of seconds"),
        ("retry_budget = 90000", "90000 is not a number of seconds"),
        ('registry_host = "evil.example"', "unknown setting 'registry_host'"),
        ('[registries."a.example"]\nmirrors = ["https://b.example"]', "registries is no setting of a project"),
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


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1024", 1024), ("500K", 512_000), ("20m", 20 << 20), ("1G", 1 << 30), ("2MiB/s", 2 << 20), ("3kb", 3072)],
)
def test_a_rate_counts_in_1024s(tmp_path: Path, text: str, rate: int) -> None:
    assert load_settings({"MLKIT_LIMIT_RATE": text}, tmp_path).limit_rate == rate
    assert load_settings({}, tmp_path, {"limit_rate": text}).limit_rate == rate


def test_a_flag_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--limit-rate: 'soon'"):
        load_settings({}, tmp_path, {"limit_rate": "soon"})


@pytest.mark.parametrize(("text", "ranges"), [("auto", "auto"), ("off", "off"), ("2", 2), ("8", 8)])
def test_ranges_are_a_word_or_a_number(tmp_path: Path, text: str, ranges: object) -> None:
    assert load_settings({"MLKIT_RANGES": text}, tmp_path).ranges == ranges


def test_the_environments_own_proxies_differ_by_scheme(tmp_path: Path) -> None:
    both = {"HTTPS_PROXY": "http://secure:1", "http_proxy": "http://plain:2", "NO_PROXY": "a.example"}

    found = load_settings(both, tmp_path)
    assert (found.proxy, found.http_proxy, found.no_proxy) == ("http://secure:1", "http://plain:2", "a.example")
    assert (found.sources["proxy"], found.sources["http_proxy"]) == ("HTTPS_PROXY", "http_proxy")
    found = load_settings({"HTTPS_PROXY": "http://secure:1"}, tmp_path)
    assert (found.proxy, found.http_proxy) == ("http://secure:1", None)
    found = load_settings({"ALL_PROXY": "http://all:3"}, tmp_path)
    assert (found.proxy, found.http_proxy) == ("http://all:3", "http://all:3")
    found = load_settings({**both, "MLKIT_PROXY": "http://mine:4"}, tmp_path)
    assert (found.proxy, found.http_proxy) == ("http://mine:4", "http://mine:4")


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"USER": "ada"}, "MLKIT_REGISTRY_PASSWORD is not"),
        ({"PASSWORD": "s3cret"}, "MLKIT_REGISTRY_USER is not"),
        ({"TOKEN": "s3cret", "USER": "ada"}, "MLKIT_REGISTRY_TOKEN excludes"),
        ({"TOKEN": "s3cret\n"}, "MLKIT_REGISTRY_TOKEN has characters"),
        ({"USER": "ada:s3cret", "PASSWORD": "x"}, "MLKIT_REGISTRY_USER has a colon"),
    ],
)
def test_half_a_credential_in_the_environment_is_refused_unseen(
    tmp_path: Path, environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        load_settings({f"MLKIT_REGISTRY_{name}": value for name, value in environ.items()}, tmp_path)

    assert "s3cret" not in str(refused.value)


def test_settings_show_no_secret(tmp_path: Path) -> None:
    environ = {
        "MLKIT_REGISTRY_USER": "ada",
        "MLKIT_REGISTRY_PASSWORD": "l0velace",
        "MLKIT_PROXY": "http://user:p%40ss@proxy.example:3128",
    }

    settings = load_settings(environ, tmp_path)

    assert settings.given_credential is not None
    assert settings.given_credential.password == "l0velace"
    assert settings.shown("proxy") == "http://user:***@proxy.example:3128"
    assert settings.shown("given_credential") == "***"
    assert settings.sources["given_credential"] == "MLKIT_REGISTRY_PASSWORD"
    assert not any(secret in repr(settings) for secret in ("l0velace", "p%40ss"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example", "http://proxy.example"),
        ("http://t0ken@proxy.example", "http://***@proxy.example"),
        ("user:p@ss@proxy.example:1", "user:***@proxy.example:1"),
    ],
)
def test_a_proxy_is_shown_without_its_password(tmp_path: Path, url: str, shown: str) -> None:
    assert load_settings({"HTTP_PROXY": url}, tmp_path).shown("http_proxy") == shown


def test_mirrors_are_read_from_the_users_file(tmp_path: Path) -> None:
    user = tmp_path / ".config/mlkit/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text(
        '[registries."Docker.io"]\nmirrors = ["https://mirror.example/hub/", "http://127.0.0.1:5000"]\n'
        '[registries."a.example:5000"]\nmirrors = []\nmirror_tags = true\n'
    )

    found = load_settings({"HOME": str(tmp_path), "MLKIT_REGISTRIES": "ignored"}, tmp_path / "x").registries

    assert found["docker.io"].urls == ("https://mirror.example/hub", "http://127.0.0.1:5000")
    assert not found["docker.io"].have_tags
    assert found["a.example:5000"].have_tags


@pytest.mark.parametrize(
    "text",
    [
        "registries = 3",
        "[registries]\n'a.example' = ['https://b.example']",
        "[registries.'a.example']\nmirror = ['https://b.example']",
        "[registries.'a.example']\nmirrors = 'b.example'",
        "[registries.'a.example']\nmirrors = ['ftp://b.example']",
        "[registries.'a.example']\nmirrors = ['https://b.example?x=1']",
        "[registries.'a.example']\nmirrors = ['https://b.example:99999']",
        "[registries.'a.example']\nmirrors = ['https://u:s3cret@[b']",
        "[registries.'a.example']\nmirrors = ['https://']",
        "[registries.'a.example']\nmirrors = [3]",
        f"[registries.'a.example']\nmirrors = {['https://b.example'] * 17}",
        "[registries.'a.example']\nmirror_tags = 'perhaps'",
    ],
)
def test_mirrors_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    user = tmp_path / ".config/mlkit/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text(text)

    with pytest.raises(UsageError, match=r"config\.toml") as refused:
        load_settings({"HOME": str(tmp_path)}, tmp_path / "x")

    assert "s3cret" not in str(refused.value)


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


def test_limits_of_lists_are_raised_in_the_same_place_as_those_of_archives(tmp_path: Path) -> None:
    raised = load_settings({"MLKIT_LIMITS": "referrers=5K,statements=200,ratio=500"}, tmp_path).limits

    assert (raised.referrers, raised.statements, raised.ratio) == (5120, 200, 500)
    assert (raised.pages, raised.tags) == (1000, 1_000_000)
