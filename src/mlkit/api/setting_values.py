"""The values of settings, read from flags, variables and TOML alike. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.content.pace import MOST, Ranges
from mlkit.errors import UsageError

_RATE = re.compile(r"([0-9]{1,12})([kmg]?)(?:i?b)?(?:/s)?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SLOWEST = 1024  # bytes per second; registries and proxies give up on what is slower
_LONGEST_BUDGET = 24 * 3600  # seconds
_MIRRORS = 16  # for one registry


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where a registry's content may be had from instead."""

    urls: tuple[str, ...] = ()
    """`http[s]://host[:port][/prefix]`, in the order in which they are asked."""
    have_tags: bool = False
    """Whether they are believed about tags and referrers; about content nobody is, it is verified."""


Hook = tuple[str, ...]
"""A program with its arguments, or one URL that is sent a POST."""


def read_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is not text")
    return value


def read_texts(value: object, where: str) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UsageError(f"{where}: {value!r} is not a list of text")
    return tuple(part.strip() for part in parts if part.strip())


def read_path(value: object, where: str) -> Path:
    return Path(read_text(value, where)).expanduser()


def read_paths(value: object, where: str) -> tuple[Path, ...]:
    return tuple(Path(text).expanduser() for text in read_texts(value, where))


def read_boolean(value: object, where: str) -> bool:
    text = str(value).lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise UsageError(f"{where}: {value!r} is neither true nor false")


def read_count(value: object, where: str) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise UsageError(f"{where}: {value!r} is not a number from 1 to 64")
    return int(text)


def read_progress(value: object, where: str) -> str:
    if value not in ("auto", "plain", "none"):
        raise UsageError(f"{where}: {value!r} is none of auto, plain, none")
    return str(value)


def read_log_format(value: object, where: str) -> str:
    if value not in ("text", "json"):
        raise UsageError(f"{where}: {value!r} is neither text nor json")
    return str(value)


def read_rate(value: object, where: str) -> int:
    """Bytes per second: a number, perhaps with K, M or G, which count in 1024s as curl's do. Raises: UsageError."""
    found = None if isinstance(value, bool) else _RATE.fullmatch(str(value).strip())
    rate = int(found[1]) * _UNITS[found[2].lower()] if found else 0
    if rate < _SLOWEST:
        raise UsageError(
            f"{where}: {value!r} is not a rate of at least {_SLOWEST} bytes per second",
            hint="a rate reads 500K, 20M or 1G",
        )
    return rate


def read_ranges(value: object, where: str) -> Ranges:
    """Connections for one large blob. Raises: UsageError for what is none of auto, off and 2 to 8."""
    if value == "auto":
        return "auto"
    if value == "off":
        return "off"
    if str(value) in map(str, range(2, MOST + 1)):
        return int(str(value))
    raise UsageError(f"{where}: {value!r} is none of auto, off and the numbers from 2 to {MOST}")


def read_budget(value: object, where: str) -> int:
    """Seconds; 0 is none. Raises: UsageError."""
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) > _LONGEST_BUDGET:
        raise UsageError(f"{where}: {value!r} is not a number of seconds from 0 to {_LONGEST_BUDGET}")
    return int(text)


def read_hook(value: object, where: str) -> Hook:
    """A list of program and arguments, or an http(s) URL as text. Raises: UsageError."""
    hint = 'it reads ["systemctl", "restart", "digits"] or "https://hooks.example/mlkit"'
    if isinstance(value, list) and value and all(isinstance(part, str) and part for part in value):
        if "://" in value[0]:
            raise UsageError(f"{where}: a URL stands alone, and in no list", hint=hint)
        return tuple(value)
    if not isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is neither a program with arguments nor a URL", hint=hint)
    if "@" in value:  # not shown: there may be a password in it
        raise UsageError(f"{where}: a URL with credentials in it", hint="hook_secret names a file to sign calls with")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{where}: {value!r} is not an http(s) URL", hint=hint)
    return (value,)


def read_limits(value: object, where: str) -> Limits:
    """`[limits]`, or `NAME=NUMBER,NAME=NUMBER` in the environment; numbers may end in K, M or G. Raises: UsageError."""
    names = {field.name for field in fields(Limits)}
    if isinstance(value, str):
        value = dict(part.partition("=")[::2] for part in value.split(",") if part.strip())
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is not a table", hint='it reads [limits], with max_size = "2G" below it')
    changed: dict[str, int] = {}
    for raw_name, raw in value.items():
        name = str(raw_name).strip()
        if name not in names:
            raise UsageError(f"{where}: no limit is called {name!a}", hint=f"limits: {', '.join(sorted(names))}")
        found = None if isinstance(raw, bool) else _RATE.fullmatch(str(raw).strip())
        if found is None or int(found[1]) == 0:
            raise UsageError(f"{where}.{name}: {raw!r} is not a number from 1 on", hint="it may end in K, M or G")
        changed[name] = int(found[1]) * _UNITS[found[2].lower()]
    return replace(DEFAULT_LIMITS, **changed)


def read_registries(value: object, where: str) -> Mapping[str, Mirrors]:
    """`[registries."host"]` with `mirrors` and `mirror_tags`, by host in lower case. Raises: UsageError."""
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is not a table", hint='it reads [registries."registry.example"]')
    return {host.lower(): _mirrors(table, f'{where}."{host}"') for host, table in value.items()}


def _mirrors(value: object, where: str) -> Mirrors:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is not a table", hint='mirrors = ["https://mirror.example"]')
    for name in value:
        if name not in ("mirrors", "mirror_tags"):
            raise UsageError(f"{where}: unknown setting {name!r}", hint="settings: mirrors, mirror_tags")
    urls = read_texts(value.get("mirrors", []), f"{where}.mirrors")
    if len(urls) > _MIRRORS:
        raise UsageError(f"{where}.mirrors: {len(urls)} mirrors (at most {_MIRRORS})")
    for url in urls:
        _check_mirror(url, f"{where}.mirrors")
    return Mirrors(tuple(url.rstrip("/") for url in urls), read_boolean(value.get("mirror_tags", False), where))


def _check_mirror(url: str, where: str) -> None:
    hint = "it reads https://mirror.example/prefix"
    if "@" in url:  # not shown: there may be a password in it
        raise UsageError(f"{where}: a mirror with credentials in its URL", hint=f"{hint}; `mlkit login` keeps those")
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine or "?" in url or "#" in url:
        raise UsageError(f"{where}: {url!r} is not a mirror", hint=hint)
