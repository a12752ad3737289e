"""Who may do what, and is this machine fit: login, logout, doctor."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import AuthError, MlkitError, UsageError
from mlkit.registry.credentials import Credential
from mlkit.spec.reference import check_host

Status = Literal["ok", "warn", "fail"]
_OLDEST_YEAR = 2026  # of this code
_LOW_SPACE = 1024**3  # bytes; less is not enough for most models


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `doctor` looked at."""

    name: str
    status: Status
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that were stored or taken away."""

    host: str
    file: Path | None


def login(session: Session, host: str, credential: Credential) -> Login:
    """Check credentials with the registry, then store them where Docker keeps its own.

    Raises: AuthError, NetworkError, and then nothing is stored.
    """
    host = check_host(host)
    path = _login_file(session)
    with session.connect(host, lambda _: credential) as registry:
        try:
            registry.check()
        except AuthError as error:
            error.hint = "nothing was stored; is the user name right, and the password or token still good?"
            raise
    session.credentials.store(host, credential)
    return Login(host, path)


def logout(session: Session, host: str) -> Login:
    """Take the credentials of a host away. Raises: NotFoundError where there are none."""
    host = check_host(host)
    path = _login_file(session)
    session.credentials.erase(host)
    return Login(host, path)


def doctor(session: Session, hosts: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Look at what mlkit needs of this machine, and whether `hosts` answer."""
    return tuple(_findings(session, hosts))


def _findings(session: Session, hosts: Sequence[str]) -> Iterator[Finding]:
    home = session.settings.home
    yield _store_finding(home)
    yield _downloads_finding(home)
    yield _space_finding(home)
    yield _reflink_finding(home)
    yield _server_finding()
    yield _clock_finding()
    yield _credentials_finding(session, hosts)
    for host in hosts:
        yield _host_finding(session, host)
        yield from _mirror_findings(session, host)


def _login_file(session: Session) -> Path:
    if session.settings.login_file is None:
        raise UsageError("no place for credentials: neither HOME nor DOCKER_CONFIG is set", hint="use --authfile")
    return session.settings.login_file


def _store_finding(home: Path) -> Finding:
    try:
        layout = Layout.open_or_new(home)
        if layout.is_absent:
            return Finding("store", "ok", f"{home}: none yet; the first `mlkit pack` or `pull` makes it")
        names = layout.names()
    except MlkitError as error:
        return Finding("store", "fail", error.message, error.hint)
    if not os.access(home, os.W_OK):
        return Finding("store", "warn", f"{home}: cannot be written to", "kits in it can be read and pushed")
    return Finding("store", "ok", f"{home} ({len(names)} {'name' if len(names) == 1 else 'names'})")


def _downloads_finding(home: Path) -> Finding:
    """Downloads that were interrupted; a pull goes on with them, and after a week they are deleted."""
    try:
        partials = Layout.open_or_new(home).ingest_area.partials()
    except MlkitError as error:
        return Finding("downloads", "fail", error.message, error.hint)
    if not partials:
        return Finding("downloads", "ok", "none is unfinished")
    size = sum(partial.size for partial in partials)
    return Finding(
        "downloads",
        "ok",
        f"{len(partials)} unfinished, {size / 1e9:.1f} GB: pull again to go on",
        "`mlkit prune --grace 0` deletes them",
    )


def _space_finding(home: Path) -> Finding:
    place = next((folder for folder in (home, *home.absolute().parents) if folder.is_dir()), home)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("disk", "fail", f"{home}: {error.strerror}")
    status: Status = "ok" if free >= _LOW_SPACE else "warn"
    return Finding(
        "disk", status, f"{free / 1e9:,.2f} GB free", None if status == "ok" else "`mlkit prune` frees what no kit uses"
    )


def _reflink_finding(home: Path) -> Finding:
    """Whether the file system can share blocks between the store and an unpacked tree (ioctl_ficlone(2))."""
    ficlone = 0x40049409
    if not home.is_dir():
        return Finding("reflink", "ok", "to be seen when there is a store")
    try:
        import fcntl

        with tempfile.TemporaryFile(dir=home) as source, tempfile.TemporaryFile(dir=home) as clone:
            source.write(b"\0" * 4096)
            source.flush()
            fcntl.ioctl(clone.fileno(), ficlone, source.fileno())
    except (OSError, ImportError):
        return Finding("reflink", "ok", "not supported here: packing and unpacking copy")
    return Finding("reflink", "ok", "supported: packing and unpacking share blocks")


def _server_finding() -> Finding:
    if all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn")):
        return Finding("registry serve", "ok", "installed")
    return Finding("registry serve", "warn", "not installed", "pip install 'mlkit[server]'")


def _clock_finding() -> Finding:
    """A clock that is far off makes every certificate invalid, and tokens expire before they are used."""
    year = datetime.now(UTC).year
    if _OLDEST_YEAR <= year <= _OLDEST_YEAR + 30:
        return Finding("clock", "ok", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    return Finding(
        "clock", "fail", f"says that it is the year {year}", "set it, or certificates and tokens will not hold"
    )


def _credentials_finding(session: Session, hosts: Sequence[str]) -> Finding:
    there = [path for path in session.settings.credential_files if path.exists()]
    try:
        known = [host for host in hosts if session.credential(host) is not None]
        if not hosts:
            session.credentials.lookup("registry.invalid")  # reads every file; no registry has this name (RFC 2606)
    except MlkitError as error:
        return Finding("credentials", "fail", error.message, error.hint)
    given = session.settings.given_credential
    files = ", ".join([*([given.source] if given else ()), *map(str, there)]) or "no file"
    return Finding(
        "credentials",
        "ok",
        f"{files}" + (f"; for {', '.join(known) or 'none of the registries named'}" if hosts else ""),
    )


def _host_finding(session: Session, host: str) -> Finding:
    try:
        session.host(check_host(host)).check()
    except MlkitError as error:
        return Finding(host, "fail", error.message, error.hint)
    return Finding(host, "ok", "answers")


def _mirror_findings(session: Session, host: str) -> Iterator[Finding]:
    """A mirror that is away makes a pull slower and stops nothing."""
    for url, registry in session.mirrors(host.lower()).items():
        name = f"mirror {url}"
        try:
            registry.check()
        except MlkitError as error:
            yield Finding(name, "warn", error.message, f"{host} is asked instead")
        else:
            yield Finding(name, "ok", "answers")
