"""One request to a URL that a person named: probes and hooks."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.http_proxy import http_proxy
from tests.support.raw_server import raw_server
from tests.support.registry_http import Answer, Request, serving

from mlkit.errors import NetworkError, UnsafeError, UsageError
from mlkit.registry.connection import Connection
from mlkit.registry.visit import Visited, check_url, visit

OUTSIDE = Connection("outside", user_agent="mlkit/test")


def get(url: str, *, connection: Connection = OUTSIDE, timeout: float = 20, **more: object) -> Visited:
    return visit(url, connection, timeout=timeout, **more)  # type: ignore[arg-type]  # the arguments of visit


@pytest.mark.parametrize(("status", "is_good"), [(200, True), (204, True), (400, False), (404, False), (503, False)])
def test_an_answer_is_given_with_its_status_and_is_good_or_not(status: int, is_good: bool) -> None:
    body = b"" if status == 204 else b"words"
    with serving(lambda _: Answer(status, body)) as host:
        answer = get(f"http://{host}/health?deep=1")

    assert answer == Visited(status, body)
    assert answer.is_good is is_good


def test_what_is_posted_arrives_with_its_headers_and_ours() -> None:
    asked: list[Request] = []
    with serving(lambda request: asked.append(request) or Answer(200)) as host:  # type: ignore[func-returns-value]
        get(f"http://{host}/hook", method="POST", body=b"{}", headers={"X-Mine": "1"})

    (request,) = asked
    assert (request.line, request.body) == ("POST /hook", b"{}")
    assert (request.headers["x-mine"], request.headers["user-agent"]) == ("1", "mlkit/test")


def test_of_a_long_answer_the_beginning_is_read() -> None:
    with serving(lambda _: Answer(200, b"x" * 1_000_000)) as host:
        assert get(f"http://{host}/").body == b"x" * 65536


def test_a_redirect_to_the_same_place_is_followed() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(200, b"here") if request.path == "/there" else Answer(307, headers={"Location": "/there"})

    with serving(answer) as host:
        assert get(f"http://{host}/") == Visited(200, b"here")

    assert asked == ["/", "/there"]


def test_a_redirect_is_followed_for_get_only_and_with_a_location_only() -> None:
    with serving(lambda request: Answer(302, headers={"Location": "/x"} if request.path == "/to" else {})) as host:
        assert get(f"http://{host}/to", method="POST").status == 302
        assert get(f"http://{host}/nowhere").status == 302


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/", "https://{host}/", "//other.example/", "http://user@other.example/", "http://["]
)
def test_a_redirect_to_another_place_is_refused(location: str) -> None:
    with (
        serving(
            lambda request: Answer(302, headers={"Location": location.format(host=request.headers["host"])})
        ) as host,
        pytest.raises(UnsafeError, match="redirects to another place"),
    ):
        get(f"http://{host}/")


@pytest.mark.parametrize("location", ["http://x:y/", "http://xn--a/", "//xn--a/x", "/" + "x" * 70_000])
def test_a_redirect_that_leads_nowhere_is_an_error(location: str) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location.encode()
    with raw_server([head]) as server, pytest.raises(NetworkError):
        get(f"http://{server.host}/")


def test_redirects_have_an_end() -> None:
    with (
        serving(lambda request: Answer(302, headers={"Location": request.path + "x"})) as host,
        pytest.raises(NetworkError, match="more than 5 redirects"),
    ):
        get(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/", "host/path", "", "http://", "http:///path", "http://[::1", "http://h\n/", "http://ho st/"),
        *("http://xn--a/", "http://a..b/", f"http://{'a' * 64}.example/", "http://h:65536/", "http://h:0/"),
    ],
)
def test_what_is_no_url_of_a_host_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url)
    with pytest.raises(UsageError):
        get(url)


def test_a_url_with_a_password_is_refused_without_telling_it() -> None:
    with pytest.raises(UsageError, match="list of processes") as refused:
        check_url("https://ada:secret@host.example/?token=secret")

    assert "secret" not in refused.value.message


def test_nobody_there_and_an_answer_that_breaks_off_are_errors_of_the_network() -> None:
    with pytest.raises(NetworkError, match="Connection refused"):
        get("http://127.0.0.1:1/")
    for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"no HTTP\r\n\r\n", b""):
        with raw_server([head, b""]) as server, pytest.raises(NetworkError, match=server.host):
            get(f"http://{server.host}/")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([5.0], id="silence"),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\n", *[b"x", 0.1] * 50], id="one byte at a time"),
    ],
)
def test_the_time_is_for_all_of_it(script: list[bytes | float]) -> None:
    with raw_server(script) as server, pytest.raises(NetworkError, match=r"no answer within 0\.5 s"):
        get(f"http://{server.host}/", timeout=0.5)


def test_redirects_take_none_of_the_time_of_those_after_them_for_themselves() -> None:
    slow = [0.3, b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"]

    with raw_server(slow) as server, pytest.raises(NetworkError, match=r"no answer within 0\.5 s"):
        get(f"http://{server.host}/", timeout=0.5)

    assert len(server.requests) <= 2


def test_certificates_are_those_of_the_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("loopback", hosts=("127.0.0.1",)))
    trusting = Connection("outside", ca_files=(authority.path,))

    with serving(lambda _: Answer(200, b"encrypted"), tls=context) as host:
        with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
            get(f"https://{host}/")
        assert get(f"https://{host}/", connection=trusting).body == b"encrypted"


def test_a_proxy_is_used_with_its_password_and_passed_by_where_it_is_not_meant() -> None:
    authorization = "Basic " + base64.b64encode(b"user:p@ss").decode()
    with serving(lambda _: Answer(200, b"behind")) as host, http_proxy({"service.example": host}) as proxy:
        proxy.authorization = authorization
        address = f"http://user:p%40ss@{proxy.address}"
        through = Connection("outside", http_proxy=address, proxy="http://127.0.0.1:1")
        around = Connection("outside", http_proxy="http://127.0.0.1:1", no_proxy="127.0.0.1")
        wrong = Connection("outside", http_proxy=f"http://user:wrong@{proxy.address}")

        assert get("http://service.example/", connection=through).body == b"behind"
        assert get(f"http://{host}/", connection=around).body == b"behind"
        assert get("http://service.example/", connection=wrong).status == 407
        with serving(lambda _: Answer(200)) as plain:
            assert get(f"http://{plain}/", connection=Connection("x", proxy="http://127.0.0.1:1")).is_good

    assert proxy.heads[0].startswith("GET http://service.example/ HTTP/1.1")
