"""What is fuzzed: every parser of bytes from outside, and what must hold for any bytes at all.

A target raises nothing but errors of mlkit's own (or what its parser documents), whatever it is given. Where Python has
a parser of the same thing, what that one refuses as unsafe, or reads differently, is not taken either.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from tests.support import tars

from mlkit.archive.headers.read import read_facts
from mlkit.archive.headers.safetensors import check_safetensors
from mlkit.archive.reader import TarReader
from mlkit.errors import MlkitError
from mlkit.registry.challenge import parse_challenges
from mlkit.registry.origin import Origin, next_hop
from mlkit.registry.retry import RetryPolicy
from mlkit.server.ranges import chunk_range, wanted_range
from mlkit.spec.bundle import parse_bundle
from mlkit.spec.json_text import parse_json, render_json
from mlkit.spec.kit_document import parse_kit_document, render_kit_document
from mlkit.spec.kitfile import parse_kitfile, render_kitfile
from mlkit.spec.manifest import parse_manifest
from mlkit.spec.reference import Reference
from mlkit.spec.run_record import parse_run_record
from mlkit.spec.statement import parse_statement


@dataclass(frozen=True, slots=True)
class Target:
    """One parser; `check` raises AssertionError, or anything unforeseen, where it is wrong."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _tar(raw: bytes) -> None:
    names = []
    try:
        for member, stream in TarReader(io.BytesIO(raw)):
            names.append(member.name)
            while stream.read(1 << 16):
                pass
    except MlkitError:
        return
    # Taken whole: then Python's own filter for untrusted archives takes every name of it, too. 3.11.2 has none yet.
    refuse = getattr(tarfile, "data_filter", None)
    for name in names:
        if refuse is not None:
            refuse(tarfile.TarInfo(name), "/destination")


def _json(raw: bytes) -> None:
    try:
        value = parse_json(raw, what="fuzz")
    except MlkitError:
        return
    assert json.loads(raw) == value
    assert parse_json(render_json(value), what="again") == value


def _document(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def check(raw: bytes) -> None:
        with contextlib.suppress(MlkitError):
            parse(raw)

    return check


def _kit_document(raw: bytes) -> None:
    try:
        document = parse_kit_document(raw)
    except MlkitError:
        return
    assert parse_kit_document(render_kit_document(document)) == document


def _kitfile(raw: bytes) -> None:
    try:
        kitfile = parse_kitfile(raw)
    except MlkitError:
        return
    assert parse_kitfile(render_kitfile(kitfile).encode()) == kitfile


def _reference(raw: bytes) -> None:
    try:
        reference = Reference.parse(raw.decode("utf-8", "replace"))
    except MlkitError:
        return
    assert Reference.parse(str(reference)) == reference
    assert str(reference).isascii()
    assert ".." not in str(reference).split("/")


def _challenge(raw: bytes) -> None:
    with contextlib.suppress(MlkitError):
        parse_challenges([raw.decode("latin-1")])


def _link(raw: bytes) -> None:
    here = httpx.URL("https://registry.example/v2/x/tags/list")
    try:
        target = next_hop(here, raw.decode("latin-1"), registry=Origin.of(here), what="fuzz")
    except MlkitError:
        return
    assert target.scheme == "https"
    assert not target.userinfo


def _range(raw: bytes) -> None:
    text = raw.decode("latin-1")
    with contextlib.suppress(ValueError):
        found = wanted_range(text, 1000)
        assert found is None or 0 <= found[0] < found[1] <= 1000
    with contextlib.suppress(ValueError):
        start, end = chunk_range(text)
        assert 0 <= start < end


def _retry_after(raw: bytes) -> None:
    policy = RetryPolicy(random=lambda: 0.5, now=lambda: 1e9)
    wait = policy.wait(1, raw.decode("latin-1"))
    assert math.isfinite(wait)
    assert 0 <= wait <= policy.longest_wait


def _headers(form: str) -> Callable[[bytes], None]:
    def check(raw: bytes) -> None:
        with contextlib.suppress(MlkitError):
            read_facts(io.BytesIO(raw), len(raw), form)
        if form == "safetensors":
            with contextlib.suppress(MlkitError):
                check_safetensors(io.BytesIO(raw), len(raw))

    return check


_HEADER = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
_MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":'
    b'"sha256:%b","size":2},"layers":[{"mediaType":"a/b","digest":"sha256:%b","size":3}]}' % (b"a" * 64, b"b" * 64)
)

TARGETS: Mapping[str, Target] = {
    "tar": Target(
        _tar,
        (
            tars.archive(tars.file("model/a", b"x" * 600), tars.directory("model/b")).getvalue(),
            tars.archive(tars.pax(tars.record("path", "é" * 200)), tars.file("y", b"z")).getvalue(),
            tars.archive(tars.gnu_name(b"a" * 150 + b"\0"), tars.file("y", b"z")).getvalue(),
            tars.archive(tars.link("l", "../x")).getvalue(),
        ),
    ),
    "json": Target(_json, (b'{"a":[1,-2.5e3,true,null,"\\u00e9"],"b":{}}', b"[[]]", b'"x"', b"1")),
    "manifest": Target(_document(parse_manifest), (_MANIFEST, b'{"schemaVersion":2,"manifests":[]}')),
    "kit-document": Target(
        _kit_document, (b'{"entries":[],"inputs":[{"role":"run"}],"kitfile":"x","layers":[],"schemaVersion":1}',)
    ),
    "bundle": Target(
        _document(lambda raw: parse_bundle(raw, what="fuzz")),
        (b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}',),
    ),
    "statement": Target(
        _document(parse_statement),
        (b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}',),
    ),
    "run-record": Target(_document(lambda raw: parse_run_record(raw, what="fuzz")), (b'{"schemaVersion":1}',)),
    "kitfile": Target(
        _kitfile,
        (
            b"manifestVersion: 1.0.0\nmodel: {path: w, parts: [{path: t, type: lora}]}\ndatasets: [{path: d}]\n",
            b"inputs:\n  - role: dataset\n    uri: s3://b/k\nchecks: [{name: x, run: [a, b], timeout: 5}]\n",
        ),
    ),
    "reference": Target(
        _reference, (b"registry.example:5000/team/digits:1.2@sha256:" + b"a" * 64, b"digits:1.2", b"[::1]:5/x")
    ),
    "challenge": Target(
        _challenge, (b'Bearer realm="https://auth.example/token",service="r",scope="x:y:pull"', b"Basic a=b")
    ),
    "link": Target(
        _link, (b"/v2/x/tags/list?n=1&last=a", b"https://registry.example/v2/", b"//other.example/", b"//xn--7-kha0/")
    ),
    "range": Target(_range, (b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"0-1023")),
    "retry-after": Target(_retry_after, (b"120", b"Wed, 21 Oct 2015 07:28:00 GMT", b"-1", b"1e9")),
    "safetensors": Target(_headers("safetensors"), (len(_HEADER).to_bytes(8, "little") + _HEADER + bytes(8),)),
    "gguf": Target(
        _headers("gguf"),
        (
            b"GGUF"
            + (3).to_bytes(4, "little")
            + (0).to_bytes(8, "little")
            + (1).to_bytes(8, "little")
            + b"\1"
            + bytes(30),
        ),
    ),
}
