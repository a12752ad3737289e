"""Requests that others have made, over our wire."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from tests.registry.conftest import ADA, Connect
from tests.support.raw_server import raw_server
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer

from mlkit.errors import AuthError, DigestMismatch, IntegrityError, LimitError, NetworkError, UsageError
from mlkit.registry.auth import Scope
from mlkit.registry.forward import scope_of
from mlkit.registry.wire import Body

DIGEST = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
UPLOADS = "/v2/team/digits/blobs/uploads/"


@pytest.mark.parametrize(
    ("method", "target", "scope"),
    [
        ("GET", "/v2/team/digits/manifests/v1", Scope("team/digits", "pull")),
        ("HEAD", f"/v2/digits/blobs/{DIGEST}", Scope("digits", "pull")),
        ("GET", "/v2/team/digits/tags/list?n=10", Scope("team/digits", "pull")),
        ("GET", f"/v2/a/b/c/referrers/{DIGEST}", Scope("a/b/c", "pull")),
        ("POST", UPLOADS, Scope("team/digits", "pull,push")),
        ("PATCH", f"{UPLOADS}x?_state=y", Scope("team/digits", "pull,push")),
        ("DELETE", "/v2/team/digits/manifests/v1", Scope("team/digits", "delete,pull,push")),
        ("POST", f"{UPLOADS}?mount={DIGEST}&from=team%2Fmore", Scope("team/digits", "pull,push", "team/more")),
        ("POST", f"{UPLOADS}?mount={DIGEST}&from=*:*", Scope("team/digits", "pull,push")),
        ("GET", f"{UPLOADS}?from=team/more", Scope("team/digits", "pull")),
        ("GET", "/v2/team/blobs/manifests/v1", Scope("team/blobs", "pull")),
        ("GET", "/v2/", Scope()),
        ("GET", "/v2/_catalog", Scope()),
        ("GET", "/v2/TEAM/manifests/v1", Scope()),
        ("GET", "/elsewhere?x=/v2/team/digits/manifests/v1", Scope()),
    ],
)
def test_a_request_asks_for_what_it_needs_and_no_more(method: str, target: str, scope: Scope) -> None:
    assert scope_of(method, target) == scope


@pytest.mark.parametrize("target", ["", "v2/", "http://other.example/v2/", "/v2/ HTTP/1.1", "/v2/\r\nX: y", "/v2/é"])
def test_what_is_no_path_is_not_sent(server: SimulatedRegistry, connect: Connect, target: str) -> None:
    with pytest.raises(UsageError):
        connect(server.host).forward("GET", target)

    assert server.requests == []


def test_headers_that_are_ours_to_say_are_left_out(server: SimulatedRegistry, connect: Connect) -> None:
    headers = {"Cookie": "c", "authorization": "Basic x", "Accept-Encoding": "gzip", "X-Mine": "1", "HOST": "evil"}

    with connect(server.host).forward("GET", "/v2/", headers=headers).body:
        pass

    sent = server.requests[0].headers
    assert sent["x-mine"] == "1"
    assert sent["host"] == server.host
    assert sent["accept-encoding"] == "identity"
    assert not {"cookie", "authorization"} & set(sent)


def test_what_changes_an_upload_is_sent_once_and_the_rest_again(server: SimulatedRegistry, connect: Connect) -> None:
    server.fail_times(503, 100)
    registry = connect(server.host)

    for method, target in (("PATCH", f"{UPLOADS}u"), ("PUT", f"{UPLOADS}u?digest={DIGEST}"), ("DELETE", f"{UPLOADS}u")):
        with registry.forward(method, target, body=Body.of(b"part")).body as body:
            assert body.read() == b""
        assert len(server.lines(f"{method} .*")) == 1
    for method, target in (("POST", UPLOADS), ("PUT", "/v2/team/digits/manifests/v1"), ("GET", "/v2/")):
        with pytest.raises(NetworkError):
            registry.forward(method, target)
        assert len(server.lines(f"{method} {target}")) == 5


def test_a_locked_door_is_an_error_and_a_key_opens_it(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "basic"

    with pytest.raises(AuthError):
        connect(server.host).forward("POST", UPLOADS)
    with connect(server.host, ADA).forward("POST", UPLOADS).body:
        pass

    assert server.requests[-1].status == 202


def test_any_other_answer_is_given_as_it_is_with_the_error_that_it_would_be(
    server: SimulatedRegistry, connect: Connect
) -> None:
    answer = connect(server.host).forward("GET", "/v2/team/digits/manifests/v1")
    with answer.body:
        raw = answer.body.read()

    assert answer.status == 404
    assert b"MANIFEST_UNKNOWN" in raw
    assert answer.refusal(raw).exit_code == 3
    assert "MANIFEST_UNKNOWN" in answer.refusal(raw).message


def test_a_blob_is_verified_and_goes_on_where_it_broke(server: SimulatedRegistry, connect: Connect) -> None:
    blobs = server.repository("team/digits").blobs
    blobs[DIGEST] = b"content"
    server.truncate_after = [3]
    registry = connect(server.host)

    with registry.forward("GET", f"/v2/team/digits/blobs/{DIGEST}").body as body:
        whole = body.read()
    blobs[DIGEST] = b"CONTENT"
    with registry.forward("GET", f"/v2/team/digits/blobs/{DIGEST}").body as body, pytest.raises(DigestMismatch):
        body.read()

    assert whole == b"content"


def test_a_manifest_under_another_digest_is_refused(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, b"{}"))

    for name in (DIGEST, DIGEST.replace(":", "%3A")):
        with pytest.raises(DigestMismatch):
            connect(server.host).forward("GET", f"/v2/team/digits/manifests/{name}")


def test_a_blob_is_verified_however_its_digest_is_written(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("(GET|HEAD) .*/blobs/.*", lambda _: Answer(200, b"CONTENT"))
    registry = connect(server.host)

    with (
        registry.forward("GET", f"/v2/team/digits/blobs/{DIGEST.replace(':', '%3a')}").body as body,
        pytest.raises(DigestMismatch),
    ):
        body.read()
    for name in ("latest", "sha256-abc", DIGEST.upper()):
        with pytest.raises(IntegrityError):
            registry.forward("GET", f"/v2/team/digits/blobs/{name}")


def test_a_manifest_that_ends_early_is_no_manifest(connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    with raw_server([head + b'{"a": 1}', b""]) as broken, pytest.raises(NetworkError):
        connect(broken.host).forward("GET", "/v2/team/digits/manifests/v1")


def test_an_encoded_answer_is_refused(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("GET /v2/", lambda _: Answer(200, b"xx", {"Content-Encoding": "gzip"}))

    with pytest.raises(IntegrityError):
        connect(server.host).forward("GET", "/v2/")


def test_a_page_without_end_is_refused(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("GET .*/tags/list", lambda _: Answer(200, b" " * (5 << 20)))

    with pytest.raises(LimitError):
        list(connect(server.host).forward_pages("/v2/team/digits/tags/list"))


def test_what_is_no_blob_has_a_limit_and_errors_are_cut(server: SimulatedRegistry, connect: Connect) -> None:
    server.answer("GET /v2/", lambda _: Answer(200, b" " * (5 << 20)))
    server.answer("GET /v2/_catalog", lambda _: Answer(403, b"x" * (5 << 20)))
    registry = connect(server.host)

    with registry.forward("GET", "/v2/").body as endless, pytest.raises(LimitError):
        endless.read()
    with registry.forward("GET", "/v2/_catalog").body as body:
        assert len(body.read()) == 64 * 1024


def test_a_list_comes_page_by_page_each_with_its_headers(server: SimulatedRegistry, connect: Connect) -> None:
    server.repository("team/digits").tags.update({f"v{number}": DIGEST for number in range(5)})
    server.page_size = 2

    pages = list(connect(server.host).forward_pages("/v2/team/digits/tags/list"))

    assert [json.loads(page.body.read())["tags"] for page in pages] == [["v0", "v1"], ["v2", "v3"], ["v4"]]
    assert {page.status for page in pages} == {200}
    assert "link" in {name.lower() for name, _ in pages[0].headers}
    assert pages[0].refusal(b"{}").exit_code


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
def test_a_blob_of_a_registry_that_answers_no_head_is_verified_too(
    is_told: bool, server: SimulatedRegistry, connect: Connect
) -> None:
    server.answer("HEAD .*/blobs/.*", lambda _: Answer(405))
    blobs = server.repository("team/digits").blobs
    blobs[DIGEST] = b"content" if is_told else b"CONTENT"

    with connect(server.host).forward("GET", f"/v2/team/digits/blobs/{DIGEST}").body as body:
        if is_told:
            assert io.BufferedReader(body).read() == b"content"
        else:
            with pytest.raises(DigestMismatch):
                body.read()


def test_a_blob_that_is_not_there_is_given_as_the_registry_says_it(server: SimulatedRegistry, connect: Connect) -> None:
    answer = connect(server.host).forward("GET", f"/v2/team/digits/blobs/{DIGEST}")

    with answer.body as body:
        assert b"BLOB_UNKNOWN" in body.read()
    assert answer.status == 404


def test_a_blob_without_a_length_cannot_be_verified_and_is_refused(connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with raw_server([head, b""], [head + b"content", b""]) as server, pytest.raises(NetworkError, match="how large"):
        connect(server.host).forward("GET", f"/v2/team/digits/blobs/{DIGEST}")


def test_what_a_registry_says_of_a_manifest_is_true_or_it_is_refused(
    server: SimulatedRegistry, connect: Connect
) -> None:
    raw = b'{"schemaVersion": 2}'
    told = {"true": f"sha256:{hashlib.sha256(raw).hexdigest()}", "false": DIGEST}
    for tag, digest in told.items():
        headers = {"Docker-Content-Digest": digest}
        server.answer(f"GET .*/manifests/{tag}", lambda _, headers=headers: Answer(200, raw, headers))
    registry = connect(server.host)

    with registry.forward("GET", "/v2/team/digits/manifests/true").body as body:
        assert body.read() == raw
    with pytest.raises(IntegrityError, match=f"says {DIGEST}"):
        registry.forward("GET", "/v2/team/digits/manifests/false")


def test_an_error_whose_words_break_off_is_one_of_the_network(connect: Connect) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n{"
    with raw_server([head, b""]) as broken, pytest.raises(NetworkError, match=broken.host):
        connect(broken.host).forward("GET", "/v2/")


def test_a_body_that_was_read_to_its_end_or_closed_twice_leaves_the_registry_usable(
    server: SimulatedRegistry, connect: Connect
) -> None:
    registry = connect(server.host)
    body = registry.forward("GET", "/v2/").body
    assert body.read() == b"{}"
    assert body.read() == b""
    body.close()
    body.close()

    with registry.forward("GET", "/v2/").body as again:
        assert again.read() == b"{}"
