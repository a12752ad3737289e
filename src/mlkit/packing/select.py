"""Which layers and files of a kit the user asked for. Nothing here does I/O.

A filter reads `CLASS[,CLASS…][:PATTERN[,PATTERN…]]`, with `!` in front to exclude. A pattern matches an entry's name,
an entry's path, or a file's path: from the root of the kit or from the entry's own path. `*` stays within one component
of a path, `**` goes across; a pattern that names a directory takes what is under it. What several filters include is
united, then all exclusions are taken away.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlkit.archive.glob import matches_stars
from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.kit import Kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.media_types import Class

KITFILE_NAME = "Kitfile"
"""Where the author's Kitfile is unpacked to, and what a pattern without a class matches to select it."""

_KITFILE_CLASS = "kitfile"
_LENGTH_LIMIT = 4096  # characters, as long as a path may be
_PATTERN_LIMIT = 1000
_SHOWN_ENTRIES = 20
_HINT = (
    "a filter reads CLASS[,CLASS…][:PATTERN[,PATTERN…]], for example model, datasets:train or '**/*.parquet'; "
    f"the classes are {', '.join((*Class, _KITFILE_CLASS))}"
)


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern over paths, matched in time linear in its length times the path's."""

    text: str
    components: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Glob:
        """Read a pattern; a leading `./` and a trailing `/` say nothing. Raises: UsageError."""
        components = tuple(part for part in text.split("/") if part not in ("", "."))
        if not text or text.startswith("/") or ".." in components or len(text) > _LENGTH_LIMIT:
            raise UsageError(f"{_shown(text)} is not a pattern (expected a name, or a path inside the kit)", hint=_HINT)
        return cls(text, components)

    def matches(self, path: str) -> bool:
        """Whether the pattern is `path` or one of the directories above it."""
        positions = self._skip({0})
        if len(self.components) in positions:
            return True
        for component in path.split("/"):
            positions = self._skip(self._step(positions, component))
            if len(self.components) in positions:
                return True
            if not positions:
                return False
        return False

    def _step(self, positions: set[int], component: str) -> set[int]:
        reached = set()
        for position in positions:
            part = self.components[position]
            if part == "**":
                reached.add(position)
            elif matches_stars(part, component):
                reached.add(position + 1)
        return reached

    def _skip(self, positions: set[int]) -> set[int]:
        """The positions with those added that a `**` which stands for nothing gives."""
        reached = set(positions)
        for position in positions:
            while position < len(self.components) and self.components[position] == "**":
                position += 1
                reached.add(position)
        return reached


@dataclass(frozen=True, slots=True)
class Filter:
    """One `--filter`; it says nothing about any particular kit."""

    text: str
    is_exclusion: bool
    classes: frozenset[Class]
    takes_kitfile: bool
    patterns: tuple[Glob, ...]
    """Empty: everything of the classes."""

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read one filter. Raises: UsageError."""
        is_exclusion = text.startswith("!")
        body = text[1:] if is_exclusion else text
        class_text, colon, pattern_text = body.partition(":")
        # No class name holds either, so that a path such as '**/*.parquet' can stand alone.
        if "*" in class_text or "/" in class_text:
            patterns = _parse_patterns(body, text)
            takes_kitfile = any(pattern.matches(KITFILE_NAME) for pattern in patterns)
            return cls(text, is_exclusion, frozenset(Class), takes_kitfile, patterns)
        classes, takes_kitfile = _parse_classes(class_text, text)
        return cls(text, is_exclusion, classes, takes_kitfile, _parse_patterns(pattern_text, text) if colon else ())

    def narrowed(self, cls: Class) -> Filter | None:
        """The same filter for one class only; None where it says nothing about that class."""
        if cls not in self.classes:
            return None
        return Filter(self.text, self.is_exclusion, frozenset({cls}), False, self.patterns)

    def takes_entry(self, entry: EntryRecord) -> bool:
        """Whether it takes all that the entry holds."""
        return entry.cls in self.classes and (
            not self.patterns or any(_names_entry(pattern, entry) for pattern in self.patterns)
        )

    def takes_file(self, entry: EntryRecord, path: str) -> bool:
        """Whether it takes one file of the entry, by kit-relative path."""
        if self.takes_entry(entry):
            return True
        if entry.cls not in self.classes:
            return False
        inner = _inside(entry.path, path)
        return any(pattern.matches(path) or (inner is not None and pattern.matches(inner)) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class SelectedLayer:
    """A layer that is wanted, whole or in part."""

    layer: KitLayer
    paths: frozenset[str] | None
    """Kit-relative; None where every file is wanted, or where nobody knows the files and `rules` decide."""
    rules: Rules | None = None
    """Set where the files of the layer are known only when it is read, and not all of them are wanted."""

    def wants(self, path: str) -> bool:
        """Whether a file of the layer is wanted."""
        if self.rules is not None:
            return self.rules.take_file(path)
        return self.paths is None or path in self.paths

    @property
    def is_whole(self) -> bool:
        """Whether every file of the layer is wanted."""
        return self.paths is None and self.rules is None


@dataclass(frozen=True, slots=True)
class Rules:
    """Filters as they apply to one entry, for files whose names are not known yet."""

    entry: EntryRecord
    includes: tuple[Filter, ...]
    exclusions: tuple[Filter, ...]

    def take_file(self, path: str) -> bool:
        return (not self.includes or any(one.takes_file(self.entry, path) for one in self.includes)) and not any(
            one.takes_file(self.entry, path) for one in self.exclusions
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a kit is wanted."""

    layers: tuple[SelectedLayer, ...]
    kitfile: bool
    """Whether the author's Kitfile is wanted."""
    directories: tuple[str, ...] = ()
    """Empty directories to be made."""
    filters: tuple[Filter, ...] = ()
    """What it was made from; none where everything was asked for."""
    unmatched: tuple[Filter, ...] = ()
    """Filters that matched nothing here but may match in the kit that this one refers to for its model."""

    @property
    def size(self) -> int:
        """Bytes of the selected layers, content that occurs twice counted once: what a pull would move at most."""
        return sum({one.layer.desc.digest: one.layer.desc.size for one in self.layers}.values())

    @property
    def is_empty(self) -> bool:
        return not self.layers and not self.kitfile and not self.directories


