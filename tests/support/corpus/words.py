"""Sections C and D: references that are none, and Kitfiles and projects that people did not write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from tests.support.corpus.case import Case, World
from tests.support.corpus.kits import raw_kit

USAGE = frozenset({2})
REFUSED = frozenset({2, 3, 4, 5, 9, 11})

REFERENCES = (
    "localhost/../x:tag", "registry.example/Team/kit:1", "kit:", "kit@sha256:short", "kit:@", "kit::1", "kit:1:2",
    "kit@sha256:" + "g" * 64, "kit@md5:" + "a" * 32, "host:99999/x:1", "host:-1/x:1", "[::1/x:1", "user:pw@host.example/x:1",
    "http://host.example/x:1", "https://host.example/x", "host.example/x?y#z", "kit:1\n", "kit: 1", " kit:1", "kit:1 ",
    "-kit:1", "kit/", "/kit", "kit//x", "a/./b", "a/../b", "kit:.x", "kit:-x", "kit:" + "x" * 129, "x" * 300, "kit:ä", "größe:1",
    "registry.еxample/x:1", "host.example:80:80/x", "%2e%2e/x", "kit:1%00", "\x1b[31mkit", "kit\\x", "C:\\kit", "file:///x",
    "kit:sha256-" + "a" * 64, "kit:sha256-" + "a" * 64 + ".sig", "host.example/:1", "host.example", "@sha256:" + "a" * 64, ":", "@",
    "kit@sha256:" + "a" * 64 + "@sha256:" + "b" * 64, "..", ".", "kit:$(id)", "kit:`id`", "kit;id", "kit|id", "*", "kit:*",
    "\u202ekit", "kit:1\u200b", "ａｂｃ:1", "a__b___c_", "a-", "_a", "a.", ".a",
)  # fmt: skip
KITFILES = {
    "D01 an anchor": "model: &a {path: w}\ndocs: [*a]\n",
    "D01 a merge key": "a: &a {path: w}\nmodel: {<<: *a}\n",
    "D01 a billion laughs": "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nmodel: *c\n",
    "D01 an alias of itself": "model: &a [*a]\n",
    "D02 a Python object": "model: !!python/object/apply:os.system ['touch ../pwned']\n",
    "D02 a tag of its own": "model: !evil {path: w}\n",
    "D02 binary": "package: {name: !!binary aGk=}\nmodel: {path: w}\n",
    "D02 a set": "model: !!set {path}\n",
    "D03 a key twice": "model: {path: w}\nmodel: {path: x}\n",
    "D03 a key that is a number": "model: {path: w, 1: x}\n",
    "D03 two documents": "model: {path: w}\n---\nmodel: {path: x}\n",
    "D03 a directive": "%YAML 3.0\n---\nmodel: {path: w}\n",
    "D03 a tab": "model:\n\tpath: w\n",
    "D03 a list": "- model\n",
    "D03 a text": "model\n",
    "D03 not closed": "model: {path: w\n",
    "D03 NUL": "model: {path: w}\0\n",
    "D03 a bell": "model: {path: w}\a\n",
    "D04 100,000 levels": "model: " + "[" * 100_000,
    "D04 deep mappings": "\n".join(" " * n + "a:" for n in range(500)),
    "D04 a megabyte": "# " + "x" * (1 << 20) + "\nmodel: {path: w}\n",
    "D04 30,000 entries": "docs: [" + "{path: w}," * 30_000 + "]\n",
    "D04 a number of 5,000 digits": "model: {path: w, parameters: {n: " + "9" * 5000 + "}}\n",
    "D04 hexadecimal without an end": "checks: [{name: x, run: [x], timeout: 0x" + "f" * 10_000 + "}]\n",
    "D04 infinity": "model: {path: w, parameters: {n: .inf}}\n",
    "D06 an unknown key": "model: {path: w, pth: x}\n",
    "D06 an unknown section": "modle: {path: w}\n",
    "D06 a list for a mapping": "model: [w]\n",
    "D06 a mapping for a list": "datasets: {path: w}\n",
    "D06 a mapping for a text": "package: {name: {a: b}}\nmodel: {path: w}\n",
    "D06 no path": "datasets: [{name: x}]\nparameters: [{name: x}]\n",
    "D07 an absolute path": "model: {path: /etc/passwd}\n",
    "D07 a path that climbs": "model: {path: ../outside}\n",
    "D07 a path that climbs within": "model: {path: a/../../outside}\n",
    "D07 a home": "model: {path: ~/x}\n",
    "D07 a Windows path": "model: {path: 'C:\\x'}\n",
    "D07 a path with NUL": 'model: {path: "a\\0b"}\n',
    "D07 a path with ESC": 'model: {path: "a\\e[31m"}\n',
    "D07 a path that is not there": "model: {path: missing}\n",
    "D07 one path twice": "model: {path: w}\ndatasets: [{path: ./w}]\n",
    "D07 a part type that is a path": "model: {path: w, parts: [{path: w2, type: ../x}]}\n",
    "D07 a bundle that is none": "mcpServers: [{name: x, path: w}]\n",
    "D12 a reference to nowhere": "model: {path: 'nobody/here:1'}\n",
    "D12 an input that is nothing": "model: {path: w}\ninputs: [{role: dataset}]\n",
    "D12 an input of a strange role": "model: {path: w}\ninputs: [{role: thief, uri: x}]\n",
    "D12 a digest that is none": "model: {path: w}\ninputs: [{role: dataset, digest: 'sha256:x'}]\n",
    "D12 a check without a program": "model: {path: w}\nchecks: [{name: x, run: []}]\n",
    "D12 a check of negative time": "model: {path: w}\nchecks: [{name: x, run: [x], timeout: -1}]\n",
    "D12 a remote dataset without hash": "datasets: [{name: x, remotePath: 's3://b/k'}]\n",
    "D12 a remote dataset of another scheme": "datasets: [{name: x, remotePath: 'file:///etc/passwd', remoteHash: x}]\n",
}
RAW_KITFILES = {
    "D03 a byte order mark": b"\xef\xbb\xbfmodel: {path: w, x: y}\n",
    "D03 UTF-16": "model: {path: w}\n".encode("utf-16"),
    "D03 no UTF-8": b"model: {path: w\xff}\n",
}


def cases() -> Iterator[Case]:
    """All of them."""
    for reference in REFERENCES:
        yield Case(f"C01 {reference:.60}", _asked(reference), frozenset({2, 3}))
        if reference in ("host.example", "a__b___c_"):
            continue  # names of local kits
        yield Case(f"C05 packed as {reference:.60}", _packed_as(reference), frozenset({2, 3}))
    yield Case("control a good project", _project(b"model: {path: w}\n"), frozenset({0}), keeps=False)
    for name, text in KITFILES.items():
        yield Case(name, _project(text.encode()), REFUSED)
    for name, raw in RAW_KITFILES.items():
        yield Case(name, _project(raw), REFUSED)
    for name, make in _TREES.items():
        yield Case(f"D07 {name}", _tree(make), frozenset({2, 5}))


def _asked(reference: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        # What begins with a minus is a flag to every command line; `--` says that it is none.
        return ("inspect", "--", reference)

    return make


def _packed_as(reference: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        _project(b"model: {path: w}\n")(world)
        return ("pack", ".", f"--tag={reference}")

    return make


def _project(kitfile: bytes) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        (world.work / "w").write_text("weights")
        (world.work / "w2").write_text("more")
        (world.work / "Kitfile").write_bytes(kitfile)
        return ("pack", ".", "-t", "new:1")

    return make


def _tree(spoil: Callable[[str], None]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        _project(b"model: {path: model}\n")(world)
        (world.work / "model").mkdir()
        spoil(str(world.work / "model/x"))
        return ("pack", ".", "-t", "new:1")

    return make


def _loop(path: str) -> None:
    os.symlink("y", path)
    os.symlink("x", os.path.join(os.path.dirname(path), "y"))


_TREES: dict[str, Callable[[str], None]] = {
    "a link to a file outside": lambda path: os.symlink("/etc/passwd", path),
    "a link that climbs": lambda path: os.symlink("../../outside/precious.txt", path),
    "a link to a directory outside": lambda path: os.symlink("../../outside", path),
    "a link to nothing": lambda path: os.symlink("nothing", path),
    "a loop of links": _loop,
    "a link to itself": lambda path: os.symlink("x", path),
    "a pipe": os.mkfifo,
    "a link to a device": lambda path: os.symlink("/dev/zero", path),
    "a name with ESC": lambda path: _touch(f"{path}\x1b[31m"),
    "a name that is no UTF-8": lambda path: _touch(os.fsencode(path) + b"\xff"),
    "a name with a line break": lambda path: _touch(f"{path}\n"),
    "a name with a backslash": lambda path: _touch(f"{path}\\y"),
}


def _touch(path: str | bytes) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
