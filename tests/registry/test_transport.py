"""Connections: made, shared, encrypted, proxied, given up."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.contract import blob, push_blob, read
from tests.registry.conftest import Connect
from tests.support.certificates import Authority
from tests.support.http_proxy import http_proxy
from tests.support.raw_server import raw_server
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.content.storage import BytesContent
from mlkit.errors import AuthError, MlkitError, NetworkError, UsageError
from mlkit.registry.connection import Connection
from mlkit.registry.origin import Origin
from mlkit.registry.proxy import Proxy, is_direct
from mlkit.registry.store import RegistryStore


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[SimulatedRegistry]:
    with simulated_registry(tls=_tls(authority.issue("loopback", hosts=("127.0.0.1", "registry.example")))) as server:
        yield server


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_several_threads_share_a_registry(store: RegistryStore, server: SimulatedRegistry) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=push_blob, args=(store, content)) for content in contents]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [read(store, blob(content)) for content in contents] == contents


def test_an_idle_connection_that_the_server_closed_is_replaced(connect: Connect) -> None:
    with raw_server([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b""]) as fickle:
        registry = connect(fickle.host)
        for _ in range(3):
            registry.check()

    assert len(fickle.requests) == 3


def test_a_connection_that_dies_under_a_request_is_replaced_without_a_wait(
    connect: Connect, waits: list[float]
) -> None:
    fine = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]
    with raw_server(fine, [b""], fine) as fickle:
        registry = connect(fickle.host)
        registry.check()
        registry.check()

    assert fickle.connections == 2
    assert waits == []


def test_a_refusal_in_the_middle_of_a_body_is_heard(server: SimulatedRegistry, connect: Connect) -> None:
    refusal = b'{"errors":[{"code":"DENIED","message":"quota is used up"}]}'
    early = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(refusal) + refusal
    started = b"HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/u\r\nContent-Length: 0\r\n\r\n"
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    content = bytes(30_000_000)

    with raw_server([gone], [started], [early, 0.5, b""], [gone]) as server_:
        store = connect(server_.host).repository("a")

        with pytest.raises((AuthError, NetworkError), match=r"quota is used up|reset|broken"):
            store.push(blob(content), BytesContent(content))


def test_closing_a_registry_ends_a_read_in_another_thread(connect: Connect) -> None:
    found: list[MlkitError] = []
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxx"

    with raw_server([head, 20.0]) as slow:
        registry = connect(slow.host)
        stream = registry.repository("a").open(blob(bytes(1000)))

        def drain() -> None:
            with pytest.raises(MlkitError) as caught, stream as opened:
                opened.read()
            found.append(caught.value)

        thread = threading.Thread(target=drain)
        thread.start()
        registry.close()
        thread.join(5)

    assert [type(error) for error in found] == [NetworkError]


def test_a_registry_over_tls_is_trusted_by_its_authority(
    secure: SimulatedRegistry, connect: Connect, authority: Authority
) -> None:
    store = connect(secure.host, plain_http=False, ca_files=(authority.path,)).repository("a")
    content = bytes(range(256)) * 1000

    assert read(store, push_blob(store, content)) == content


def test_tls_is_not_checked_where_the_user_says_so(secure: SimulatedRegistry, connect: Connect) -> None:
    connect(secure.host, plain_http=False, insecure=True).check()


def test_f18_a_certificate_that_is_not_trusted_ends_it_at_once(
    secure: SimulatedRegistry, connect: Connect, waits: list[float], authority: Authority
) -> None:
    with pytest.raises(NetworkError, match="not trusted") as untrusted:
        connect(secure.host, plain_http=False).check()

    assert "--ca-file" in (untrusted.value.hint or "")
    for certificate in (
        authority.issue("expired", hosts=("127.0.0.1",), is_expired=True),
        authority.issue("elsewhere", hosts=("elsewhere.example",)),
    ):
        with (
            simulated_registry(tls=_tls(certificate)) as server,
            pytest.raises(NetworkError, match="not trusted"),
        ):
            connect(server.host, plain_http=False, ca_files=(authority.path,)).check()
    assert waits == []
    assert secure.requests == []


def test_a_client_shows_its_certificate(connect: Connect, authority: Authority) -> None:
    context = _tls(authority.issue("strict", hosts=("127.0.0.1",)))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.path)
    client = authority.issue("client")

    with simulated_registry(tls=context) as server:
        connect(server.host, plain_http=False, ca_files=(authority.path,), cert=client).check()
        with pytest.raises(NetworkError):
            connect(server.host, plain_http=False, ca_files=(authority.path,)).check()


def test_files_that_are_no_certificates_are_named(
    secure: SimulatedRegistry, connect: Connect, tmp_path: Path, authority: Authority
) -> None:
    absent, garbage = tmp_path / "absent.pem", tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    locked = authority.issue("locked", password=b"secret")

    for more in (
        {"ca_files": (absent,)},
        {"ca_files": (garbage,)},
        {"cert": absent},
        {"cert": garbage},
        {"cert": locked},
        {"key": locked},
    ):
        with pytest.raises(UsageError, match=r"\.pem: "):
            connect(secure.host, plain_http=False, **more).check()


def test_loopback_is_spoken_to_over_tls_unless_told_otherwise(server: SimulatedRegistry, connect: Connect) -> None:
    assert Connection("localhost:5000").base_url.scheme == "https"
    with pytest.raises(NetworkError, match="does not speak TLS") as refused:
        connect(server.host, plain_http=False).check()

    assert "--plain-http" in (refused.value.hint or "")
    assert server.requests == []


def test_a_port_that_nobody_listens_on_is_refused_after_all_tries(connect: Connect, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(NetworkError, match=f"{host}: refuses connections"):
        connect(host).check()

    assert waits == [0.125, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid"])
def test_a_host_without_an_address_is_tried_twice(host: str, connect: Connect, waits: list[float]) -> None:
    with pytest.raises(NetworkError):
        connect(host).check()

    assert len(waits) <= 4


def test_g13_a_proxy_is_used_with_its_password_and_without_telling_it(
    secure: SimulatedRegistry, connect: Connect, authority: Authority
) -> None:
    lines: list[str] = []
    with http_proxy({"registry.example:443": secure.host}) as proxy:
        proxy.authorization = "Basic " + base64.b64encode(b"user:p@ss").decode()
        for user in ("user:p%40ss", "user:wrong"):
            store = connect(
                "registry.example",
                plain_http=False,
                ca_files=(authority.path,),
                proxy=f"http://{user}@{proxy.address}",
                log=lines.append,
            ).repository("a")
            if "wrong" not in user:
                assert read(store, push_blob(store, b"through a proxy")) == b"through a proxy"
            else:
                with pytest.raises(NetworkError, match="407") as refused:
                    push_blob(store, b"not through a proxy")
                lines.append(str(refused.value))

    assert proxy.heads[0].startswith("CONNECT registry.example:443 HTTP/1.1")
    assert not any(secret in line for line in lines for secret in ("p@ss", "p%40ss", "wrong"))


def test_what_is_known_of_a_connection_is_shown_without_passwords() -> None:
    proxy = "http://user:s3cret@proxy.example:3128"

    shown = repr(Connection("registry.example", proxy=proxy, http_proxy=proxy)) + repr(Proxy.parse(proxy))

    assert "registry.example" in shown
    assert "s3cret" not in shown


def test_plain_http_goes_through_a_proxy_as_it_is(server: SimulatedRegistry, connect: Connect) -> None:
    with http_proxy({"registry.example": server.host}) as proxy:
        connect("registry.example", proxy="http://127.0.0.1:1", http_proxy=f"http://{proxy.address}").check()

    assert proxy.heads[0].startswith("GET http://registry.example/v2/ HTTP/1.1")


def test_a_proxy_that_answers_for_the_registry_changes_nothing(connect: Connect) -> None:
    page = b"<html>Please log in</html>"
    with raw_server([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page]) as portal:
        store = connect("registry.example", http_proxy=f"http://{portal.host}").repository("a")

        with pytest.raises(MlkitError), store.open(blob(bytes(len(page)))) as stream:
            stream.read()


@pytest.mark.parametrize(
    "proxy",
    [
        *("https://proxy.example", "socks5://u:secret@proxy.example", "http://", "http://["),
        "http://u:secret@xn--a:3128",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(UsageError) as refused:
        Proxy.parse(proxy)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "direct"),
    [
        ("registry.example", 443, None, False),
        ("registry.example", 443, "", False),
        ("registry.example", 443, "*", True),
        ("registry.example", 443, "other.example, registry.example", True),
        ("registry.example", 443, "example", True),
        ("registry.example", 443, ".example", True),
        ("registry.example", 443, "*.example", True),
        ("notregistry.example", 443, "registry.example", False),
        ("registry.example", 443, "registry.example:443", True),
        ("registry.example", 443, "registry.example:5000", False),
        ("10.1.2.3", 443, "10.0.0.0/8", True),
        ("11.1.2.3", 443, "10.0.0.0/8", False),
        ("10.1.2.3", 443, "10.1.2.3:443", True),
        ("10.1.2.3", 443, "0.1.2.3", False),
        ("fd00::1", 443, "fd00::/8", True),
        ("localhost", 5000, None, True),
        ("127.0.0.1", 5000, None, True),
        ("::1", 5000, None, True),
    ],
)
def test_some_hosts_are_reached_around_the_proxy(host: str, port: int, no_proxy: str | None, direct: bool) -> None:
    assert is_direct(Origin("https", host, port), no_proxy) is direct


def test_an_international_name_of_a_proxy_is_kept_as_it_is_dialled() -> None:
    assert Proxy.parse("http://b\u00fccher.example:3128").host == "xn--bcher-kva.example"


@pytest.mark.parametrize("host", ["xn--a.example", "xn--7-kha0:5000"])
def test_a_registry_at_what_is_no_host_name_is_a_mistake_of_the_caller(host: str, connect: Connect) -> None:
    with pytest.raises(UsageError, match="not a host name"):
        connect(host)


def test_a_proxy_is_shown_its_password_also_for_what_is_not_encrypted(
    server: SimulatedRegistry, connect: Connect
) -> None:
    with http_proxy({"registry.example": server.host}) as proxy:
        proxy.authorization = "Basic " + base64.b64encode(b"user:p@ss").decode()
        connect("registry.example", http_proxy=f"http://user:p%40ss@{proxy.address}").check()

    assert all("authorization" not in request.headers for request in server.requests)


def test_a_tunnel_needs_no_password_where_the_proxy_has_none(
    secure: SimulatedRegistry, connect: Connect, authority: Authority
) -> None:
    with http_proxy({"registry.example:443": secure.host}) as proxy:
        connect(
            "registry.example", plain_http=False, ca_files=(authority.path,), proxy=f"http://{proxy.address}"
        ).check()

    assert "Proxy-Authorization" not in proxy.heads[0]
