"""A pickle, followed opcode by opcode as CPython's unpickler would, without making any of its objects.

It knows which text, number or name lies where on the stack and in the memo, and so which function every GLOBAL, INST
and STACK_GLOBAL really names; all else is an opaque value. Whatever CPython would refuse ends the pickle here too; what
came before would have run by then, and has been told by then. (CPython 3.14: Modules/_pickle.c, Lib/pickle.py.)
"""

from __future__ import annotations

import _compat_pickle
import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mlkit.errors import LimitError
from mlkit.trust.scan.pickle_values import ARRAY_WRAPPER, DTYPE, OPAQUE, Blob, Global, Made, Record
from mlkit.trust.scan.source import Budget, Forward

_TEXT_LIMIT: Final = 512  # bytes of a text that is remembered; longer names are taken for computed ones
_LINE_LIMIT: Final = 1 << 27  # bytes; protocol 0 writes an array on one line
_BLOB_FROM: Final = 8
_TUPLE_LIMIT: Final = 32
_RECORD_LIMIT: Final = 32
_MEMO_LIMIT: Final = 1 << 24  # highest number; CPython would make a table as long
_REMEMBERED: Final = 1_000_000  # values in the memo that are more than opaque
_STACK_LIMIT: Final = 1 << 23
_STEP: Final = 4096
_SERIALIZED: Final = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5", b"PK\3\4")


class Malformed(Exception):
    """The unpickler would stop here with an error."""


class Watcher(Protocol):
    """Who is told what a pickle does, in the order in which it would."""

    def names(self, found: Global, position: int) -> None:
        """It looks a name up, which imports the module."""

    def odd(self, what: str, position: int) -> None:
        """It does what no pickler writes."""

    def called(self, found: Global, position: int) -> None:
        """It calls what it named, as a function or as a class."""

    def extension(self, code: int, position: int) -> None:
        """It takes a function out of the table of `copyreg`, which it does not name."""

    def blob(self, found: Blob, *, is_loaded: bool) -> None:
        """It holds bytes that look like a pickle or archive; `is_loaded`: and loads them."""

    def persistent(self, pid: object, position: int) -> None:
        """It asks its loader for an object."""

    def array(self, wrapper: Made, machine: Machine) -> None:
        """An array of joblib follows right here, for joblib to read; the watcher passes it over in `machine.stream`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a pickle ended."""

    position: int
    problem: str | None
    """None after a STOP."""
    names: int
    """How many names it looked up."""
    calls: int
    """How many of them it called."""
    result: object = OPAQUE


