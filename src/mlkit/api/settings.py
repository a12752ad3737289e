"""Settings: flags before `MLKIT_*` before the project's `.mlkit.toml` before the user's `config.toml`.

Names of environment variables are known here and to `setting_secrets`, `telemetry` and `ci`, which are asked from here.
They are handed the environment; none of them reads it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlkit.api.ci import CiJob, ci_job
from mlkit.api.setting_secrets import GivenCredential, KeyPassword, read_given_credential, read_key_password
from mlkit.api.setting_values import (
    Hook,
    Mirrors,
    read_boolean,
    read_budget,
    read_count,
    read_hook,
    read_limits,
    read_log_format,
    read_path,
    read_paths,
    read_progress,
    read_ranges,
    read_rate,
    read_registries,
    read_text,
    read_texts,
)
from mlkit.api.telemetry import Telemetry, read_telemetry
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.content.pace import Ranges
from mlkit.errors import UsageError

_CONFIG_LIMIT = 256 * 1024  # bytes; a settings file beyond it is a mistake


@dataclass(frozen=True)
class Settings:
    """What a session is configured with."""

    home: Path
    """Folder of the local store."""
    plain_http: bool = False
    """Every registry is spoken to without TLS."""
    plain_http_hosts: tuple[str, ...] = ()
    """Registries that are; the word `loopback` stands for localhost and every loopback address."""
    ca_files: tuple[Path, ...] = ()
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False
    """Certificates are not checked."""
    proxy: str | None = field(default=None, repr=False)
    """For every registry; perhaps with a password in it."""
    http_proxy: str | None = field(default=None, repr=False)
    """For registries without TLS; the same as `proxy` unless the environment makes a difference."""
    no_proxy: str | None = None
    concurrency: int = 4
    """Blobs that are moved at the same time."""
    limit_rate: int | None = None
    """Bytes per second that all connections together move at most, in both directions."""
    ranges: Ranges = "auto"
    """Connections for one large blob."""
    retry_budget: int = 300
    """Seconds that one request or blob may go without progress before it is given up."""
    registry_host: tuple[str, ...] = ()
    """The hosts that `given_credential` is for."""
    given_credential: GivenCredential | None = None
    """From `MLKIT_REGISTRY_USER` and `_PASSWORD`, or `_TOKEN`."""
    registries: Mapping[str, Mirrors] = field(default_factory=dict)
    """By host."""
    scan_on_pack: bool = True
    """Whether `pack` warns of pickles that run code."""
    authfile: Path | None = None
    signing_key: Path | None = None
    """The private key that commands sign with where no other is named."""
    trusted_keys: tuple[Path, ...] = ()
    """Public keys of those whose statements are believed where no policy says otherwise."""
    policy: Path | None = None
    """The policy that kits must meet before they are used."""
    actor: str | None = None
    """Who moves channels, as their history names them; user and machine by default."""
    on_promote: Hook | None = None
    """What to run or call when a channel was promoted."""
    on_rollback: Hook | None = None
    hook_secret: Path | None = None
    """A file with the secret that calls of hooks are signed with."""
    key_password: KeyPassword | None = None
    """From `MLKIT_KEY_PASSWORD` or `MLKIT_KEY_PASSWORD_FILE`."""
    index_url: str | None = field(default=None, repr=False)
    """The database of the lineage index, where it is not a file beside the local store; perhaps with a password."""
    limits: Limits = DEFAULT_LIMITS
    """How much the archives of a kit may ask for when it is unpacked."""
    progress: str = "auto"
    log_format: str = "text"
    """`text` for people, `json` for a line of JSON each."""
    metrics_file: Path | None = None
    """Where the figures of a pull or unpack go, for Prometheus."""
    telemetry: Telemetry | None = None
    """Where spans go, by OpenTelemetry's own variables."""
    credential_files: tuple[Path, ...] = ()
    """Where credentials are looked up, first to last; `login` writes to the Docker file or to `authfile`."""
    login_file: Path | None = None
    created: str | None = None
    """RFC 3339; from SOURCE_DATE_EPOCH."""
    user_home: Path | None = None
    user: str | None = None
    """Who runs this, by the environment's word."""
    ci: CiJob | None = None
    """The job of a CI service that this is."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """For each setting, in words, where its value came from."""

    def shown(self, name: str) -> object:
        """The value of a setting as people may see it: without a password."""
        value = getattr(self, name)
        if isinstance(value, GivenCredential | KeyPassword):
            return "***"
        return (
            _without_password(value)
            if name in ("proxy", "http_proxy", "index_url") and isinstance(value, str)
            else value
        )

    def speaks_plain_http(self, host: str) -> bool:
        """Whether `host[:port]` is configured to be spoken to without TLS."""
        if self.plain_http or host in self.plain_http_hosts:
            return True
        return "loopback" in self.plain_http_hosts and _is_loopback(host)


def _without_password(url: str) -> str:
    before, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme, separator, pair = before.rpartition("://")
    user, colon, _ = pair.partition(":")
    return f"{scheme}{separator}{user if colon else ''}{colon}***@{rest}"


def _is_loopback(host: str) -> bool:
    """Whether `host[:port]` is localhost or a loopback address, and not a name that merely begins like one."""
    from ipaddress import ip_address

    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class _Setting:
    name: str
    read: Callable[[object, str], Any]
    default: Any
    place: Literal["anywhere", "environment", "user file", "no project"] = "anywhere"
    """Where it may be set. A project's file comes with the project: who wrote that must not choose who sees a password,
    nor who is believed."""


def load_settings(environ: Mapping[str, str], cwd: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings for a run that was started in `cwd`; `overrides` are flags, None where a flag was not given.

    Raises: UsageError naming file or variable for a value that does not fit, or a name that no setting has.
    """
    user_home = Path(environ["HOME"]) if environ.get("HOME") else None
    files = [
        _read_file(path, is_project=is_project)
        for path, is_project in ((_project_file(cwd), True), (_user_file(environ, user_home), False))
        if path is not None and path.is_file()
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in _settings(environ, user_home):
        value, source = _find(setting, environ, files, overrides or {})
        values[setting.name] = value
        sources[setting.name] = source
    given = read_given_credential(environ)
    if given is not None:
        sources["given_credential"] = given.source
    password = read_key_password(environ)
    if password is not None:
        sources["key_password"] = password.source
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else user_home and user_home / ".docker"
    values["http_proxy"] = values["proxy"]
    if values["proxy"] is None:
        for name, scheme in (("http_proxy", "HTTP"), ("proxy", "HTTPS")):
            found = (f"{scheme.lower()}_proxy", f"{scheme}_PROXY", "all_proxy", "ALL_PROXY")
            variable = next((variable for variable in found if environ.get(variable)), None)
            if variable is not None:
                values[name], sources[name] = environ[variable], variable
    return Settings(
        **values,
        given_credential=given,
        key_password=password,
        no_proxy=environ.get("NO_PROXY") or environ.get("no_proxy"),
        credential_files=_credential_files(values["authfile"], environ, user_home, docker),
        login_file=values["authfile"] or _path_in(environ, "REGISTRY_AUTH_FILE") or (docker and docker / "config.json"),
        created=_created(environ),
        telemetry=read_telemetry(environ),
        user_home=user_home,
        user=environ.get("USER") or environ.get("LOGNAME") or None,
        ci=ci_job(environ),
        sources=sources,
    )


def _settings(environ: Mapping[str, str], user_home: Path | None) -> tuple[_Setting, ...]:
    data = _path_in(environ, "XDG_DATA_HOME") or (user_home / ".local/share" if user_home else Path("/var/tmp"))  # noqa: S108  # only without a HOME
    return (
        _Setting("home", read_path, data / "mlkit"),
        _Setting("plain_http", read_boolean, False),
        _Setting("plain_http_hosts", read_texts, ()),
        _Setting("ca_files", read_paths, ()),
        _Setting("cert", read_path, None),
        _Setting("key", read_path, None),
        _Setting("insecure", read_boolean, False),
        _Setting("proxy", read_text, None),
        _Setting("concurrency", read_count, 4),
        _Setting("limit_rate", read_rate, None),
        _Setting("ranges", read_ranges, "auto"),
        _Setting("retry_budget", read_budget, 300),
        _Setting("authfile", read_path, None),
        _Setting("signing_key", read_path, None, "no project"),
        _Setting("trusted_keys", read_paths, (), "no project"),
        _Setting("policy", read_path, None, "no project"),
        _Setting("scan_on_pack", read_boolean, True, "no project"),
        _Setting("actor", read_text, None, "no project"),
        _Setting("on_promote", read_hook, None, "user file"),
        _Setting("on_rollback", read_hook, None, "user file"),
        _Setting("hook_secret", read_path, None, "user file"),
        _Setting("index_url", read_text, None, "no project"),
        _Setting("limits", read_limits, DEFAULT_LIMITS, "no project"),
        _Setting("progress", read_progress, "auto"),
        _Setting("log_format", read_log_format, "text", "environment"),
        _Setting("metrics_file", read_path, None, "no project"),
        _Setting("registry_host", read_texts, (), "environment"),
        _Setting("registries", read_registries, {}, "user file"),
    )


def _find(
    setting: _Setting,
    environ: Mapping[str, str],
    files: list[tuple[Path, dict[str, Any]]],
    overrides: Mapping[str, Any],
) -> tuple[Any, str]:
    override = overrides.get(setting.name)
    if override is not None:
        is_text = isinstance(override, str | int)  # paths and lists come as what they are
        return setting.read(override, _flag(setting)) if is_text else override, "flag"
    variable = f"MLKIT_{setting.name.upper()}"
    if environ.get(variable) and setting.place != "user file":
        return setting.read(environ[variable], variable), variable
    for path, table in files:
        if setting.name in table:
            return _anchored(setting.read(table[setting.name], f"{path}: {setting.name}"), path.parent), str(path)
    return setting.default, "default"


def _flag(setting: _Setting) -> str:
    return f"--{setting.name.replace('_', '-')}"


def _anchored(value: Any, folder: Path) -> Any:
    """Relative paths in a settings file are meant from the file, not from wherever the command was started."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, tuple):
        return tuple(_anchored(item, folder) for item in value)
    return value


def _project_file(cwd: Path) -> Path | None:
    """The nearest `.mlkit.toml` from `cwd` upward."""
    return next((folder / ".mlkit.toml" for folder in (cwd, *cwd.parents) if (folder / ".mlkit.toml").is_file()), None)


def _user_file(environ: Mapping[str, str], user_home: Path | None) -> Path | None:
    folder = _path_in(environ, "XDG_CONFIG_HOME") or (user_home / ".config" if user_home else None)
    return folder / "mlkit/config.toml" if folder else None


def _read_file(path: Path, *, is_project: bool) -> tuple[Path, dict[str, Any]]:
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode("utf-8")) if len(raw) <= _CONFIG_LIMIT else None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    if table is None:
        raise UsageError(f"{path}: more than {_CONFIG_LIMIT} bytes")
    known = {setting.name: setting for setting in _settings({}, None) if setting.place != "environment"}
    for name in table:
        if is_project and name in known and known[name].place != "anywhere":
            raise UsageError(
                f"{path}: {name} is no setting of a project", hint="it belongs in ~/.config/mlkit/config.toml"
            )
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"{path}: unknown setting {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"settings: {', '.join(known)}",
            )
    return path, table


def _credential_files(
    authfile: Path | None, environ: Mapping[str, str], user_home: Path | None, docker: Path | None
) -> tuple[Path, ...]:
    """In the order of containers-auth.json(5), then Docker's; a file that is named on purpose stands alone."""
    named = authfile or _path_in(environ, "REGISTRY_AUTH_FILE")
    if named is not None:
        return (named,)
    runtime = _path_in(environ, "XDG_RUNTIME_DIR")
    config = _path_in(environ, "XDG_CONFIG_HOME") or (user_home / ".config" if user_home else None)
    found = (
        runtime / "containers/auth.json" if runtime else None,
        config / "containers/auth.json" if config else None,
        docker / "config.json" if docker else None,
    )
    return tuple(path for path in found if path is not None)


def _created(environ: Mapping[str, str]) -> str | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org) as RFC 3339."""
    text = environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH: {text!r} is not a number of seconds") from error


def _path_in(environ: Mapping[str, str], variable: str) -> Path | None:
    return Path(environ[variable]) if environ.get(variable) else None
