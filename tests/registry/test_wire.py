"""What every request goes through: redirects, retries, limits, and what people get to see."""

from __future__ import annotations

import json

import httpx
import pytest
from tests.content.contract import blob, push_blob, push_manifest, read
from tests.registry.conftest import ADA, Connect
from tests.support.raw_server import raw_server
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer

from mlkit.content.storage import BytesContent
from mlkit.errors import AuthError, IntegrityError, LimitError, MlkitError, NetworkError, NotFoundError
from mlkit.progress import NoProgress
from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.origin import Origin, next_hop, parse_address
from mlkit.registry.redaction import shown_url
from mlkit.registry.store import RegistryStore
from mlkit.registry.wire import Body

PUBLIC = Origin("https", "registry.example", 443)


def test_f01_a_blob_may_come_from_another_host_which_sees_no_credentials(
    server: SimulatedRegistry, connect: Connect
) -> None:
    server.auth = "bearer"
    store = connect(server.host, ADA).repository("a")
    desc = push_blob(store, b"from a CDN")

    with simulated_registry() as cdn:
        cdn.repository("a").blobs[str(desc.digest)] = b"from a CDN"
        server.redirect_blobs_to = f"http://{cdn.host}"
        assert read(store, desc) == b"from a CDN"

    assert [request.query for request in cdn.requests] == [{"X-Amz-Signature": "s3cr3t"}]
    assert not {"authorization", "cookie"} & set(cdn.requests[0].headers)
    assert "authorization" in server.requests[-1].headers


@pytest.mark.parametrize(
    "location",
    [
        "http://cdn.example/x",
        "file:///etc/passwd",
        "ftp://cdn.example/x",
        "javascript:alert(1)",
        "https://user:secret@cdn.example/x",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1:8443/x",
        "https://localhost/x",
        "https://app.localhost./x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        # No international names, whatever they look like.
        "//xn--7-kha0/x",
        "https://xn--a.example/x",
    ],
)
def test_f02_a_registry_leads_neither_out_of_tls_nor_into_a_private_network(location: str) -> None:
    with pytest.raises(NetworkError) as refused:
        next_hop(httpx.URL("https://registry.example/v2/"), location, registry=PUBLIC, what="kit")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/v2/x?a=b", "https://registry.example/v2/x?a=b"),
        ("x", "https://registry.example/v2/x"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("https://cdn.example/x?_state=a%2Bb%3D#part", "https://cdn.example/x?_state=a%2Bb%3D"),
        ("?a", "https://registry.example/v2/?a"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        ("//xn--9caa.example/x", "https://xn--9caa.example/x"),
    ],
)
def test_a_location_is_read_as_rfc_3986_says(location: str, leads_to: str) -> None:
    found = next_hop(httpx.URL("https://registry.example/v2/"), location, registry=PUBLIC, what="kit")

    assert str(found) == leads_to
    assert shown_url(found).startswith("https://")


def test_a_registry_in_a_private_network_may_lead_to_a_neighbour() -> None:
    registry = Origin("http", "10.0.0.1", 5000)

    found = next_hop(httpx.URL("http://10.0.0.1:5000/v2/"), "http://10.0.0.2/x", registry=registry, what="kit")

    assert str(found) == "http://10.0.0.2/x"


@pytest.mark.parametrize("host", ["registry.example", "10.example", "cafe", "1.2.3.4.5x", "999999999999"])
def test_a_name_is_no_address(host: str) -> None:
    assert parse_address(host) is None


def test_five_redirects_of_a_blob_are_followed(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, b"round and round")
    before = len(server.lines("GET .*/blobs/.*"))
    for _ in range(5):
        server.answer("GET .*/blobs/.*", lambda request: Answer(307, headers={"Location": request.path}), times=1)

    assert read(store, desc) == b"round and round"
    assert len(server.lines("GET .*/blobs/.*")) - before == 6


