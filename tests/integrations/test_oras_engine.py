"""What goes through `requests` in a program of oras-py goes over the engine: whole, bounded, again where it broke."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import oras.defaults
import oras.oci
import pytest
import requests
from tests.integrations.conftest import Client
from tests.integrations.test_oras_probes import publish
from tests.support.certificates import Authority
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer

from mlkit.errors import (
    AuthError,
    DigestMismatch,
    IntegrityError,
    LimitError,
    NetworkError,
    NotFoundError,
    StoreError,
    UsageError,
)
from mlkit.integrations.oras import Registry
from mlkit.integrations.oras.errors import as_oras_error

CONTENT = bytes(range(256)) * 20_000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def client(ours: Client, server: SimulatedRegistry) -> Registry:
    publish(server, CONTENT, "model.bin", oras.defaults.default_blob_media_type)
    made: Registry = ours(server.host)
    return made


def blob_url(server: SimulatedRegistry, digest: str = DIGEST) -> str:
    return f"http://{server.host}/v2/team/digits/blobs/{digest}"


def target(server: SimulatedRegistry) -> str:
    return f"{server.host}/team/digits:v1"


@pytest.mark.parametrize("how", ["pull", "download_blob", "get_blob", "do_request"])
def test_a_download_that_breaks_goes_on_where_it_broke(
    client: Registry, server: SimulatedRegistry, tmp_path: Path, how: str
) -> None:
    server.truncate_after = [2_000_000, 1_000_000]

    if how == "pull":
        found = Path(client.pull(target(server), outdir=str(tmp_path / "out"))[0]).read_bytes()
    elif how == "download_blob":
        found = Path(client.download_blob(target(server), DIGEST, str(tmp_path / "file"))).read_bytes()
    elif how == "get_blob":
        found = client.get_blob(target(server), DIGEST).content
    else:
        found = client.do_request(blob_url(server)).content

    assert found == CONTENT
    assert server.sent_bytes("GET .*/blobs/.*") == len(CONTENT)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("change", [lambda raw: raw[:-1] + b"!", lambda raw: raw[:-1], lambda raw: raw + b"!"])
def test_no_way_hands_over_the_end_of_a_wrong_blob(
    client: Registry, server: SimulatedRegistry, tmp_path: Path, change: Any, stream: bool
) -> None:
    server.repository("team/digits").blobs[DIGEST] = change(CONTENT)
    received = bytearray()

    def receive(get: Callable[[], requests.Response]) -> None:
        received.clear()
        for chunk in get().iter_content(65536):
            received.extend(chunk)

    for get in (
        lambda: client.get_blob(target(server), DIGEST, stream=stream),
        lambda: client.do_request(blob_url(server), stream=stream),
    ):
        with pytest.raises(IntegrityError) as caught:
            receive(get)
        assert isinstance(caught.value, ValueError)
        assert len(received) < len(CONTENT)
    with pytest.raises(IntegrityError):
        client.download_blob(target(server), DIGEST, str(tmp_path / "file"))

    assert list(tmp_path.iterdir()) == []


def test_the_raw_body_is_a_file_for_those_who_read_it_so(client: Registry, server: SimulatedRegistry) -> None:
    response = client.do_request(blob_url(server), stream=True)

    assert response.raw.read(4) == CONTENT[:4]
    assert response.raw.read() == CONTENT[4:]
    response.close()


def test_a_part_of_a_blob_is_handed_over_as_it_comes(client: Registry, server: SimulatedRegistry) -> None:
    response = client.do_request(blob_url(server), headers={"range": "bytes=10-19"})

    assert (response.status_code, response.content) == (206, CONTENT[10:20])


def test_a_blob_of_unknown_size_is_not_handed_over_unverified(client: Registry, server: SimulatedRegistry) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    server.answer("HEAD .*/blobs/.*", lambda _: Answer(405))
    chunked = b"4\r\n" + CONTENT[:4] + b"\r\n0\r\n\r\n"
    server.answer("GET .*/blobs/.*", lambda _: Answer(200, chunked, headers))

    with pytest.raises((NetworkError, IntegrityError)):
        _ = client.do_request(blob_url(server)).content
    with pytest.raises(requests.HTTPError):
        client.download_blob(target(server), DIGEST, "file")


def test_a_registry_without_head_for_blobs_is_read_all_the_same(client: Registry, server: SimulatedRegistry) -> None:
    server.answer("HEAD .*/blobs/.*", lambda _: Answer(405))

    assert client.do_request(blob_url(server)).content == CONTENT

    server.repository("team/digits").blobs[DIGEST] = CONTENT[:-1] + b"!"
    with pytest.raises(DigestMismatch):
        _ = client.do_request(blob_url(server)).content


def test_a_digest_that_is_none_is_asked_for_nowhere(client: Registry, server: SimulatedRegistry) -> None:
    for digest in ("sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../etc/passwd"):
        with pytest.raises(IntegrityError):
            client.download_blob(target(server), digest, "file")
    for digest in ("sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"):
        with pytest.raises(IntegrityError):
            client.do_request(blob_url(server, digest))

    assert server.requests == []


def test_a_registry_that_lies_about_a_tag_is_not_believed(client: Registry, server: SimulatedRegistry) -> None:
    server.wrong_digest = True

    with pytest.raises(IntegrityError, match="the registry says"):
        client.get_manifest(target(server))


def test_a_manifest_without_end_is_not_read_to_its_end(client: Registry, server: SimulatedRegistry) -> None:
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, b"[" * (5 << 20)))

    with pytest.raises(LimitError):
        client.get_manifest(target(server))


@pytest.mark.parametrize("raw", [b'{"layers": [], "layers": []}', b"[]", b'{"a": NaN}', b"\xff", b"{"])
def test_a_manifest_is_read_strictly(client: Registry, server: SimulatedRegistry, raw: bytes) -> None:
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, raw))

    with pytest.raises(IntegrityError):
        client.get_manifest(target(server))


def test_bodies_of_every_kind_arrive_whole_and_again_after_a_challenge(
    client: Registry, server: SimulatedRegistry, tmp_path: Path
) -> None:
    server.auth = "bearer"
    client.auth.set_basic_auth("ada", "lovelace")
    (tmp_path / "file").write_bytes(b"x" + CONTENT)
    url = f"http://{server.host}/v2/team/digits/blobs/uploads/"

    with (tmp_path / "file").open("rb") as file:
        for data in (CONTENT, bytearray(CONTENT), io.BytesIO(CONTENT), file):
            location = client.do_request(url, "POST").headers["Location"]
            server.expire_token()
            file.seek(1)
            put = client.do_request(f"http://{server.host}{location}&digest={DIGEST}", "PUT", data=data)
            assert put.status_code == 201

    assert server.repository("team/digits").blobs[DIGEST] == CONTENT
    assert all("Authorization" not in sent for sent in (put.request.headers,))


def test_a_body_that_can_be_read_only_once_is_refused(client: Registry, server: SimulatedRegistry) -> None:
    with pytest.raises(UsageError, match="cannot be sent again"):
        client.do_request(f"http://{server.host}/v2/team/digits/blobs/uploads/u", "PATCH", data=iter([b"a"]))


def test_a_file_that_shrinks_while_it_is_sent_is_noticed(client: Registry, server: SimulatedRegistry) -> None:
    class Shrinking(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            return 0

    with pytest.raises(IntegrityError, match="ended 4 bytes early"):
        client.do_request(f"http://{server.host}/v2/", "POST", data=Shrinking(b"four"))


def test_a_file_that_is_not_what_the_layer_says_is_not_uploaded(
    client: Registry, server: SimulatedRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    layer = oras.oci.NewLayer(str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"changed")

    with pytest.raises(DigestMismatch):
        client.upload_blob(str(tmp_path / "file"), target(server), layer)
    with pytest.raises(StoreError):
        client.upload_blob(str(tmp_path / "gone"), target(server), layer)

    assert layer["digest"] not in server.repository("team/digits").blobs


def test_a_blob_that_is_there_is_not_sent_again(client: Registry, server: SimulatedRegistry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    layer = oras.oci.NewLayer(tmp_path / "file")  # type: ignore[arg-type]
    container = client.get_container(target(server))

    for upload in (client.upload_blob, client.put_upload, client.chunked_upload):
        response = upload(tmp_path / "file", container, layer)
        assert (response.status_code, response.ok) == (200, True)

    assert server.received_bytes() == 0


def test_pages_are_followed_until_enough_was_seen(client: Registry, server: SimulatedRegistry) -> None:
    known = server.repository("team/digits")
    known.tags |= {f"t{number}": known.tags["v1"] for number in range(10)}
    server.page_size = 3
    seen: list[int] = []

    def count(response: requests.Response) -> bool:
        seen.append(len(response.json()["tags"]))
        return len(seen) < 2

    client._do_paginated_request(f"http://{server.host}/v2/team/digits/tags/list", callable=count)

    assert len(seen) == 2
    assert client.get_tags(target(server)) == sorted(known.tags)
    assert client.get_tags(target(server), N=4) == sorted(known.tags)[:4]


def test_pages_in_a_circle_end(client: Registry, server: SimulatedRegistry) -> None:
    link = {"Link": '</v2/team/digits/tags/list>; rel="next"'}
    server.answer("GET .*/tags/list", lambda _: Answer(200, b'{"tags": ["a"]}', link))

    with pytest.raises(LimitError):
        client._do_paginated_request(f"http://{server.host}/v2/team/digits/tags/list", callable=lambda _: True)


def test_the_words_of_a_registry_are_shown_without_its_tricks(client: Registry, server: SimulatedRegistry) -> None:
    client.auth.set_basic_auth("ada", "lovelace")
    server.auth = "basic"
    words = json.dumps({"errors": [{"code": "DENIED", "message": "no \x1b[31m lovelace"}]}).encode()
    server.answer(
        "GET .*/manifests/.*", lambda request: Answer(403, words) if "authorization" in request.headers else None
    )

    with pytest.raises(AuthError, match="DENIED") as caught:
        client.get_manifest(target(server))

    assert "\x1b" not in str(caught.value)
    assert "lovelace" not in str(caught.value)


def test_cookies_are_not_kept(client: Registry, server: SimulatedRegistry) -> None:
    server.answer("GET /v2/", lambda _: Answer(200, b"{}", {"Set-Cookie": "session=1"}))

    client.session.get(f"http://{server.host}/v2/")
    client.do_request(f"http://{server.host}/v2/", headers={"Cookie": "mine=1"})

    assert [request for request in server.requests if "cookie" in request.headers] == []


def test_a_manifest_that_lists_what_is_not_there_is_refused(client: Registry, server: SimulatedRegistry) -> None:
    manifest = client.get_manifest(target(server))
    manifest["layers"][0]["digest"] = "sha256:" + "1" * 64
    container = client.get_container(f"{server.host}/team/digits:v2")

    with pytest.raises(ValueError, match="MANIFEST_BLOB_UNKNOWN"):
        client.upload_manifest(manifest, container)
    with pytest.raises(IntegrityError, match="the manifest is"):
        client.upload_manifest(client.get_manifest(target(server)), f"{server.host}/team/digits@{DIGEST}")

    assert set(server.repository("team/digits").tags) == {"v1"}


def test_a_repository_name_that_is_none_is_asked_for_nowhere(client: Registry, server: SimulatedRegistry) -> None:
    with pytest.raises(UsageError):
        client.get_tags(f"{server.host}/Team/../digits")

    assert server.requests == []


def test_several_threads_share_a_client(client: Registry, server: SimulatedRegistry, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        files = list(
            threads.map(
                lambda number: client.download_blob(target(server), DIGEST, str(tmp_path / str(number))), range(16)
            )
        )

    assert all(Path(file).read_bytes() == CONTENT for file in files)


def test_a_closed_client_can_be_used_again(client: Registry, server: SimulatedRegistry) -> None:
    client.close()

    assert client.get_tags(target(server)) == ["v1"]


def test_certificates_are_checked_unless_the_program_says_otherwise(ours: Client, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("loopback", hosts=("127.0.0.1",)))
    with simulated_registry(tls=context) as secure:
        secure.repository("team/digits")
        reference = f"{secure.host}/team/digits"

        with pytest.raises(NetworkError, match="not trusted"):
            ours(insecure=False).get_tags(reference)
        assert ours(insecure=False, tls_verify=str(authority.path)).get_tags(reference) == []
        assert ours(insecure=False, tls_verify=False).get_tags(reference) == []


def test_what_is_not_found_says_so(client: Registry, server: SimulatedRegistry) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.get_manifest(f"{server.host}/team/digits:v9")

    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, requests.ConnectionError)


def test_errors_travel_between_processes(client: Registry) -> None:
    for error in (NetworkError("no answer", hint="wait"), DigestMismatch("other bytes")):
        copied = pickle.loads(pickle.dumps(as_oras_error(error)))

        assert (type(copied).__name__, str(copied), copied.hint) == (type(error).__name__, str(error), error.hint)
        assert isinstance(copied, type(error))
        assert isinstance(copied, ValueError)
        assert isinstance(copied, requests.ConnectionError) == isinstance(error, NetworkError)
