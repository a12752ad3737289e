"""Where kits came from and what came of them: the index, and the questions that it answers."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlkit import __version__
from mlkit.api.lineage_places import Keys, local_target, parse_targets
from mlkit.api.lineage_subjects import subject_of
from mlkit.api.session import Session
from mlkit.content.layout import CONTROL
from mlkit.errors import AuthError, NetworkError, StoreError, UsageError
from mlkit.lineage.answer import Answer, Comparison, Deployed, Tree, Untold
from mlkit.lineage.ask import HIT_LIMIT, Questions
from mlkit.lineage.database import Corrupt, database_errors, file_of, open_database, put_aside, shown
from mlkit.lineage.index import Index
from mlkit.lineage.report import Report, View, render_report_csv, render_report_json
from mlkit.lineage.report_page import render_report_page
from mlkit.lineage.scan import Manner, Scan, scan_target
from mlkit.trust.keys import read_public_key

__all__ = [
    "HIT_LIMIT",
    "Indexed",
    "View",
    "audit",
    "deployed",
    "diff",
    "index",
    "inputs",
    "trained_on",
    "tree",
    "unprovenanced",
    "write_report",
]

_LIST_LIMIT = 4 * 1024 * 1024  # bytes of the list of what was ever scanned

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Indexed:
    """What a run of `index` did."""

    scans: tuple[Scan, ...]
    index: str
    """Where it is."""
    notes: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every target was seen to its end, and could be read."""
        return all(scan.problem is None and not scan.failed for scan in self.scans)

    @property
    def exit_code(self) -> int:
        """0; where a target gave nothing since it could not be reached 7, or 6 where one lets nobody in.

        6 before 7: trying again helps only where nothing but the network is in the way.
        """
        kinds = {kind.code: kind.exit_code for kind in (AuthError, NetworkError)}
        return min((kinds[scan.unreached] for scan in self.scans if scan.unreached is not None), default=0)


def index(session: Session, targets: Sequence[str] = (), *, quick: bool = False) -> Indexed:
    """Scan targets into the index; without any, all that were ever scanned, and the local store.

    `quick`: do not ask again what is said of kits that were read before. Raises: UsageError; StoreError.
    """
    with _opened(session) as (found, notes):
        scans = _scan(session, found, targets, quick=quick)
        return Indexed(tuple(scans), shown(_location(session)), notes)


def trained_on(session: Session, what: str, *, refresh: bool = False, limit: int = HIT_LIMIT) -> Answer:
    """The kits that hold something, were trained with it, or with anything that was made of it."""
    return asking(
        session,
        lambda questions: questions.trained_on(subject_of(session, questions, what), limit=limit),
        refresh=refresh,
    )


def inputs(session: Session, what: str, *, refresh: bool = False, limit: int = HIT_LIMIT) -> Answer:
    """Everything that a kit came from, as far as anybody said."""
    return asking(
        session,
        lambda questions: questions.inputs(subject_of(session, questions, what), limit=limit),
        refresh=refresh,
    )


def tree(session: Session, what: str, *, depth: int = 4, width: int = 20, refresh: bool = False) -> Tree:
    """What a kit came from and what came of it, as branches."""
    return asking(
        session,
        lambda questions: questions.tree(subject_of(session, questions, what), depth=depth, width=width),
        refresh=refresh,
    )


def deployed(session: Session, what: str, *, refresh: bool = False) -> Deployed:
    """Which channels pointed at a kit, or at anything that came of something, and when."""
    return asking(session, lambda questions: questions.deployed(subject_of(session, questions, what)), refresh=refresh)


def unprovenanced(session: Session, *, refresh: bool = False, limit: int = HIT_LIMIT) -> Untold:
    """The kits with a model whose origin nobody can tell."""
    return asking(session, lambda questions: questions.unprovenanced(limit=limit), refresh=refresh)


def diff(session: Session, before: str, after: str, *, refresh: bool = False) -> Comparison:
    """What one kit came from and the other did not."""
    return asking(
        session,
        lambda questions: questions.diff(subject_of(session, questions, before), subject_of(session, questions, after)),
        refresh=refresh,
    )


