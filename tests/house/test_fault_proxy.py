"""The bad network of the tests is as bad as it says, and counts right."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.http_pieces import Pieces, framed_length, without_header
from tests.support.registry_http import Answer, Request, serving

BODY = bytes(range(256)) * 4096
"""1 MiB."""


def answer(request: Request) -> Answer:
    if request.method == "GET" and "range" in request.headers:
        return Answer(206, BODY[:100])
    return Answer(200, BODY if request.method in ("GET", "HEAD") else b"%d" % len(request.body))


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with serving(answer) as host, fault_proxy(host) as proxy:
        yield proxy


def get(proxy: FaultProxy, *, headers: dict[str, str] | None = None, path: str = "/blob") -> bytes:
    """What came of the body before the connection ended."""
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    connection.request("GET", path, headers=headers or {})
    got = b""
    try:
        response = connection.getresponse()
        while more := response.read1(65536):
            got += more
    except ConnectionResetError:
        got += b"(reset)"
    finally:
        connection.close()
    return got


def put(proxy: FaultProxy) -> bytes:
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    try:
        connection.request("PUT", "/blob", body=BODY)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_nothing_is_wrong_at_first_and_everything_is_counted(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    for method in ("HEAD", "GET", "PUT"):
        connection.request(method, "/blob", body=BODY if method == "PUT" else None)
        raw = connection.getresponse().read()
        assert raw == {"HEAD": b"", "GET": BODY, "PUT": b"1048576"}[method]
    connection.close()

    assert [(one.line, one.status, one.sent, one.received) for one in proxy.exchanges] == [
        ("HEAD /blob", 200, 0, 0),
        ("GET /blob", 200, 0, len(BODY)),
        ("PUT /blob", 200, len(BODY), 7),
    ]
    assert proxy.connections == 1
    assert len(BODY) < proxy.sent < len(BODY) + 1000
    assert len(BODY) < proxy.received < len(BODY) + 1000


def test_each_body_is_reset_at_its_byte(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("reset", at=300_000, times=2))

    assert [get(proxy) for _ in range(3)] == [BODY[:300_000] + b"(reset)"] * 2 + [BODY]


def test_a_connection_is_reset_each_so_many_bytes(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("reset", every=len(BODY) + 100))

    got = [get(proxy) for _ in range(4)]

    assert got == [BODY, BODY[:100] + b"(reset)", BODY, BODY[:100] + b"(reset)"]


def test_a_connection_is_reset_at_an_age(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("reset", age=len(BODY) + 100))
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    connection.request("GET", "/blob")
    assert connection.getresponse().read() == BODY

    connection.request("GET", "/blob")
    second = connection.getresponse()

    assert second.read(100) == BODY[:100]
    with pytest.raises(ConnectionResetError):
        second.read(1)
    second.close()
    connection.close()
    assert get(proxy) == BODY


def test_an_upload_is_reset(proxy: FaultProxy) -> None:
    proxy.uploads.faults.append(Fault("reset", at=300_000, times=1))

    with pytest.raises(ConnectionError):
        put(proxy)

    assert proxy.exchanges[0].sent == 300_000
    assert put(proxy) == b"1048576"


def test_a_body_is_cut_without_a_reset(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("truncate", at=300_000))

    assert get(proxy) == BODY[:300_000]


def test_a_stalled_body_goes_on_for_nobody(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("stall", at=300_000))
    connection = http.client.HTTPConnection(proxy.host, timeout=0.3)
    connection.request("GET", "/blob")
    response = connection.getresponse()

    assert response.read(300_000) == BODY[:300_000]
    with pytest.raises(TimeoutError):
        response.read(1)
    connection.close()


def test_bits_are_flipped_and_the_rest_is_left(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("flip", every=400_000, times=2))

    got = get(proxy)

    assert [place for place, byte in enumerate(got) if byte != BODY[place]] == [400_000, 800_001]
    assert len(got) == len(BODY)
    assert get(proxy) == BODY


def test_a_fault_hits_only_what_it_is_meant_for(proxy: FaultProxy) -> None:
    proxy.downloads.faults.append(Fault("truncate", at=10, on="GET /manifest.*"))

    assert get(proxy) == BODY
    assert get(proxy, path="/manifests/1") == BODY[:10]


def test_a_slow_line_is_slow(proxy: FaultProxy) -> None:
    proxy.downloads.rate = len(BODY) / 0.3
    proxy.downloads.latency = 0.2
    started = time.monotonic()

    assert get(proxy) == BODY
    assert time.monotonic() - started >= 0.45


def test_slices_are_small(proxy: FaultProxy) -> None:
    proxy.downloads.slice = 1000
    proxy.downloads.rate = 1_000_000

    with socket.create_connection(tuple(proxy.host.split(":")), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sizes = [len(client.recv(65536)) for _ in range(10)]

    assert max(sizes[2:]) < 10_000


def test_who_is_down_refuses_and_comes_back_at_the_same_place(proxy: FaultProxy) -> None:
    with proxy.down(), pytest.raises(ConnectionRefusedError):
        get(proxy)

    assert get(proxy) == BODY


def test_tls_passes_as_it_is_and_is_cut_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.issue("loopback", hosts=("127.0.0.1",)))
    trust = ssl.create_default_context(cafile=authority.path)

    def read() -> bytes:
        connection = http.client.HTTPSConnection(proxy.host, timeout=20, context=trust)
        connection.request("GET", "/blob")
        with contextlib.closing(connection), connection.getresponse() as response:
            return response.read()

    with serving(answer, tls=server) as host, fault_proxy(host) as proxy:
        assert read() == BODY
        assert proxy.exchanges == []
        assert proxy.received > len(BODY)
        proxy.downloads.faults.append(Fault("reset", age=300_000))
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            read()


def test_heads_are_rewritten(proxy: FaultProxy) -> None:
    assert get(proxy, headers={"Range": "bytes=0-99"}) == BODY[:100]

    proxy.uploads.rewrite = lambda head: without_header(head, "Range")
    proxy.downloads.rewrite = lambda head: without_header(head, "Content-Length")

    assert get(proxy, headers={"Range": "bytes=0-99"}) == BODY


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_chunks_are_told_from_their_framing(step: int) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\nc\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
    )
    raw += b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    pieces = Pieces(lambda head: (head, framed_length(head) or 0))

    found = [piece for start in range(0, len(raw), step) for piece in pieces.feed(raw[start : start + step])]

    assert b"".join(piece.raw for piece in found) == raw
    assert b"".join(piece.raw for piece in found if piece.kind == "body") == b"ab\r\nc0123456789ok"
    assert [piece.raw[-1:] for piece in found if piece.is_last] == [b"\n", b"k"]