class Machine:
    """One run of an unpickler, over the pickle that begins where `stream` stands."""

    def __init__(self, stream: Forward, watcher: Watcher, budget: Budget) -> None:
        self.stream = stream
        self.frame_end = 0
        self._watcher = watcher
        self._budget = budget
        self._stack: list[object] = []
        self._metastack: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._known = bytearray()  # which numbers of the memo are taken
        self._memo_count = 0
        self._protocol = 0
        self._names = 0
        self._calls = 0
        self.wrappers_named = 0
        self.wrappers_made = 0

    def run(self) -> Ended:
        """Follow it to its end. Raises: LimitError."""
        stream, steps = self.stream, 0
        handlers = _HANDLERS
        position = stream.position
        try:
            while True:
                position = stream.position
                code = stream.byte()
                if code == 0x2E:  # STOP
                    return Ended(stream.position, None, self._names, self._calls, self._pop())
                handler = handlers[code]
                if handler is None:
                    raise Malformed(f"byte {code:#04x} is no opcode")
                handler(self)
                steps += 1
                if steps == _STEP:
                    self._budget.step(steps)
                    steps = 0
                    if len(self._stack) > _STACK_LIMIT or len(self._metastack) > _STACK_LIMIT:
                        raise LimitError("its stack grows beyond what any model needs")
        except EOFError:
            return Ended(position, "it is cut off", self._names, self._calls)
        except Malformed as error:
            return Ended(position, str(error), self._names, self._calls)
        finally:
            self._budget.step(steps)

    def fork(self, stream: Forward, watcher: Watcher) -> Machine:
        """The same machine at the same point, to see where another reading of what follows leads."""
        other = Machine(stream, watcher, self._budget)
        self._budget.step(len(self._memo) + len(self._stack) + len(self._metastack))
        other._stack, other._metastack = list(self._stack), [list(items) for items in self._metastack]
        other._memo, other._known, other._memo_count = dict(self._memo), bytearray(self._known), self._memo_count
        other._protocol = self._protocol
        return other

    # -- the stack

    def _pop(self) -> object:
        if not self._stack:
            raise Malformed("its stack is empty")
        return self._stack.pop()

    def _top(self) -> object:
        if not self._stack:
            raise Malformed("its stack is empty")
        return self._stack[-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop_mark(self) -> list[object]:
        if not self._metastack:
            raise Malformed("it has no mark")
        items = self._stack
        self._stack = self._metastack.pop()
        return items

    # -- constants

    def _proto(self) -> None:
        self._protocol = self.stream.byte()
        if self._protocol > 5:
            raise Malformed(f"protocol {self._protocol} is not known")

    def _frame(self) -> None:
        length = self._number(8)
        if length >= 1 << 63:
            raise Malformed("a frame is longer than any file")
        if self.frame_end > self.stream.position:
            # Python's own unpickler refuses it, that in C does not.
            self._watcher.odd("begins a frame inside of a frame", self.stream.position)
        self.frame_end = self.stream.position + length

    def _number(self, size: int) -> int:
        return int.from_bytes(self.stream.take(size), "little")

    def _line(self) -> bytes:
        return self.stream.line(_LINE_LIMIT)

    def _decimal(self, what: str) -> int:
        line = self._line()
        # Python also takes spaces and underscores, which no pickler writes.
        digits = line[1:] if line[:1] in (b"-", b"+") else line
        if not digits.isdigit() or len(line) > 4000:
            raise Malformed(f"{line[:20]!a} is no {what}")
        return int(line)

    def _int(self) -> None:
        line = self.stream.peek(3)
        if line in (b"00\n", b"01\n"):
            self.stream.skip(3)
            self._push(line == b"01\n")
        else:
            self._push(self._decimal("number"))

    def _long(self) -> None:
        line = self._line().removesuffix(b"L")
        if not line.lstrip(b"-").isdigit():
            raise Malformed(f"{line[:20]!a} is no number")
        self._push(int(line) if len(line) < 40 else OPAQUE)

    def _float(self) -> None:
        line = self._line()
        try:
            float(line)
        except ValueError as error:
            raise Malformed(f"{line[:20]!a} is no number") from error
        self._push(OPAQUE)

    def _binint(self) -> None:
        self._push(int.from_bytes(self.stream.take(4), "little", signed=True))

    def _binint1(self) -> None:
        self._push(self.stream.byte())

    def _binint2(self) -> None:
        self._push(self._number(2))

    def _long1(self) -> None:
        self._big(self.stream.byte())

    def _long4(self) -> None:
        size = self._number(4)
        if size >= 1 << 31:
            raise Malformed("a number has a negative length")
        self._big(size)

    def _big(self, size: int) -> None:
        if size > 16:
            self.stream.skip(size)
            self._push(OPAQUE)
        else:
            self._push(int.from_bytes(self.stream.take(size), "little", signed=True))

    def _binfloat(self) -> None:
        self.stream.skip(8)
        self._push(OPAQUE)

    def _none(self) -> None:
        self._push(None)

    def _true(self) -> None:
        self._push(True)

    def _false(self) -> None:
        self._push(False)

    def _string(self) -> None:
        line = self._line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise Malformed("a text without quotes")
        try:
            raw = codecs.escape_decode(line[1:-1])[0]
        except ValueError as error:
            raise Malformed("a text with broken escapes") from error
        assert isinstance(raw, bytes)
        self._push_text(raw, "ascii")

    def _unicode(self) -> None:
        line = self._line()
        if len(line) > _TEXT_LIMIT:
            self._push(OPAQUE)
            return
        try:
            self._push(line.decode("raw-unicode-escape"))
        except UnicodeDecodeError as error:
            raise Malformed("a text with broken escapes") from error

    def _text(self, size: int, encoding: str) -> None:
        if size > _TEXT_LIMIT:
            self._bytes(size)
        else:
            self._push_text(self.stream.take(size), encoding)

    def _push_text(self, raw: bytes, encoding: str) -> None:
        try:
            self._push(raw.decode(encoding, "surrogatepass") if encoding == "utf-8" else raw.decode(encoding))
        except UnicodeDecodeError:
            if encoding == "utf-8":
                raise Malformed("a text that is not UTF-8") from None
            self._push(OPAQUE)  # the loader may say which encoding it is

    def _binstring(self) -> None:
        size = self._number(4)
        if size >= 1 << 31:
            raise Malformed("a text has a negative length")
        self._text(size, "ascii")

    def _short_binstring(self) -> None:
        self._text(self.stream.byte(), "ascii")

    def _binunicode(self) -> None:
        self._text(self._number(4), "utf-8")

    def _short_binunicode(self) -> None:
        self._text(self.stream.byte(), "utf-8")

    def _binunicode8(self) -> None:
        self._text(self._number(8), "utf-8")

    def _binbytes(self) -> None:
        self._bytes(self._number(4))

    def _short_binbytes(self) -> None:
        self._bytes(self.stream.byte())

    def _binbytes8(self) -> None:
        self._bytes(self._number(8))

    def _bytes(self, size: int) -> None:
        if size >= 1 << 63:
            raise Malformed("a text or bytes longer than any file")
        value: object = OPAQUE
        if size >= _BLOB_FROM and self.stream.peek(4).startswith(_SERIALIZED):
            value = Blob(self.stream.position, size)
        self.stream.skip(size)
        if isinstance(value, Blob):
            self._watcher.blob(value, is_loaded=False)
        self._push(value)

    # -- containers

    def _mark(self) -> None:
        self._metastack.append(self._stack)
        self._stack = []

    def _pop_one(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _dup(self) -> None:
        value = self._top()
        self._count_wrapper(value)
        self._push(value)

    def _empty(self) -> None:
        self._push(OPAQUE)

    def _empty_dict(self) -> None:
        self._push(Record())

    def _collection(self) -> None:
        self._pop_mark()
        self._push(OPAQUE)

    def _dict(self) -> None:
        items = self._pop_mark()
        record = Record()
        self._fill(record, items)
        self._push(record)

    def _tuple_of(self, items: list[object]) -> None:
        self._push(tuple(items) if len(items) <= _TUPLE_LIMIT else OPAQUE)

    def _tuple(self) -> None:
        self._tuple_of(self._pop_mark())

    def _empty_tuple(self) -> None:
        self._push(())

    def _tuple1(self) -> None:
        self._tuple_of([self._pop()])

    def _tuple2(self) -> None:
        second = self._pop()
        self._tuple_of([self._pop(), second])

    def _tuple3(self) -> None:
        third, second = self._pop(), self._pop()
        self._tuple_of([self._pop(), second, third])

    def _append(self) -> None:
        self._pop()
        self._check_target("append", self._top())

    def _appends(self) -> None:
        self._pop_mark()
        self._check_target("append", self._top())

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._fill(self._top(), [key, value])

    def _setitems(self) -> None:
        items = self._pop_mark()
        self._fill(self._top(), items)

    def _fill(self, target: object, items: list[object]) -> None:
        if len(items) % 2:
            raise Malformed("a key without a value")
        self._check_target("set items of", target)
        if not isinstance(target, Record):
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, str) and (key in target.items or len(target.items) < _RECORD_LIMIT):
                target.items[key] = value
            else:
                target.is_known = False

    def _check_target(self, verb: str, target: object) -> None:
        if isinstance(target, Global):
            self._watcher.odd(f"tries to {verb} {shown_name(target)} itself", self.stream.position)

    # -- the memo

    def _put(self, number: int) -> None:
        value = self._top()
        if number < 0:
            raise Malformed("a negative place in the memo")
        if number >= _MEMO_LIMIT:
            raise LimitError(f"its memo has a place {number}, beyond what any model needs")
        if number >= len(self._known):
            self._known.extend(bytes(max(1024, number + 1 - len(self._known), len(self._known) // 2)))
        if not self._known[number]:
            self._known[number] = 1
            self._memo_count += 1
        if value is OPAQUE:
            self._memo.pop(number, None)
            return
        self._memo[number] = value
        if len(self._memo) > _REMEMBERED:
            raise LimitError(f"it remembers more than {_REMEMBERED} texts and names")

    def _get(self, number: int) -> None:
        if not 0 <= number < len(self._known) or not self._known[number]:
            raise Malformed(f"nothing is in the memo at {number}")
        value = self._memo.get(number, OPAQUE)
        self._count_wrapper(value)
        self._push(value)

    def _put_line(self) -> None:
        self._put(self._decimal("place in the memo"))

    def _binput(self) -> None:
        self._put(self.stream.byte())

    def _long_binput(self) -> None:
        self._put(self._number(4))

    def _memoize(self) -> None:
        self._put(self._memo_count)

    def _get_line(self) -> None:
        self._get(self._decimal("place in the memo"))

    def _binget(self) -> None:
        self._get(self.stream.byte())

    def _long_binget(self) -> None:
        self._get(self._number(4))

    # -- names

    def _global(self) -> None:
        position = self.stream.position - 1
        try:
            module, name = self._line().decode("utf-8"), self._line().decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("a name that is not UTF-8") from error
        self._push(self._found(module, name, position))

    def _stack_global(self) -> None:
        position = self.stream.position - 1
        name, module = self._pop(), self._pop()
        if isinstance(name, str) and isinstance(module, str):
            self._push(self._found(module, name, position))
            return
        if any(value is None or isinstance(value, int | tuple | Record | Global) for value in (name, module)):
            raise Malformed("the name of a function is not text")
        self._names += 1
        self._watcher.odd("looks up a name that it puts together while it is loaded", position)
        self._push(OPAQUE)

    def _found(self, module: str, name: str, position: int) -> Global:
        if self._protocol < 3:
            # What Python 2 called otherwise (pickle.Unpickler, fix_imports).
            mapped = _compat_pickle.NAME_MAPPING.get((module, name))
            module, name = mapped or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
        found = Global(module, name)
        self._names += 1
        self._watcher.names(found, position)
        self._count_wrapper(found)
        return found

    def _count_wrapper(self, value: object) -> None:
        if isinstance(value, Global) and (value.module, value.name) == ARRAY_WRAPPER:
            self.wrappers_named += 1

    def _extension(self, size: int) -> None:
        position = self.stream.position - 1
        code = self._number(size)
        if code == 0 or code >= 1 << 31:
            raise Malformed("an extension code that cannot be")
        self._names += 1
        self._watcher.extension(code, position)
        self._push(OPAQUE)

    def _ext1(self) -> None:
        self._extension(1)

    def _ext2(self) -> None:
        self._extension(2)

    def _ext4(self) -> None:
        self._extension(4)

    # -- calls

    def _reduce(self) -> None:
        args = self._pop()
        self._push(self._called(self._pop(), args))

    def _called(self, function: object, args: object, *, is_new: bool = False) -> object:
        position = self.stream.position
        if not isinstance(function, Global):
            if function is OPAQUE or isinstance(function, Made | Blob | Record):
                self._watcher.odd("calls what it has made itself", position)
                return OPAQUE
            raise Malformed("it calls what is no function")
        self._calls += 1
        if not is_new:
            self._watch_call(function, args, position)
        key = (function.module, function.name)
        if key in _RECONSTRUCTORS and isinstance(args, tuple) and args and isinstance(args[0], Global):
            function, key = args[0], (args[0].module, args[0].name)
            if key != ARRAY_WRAPPER:
                return OPAQUE
        if key == ARRAY_WRAPPER:
            self.wrappers_made += 1
            return Made(function, args)
        return Made(function, args) if key == DTYPE else OPAQUE

    def _watch_call(self, function: Global, args: object, position: int) -> None:
        key = (function.module, function.name)
        if key == ("torch.storage", "_load_from_bytes"):
            blob = args[0] if isinstance(args, tuple) and len(args) == 1 else None
            if isinstance(blob, Blob):
                self._watcher.blob(blob, is_loaded=True)
            else:
                self._watcher.odd("loads bytes that it puts together while it is loaded", position)
        elif key == ("_codecs", "encode"):
            encoding = args[1] if isinstance(args, tuple) and len(args) > 1 else "utf-8"
            if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
                self._watcher.odd("encodes a text by other rules than a pickler does", position)
        else:
            self._watcher.called(function, position)

    def _newobj(self) -> None:
        args = self._pop()
        self._push(self._called(self._pop(), args, is_new=True))

    def _newobj_ex(self) -> None:
        self._pop()
        self._newobj()

    def _inst(self) -> None:
        position = self.stream.position - 1
        try:
            module, name = self._line().decode("ascii"), self._line().decode("ascii")
        except UnicodeDecodeError as error:
            raise Malformed("a name that is not ASCII") from error
        items = self._pop_mark()
        self._push(self._called(self._found(module, name, position), tuple(items)))

    def _obj(self) -> None:
        items = self._pop_mark()
        if not items:
            raise Malformed("it makes an object of no class")
        self._push(self._called(items[0], tuple(items[1:])))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        self._check_target("set the state of", target)
        if not isinstance(target, Made):
            return
        target.builds += 1
        target.raw_state = state
        if (target.cls.module, target.cls.name) != ARRAY_WRAPPER:
            return
        if isinstance(state, Record) and state.is_known and (target.state is None or target.builds == 1):
            target.state = Record(dict(state.items))
        else:
            target.state = None
        self._watcher.array(target, self)
        self._stack[-1] = OPAQUE

    # -- what the loader gives

    def _persid(self) -> None:
        try:
            pid = self._line().decode("ascii")
        except UnicodeDecodeError as error:
            raise Malformed("a persistent id that is not ASCII") from error
        self._watcher.persistent(pid, self.stream.position)
        self._push(OPAQUE)

    def _binpersid(self) -> None:
        self._watcher.persistent(self._pop(), self.stream.position)
        self._push(OPAQUE)

    def _next_buffer(self) -> None:
        self._watcher.persistent(None, self.stream.position)
        self._push(OPAQUE)

    def _readonly_buffer(self) -> None:
        self._top()


def shown_name(found: Global) -> str:
    """The name on one line, escaped and not too long."""
    return ascii(f"{found.module}.{found.name}"[:120])[1:-1]


_RECONSTRUCTORS: Final = frozenset(
    {("copyreg", "_reconstructor"), ("copyreg", "__newobj__"), ("copyreg", "__newobj_ex__")}
)

_Handler = Callable[[Machine], None]
_OPCODES: Final[dict[bytes, _Handler]] = {
    b"(": Machine._mark,
    b"0": Machine._pop_one,
    b"1": lambda machine: (machine._pop_mark(), None)[1],
    b"2": Machine._dup,
    b"F": Machine._float,
    b"I": Machine._int,
    b"J": Machine._binint,
    b"K": Machine._binint1,
    b"L": Machine._long,
    b"M": Machine._binint2,
    b"N": Machine._none,
    b"P": Machine._persid,
    b"Q": Machine._binpersid,
    b"R": Machine._reduce,
    b"S": Machine._string,
    b"T": Machine._binstring,
    b"U": Machine._short_binstring,
    b"V": Machine._unicode,
    b"X": Machine._binunicode,
    b"a": Machine._append,
    b"b": Machine._build,
    b"c": Machine._global,
    b"d": Machine._dict,
    b"}": Machine._empty_dict,
    b"e": Machine._appends,
    b"g": Machine._get_line,
    b"h": Machine._binget,
    b"i": Machine._inst,
    b"j": Machine._long_binget,
    b"l": Machine._collection,
    b"]": Machine._empty,
    b"o": Machine._obj,
    b"p": Machine._put_line,
    b"q": Machine._binput,
    b"r": Machine._long_binput,
    b"s": Machine._setitem,
    b"t": Machine._tuple,
    b")": Machine._empty_tuple,
    b"u": Machine._setitems,
    b"G": Machine._binfloat,
    b"\x80": Machine._proto,
    b"\x81": Machine._newobj,
    b"\x82": Machine._ext1,
    b"\x83": Machine._ext2,
    b"\x84": Machine._ext4,
    b"\x85": Machine._tuple1,
    b"\x86": Machine._tuple2,
    b"\x87": Machine._tuple3,
    b"\x88": Machine._true,
    b"\x89": Machine._false,
    b"\x8a": Machine._long1,
    b"\x8b": Machine._long4,
    b"B": Machine._binbytes,
    b"C": Machine._short_binbytes,
    b"\x8c": Machine._short_binunicode,
    b"\x8d": Machine._binunicode8,
    b"\x8e": Machine._binbytes8,
    b"\x8f": Machine._empty,
    b"\x90": Machine._appends,
    b"\x91": Machine._collection,
    b"\x92": Machine._newobj_ex,
    b"\x93": Machine._stack_global,
    b"\x94": Machine._memoize,
    b"\x95": Machine._frame,
    b"\x96": Machine._binbytes8,
    b"\x97": Machine._next_buffer,
    b"\x98": Machine._readonly_buffer,
}
_HANDLERS: Final[tuple[_Handler | None, ...]] = tuple(_OPCODES.get(bytes([code])) for code in range(256))