def audit(session: Session, what: str, *, view: View = View.DATA, refresh: bool = False) -> Report:
    """A question with everything that an auditor wants beside the answer. See `View`."""

    def ask(questions: Questions) -> Report:
        subject = subject_of(session, questions, what)
        deployed = questions.deployed(subject)
        is_origin = view is View.AI_ACT
        return Report(
            view=view,
            answer=questions.inputs(subject) if is_origin else questions.trained_on(subject),
            deployed=deployed,
            command=shlex.join(["mlkit", "lineage", "audit", what, "--view", view.value, "--report", "report.html"]),
            mlkit=__version__,
        )

    return asking(session, ask, refresh=refresh)


def write_report(report: Report, path: Path) -> None:
    """Write a report as `.html`, `.json` or `.csv`, whole or not at all. Raises: UsageError, StoreError."""
    render = _FORMS.get(path.suffix.lower())
    if render is None:
        raise UsageError(f"{path}: a report ends in {', '.join(_FORMS)}")
    staged = path.with_name(f".{path.name}.new")
    try:
        staged.write_text(render(report), encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StoreError(f"{path}: {os.strerror(error.errno or 0)}") from error


_FORMS: dict[str, Callable[[Report], str]] = {
    ".html": render_report_page,
    ".json": render_report_json,
    ".csv": render_report_csv,
}


def asking(session: Session, ask: Callable[[Questions], Result], *, refresh: bool = False) -> Result:
    """Put a question to the index; `refresh` scans all that was ever scanned before.

    An index that turns out corrupt on the way is made again, and asked again. Raises: StoreError.
    """
    try:
        return _ask(session, ask, refresh=refresh)
    except Corrupt as error:
        path = file_of(_location(session))
        assert path is not None  # only a file can be corrupt; a server says other things
        aside = put_aside(path, time.time())
        session.progress.warn(f"the lineage index was corrupt ({error}) and is made again; the old file is {aside}")
    return _ask(session, ask, refresh=True)


def _ask(session: Session, ask: Callable[[Questions], Result], *, refresh: bool) -> Result:
    with _opened(session) as (found, notes):
        for note in notes:
            session.progress.warn(note)
        if refresh or not found.targets():
            _scan(session, found, ())
        keys = trusted_keys(session)
        return ask(Questions(found, keys=keys, now=time.time, name=shown(_location(session))))


def trusted_keys(session: Session) -> Keys:
    """The keys whose owners are believed. Raises: NotFoundError, UsageError naming the file."""
    read = [read_public_key(path) for path in session.settings.trusted_keys]
    return {key.key_id: key for key in read}


@contextmanager
def _opened(session: Session) -> Iterator[tuple[Index, tuple[str, ...]]]:
    opened = open_database(_location(session), now=time.time)
    found = Index(opened.engine)
    try:
        notes = opened.notes
        with database_errors(opened.engine.url):
            if opened.was_broken:
                _scan(session, found, ())
            yield found, notes
    finally:
        found.close()


def _scan(session: Session, found: Index, texts: Iterable[str], *, quick: bool = False) -> list[Scan]:
    keys = trusted_keys(session)
    wanted = list(texts)
    if wanted:
        targets = parse_targets(session, wanted, keys)
    else:
        own = local_target(session, keys)
        others = dict.fromkeys([*_remembered(session), *(target.name for target in found.targets())])
        targets = (own, *parse_targets(session, [name for name in others if name != own.name], keys))
    _remember(session, [target.name for target in targets])
    manner = Manner(
        now=time.time,
        threads=session.settings.concurrency,
        keys=frozenset(keys),
        looks_for_statements=not quick,
    )
    return [scan_target(target.name, target.places(), found, manner, state=target.state()) for target in targets]


def _location(session: Session) -> str:
    return session.settings.index_url or str(session.settings.home / CONTROL / "lineage.sqlite")


def _list(session: Session) -> Path:
    return session.settings.home / CONTROL / "lineage-targets"


def _remembered(session: Session) -> list[str]:
    """What was ever scanned, for the day on which the index is gone."""
    try:
        with _list(session).open("rb") as stream:
            return [line for line in stream.read(_LIST_LIMIT).decode("utf-8", "replace").splitlines() if line]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{_list(session)}: {os.strerror(error.errno or 0)}") from error


def _remember(session: Session, names: Iterable[str]) -> None:
    known = _remembered(session)
    new = [name for name in names if name not in known]
    if not new:
        return
    path = _list(session)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole lines, appended: two who write at once keep both.
        with path.open("ab") as stream:
            stream.write("".join(f"{name}\n" for name in new).encode("utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: {os.strerror(error.errno or 0)}") from error
