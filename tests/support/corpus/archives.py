"""Section A: archives that want out, lie about themselves, or grow."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence

import zstandard
from tests.support import tars
from tests.support.corpus.case import Case, World, digest_of
from tests.support.corpus.kits import UNPACK, kit, layer, raw_kit, tar_kit

UNSAFE = frozenset({5})
BROKEN = frozenset({4})
REFUSED = frozenset({4, 5})
LIMIT = frozenset({11})
BOUNDED = frozenset({4, 5, 11})

TRAVERSALS = (
    "../x", "a/../../x", "a/./../..//x", "..", "../", "a/..", "./../x", "a/../..", "model/../../x", "....//../x",
    "a/b/../../../x", "..//x", "./..", "model/..", "model/sub/../../../outside/precious.txt", "../outside/precious.txt",
    "../../outside/precious.txt", "../work/precious.txt", "a/././../../x",
)  # fmt: skip
ABSOLUTES = ("/etc/x", "//x", "/../x", "/", "///tmp/x", "/proc/self/cwd/x", "//host/share/x")
WINDOWS = (
    "C:\\x", "C:/x", "c:x", "\\\\?\\C:\\x", "\\x", "a\\..\\..\\x", "..\\x", "model\\x", "x:ads", "model/x:ads:$DATA",
    "CON", "nul.txt", "model/aux", "com1", "LPT9.bin", "model/prn.json", "dot.", "space ", "model/dir./x",
    "model/dir /x",
)  # fmt: skip
ODD_NAMES = (
    b"model/\x1b[31mred", b"model/new\nline", b"model/tab\tx", b"model/\x7fdel", b"model/\xe2\x80\xaegnp.exe",
    b"model/\xff\xfe", b"model/\xed\xa0\x80", b"model/\xc0\xaf", b"model/\xe2\x80\x8bzero", b"model/\r",
    b"\xef\xbb\xbfx",
    b"model/\xe2\x81\xa6isolate",
)  # fmt: skip
LINK_TARGETS = (
    "/etc/passwd", "../outside", "../../outside/precious.txt", ".", "..", "model/x", "x", "/proc/self/root",
    "a/../../..", "/dev/zero",
)  # fmt: skip
TYPES = (b"3", b"4", b"6", b"7", b"V", b"M", b"D", b"N", b"A", b"Z", b"S", b"K", b"\xff", b"9", b"P", b"I")
COLLISIONS = (
    (b"model/A.bin", b"model/a.bin"), ("model/é".encode(), b"model/e\xcc\x81"), ("model/ﬁ".encode(), b"model/fi"),
    ("model/ß".encode(), b"model/ss"), ("model/ß".encode(), b"model/SS"), (b"model/x", b"model/X"),
    ("model/Å".encode(), "model/Å".encode()), (b"model/\xc5\xbf", b"model/s"), (b"model/Dir/x", b"model/dir/y"),
)  # fmt: skip
PAX: dict[str, tuple[str, str | bytes]] = {
    "path out": ("path", "../x"),
    "path absolute": ("path", "/etc/x"),
    "path empty": ("path", ""),
    "path with NUL": ("path", "model/a\0b"),
    "path not UTF-8": ("path", b"\xff"),
    "path with ESC": ("path", "model/\x1b[0m"),
    "size negative": ("size", "-1"),
    "size of words": ("size", "many"),
    "size of another": ("size", "7"),
    "size huge": ("size", "99999999999999999999"),
    "linkpath": ("linkpath", "../x"),
    "sparse": ("GNU.sparse.major", "1"),
    "sparse name": ("GNU.sparse.name", "../x"),
    "sparse size": ("GNU.sparse.realsize", "9999999999999"),
}
RECORDS = {
    "length 0": b"0 path=x\n",
    "length too large": b"999 path=x\n",
    "length too small": b"5 path=model/x\n",
    "length negative": b"-9 path=x\n",
    "length of words": b"nine path=x\n",
    "no length": b"path=x\n",
    "no equals": b"8 pathx\n",
    "no newline": b"10 path=xy",
    "only a length": b"3 \n",
    "zeros": bytes(512),
    "length of 5,000 digits": b"9" * 5000 + b" path=x\n",
    "length with a plus": b"+10 path=x\n",
}
SIZES = {
    "octal rubbish": b"0000000008\0\0",
    "words": b"a lot of it\0",
    "minus": b"-0000000001\0",
    "base 256 negative": b"\xff" * 12,
    "base 256 huge": b"\x80" + b"\xff" * 11,
    "base 256 two to the 63": b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
    "beyond the end": b"77777777777\0",
    "one block more": b"00000002000\0",
}


def cases() -> Iterator[Case]:
    """All of them."""
    good = tars.archive(tars.file("model/w.bin", b"weights")).getvalue()
    yield Case("control a good archive", lambda world: tar_kit(world, good), frozenset({0}), keeps=False)
    yield from _names()
    yield from _links()
    yield from _collisions()
    yield from _headers()
    yield from _extended()
    yield from _ends(good)
    yield from _growth()
    yield from _lies(good)
    yield from _places(good)


def _archive(name: str, *parts: bytes, codes: frozenset[int] = UNSAFE, end: bytes = tars.END) -> Case:
    raw = tars.archive(*parts, end=end).getvalue()
    return Case(name, lambda world: tar_kit(world, raw), codes)


def _names() -> Iterator[Case]:
    for name in TRAVERSALS:
        yield _archive(f"A01 file {name}", tars.file(name, b"x"))
        yield _archive(f"A01 after a good file {name}", tars.file("model/a", b"x"), tars.file(name, b"x"))
        yield _archive(f"A01 directory {name}", tars.directory(name))
    for name in ABSOLUTES:
        yield _archive(f"A02 file {name}", tars.file(name, b"x"))
        yield _archive(f"A02 directory {name}", tars.directory(name))
    for name in WINDOWS:
        yield _archive(f"A03 file {name}", tars.file(name, b"x"))
    for raw in ODD_NAMES:
        yield _archive(f"A29 {raw!r}", tars.file(raw, b"x"))
    yield _archive("A29 empty", tars.file("", b"x"), codes=REFUSED)
    yield _archive("A29 a prefix that climbs", tars.file("x", b"x", prefix=b".."))
    yield _archive("A29 a prefix that is absolute", tars.file("x", b"x", prefix=b"/etc"))


def _links() -> Iterator[Case]:
    for target in LINK_TARGETS:
        yield _archive(
            f"A04 a link to {target}, then through it", tars.link("model/l", target), tars.file("model/l/x", b"x")
        )
        yield _archive(f"A05 a link to {target}", tars.link("model/l", target))
        yield _archive(f"A08 a hard link to {target}", tars.link("model/l", target, typeflag=b"1"))
    yield _archive(
        "A06 current and parent", tars.link("current", "."), tars.link("parent", "current/.."), tars.file("parent/x")
    )
    chain = [tars.link(f"model/{number}", f"{number + 1}") for number in range(40)]
    yield _archive("A05 a chain of links", *chain, tars.file("model/0/x", b"x"))
    yield _archive("A07 a link without a name", tars.link("", ".."), codes=REFUSED)
    yield _archive("A07 a link that is the root", tars.link("./", ".."))
    yield _archive(
        "A08 a hard link to a link", tars.link("model/a", "/etc"), tars.link("model/b", "model/a", typeflag=b"1")
    )
    inside = [tars.file("model/a", b"x"), tars.link("model/b", "a")]
    yield _archive("A09 a link within the tree", *inside)


def _collisions() -> Iterator[Case]:
    for first, second in COLLISIONS:
        yield _archive(f"A11 {first!r} {second!r}", tars.file(first, b"1"), tars.file(second, b"2"))
    yield _archive("A10 the same file twice", tars.file("model/a", b"1"), tars.file("model/a", b"2"))
    yield _archive("A10 a file, then a directory", tars.file("model/a", b"1"), tars.directory("model/a"))
    yield _archive("A10 a directory, then a file", tars.directory("model/a"), tars.file("model/a", b"1"))
    yield _archive("A10 a file, then below it", tars.file("model/a", b"1"), tars.file("model/a/b", b"2"))
    yield _archive("A10 below it, then a file", tars.file("model/a/b", b"2"), tars.file("model/a", b"1"))


def _headers() -> Iterator[Case]:
    for typeflag in TYPES:
        yield _archive(f"A12 type {typeflag!r}", tars.header("model/x", typeflag=typeflag), codes=REFUSED)
        yield _archive(
            f"A12 type {typeflag!r} with content", tars.file("model/x", b"content", typeflag=typeflag), codes=REFUSED
        )
    for mode in (b"0004755\0", b"0002755\0", b"0001777\0", b"0000000\0", b"0777777\0"):
        tamed = _archive(f"A13 mode {mode!r}", tars.file("model/x", b"x", mode=mode), codes=frozenset({0}))
        yield Case(tamed.name, tamed.make, frozenset({0, 4}), keeps=False)
    for mtime in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000000001\0"):
        tamed = _archive(f"A15 mtime {mtime!r}", tars.file("model/x", b"x", mtime=mtime))
        yield Case(tamed.name, tamed.make, frozenset({0, 4}), keeps=False)
    for name, size in SIZES.items():
        yield _archive(f"A20 size of {name}", tars.header("model/x", size=size) + bytes(512), codes=BROKEN)
    for told in (b"000000\0 ", b"777777\0 ", b"rubbish ", bytes(8)):
        yield _archive(f"A22 checksum {told!r}", tars.header("model/x", checksum=told), codes=BROKEN)


def _extended() -> Iterator[Case]:
    for name, (key, value) in PAX.items():
        yield _archive(f"A18 {name}", tars.pax(tars.record(key, value)), tars.file("model/x", b"x"), codes=REFUSED)
        raw = tars.pax(tars.record(key, value), typeflag=b"g")
        yield _archive(f"A18 global {name}", raw, tars.file("model/x", b"x"), codes=REFUSED)
    for name, raw in RECORDS.items():
        header = tars.file(b"././@PaxHeader", raw, typeflag=b"x")
        yield _archive(f"A18 a record with {name}", header, tars.file("model/x", b"x"), codes=BOUNDED)
    yield _archive("A18 nothing after it", tars.pax(tars.record("path", "model/x")), codes=BROKEN)
    yield _archive(
        "A19 a name without its end", tars.gnu_name(b"model/" + b"x" * 200), tars.file("y", b"x"), codes=BOUNDED | {0}
    )
    names = [tars.gnu_name(b"model/" + b"x" * 200 + b"\0")] * 1000
    yield _archive("A19 a thousand names", *names, tars.file("y", b"x"), codes=BOUNDED)
    both = [tars.gnu_name(b"../x\0"), tars.pax(tars.record("path", "model/x"))]
    yield _archive("A19 two names that disagree", *both, tars.file("y", b"x"), codes=REFUSED)
    yield _archive("A19 a name that climbs", tars.gnu_name(b"../../x\0"), tars.file("y", b"x"))
    yield _archive(
        "A16 an old sparse file", tars.file("model/x", b"x", typeflag=b"S", magic=b"ustar  \0"), codes=REFUSED
    )


def _ends(good: bytes) -> Iterator[Case]:
    for size in (0, 1, 100, 511, 512, 513, 700, 1023):
        raw = good[:size]
        yield Case(f"A21 cut after {size} bytes", _unpacking(raw), BROKEN)
    yield Case("A21 no end", _unpacking(good[:1024]), BROKEN)
    yield Case("A21 half an end", _unpacking(good[:1536]), BROKEN)
    yield Case("A21 rubbish behind the end", _unpacking(good + b"x" * 512), BROKEN)
    yield Case("A21 two archives", _unpacking(good + good), BROKEN)
    yield Case("A21 only an end", _unpacking(tars.END), frozenset({0, 4}), keeps=False)


def _unpacking(raw: bytes, form: str = "tar", diff_id: str | None = None) -> Callable[[World], Sequence[str]]:
    return lambda world: tar_kit(world, raw, form=form, diff_id=diff_id)


def _growth() -> Iterator[Case]:
    bomb = tars.header("model/x", size=7 << 30)
    pax = tars.header(b"././@PaxHeader", size=1 << 30, typeflag=b"x")

    def gzip_pax(world: World) -> Sequence[str]:
        return tar_kit(world, gzip.compress(pax + bytes(4 << 20)), form="tar+gzip")

    def large_pax(world: World) -> Sequence[str]:
        return tar_kit(world, tars.header("x", size=2 << 20, typeflag=b"x") + bytes(2 << 20))

    def gzip_bomb(world: World) -> Sequence[str]:
        zeros = gzip.compress(bytes(16 << 20), 6)
        return tar_kit(world, gzip.compress(bomb) + zeros * 40, form="tar+gzip", diff_id=digest_of(b"?"))

    def zstd_bomb(world: World) -> Sequence[str]:
        zeros = zstandard.ZstdCompressor().compress(bytes(16 << 20))
        return tar_kit(
            world, zstandard.ZstdCompressor().compress(bomb) + zeros * 40, form="tar+zstd", diff_id=digest_of(b"?")
        )

    def zstd_window(world: World) -> Sequence[str]:
        wide = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=False)
        packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
        return tar_kit(world, packer.compress(bytes(4096)) + packer.flush(), form="tar+zstd", diff_id=digest_of(b"?"))

    yield Case("A17 a pax header of a gigabyte", gzip_pax, BOUNDED)
    yield Case("A17 a pax header of two megabytes", large_pax, BOUNDED)
    yield Case("A24 a gzip bomb", gzip_bomb, BOUNDED)
    yield Case("A24 a zstd bomb", zstd_bomb, BOUNDED)
    yield Case("A24 a zstd window of two gigabytes", zstd_window, BOUNDED)
    small = tars.archive(tars.file("model/w", b"x")).getvalue()
    packed = gzip.compress(small)
    yield Case("A24 rubbish behind gzip", _unpacking(packed + b"rubbish", "tar+gzip", digest_of(small)), BROKEN)
    yield Case("A24 gzip cut", _unpacking(packed[:-4], "tar+gzip", digest_of(small)), BROKEN)
    yield Case("A24 gzip in gzip", _unpacking(gzip.compress(packed), "tar+gzip", digest_of(packed)), BROKEN)
    yield _archive("A23 a deep path", tars.pax(tars.record("path", "a/" * 2000 + "x")), tars.file("y"), codes=BOUNDED)
    yield _archive(
        "A23 a long name", tars.pax(tars.record("path", "model/" + "x" * 300)), tars.file("y"), codes=BOUNDED
    )
    yield _archive(
        "A23 a long path",
        tars.pax(tars.record("path", "model/" + "x/" * 60 + "y" * 5000)),
        tars.file("y"),
        codes=BOUNDED,
    )


def _lies(good: bytes) -> Iterator[Case]:
    others = {
        "gzip": gzip.compress(good),
        "zip": b"PK\3\4" + bytes(600),
        "pickle": b"\x80\x04N." + bytes(600),
        "text": b"hello\n" * 200,
    }
    for name, raw in others.items():
        yield Case(f"A25 {name} that is called tar", _unpacking(raw), BROKEN)
        for form in ("tar+gzip", "tar+zstd"):
            if (name, form) != ("gzip", "tar+gzip"):
                yield Case(f"A25 {name} that is called {form}", _unpacking(raw, form, digest_of(raw)), BROKEN)
    yield Case("A33 another diff id", _unpacking(good, "tar", digest_of(b"other")), BROKEN)
    yield Case(
        "A33 another diff id under gzip", _unpacking(gzip.compress(good), "tar+gzip", digest_of(b"other")), BROKEN
    )


def _places(good: bytes) -> Iterator[Case]:
    for path in (
        "../x",
        "/etc/x",
        "a/../../x",
        "",
        ".",
        "..",
        "a\\b",
        "C:\\x",
        "model/\x1b",
        "CON",
        "a//b/../..",
    ):
        yield Case(f"A31 a file at {path!r}", _raw_at(path), frozenset({4, 5}))

    def twice(world: World) -> Sequence[str]:
        kit(world, [layer(world, b"one", "raw", "model.bin"), layer(world, b"two", "raw", "model.bin")])
        return UNPACK

    def over_a_tar(world: World) -> Sequence[str]:
        kit(world, [layer(world, good, "tar"), layer(world, b"two", "raw", "model/w.bin")])
        return UNPACK

    def through_a_link(world: World) -> Sequence[str]:
        raw_kit(world, path="model/w.bin")
        world.out.mkdir()
        (world.out / "model").symlink_to(world.root / "outside")
        return UNPACK

    def over_a_link(world: World) -> Sequence[str]:
        raw_kit(world, path="model.bin")
        world.out.mkdir()
        (world.out / "model.bin").symlink_to(world.root / "outside/precious.txt")
        return (*UNPACK, "--overwrite")

    def over_a_file(world: World) -> Sequence[str]:
        raw_kit(world, path="model.bin")
        world.out.mkdir()
        (world.out / "model.bin").write_text("mine")
        return UNPACK

    yield Case("A31 two layers at one path", twice, frozenset({4, 5, 9}))
    yield Case("A31 a file over one in an archive", over_a_tar, frozenset({4, 5, 9}))
    yield Case("A27 a link in the destination", through_a_link, frozenset({5, 9}))
    yield Case("A27 a link in the place of the file", over_a_link, frozenset({0, 5, 9}), keeps=False)
    yield Case("A30 a file of the user's", over_a_file, frozenset({9}))
    for place in ("/", "precious.txt", "../store"):
        yield Case(f"A32 into {place}", _into(place), frozenset({2, 5, 9}))


def _raw_at(path: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world, path=path)
        return UNPACK

    return make


def _into(place: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        return ("unpack", UNPACK[1], "-d", place)

    return make
