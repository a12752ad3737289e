"""YAML as people may write it for mlkit, a Kitfile or a policy: plain mappings, lists and scalars, each with its line.

YAML says the same thing in many ways, and two readers of one file often disagree. What is ambiguous, executable or
able to grow is refused here: anchors, aliases, merge keys, tags, directives, several documents, duplicate keys. Only
`true`, `false`, `null`, decimal integers and decimal floats are no text; `no`, `010`, `1:30`, `1_000` and dates are.

The parser's events are read with an explicit stack: depth costs no recursion. What is written here reads the same by
the rules of YAML 1.1, of 1.2 and by these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.scanner import Scanner
from yaml.tokens import DirectiveToken

from mlkit.errors import LimitError

TEXT_LIMIT = 256 * 1024
"""Bytes of a document; people write them, and the largest Kitfiles seen in public are a few kilobytes."""
DEPTH_LIMIT = 32
NODE_LIMIT = 20_000

Loc = tuple[str | int, ...]
"""Where a value is: keys and list positions from the root."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9]*)\.?[eE][-+]?[0-9]+", re.ASCII
)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Line breaks in YAML 1.1 and plain characters in YAML 1.2: what one reader takes for a comment is a key to the other.
_EXOTIC_BREAK = re.compile("[\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER_LENGTH = 20  # of -2**63; Python takes quadratic time for long ones


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number or truth value, with the text that stands in the file, so that `1.10` as a version keeps its zero."""

    text: str
    value: int | float | bool | None
    """None where no number of 64 bits can hold it; it is still good as text."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a document, and where; line 0 is unknown."""

    line: int
    loc: Loc
    message: str


@dataclass(slots=True)
class Document:
    """What was read: dicts, lists, text, None and `Scalar`; the line of every value; everything wrong so far."""

    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_complete: bool = True
    """False where the text ended in a syntax error, so that the value is only the part before it."""


def read_yaml(raw: bytes, *, what: str) -> Document:
    """Read one document; all that is refused is in `problems`.

    Raises: LimitError beyond 256 KiB, 32 levels or 20,000 values, before they are built.
    """
    if len(raw) > TEXT_LIMIT:
        raise LimitError(f"{what}: {len(raw)} bytes is more than the limit of {TEXT_LIMIT}")
    document = Document()
    text = _decode(raw, document)
    if text is None:
        document.is_complete = False
        return document
    try:
        _Builder(document, what).build(_events(text))
    except ReaderError as error:
        _stop(document, text.count("\n", 0, error.position) + 1, f"character U+{error.character:04X} is not allowed")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _stop(document, mark.line + 1 if mark else 0, _reason(error))
    return document


def resolve_plain(text: str) -> str | Scalar | None:
    """What an unquoted scalar means. Raises: ValueError for what would be a number, and cannot be one."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return Scalar(text, _BOOLEANS[text])
    if _INTEGER.fullmatch(text):
        number = int(text) if len(text) <= _INTEGER_LENGTH else 2**63
        return Scalar(text, number if -(2**63) <= number < 2**63 else None)
    if _FLOAT.fullmatch(text):
        return Scalar(text, float(text) if math.isfinite(float(text)) else None)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that other programs can read (put text in quotes)")
    return text


def dump_yaml(value: Mapping[str, Any]) -> str:
    """YAML for people, that `read_yaml` and readers of YAML 1.1 and 1.2 take for the same value."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=2**31, indent=2
    )


def dump_documents(values: Iterable[Mapping[str, Any]]) -> str:
    """Several documents with `---` between them, as `kubectl apply -f` takes them. `read_yaml` reads no such stream."""
    return "---\n".join(dump_yaml(value) for value in values)


