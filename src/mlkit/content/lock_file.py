"""A lock for file systems on which flock fails or lies: a file that only one process can create (threats.md, 27).

The file says who holds it and is touched every few seconds. It is broken where its holder is a process of this machine
that is dead, or, of another machine, where nobody has touched it for a minute of our own watch: no two clocks are
compared. It keeps writers apart; it is slower than flock, and knows no shared holders.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlkit.content.lock_errors import disk_errors, write_all
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.json_text import parse_object, render_json

BEAT = 5.0
"""Seconds between two touches of a lock that is held."""
SILENCE = 60.0
"""Seconds without a touch after which a holder on another machine counts as dead."""
_PAUSE = 0.02  # seconds between two looks at a lock that somebody holds
_LIMIT = 4096  # bytes; a holder has some 200
_LARGEST_PID = 2**31 - 1  # what kill(2) takes


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, so that another one can tell whether it still runs."""

    host: str
    boot: str
    """The kernel's id of this boot; empty where it has none."""
    pid: int
    started: str
    """When, in the kernel's own count: the next process with this number has another one."""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(os.uname().nodename, _boot(), pid, _started(pid))

    def is_known_dead(self, me: Holder) -> bool:
        """Whether it ran where we run, and runs no more."""
        if (self.host, self.boot) != (me.host, me.boot) or not self.boot:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # somebody else's, and alive
        return _started(self.pid) != self.started


class LockFile:
    """Not re-entrant; threads exclude one another as processes do."""

    def __init__(
        self,
        path: Path,
        *,
        holder: Callable[[], Holder] = Holder.here,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        self._path = path
        self._holder = holder
        self._monotonic = monotonic
        self._sleep = sleep
        self._beat = beat
        self._silence = silence

    @contextmanager
    def held(self) -> Iterator[None]:
        """Waits as long as it takes. Raises: StoreError where the store cannot be written."""
        mine = self._acquire()
        stop = threading.Event()
        beating = threading.Thread(target=self._keep_alive, args=(stop,), name="mlkit-lock", daemon=True)
        try:
            beating.start()
            yield
        finally:
            stop.set()
            if beating.is_alive():  # not where no thread could be had
                beating.join()
            with suppress(OSError):
                if self._path.read_bytes() == mine:
                    self._path.unlink()

    def _acquire(self) -> bytes:
        me = self._holder()
        fields = {"host": me.host, "boot": me.boot, "pid": me.pid, "started": me.started}
        mine = render_json({**fields, "nonce": os.urandom(8).hex()})
        watched: tuple[object, float] | None = None
        while not self._is_created(mine):
            with suppress(OSError):
                found, there = self._path.stat(), self._path.read_bytes()[:_LIMIT]
                sign = (found.st_ino, found.st_mtime_ns, there)
                if watched is None or watched[0] != sign:
                    watched = (sign, self._monotonic())
                holder = _parse(there)
                is_dead = holder is not None and holder.is_known_dead(me)
                if is_dead or self._monotonic() - watched[1] >= self._silence:
                    self._break(there)
                    continue
            self._sleep(_PAUSE)
        return mine

    def _is_created(self, content: bytes) -> bool:
        with disk_errors(self._path):
            try:
                file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                return False
            try:
                write_all(file, content)
            except OSError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                os.close(file)
        return True

    def _break(self, judged: bytes) -> None:
        """Take a dead holder's lock away; put it back where it is another one's by now."""
        aside = self._path.with_name(f"{self._path.name}.{os.urandom(8).hex()}")
        with suppress(OSError):
            self._path.rename(aside)
            if aside.read_bytes()[:_LIMIT] != judged:
                with suppress(FileExistsError):
                    self._path.hardlink_to(aside)
            aside.unlink()

    def _keep_alive(self, stop: threading.Event) -> None:
        while not stop.wait(self._beat):
            with suppress(OSError):
                os.utime(self._path)


def _parse(raw: bytes) -> Holder | None:
    """None for what cannot be told: its holder is judged by the watch then."""
    try:
        value = parse_object(raw, what="lock", limit=_LIMIT)
    except (IntegrityError, LimitError):
        return None
    match value:
        case {"host": str(host), "boot": str(boot), "pid": int(pid), "started": str(started)} if (
            0 < pid <= _LARGEST_PID
        ):
            return Holder(host, boot, pid, started)
    return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        # proc(5): field 22; the second one is in brackets and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
