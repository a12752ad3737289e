"""Settings: flags before `MLKIT_*` before the project's `.mlkit.toml` before the user's `config.toml`.

This is the only module that knows the names of environment variables. It is handed the environment; it never reads it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    proxy: str | None = None
    no_proxy: str | None = None
    concurrency: int = 4
    """Blobs that are moved at the same time."""
    authfile: Path | None = None
    progress: str = "auto"
    credential_files: tuple[Path, ...] = ()
    """Where credentials are looked up, first to last; `login` writes to the Docker file or to `authfile`."""
    login_file: Path | None = None
    created: str | None = None
    """RFC 3339; from SOURCE_DATE_EPOCH."""
    user_home: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """For each setting, in words, where its value came from."""

    def speaks_plain_http(self, host: str) -> bool:
        """Whether `host[:port]` is configured to be spoken to without TLS."""
        if self.plain_http or host in self.plain_http_hosts:
            return True
        return "loopback" in self.plain_http_hosts and _is_loopback(host)


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


def load_settings(environ: Mapping[str, str], cwd: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings for a run that was started in `cwd`; `overrides` are flags, None where a flag was not given.

    Raises: UsageError naming file or variable for a value that does not fit, or a name that no setting has.
    """
    user_home = Path(environ["HOME"]) if environ.get("HOME") else None
    files = [
        _read_file(path)
        for path in (_project_file(cwd), _user_file(environ, user_home))
        if path is not None and path.is_file()
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in _settings(environ, user_home):
        value, source = _find(setting, environ, files, overrides or {})
        values[setting.name] = value
        sources[setting.name] = source
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else user_home and user_home / ".docker"
    if values["proxy"] is None:
        variable = next(
            (name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if environ.get(name)), None
        )
        if variable is not None:
            values["proxy"], sources["proxy"] = environ[variable], variable
    return Settings(
        **values,
        no_proxy=environ.get("NO_PROXY") or environ.get("no_proxy"),
        credential_files=_credential_files(values["authfile"], environ, user_home, docker),
        login_file=values["authfile"] or _path_in(environ, "REGISTRY_AUTH_FILE") or (docker and docker / "config.json"),
        created=_created(environ),
        user_home=user_home,
        sources=sources,
    )


def _settings(environ: Mapping[str, str], user_home: Path | None) -> tuple[_Setting, ...]:
    data = _path_in(environ, "XDG_DATA_HOME") or (user_home / ".local/share" if user_home else Path("/var/tmp"))  # noqa: S108  # only without a HOME
    return (
        _Setting("home", _path, data / "mlkit"),
        _Setting("plain_http", _boolean, False),
        _Setting("plain_http_hosts", _texts, ()),
        _Setting("ca_files", _paths, ()),
        _Setting("cert", _path, None),
        _Setting("key", _path, None),
        _Setting("insecure", _boolean, False),
        _Setting("proxy", _text, None),
        _Setting("concurrency", _count, 4),
        _Setting("authfile", _path, None),
        _Setting("progress", _progress, "auto"),
    )


def _find(
    setting: _Setting,
    environ: Mapping[str, str],
    files: list[tuple[Path, dict[str, Any]]],
    overrides: Mapping[str, Any],
) -> tuple[Any, str]:
    if overrides.get(setting.name) is not None:
        return overrides[setting.name], "flag"
    variable = f"MLKIT_{setting.name.upper()}"
    if environ.get(variable):
        return setting.read(environ[variable], variable), variable
    for path, table in files:
        if setting.name in table:
            return _anchored(setting.read(table[setting.name], f"{path}: {setting.name}"), path.parent), str(path)
    return setting.default, "default"


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


def _read_file(path: Path) -> tuple[Path, dict[str, Any]]:
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode("utf-8")) if len(raw) <= _CONFIG_LIMIT else None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    if table is None:
        raise UsageError(f"{path}: more than {_CONFIG_LIMIT} bytes")
    known = [setting.name for setting in _settings({}, None)]
    for name in table:
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


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is not text")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UsageError(f"{where}: {value!r} is not a list of text")
    return tuple(part.strip() for part in parts if part.strip())


def _path(value: object, where: str) -> Path:
    return Path(_text(value, where)).expanduser()


def _paths(value: object, where: str) -> tuple[Path, ...]:
    return tuple(Path(text).expanduser() for text in _texts(value, where))


def _boolean(value: object, where: str) -> bool:
    text = str(value).lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise UsageError(f"{where}: {value!r} is neither true nor false")


def _count(value: object, where: str) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise UsageError(f"{where}: {value!r} is not a number from 1 to 64")
    return int(text)


def _progress(value: object, where: str) -> str:
    if value not in ("auto", "plain", "none"):
        raise UsageError(f"{where}: {value!r} is none of auto, plain, none")
    return str(value)