def plain(value: Any) -> Any:
    """What `read_yaml` gave, with numbers and truth values for `Scalar`; the text of a number beyond 64 bits."""
    if isinstance(value, Scalar):
        return value.text if value.value is None else value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class _Loader(Reader, Scanner, Parser):
    """PyYAML's pure reader, scanner and parser, without composer, resolver and constructor."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def process_directives(self) -> Any:
        if self.check_token(DirectiveToken):
            mark = self.get_token().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(problem="directives such as %YAML are not allowed", problem_mark=mark)
        return super().process_directives()  # type: ignore[no-untyped-call]  # the stubs leave it out


class _Builder:
    """Turns events into a `Document`. One frame per open collection."""

    def __init__(self, document: Document, what: str) -> None:
        self._document = document
        self._what = what
        self._nodes = 0
        self._documents = 0
        self._stack: list[_Frame] = []

    def build(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            line = _line(event)
            if isinstance(event, DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    self._refuse(line, "a second document (---) is not allowed")
                    return
            elif isinstance(event, MappingStartEvent | SequenceStartEvent):
                self._open(event, line)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                self._stack.pop()
            elif isinstance(event, ScalarEvent):
                self._scalar(event, line)
            elif isinstance(event, AliasEvent):
                self._alias(event, line)

    def _count(self, line: int) -> None:
        self._nodes += 1
        if self._nodes > NODE_LIMIT:
            raise LimitError(f"{self._what}: line {line}: more than {NODE_LIMIT} values")

    def _check_bare(self, event: MappingStartEvent | SequenceStartEvent | ScalarEvent, line: int) -> None:
        if event.anchor is not None:
            self._refuse(line, f"anchors (&{_cut(event.anchor)}) are not allowed")
        if event.tag is not None:
            self._refuse(line, f"tags ({_cut(event.tag)}) are not allowed")

    def _open(self, event: MappingStartEvent | SequenceStartEvent, line: int) -> None:
        self._count(line)
        self._check_bare(event, line)
        if len(self._stack) >= DEPTH_LIMIT:
            raise LimitError(f"{self._what}: line {line}: nested deeper than {DEPTH_LIMIT} levels")
        container: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        loc = self._put(container, line)
        self._stack.append(_Frame(container, loc))

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        self._count(line)
        self._check_bare(event, line)
        text = event.value
        value: str | Scalar | None = text
        if event.style is None and event.tag is None:
            try:
                value = resolve_plain(text)
            except ValueError as error:
                self._refuse(line, str(error))
        elif _SURROGATE.search(text):
            try:  # JSON writes a character beyond 16 bits as two escapes, which PyYAML leaves apart
                value = text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self._refuse(line, "half of a surrogate pair is not text")
                value = ""
        self._put(value, line, is_merge=event.style is None and text == "<<")

    def _alias(self, event: AliasEvent, line: int) -> None:
        self._count(line)
        self._refuse(line, f"aliases (*{_cut(str(event.anchor))}) are not allowed")
        self._put(None, line)

    def _put(self, value: Any, line: int, *, is_merge: bool = False) -> Loc | None:
        """Place a finished scalar or an opened collection where the stack points.

        Gives its address; None for a key, and for everything below a refused one: that is read and dropped.
        """
        frame = self._stack[-1] if self._stack else None
        if frame is None:
            loc: Loc | None = ()
            self._document.value = value
        elif isinstance(frame.container, list):
            loc = None if frame.loc is None else (*frame.loc, len(frame.container))
            frame.container.append(value)
        elif frame.awaits_key:
            frame.awaits_key = False
            frame.key = self._key(value, line, frame, is_merge=is_merge)
            return None
        else:
            frame.awaits_key = True
            if frame.key is None:
                return None
            frame.container[frame.key] = value
            # The line of a value in a mapping is that of its key.
            return None if frame.loc is None else (*frame.loc, frame.key)
        if loc is not None:
            self._document.lines[loc] = line
        return loc

    def _key(self, value: Any, line: int, frame: _Frame, *, is_merge: bool) -> str | None:
        """The key, or None where it is refused; its value is then read and dropped."""
        where = frame.loc or ()
        if is_merge:
            self._refuse(line, "merge keys (<<) are not allowed", where)
        elif not isinstance(value, str):
            self._refuse(line, f"the key {_key_text(value)} is not text (put it in quotes)", where)
        elif value in frame.lines:
            self._refuse(line, f"the key {_cut(ascii(value))} is already on line {frame.lines[value]}", where)
        else:
            frame.lines[value] = line
            if frame.loc is not None:
                self._document.lines[(*frame.loc, value)] = line
            return value
        return None

    def _refuse(self, line: int, message: str, loc: Loc = ()) -> None:
        self._document.problems.append(Problem(line, loc, message))


@dataclass(slots=True)
class _Frame:
    container: dict[str, Any] | list[Any]
    loc: Loc | None
    """None where the collection is dropped."""
    awaits_key: bool = True
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)
    """Each key so far, and its line."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002  # PyYAML's signature
        return super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _EXOTIC_BREAK.search(text) or not _is_plain_text(text):
        style = '"'
    elif "\n" in text:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _is_plain_text(text: str) -> bool:
    try:
        return isinstance(resolve_plain(text), str)
    except ValueError:
        return False


def _decode(raw: bytes, document: Document) -> str | None:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        _stop(document, 1, "not UTF-8 (UTF-16 or UTF-32)")
        return None
    if raw.startswith(b"\xef\xbb\xbf"):
        _stop(document, 1, "starts with a byte order mark (save it as UTF-8 without one)")
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _stop(document, raw.count(b"\n", 0, error.start) + 1, f"not UTF-8 (byte 0x{raw[error.start]:02x})")
        return None
    exotic = _EXOTIC_BREAK.search(text)
    if exotic:
        line, code = text.count("\n", 0, exotic.start()) + 1, ord(exotic[0])
        document.problems.append(
            Problem(
                line,
                (),
                f"the line break U+{code:04X} is not allowed (in quotes, write it as \\u{code:04x})",
            )
        )
    return text


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _Loader(text)
    while loader.check_event():
        yield loader.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it out


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 0


def _stop(document: Document, line: int, message: str) -> None:
    document.problems.append(Problem(line, (), message))
    document.is_complete = False


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not valid YAML"
    if "'\\t'" in problem:
        return "a tab cannot be used here (indent with spaces)"
    if error.context and error.context_mark and error.problem_mark:
        return _cut(f"{problem} ({error.context} that begins on line {error.context_mark.line + 1})")
    return _cut(problem)


def _key_text(value: Any) -> str:
    if value is None:
        return "null"
    return _cut(value.text) if isinstance(value, Scalar) else "that is a collection or an alias"


def _cut(text: str) -> str:
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shown if len(shown) <= 100 else shown[:97] + "..."