def select(kit: Kit, filters: Sequence[str], *, elsewhere: Sequence[EntryRecord] = ()) -> Selection:
    """What the filters select; everything where there are none. `elsewhere`: entries whose content is not in the kit.

    Raises: UsageError for what is no filter; NotFoundError, listing what there is, where one matches nothing.
    """
    parsed = tuple(Filter.parse(text) for text in filters)
    selection = select_parsed(kit, parsed)
    unmatched = tuple(one for one in selection.unmatched if not any(map(one.takes_entry, elsewhere)))
    selection = replace(selection, unmatched=unmatched)
    missing = [one for one in unmatched if not (kit.has_parent and one.narrowed(Class.MODEL))]
    is_elsewhere = any(takes_whole(selection.filters, entry) for entry in elsewhere)
    if missing:
        raise nothing_matches(kit, missing[0].text)
    if selection.is_empty and not selection.unmatched and parsed and not is_elsewhere:
        raise nothing_matches(kit, " ".join(one.text for one in parsed))
    return selection


def takes_whole(filters: Sequence[Filter], entry: EntryRecord) -> bool:
    """Whether filters want all of an entry, of which nothing but its place in the Kitfile is known."""
    includes = [one for one in filters if not one.is_exclusion]
    is_excluded = any(one.is_exclusion and one.takes_entry(entry) for one in filters)
    return not is_excluded and (not includes or any(one.takes_entry(entry) for one in includes))


def select_parsed(kit: Kit, filters: tuple[Filter, ...]) -> Selection:
    """Like `select`, but what matches nothing is told in `unmatched` and stops nothing."""
    includes = tuple(one for one in filters if not one.is_exclusion)
    exclusions = tuple(one for one in filters if one.is_exclusion)
    entries = {entry.id: entry for entry in kit.entries}
    selected = []
    matched: set[str] = set()
    for layer in kit.layers:
        entry = entries[layer.entry]
        chosen = _select_layer(layer, entry, includes, exclusions, kit.entries, matched)
        if chosen is not None:
            selected.append(chosen)
    directories = []
    for entry in kit.entries:
        rules = Rules(entry, includes, exclusions)
        matched.update(one.text for one in filters if one.takes_entry(entry))
        for directory in entry.directories:
            matched.update(one.text for one in filters if one.takes_file(entry, directory))
            if rules.take_file(directory):
                directories.append(directory)
    matched.update(one.text for one in filters if one.takes_kitfile)
    return Selection(
        layers=tuple(selected),
        kitfile=(not includes or any(one.takes_kitfile for one in includes))
        and not any(one.takes_kitfile for one in exclusions),
        directories=tuple(directories),
        filters=filters,
        unmatched=tuple(one for one in filters if one.text not in matched),
    )