def test_a_sixth_redirect_and_a_loop_are_refused(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, b"round and round")
    server.answer("GET .*/blobs/.*", lambda request: Answer(307, headers={"Location": request.path}))

    with pytest.raises(NetworkError, match="more than 5 times"):
        read(store, desc)

    assert len(server.lines("GET .*/blobs/.*")) == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_f03_a_push_is_not_redirected_to_another_host(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    with simulated_registry() as other:
        there = {"Location": f"http://{other.host}/v2/team/digits/blobs/uploads/"}
        server.answer("POST .*", lambda _: Answer(status, headers=there))

        with pytest.raises(NetworkError, match="redirects a POST"):
            push_blob(store, b"stay here")

    assert other.requests == []


@pytest.mark.parametrize("status", [307, 308])
def test_a_push_is_redirected_on_the_same_host(status: int, server: SimulatedRegistry, store: RegistryStore) -> None:
    moved = Answer(status, headers={"Location": "/v2/team/elsewhere/blobs/uploads/"})
    server.answer("POST /v2/team/digits/.*", lambda _: moved)
    server.answer("HEAD .*", lambda request: Answer(200 if server.lines("PUT .*") else 404))

    push_blob(store, b"over there")

    assert list(server.repository("team/elsewhere").blobs.values()) == [b"over there"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(
    status: int, server: SimulatedRegistry, store: RegistryStore, waits: list[float]
) -> None:
    for verb in ("HEAD", "POST", "PUT", "GET"):
        server.fail_times(status, 1, on=f"{verb} .*")

    manifest = push_manifest(store, b"layer")

    assert store.resolve(str(manifest.descriptor.digest)) == manifest.descriptor
    assert len(waits) == 4


@pytest.mark.parametrize("status", [400, 404, 410, 418, 501])
def test_what_stays_as_it_is_is_not_tried_again(
    status: int, server: SimulatedRegistry, store: RegistryStore, waits: list[float]
) -> None:
    server.fail_times(status, 100)

    with pytest.raises(MlkitError):
        store.resolve(str(blob(b"x").digest))

    assert len(server.requests) == 1
    assert waits == []


def test_five_tries_are_enough(server: SimulatedRegistry, store: RegistryStore, waits: list[float]) -> None:
    server.fail_times(503, 100, body=b'{"errors":[{"code":"UNAVAILABLE","message":"back at noon"}]}')

    with pytest.raises(NetworkError, match="answered 503: UNAVAILABLE: back at noon"):
        store.resolve("v1")

    assert len(server.requests) == 5
    assert waits == [0.125, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html><h1>502</h1></html>", ""),
        (b'{"errors":"x"}', ""),
        (b'{"errors":[null,1,{"code":7}]}', ""),
        (b'{"errors":[{"code":"A","message":"\\u001b[31mred\\u202e"}]}', r": A: \x1b[31mred\u202e"),
        (b'{"errors":[{"code":"A"},{"code":"B"},{"code":"C"},{"code":"D"}]}', ": A; B; C"),
        (b'{"errors":[{"message":"no \\n more"}]}', ": no   more"),
        (b"[" * 100_000, ""),
        (b'{"errors":[{"message":"' + b"x" * 5000 + b'"}]}', ": " + "x" * 1021 + "..."),
        (b'{"errors":[{"message":"' + b"x" * 200_000 + b'"}]}', ""),
    ],
    ids=["html", "text", "mixed", "escapes", "four", "newline", "deep", "long", "huge"],
)
def test_f15_a_registrys_words_are_shown_in_part_and_without_control_characters(
    body: bytes, shown: str, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.fail_times(400, 1, body=body)

    with pytest.raises(NetworkError) as refused:
        store.resolve("v1")

    assert str(refused.value) == f"{store.name}:v1: {server.host} answered 400{shown}"


def test_an_echo_of_our_secrets_is_not_shown(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "basic"
    lines: list[str] = []
    echo = lambda request: Answer(  # noqa: E731  # a function of one line
        403,
        json.dumps({"errors": [{"message": f"{request.headers.get('authorization')} lovelace"}]}).encode(),
    )
    server.answer("PUT .*", echo)
    store = connect(server.host, ADA, log=lines.append).repository("a")

    with pytest.raises(AuthError) as refused:
        push_blob(store, b"x")

    assert "Basic *** ***" in str(refused.value)
    assert refused.value.hint is not None
    assert f"mlkit login {server.host}" in refused.value.hint


def test_f19_cookies_are_dropped_and_warnings_are_shown_five_times_at_most() -> None:
    told: list[str] = []

    class Listener(NoProgress):
        def warn(self, message: str) -> None:
            told.append(message)

    with simulated_registry() as server:
        count = iter(range(100))
        server.answer(
            ".*",
            lambda _: Answer(
                200,
                b"{}",
                {
                    "Set-Cookie": "session=1",
                    "Strict-Transport-Security": "max-age=1",
                    "Alt-Svc": 'h3=":443"',
                    "Warning": f'299 - "\x1b[31mquota {next(count)}"',
                },
            ),
        )
        with Registry(Connection(server.host, plain_http=True), lambda _: None, progress=Listener()) as registry:
            for _ in range(10):
                registry.check()

    assert told == [f"{server.host}: \\x1b[31mquota {number}" for number in range(5)]
    assert all("cookie" not in request.headers for request in server.requests)


def test_g14_nothing_secret_is_logged(server: SimulatedRegistry, connect: Connect) -> None:
    lines: list[str] = []
    server.auth = "bearer"
    store = connect(server.host, ADA, log=lines.append).repository("a")
    manifest = push_manifest(store, b"layer")
    with simulated_registry() as cdn:
        cdn.repository("a").blobs = server.repository("a").blobs
        server.redirect_blobs_to = f"http://{cdn.host}"
        read(store, manifest.layers[0])
    server.fail_times(401, 10)
    with pytest.raises(AuthError):
        store.exists(manifest.layers[0])

    text = "\n".join(lines)
    assert "X-Amz-Signature=***" in text
    assert "_state=***" in text
    assert f"GET http://{server.host}/token?service=simulated&scope=repository:a:pull 200" in text
    shown = ["lovelace", "s3cr3t", "Basic ", "Bearer ", *server.tokens]
    assert [secret for secret in shown if secret in text] == []


def test_an_encoded_body_is_refused(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, b"x" * 100)
    encoded = Answer(200, b"\x1f\x8b" + bytes(98), {"Content-Encoding": "gzip"})
    server.answer("GET .*", lambda _: encoded)

    with pytest.raises(IntegrityError, match="gzip"):
        read(store, desc)
    with pytest.raises(IntegrityError, match="gzip"):
        store.resolve("v1")
    assert server.requests[-1].headers["accept-encoding"] == "identity"


def test_a_document_without_end_is_not_read_to_its_end(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.answer("GET .*", lambda _: Answer(200, bytes((4 << 20) + 1)))

    with pytest.raises(LimitError):
        store.resolve("v1")


def test_what_is_no_registry_is_told_from_one(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("GET /v2/", lambda _: Answer(404))

    with pytest.raises(NetworkError, match="no registry there"):
        connect(server.host).check()


def test_a_registry_that_denies_says_who_may_help(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.deny = {"PUT"}

    with pytest.raises(AuthError, match="denies access: DENIED") as refused:
        push_blob(store, b"x")

    assert f"mlkit login {server.host}" in (refused.value.hint or "")


def test_a_body_starts_over_each_time_it_is_sent(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    store = connect(server.host, ADA).repository("a")
    content = bytes(range(256)) * 10_000
    desc = blob(content)
    refused = iter([True])
    server.answer("PUT .*", lambda _: Answer(401, headers=_challenge(server)) if next(refused, False) else None)

    store.push(desc, BytesContent(content))

    assert [len(request.body) for request in server.requests if request.method == "PUT"] == [len(content)] * 2
    assert b"".join(Body.of(content)) == b"".join(Body.of(content)) == content


def _challenge(server: SimulatedRegistry) -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token",service="simulated"'}


def test_a_tag_that_is_not_there_is_told_with_those_that_are(store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    for tag in ("latest", "v1"):
        store.tag(manifest.descriptor, tag)

    with pytest.raises(NotFoundError, match=r'no tag "v2" \(tags: latest, v1\)'):
        store.resolve("v2")


def test_a_document_that_breaks_off_is_asked_for_again_and_not_for_ever(connect: Connect, waits: list[float]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    with raw_server([head + b"{", b""], [head + b"{}"]) as server:
        connect(server.host).check()
        assert len(server.requests) == 2
    with raw_server([head + b"{", b""]) as server:
        with pytest.raises(NetworkError, match=server.host):
            connect(server.host).check()
        assert len(server.requests) == 5


def test_a_challenge_whose_words_break_off_is_met_all_the_same(connect: Connect) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 100\r\n\r\n{"
    with raw_server([head, b""], [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]) as server:
        connect(server.host, ADA).check()

    assert b"Authorization: Basic" in server.requests[1]
    assert len(server.requests) == 2
