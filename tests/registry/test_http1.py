"""Heads and bodies as servers send them, and as they should not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from tests.support.raw_server import RawServer, Step, raw_server

from mlkit.registry.connection import Connection, Timeouts
from mlkit.registry.http1 import Body, render_head
from mlkit.registry.transport import Transport

OK = b"HTTP/1.1 200 OK\r\n"
SHORT = Timeouts(connect=5, answer=0.3, commit=0.3, stall=0.3)


@contextmanager
def answering(*scripts: list[Step], timeouts: Timeouts = SHORT) -> Iterator[tuple[Transport, RawServer]]:
    with raw_server(*scripts) as server:
        transport = Transport(Connection(server.host, plain_http=True, timeouts=timeouts))
        try:
            yield transport, server
        finally:
            transport.close()


def get(transport: Transport, server: RawServer, method: str = "GET") -> httpx.Response:
    return transport.handle_request(httpx.Request(method, f"http://{server.host}/v2/"))


def read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, Body)
    try:
        return b"".join(response.stream)
    finally:
        response.close()


@pytest.mark.parametrize(
    ("head", "body", "content"),
    [
        (b"Content-Length: 5\r\n", b"hello", b"hello"),
        (b"content-length:5\r\n", b"hello", b"hello"),
        (b"Content-Length: 5, 5\r\n", b"hello", b"hello"),
        (b"Content-Length: 0\r\n", b"", b""),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5;name=value\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ],
    ids=["length", "no-space", "length-twice", "empty", "chunks", "extension", "trailer", "both"],
)
def test_a_body_is_read_to_its_end_and_the_connection_used_again(head: bytes, body: bytes, content: bytes) -> None:
    with answering([OK + head + b"\r\n" + body]) as (transport, server):
        first = read(get(transport, server))
        second = read(get(transport, server))

    assert (first, second) == (content, content)
    assert server.connections == 1


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with answering([OK + b"\r\nhello", b""]) as (transport, server):
        assert read(get(transport, server)) == b"hello"
        assert read(get(transport, server)) == b"hello"

    assert server.connections == 2


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    with answering([OK + b"Content-Length: 5\r\n\r\n"]) as (transport, server):
        response = get(transport, server, "HEAD")

        assert read(response) == b""
        assert response.headers["Content-Length"] == "5"


def test_interim_answers_are_passed_over() -> None:
    with answering(
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK + b"\r\nhi", b""]
    ) as (
        transport,
        server,
    ):
        assert read(get(transport, server)) == b"hi"


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5x\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Folded: a\r\n b\r\n\r\n",
        OK + b"Na me: x\r\n\r\n",
        OK + b"Name: a\rb\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
    ids=[
        "ssh", "http2", "status", "negative", "garbage", "two-lengths", "20-digits", "gzip", "no-colon", "folded",
        "space", "cr", "continue-for-ever",
    ],
)  # fmt: skip
def test_f08_a_head_that_can_be_read_in_two_ways_is_refused(sent: bytes) -> None:
    with answering([sent, b""]) as (transport, server), pytest.raises(httpx.RemoteProtocolError):
        get(transport, server)


@pytest.mark.parametrize(
    "sent",
    [
        OK + b"".join(b"X-%d: y\r\n" % number for number in range(201)) + b"\r\n",
        OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        OK + b"X: " + b"y" * 200_000,
    ],
    ids=["201-headers", "long-header", "head-without-end"],
)
def test_f20_a_head_beyond_the_limits_is_refused(sent: bytes) -> None:
    with answering([sent, b""]) as (transport, server), pytest.raises(httpx.RemoteProtocolError):
        get(transport, server)


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(200)),
        b"X: " + b"y" * (65_536 - len(OK) - len(b"X: ")) + b"\r\n",
    ],
    ids=["200-headers", "64-KiB"],
)
def test_a_head_at_the_limits_is_read_and_a_byte_or_a_header_more_is_not(headers: bytes) -> None:
    with answering([OK + headers + b"\r\n", b""]) as (transport, server):
        assert read(get(transport, server)) == b""
    with (
        answering([OK + b"Y:\r\n" + headers + b"\r\n", b""]) as (transport, server),
        pytest.raises(httpx.RemoteProtocolError),
    ):
        get(transport, server)


@pytest.mark.parametrize(
    "script",
    [[1.0, b""], [OK, 1.0, b""], [OK + b"Content-Length: 5\r\n\r\nhel", 1.0, b""]],
    ids=["silent", "half-a-head", "half-a-body"],
)
def test_a_server_that_stalls_is_given_up(script: list[Step]) -> None:
    with answering(script) as (transport, server), pytest.raises(httpx.ReadTimeout):
        read(get(transport, server))


def test_a_server_that_sends_a_byte_now_and_then_is_given_up() -> None:
    drops: list[Step] = [OK + b"Content-Length: 1000\r\n\r\n"]
    drops += [b"x", 0.1] * 20

    with answering(drops) as (transport, server):
        response = get(transport, server)

        with pytest.raises(httpx.ReadTimeout, match="only"):
            read(response)


@pytest.mark.parametrize(
    "body",
    [b"", b"3\r\nhel", b"zz\r\nhello", b"\r\nhello", b"5\r\nhello!\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n",
     b"1" + b"0" * 20 + b"\r\n", b"5;" + b"x" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
     b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 1000 + b"\r\n"],
    ids=["none", "cut", "no-number", "empty-size", "too-long", "endless-trailer", "huge", "long-extension", "trailers"],
)  # fmt: skip
def test_chunks_that_are_none_are_an_error(body: bytes) -> None:
    with answering([OK + b"Transfer-Encoding: chunked\r\n\r\n" + body, b""]) as (transport, server):
        response = get(transport, server)

        with pytest.raises(httpx.TransportError):
            read(response)


def test_what_came_before_a_failure_is_handed_over_first() -> None:
    with answering([OK + b"Content-Length: 10\r\n\r\nhello", b""]) as (transport, server):
        body = get(transport, server).stream
        assert isinstance(body, Body)
        buffer = bytearray(10)

        assert body.readinto(buffer) == 5
        with pytest.raises(httpx.ReadError, match="5 bytes early"):
            body.readinto(buffer)
        body.close()

    assert buffer[:5] == b"hello"


def test_a_closed_body_cannot_be_read() -> None:
    with answering([OK + b"Content-Length: 5\r\n\r\nhello"]) as (transport, server):
        body = get(transport, server).stream
        assert isinstance(body, Body)
        body.close()
        body.close()

        with pytest.raises(httpx.StreamClosed):
            body.readinto(bytearray(5))


def test_a_connection_with_bytes_left_on_it_is_not_used_again() -> None:
    with answering([OK + b"Content-Length: 5\r\n\r\nhello"]) as (transport, server):
        get(transport, server).close()
        assert read(get(transport, server)) == b"hello"

    assert server.connections == 2


def test_more_than_was_promised_makes_the_connection_unfit_for_use() -> None:
    with answering([OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\nsmuggled"]) as (transport, server):
        read(get(transport, server))
        assert read(get(transport, server)) == b"hello"

    assert server.connections == 2


@pytest.mark.parametrize(
    ("name", "value"), [(b"X", b"a\r\nY: b"), (b"X", b"a\0"), (b"X Y", b"a"), (b"X:", b"a")], ids=str
)
def test_a_header_that_would_split_the_message_is_never_sent(name: bytes, value: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        render_head("GET", b"/", [(name, value)])