def nothing_matches(kit: Kit, filter_text: str) -> NotFoundError:
    """The error for a filter that matches nothing, with a bounded list of what there is."""
    shown = [_describe(entry) for entry in kit.entries[:_SHOWN_ENTRIES]]
    if len(kit.entries) > _SHOWN_ENTRIES:
        shown.append(f"and {len(kit.entries) - _SHOWN_ENTRIES} more")
    return NotFoundError(
        f"filter {_shown(filter_text)} matches nothing in this kit (it has: {', '.join(shown) or 'no entries'})",
        hint="`mlkit files` lists every file of a kit",
    )


def _select_layer(
    layer: KitLayer,
    entry: EntryRecord,
    includes: tuple[Filter, ...],
    exclusions: tuple[Filter, ...],
    entries: tuple[EntryRecord, ...],
    matched: set[str],
) -> SelectedLayer | None:
    if layer.files is None:
        return _select_unread_layer(layer, entry, includes, exclusions, entries, matched)
    rules = Rules(entry, includes, exclusions)
    whole = {one: one.takes_entry(entry) for one in (*includes, *exclusions)}
    matched.update(one.text for one, takes in whole.items() if takes)
    if any(whole[one] for one in exclusions):
        return None
    if (not includes or any(whole[one] for one in includes)) and not exclusions:
        return SelectedLayer(layer, None)
    paths = set()
    for file in layer.files:
        matched.update(one.text for one in whole if one.text not in matched and one.takes_file(entry, file.path))
        if rules.take_file(file.path):
            paths.add(file.path)
    if len(paths) == len(layer.files):
        return SelectedLayer(layer, None)
    return SelectedLayer(layer, frozenset(paths)) if paths else None


def _select_unread_layer(
    layer: KitLayer,
    entry: EntryRecord,
    includes: tuple[Filter, ...],
    exclusions: tuple[Filter, ...],
    entries: tuple[EntryRecord, ...],
    matched: set[str],
) -> SelectedLayer | None:
    """A layer whose files are not known: taken where some filter may take a file of it."""
    if any(one.takes_entry(entry) for one in exclusions):
        return None
    may_include = tuple(one for one in includes if one.takes_entry(entry) or _may_name_files(one, entry, entries))
    if includes and not may_include:
        return None
    may_exclude = tuple(one for one in exclusions if _may_name_files(one, entry, entries))
    matched.update(one.text for one in (*may_include, *may_exclude))
    if not may_exclude and (not includes or any(one.takes_entry(entry) for one in may_include)):
        return SelectedLayer(layer, None)
    return SelectedLayer(layer, None, Rules(entry, may_include, may_exclude))


def _may_name_files(one: Filter, entry: EntryRecord, entries: tuple[EntryRecord, ...]) -> bool:
    """Whether some pattern names no entry of the kit, and so may name files.

    A pattern that names an entry means that entry: `datasets:train` must not fetch every other dataset to look for a
    file called train in it.
    """
    return entry.cls in one.classes and any(
        not any(other.cls in one.classes and _names_entry(pattern, other) for other in entries)
        for pattern in one.patterns
    )


def _names_entry(pattern: Glob, entry: EntryRecord) -> bool:
    if entry.name is not None and (pattern.text == entry.name or matches_stars(pattern.text, entry.name)):
        return True
    return pattern.matches(entry.path)


def _inside(folder: str, path: str) -> str | None:
    """`path` as seen from `folder`; None where it is not under it."""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None


def _parse_patterns(text: str, whole: str) -> tuple[Glob, ...]:
    pieces = text.split(",")
    if "" in pieces:
        raise UsageError(f"{_shown(whole)}: a pattern of it is empty", hint=_HINT)
    if len(pieces) > _PATTERN_LIMIT:
        raise UsageError(f"{_shown(whole)}: {len(pieces)} patterns is more than the limit of {_PATTERN_LIMIT}")
    return tuple(Glob.parse(piece) for piece in pieces)


def _parse_classes(text: str, whole: str) -> tuple[frozenset[Class], bool]:
    names = text.split(",")
    known = {*Class, _KITFILE_CLASS}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
            where = "" if name == whole else f"{_shown(whole)}: "
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(f"{where}{_shown(name)} is not a class{meant}", hint=_HINT)
    return frozenset(Class(name) for name in names if name != _KITFILE_CLASS), _KITFILE_CLASS in names


def _describe(entry: EntryRecord) -> str:
    name = "" if entry.name is None else f" {_shown(entry.name)}"
    return f"{entry.cls}{name} at {_shown(entry.path)}"


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 100 else shown[:97] + "..."
