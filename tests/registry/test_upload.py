"""Uploads: whole and in chunks, against registries that lose, refuse and miscount."""

from __future__ import annotations

import os

import pytest
from tests.content.contract import blob, read
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer, Request

from mlkit.content.storage import BytesContent, StoredContent
from mlkit.errors import (
    AuthError,
    DigestMismatch,
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
    SizeMismatch,
)
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor

MIB = 1 << 20
UPLOAD = ".* .*/blobs/uploads/.+"


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything above 1 MiB goes in chunks of 1 MiB."""
    monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", MIB)
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", MIB)


def push(store: RegistryStore, content: bytes) -> Descriptor:
    desc = blob(content)
    store.push(desc, BytesContent(content))
    return desc


def ranges(server: SimulatedRegistry) -> list[str]:
    return [request.headers["content-range"] for request in server.requests if request.method == "PATCH"]


def test_a_small_blob_takes_four_requests_and_the_second_time_one(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    push(store, b"small")
    first = [line.split()[0] for line in server.lines()]
    server.requests.clear()
    push(store, b"small")

    assert first == ["HEAD", "POST", "PUT", "HEAD"]
    assert [line.split()[0] for line in server.lines()] == ["HEAD"]
    assert server.received_bytes() == 0


def test_nothing_is_asked_twice_after_exists(server: SimulatedRegistry, store: RegistryStore) -> None:
    assert not store.exists(blob(b"small"))

    push(store, b"small")

    assert [line.split()[0] for line in server.lines()] == ["HEAD", "POST", "PUT", "HEAD"]


@pytest.mark.usefixtures("chunks")
def test_a_large_blob_goes_up_in_chunks(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(3 * MIB + 1)

    desc = push(store, content)

    assert ranges(server) == ["0-1048575", "1048576-2097151", "2097152-3145727", "3145728-3145728"]
    assert read(store, desc) == content


@pytest.mark.usefixtures("chunks")
def test_a_blob_is_copied_from_another_store(server: SimulatedRegistry, connect: Connect) -> None:
    content = os.urandom(2 * MIB + 5)
    here, there = connect(server.host).repository("a"), connect(server.host).repository("b")
    desc = push(here, content)
    server.fail_times(500, 1, on="PATCH /v2/b/.*")

    there.push(desc, StoredContent(here, desc))

    assert read(there, desc) == content


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.usefixtures("chunks")
def test_f05_a_location_is_followed_whatever_its_form(
    absolute: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.location_is_absolute = absolute

    push(store, os.urandom(2 * MIB))

    states = [request.query.get("_state") for request in server.requests if "/uploads/u" in request.path]
    assert states == ["s+0", "s+1048576", "s+2097152"]
    assert "digest" in server.requests[-2].query


@pytest.mark.parametrize(
    "headers",
    [{}, {"Location": ""}, {"Location": "http://["}, {"Location": "ftp://x/y"}, {"Location": "https://u:p@x/y"},
     {"Location": "/" + "x" * 1_000_000}, {"Location": "http://x\x01y/"}],
    ids=["missing", "empty", "malformed", "ftp", "userinfo", "long", "control"],
)  # fmt: skip
def test_a_location_that_leads_nowhere_is_an_error(
    headers: dict[str, str], server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("POST .*", lambda _: Answer(202, headers=headers))

    with pytest.raises(MlkitError):
        push(store, b"x")

    assert server.received_bytes() == 0


def test_f04_an_upload_to_another_host_carries_no_credentials(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "basic"
    with simulated_registry() as storage:
        storage.answer("PUT .*", lambda _: Answer(201))
        there = {"Location": f"http://{storage.host}/bucket/key?X-Amz-Signature=abc"}
        server.answer("POST .*", lambda request: Answer(202, headers=there) if _is_let_in(request) else None)
        server.answer("HEAD .*", lambda _: Answer(200 if storage.requests else 404))

        push(connect(server.host, ADA).repository("a"), b"elsewhere")

    (request,) = storage.requests
    assert request.body == b"elsewhere"
    assert request.query["X-Amz-Signature"] == "abc"
    assert "authorization" not in request.headers


def _is_let_in(request: Request) -> bool:
    return "authorization" in request.headers


def test_f11_a_registry_that_took_a_blob_and_does_not_have_it_is_found_out(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("PUT .*/uploads/.*", lambda _: Answer(201))

    with pytest.raises(IntegrityError, match="does not have it"):
        push(store, b"into the void")


@pytest.mark.usefixtures("chunks")
def test_fault35_a_failure_in_the_middle_goes_on_where_the_registry_is(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(4 * MIB)

    def swallow_half(request: Request) -> Answer | None:
        (upload,) = server.uploads.values()
        if len(upload) != MIB:
            return None
        upload += request.body[: MIB // 2]
        return Answer(500)

    server.answer("PATCH .*", swallow_half)

    desc = push(store, content)

    assert read(store, desc) == content
    assert ranges(server) == ["0-1048575", "1048576-2097151", "1572864-2621439", "2621440-3670015", "3670016-4194303"]


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("status", [404, 416])
def test_fault36_an_upload_that_got_lost_starts_over(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(3 * MIB)

    def lose(request: Request) -> Answer | None:
        if request.headers["content-range"].startswith("1048576"):
            server.uploads.clear()
            return Answer(status)
        return None

    server.answer("PATCH .*", lose, times=1)

    desc = push(store, content)

    assert read(store, desc) == content
    assert len(server.lines("POST .*")) == 2


@pytest.mark.usefixtures("chunks")
def test_an_upload_that_gets_lost_again_and_again_ends(server: SimulatedRegistry, store: RegistryStore) -> None:
    def lose(request: Request) -> Answer:
        server.uploads.clear()
        return Answer(404)

    server.answer("PATCH .*", lose)

    with pytest.raises(NetworkError):
        push(store, os.urandom(2 * MIB))

    assert len(server.lines("POST .*")) == 4


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("told", ["0-5000000", "0-99999999999999999999", "5-7", "x"])
def test_f14_a_registry_that_miscounts_is_told_so_or_corrected(
    told: str, server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(3 * MIB)

    def miscount(request: Request) -> Answer | None:
        (name,) = server.uploads
        answer = server._append(request, "team/digits", name, server.uploads[name])
        answer.headers["Range"] = told
        return answer

    server.answer("PATCH .*", miscount, times=1)

    if told == "0-5000000":
        with pytest.raises(NetworkError, match="5000001 bytes, of 1048576"):
            push(store, content)
    else:
        assert read(store, push(store, content)) == content


@pytest.mark.usefixtures("chunks")
def test_a_registry_that_takes_less_than_a_chunk_is_given_the_rest(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(2 * MIB)

    def sip(request: Request) -> Answer | None:
        (name,) = server.uploads
        server.uploads[name] += request.body[:400_000]
        return Answer(202, headers=server._progress("team/digits", name))

    server.answer("PATCH .*", sip, times=2)

    assert read(store, push(store, content)) == content
    assert ranges(server)[:3] == ["0-1048575", "400000-1448575", "800000-1848575"]


@pytest.mark.usefixtures("chunks")
def test_a_registry_that_takes_nothing_any_more_is_given_up(server: SimulatedRegistry, store: RegistryStore) -> None:
    def refuse(request: Request) -> Answer | None:
        (name,) = server.uploads
        is_first = request.headers["content-range"].startswith("0-")
        return None if is_first else Answer(202, headers=server._progress("team/digits", name))

    server.answer("PATCH .*", refuse)

    with pytest.raises(NetworkError, match="no more than 1048576 bytes"):
        push(store, os.urandom(2 * MIB))

    assert server.uploads == {}


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("status", [400, 405, 415, 416, 202])
def test_a_registry_that_refuses_chunks_is_sent_blobs_whole_for_the_rest_of_the_run(
    status: int, server: SimulatedRegistry, connect: Connect
) -> None:
    def refuse(request: Request) -> Answer:
        return Answer(status, headers={"Location": request.path, "Range": "0-0"})

    server.answer("PATCH .*", refuse)
    registry = connect(server.host)
    first, second = os.urandom(3 * MIB), os.urandom(3 * MIB)

    descs = [push(registry.repository("a"), first), push(registry.repository("b"), second)]

    assert read(registry.repository("a"), descs[0]) == first
    assert read(registry.repository("b"), descs[1]) == second
    assert len(server.lines("PATCH .*")) == 1
    assert server.uploads == {}


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("status", [401, 403])
def test_a_first_chunk_that_is_not_allowed_is_not_sent_another_way(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("PATCH .*", lambda _: Answer(status))

    with pytest.raises(AuthError):
        push(store, os.urandom(2 * MIB))

    assert server.lines("PUT .*") == []


def test_a_registry_that_says_it_stored_something_else_is_not_believed(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    other = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    server.answer("PUT .*", lambda _: Answer(201, headers=other))

    with pytest.raises(IntegrityError, match="says that it stored"):
        push(store, b"x")


def test_chunks_become_smaller_where_the_registry_says_so(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", MIB)
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", 8 * MIB)
    server.most_chunk = 3 * MIB
    content = os.urandom(8 * MIB)

    assert read(store, push(store, content)) == content

    server.most_chunk = 1000
    with pytest.raises(LimitError, match="too large"):
        push(store, os.urandom(8 * MIB))


@pytest.mark.usefixtures("chunks")
def test_chunks_are_as_large_as_the_registry_wants_them(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.least_chunk = 2 * MIB

    push(store, os.urandom(3 * MIB))

    assert ranges(server) == ["0-2097151", "2097152-3145727"]


@pytest.mark.usefixtures("chunks")
def test_fault37_a_token_that_expires_between_chunks_is_renewed(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    server.uses_left = 2
    content = os.urandom(4 * MIB)
    store = connect(server.host, ADA).repository("a")

    def expire(request: Request) -> None:
        if len(server.lines("PATCH .*")) == 2:
            server.expire_token()

    server.answer("PATCH .*", expire)

    assert read(store, push(store, content)) == content


def test_a_final_answer_that_got_lost_is_asked_after(server: SimulatedRegistry, store: RegistryStore) -> None:
    def lose_the_answer(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        server._upload(request, "team/digits", name)
        return Answer(502)

    server.answer("PUT .*", lose_the_answer, times=1)

    push(store, b"stored all the same")

    assert len(server.lines("PUT .*")) == 1


@pytest.mark.usefixtures("chunks")
def test_wrong_content_is_never_sent_to_its_end(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = bytearray(os.urandom(3 * MIB))
    desc = blob(bytes(content))
    content[-1] ^= 1

    with pytest.raises(DigestMismatch):
        store.push(desc, BytesContent(bytes(content)))
    with pytest.raises(SizeMismatch):
        store.push(desc, BytesContent(bytes(content[:-1])))

    assert server.repository("team/digits").blobs == {}
    assert server.uploads == {}
    assert server.lines("PUT .*") == []


def test_a_registry_that_received_other_bytes_is_heard(server: SimulatedRegistry, store: RegistryStore) -> None:
    body = b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}'
    server.answer("PUT .*", lambda _: Answer(400, body))

    with pytest.raises(DigestMismatch, match="other bytes"):
        push(store, b"x")


def test_a_push_that_is_not_allowed_says_so(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.deny = {"POST"}

    with pytest.raises(AuthError, match="denies access"):
        push(store, b"x")


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("is_stored", [True, False])
def test_an_upload_that_is_gone_at_its_end_was_stored_or_starts_over(
    is_stored: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    """As where the answer to the first PUT got lost between a proxy and us, and the proxy repeated it."""

    def end_twice(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if is_stored:
            server._upload(request, "team/digits", name)
        server.uploads.clear()
        return Answer(404)

    server.answer("PUT .*/uploads/.*", end_twice, times=1)
    content = os.urandom(2 * MIB)

    assert read(store, push(store, content)) == content

    assert len(server.lines("POST .*")) == (1 if is_stored else 2)


@pytest.mark.usefixtures("chunks")
def test_how_far_an_upload_is_is_asked_again_where_the_registry_stumbles(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(2 * MIB)
    server.answer("PATCH .*", lambda _: Answer(502), times=1)
    server.answer("GET .*/uploads/.*", lambda _: Answer(503), times=2)

    assert read(store, push(store, content)) == content
