"""Manifests, tags, referrers and deletion, where registries lie, page without end or lack a part of the API."""

from __future__ import annotations

import json
import threading

import pytest
from tests.content.contract import ARTIFACT, blob, push_blob, push_manifest, read
from tests.registry.conftest import Connect
from tests.support.registry import Answer, Request, SimulatedRegistry

from mlkit.content.storage import BytesContent
from mlkit.errors import (
    ConflictError,
    DigestMismatch,
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
    NotFoundError,
)
from mlkit.registry.referrers import referrers_tag
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST


def serve_tags(server: SimulatedRegistry, body: object, headers: dict[str, str] | None = None) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    server.answer("GET .*/tags/list", lambda _: Answer(200, raw, headers or {}))


def test_f07_a_registry_that_lies_about_a_digest_is_not_believed(
    server: SimulatedRegistry, store: RegistryStore, connect: Connect
) -> None:
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    other = push_manifest(store, b"other")
    asked = connect(server.host).repository("team/digits")

    server.wrong_digest = True
    with pytest.raises(IntegrityError, match="says 'sha256:0000"):
        asked.resolve("v1")
    server.wrong_digest = False
    content = server.repository("team/digits").manifests
    content[str(manifest.descriptor.digest)] = content[str(other.descriptor.digest)]
    with pytest.raises(IntegrityError):
        asked.resolve(str(manifest.descriptor.digest))
    with pytest.raises(DigestMismatch):
        read(asked, manifest.descriptor)


def test_f12_a_registry_that_rewrites_a_manifest_is_found_out(server: SimulatedRegistry, store: RegistryStore) -> None:
    push_blob(store, b"{}")
    manifest = render_manifest(config=Descriptor.of(b"{}", OCI_EMPTY), layers=())
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, manifest.raw + b"\n", {"Content-Type": OCI_MANIFEST}))

    with pytest.raises(IntegrityError, match="changed what it was given"):
        store.push(manifest.descriptor, BytesContent(manifest.raw))

    server.rules.clear()
    server.wrong_digest = True
    with pytest.raises(IntegrityError, match="says"):
        store.push(manifest.descriptor, BytesContent(manifest.raw))


def test_a_manifest_that_was_seen_is_not_asked_for_again(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    server.requests.clear()

    desc = store.resolve("v1")
    assert read(store, desc) == store.raw(desc) == manifest.raw
    store.tag(desc, "v2")

    assert [line.split()[0] for line in server.lines()] == ["GET", "PUT"]


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("text/html", b"<html>", IntegrityError),
        (OCI_MANIFEST, b"", IntegrityError),
        (OCI_INDEX, b'{"schemaVersion":2,"mediaType":"' + OCI_MANIFEST.encode() + b'"}', IntegrityError),
        (OCI_MANIFEST, b'{"schemaVersion":1}', IntegrityError),
        (OCI_MANIFEST, b"[" * 1000, LimitError),
    ],
    ids=["html", "empty", "mistyped", "schema1", "deep"],
)
def test_what_is_no_manifest_does_not_resolve(
    content_type: str, body: bytes, error: type[MlkitError], server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, body, {"Content-Type": content_type}))

    with pytest.raises(error):
        store.resolve("v1")


@pytest.mark.parametrize("name", ["", "a b", "../../x", "-x", "v" * 129, "v1?x=y", "v1#x", "é"])
def test_what_is_no_tag_is_never_asked_for(name: str, server: SimulatedRegistry, store: RegistryStore) -> None:
    with pytest.raises(NotFoundError):
        store.resolve(name)

    assert [line for line in server.lines() if "manifests" in line] == []


def test_a_manifest_under_a_sha512_digest_is_found(server: SimulatedRegistry, store: RegistryStore) -> None:
    push_blob(store, b"{}")
    raw = render_manifest(config=Descriptor.of(b"{}", OCI_EMPTY), layers=()).raw
    hasher = Digest("sha512", "0" * 128).hasher()
    hasher.update(raw)
    desc = Descriptor(OCI_MANIFEST, Digest.finished(hasher), len(raw))

    store.push(desc, BytesContent(raw))

    assert store.resolve(str(desc.digest)).bare == desc
    assert read(store, desc) == raw


def test_a_manifest_that_is_too_large_says_so(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    server.fail_times(413, 1, on="PUT .*/manifests/v1")
    server.fail_times(400, 1, on="PUT .*/manifests/v1", body=b'{"errors":[{"code":"MANIFEST_INVALID"}]}')

    with pytest.raises(LimitError, match="too large"):
        store.tag(manifest.descriptor, "v1")
    with pytest.raises(NetworkError, match="MANIFEST_INVALID"):
        store.tag(manifest.descriptor, "v1")

    assert list(store.tags()) == []


def test_tags_come_in_pages(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    for number in range(7):
        store.tag(manifest.descriptor, f"v{number}")
    server.page_size = 3

    assert list(store.tags()) == [f"v{number}" for number in range(7)]
    assert len(server.lines("GET .*/tags/list")) == 3


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ("<http://other.example/v2/team/digits/tags/list?last=a>; rel=next", IntegrityError),
        ('<ftp://x/y>; rel="next"', NetworkError),
        ('</v2/team/digits/tags/list?n=1000>; rel="next"', LimitError),
    ],
    ids=["elsewhere", "ftp", "itself"],
)
def test_f06_a_next_page_is_on_the_same_host_and_a_new_one(
    link: str, error: type[MlkitError], server: SimulatedRegistry, store: RegistryStore
) -> None:
    serve_tags(server, {"tags": ["a"]}, {"Link": link})

    with pytest.raises(error):
        list(store.tags())

    assert len(server.requests) == 1


def test_pages_without_end_come_to_an_end(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.tags.PAGE_LIMIT", 10)
    pages = iter(range(10**6))

    def page(_: Request) -> Answer:
        link = f'</v2/team/digits/tags/list?last={next(pages)}>; rel="next"'
        return Answer(200, b'{"tags":["a"]}', {"Link": link})

    server.answer("GET .*/tags/list", page)

    with pytest.raises(LimitError, match="do not end"):
        list(store.tags())

    assert len(server.requests) == 10


@pytest.mark.parametrize("link", ["garbage", '<>; rel="next"', '</x>; rel="prev"', "<" * 10_000, ""])
def test_a_link_that_is_none_ends_the_list(link: str, server: SimulatedRegistry, store: RegistryStore) -> None:
    serve_tags(server, {"tags": ["a"]}, {"Link": link})

    assert list(store.tags()) == ["a"]


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ({"tags": None}, []),
        ({"name": "other/repository"}, []),
        ({"tags": ["b", "a", "b"]}, ["b", "a"]),
        ({"tags": ["../x", "a/b", "", "x" * 129, 7, None, ["a"], "a\u001b", "ok"]}, ["ok"]),
    ],
    ids=["null", "missing", "unsorted", "hostile"],
)
def test_f17_tags_are_looked_at_one_by_one(
    body: object, tags: list[str], server: SimulatedRegistry, store: RegistryStore
) -> None:
    serve_tags(server, body)

    assert list(store.tags()) == tags


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags":"a"}', b'{"tags":{}}', b"\xff"])
def test_what_is_no_list_of_tags_is_refused(body: bytes, server: SimulatedRegistry, store: RegistryStore) -> None:
    serve_tags(server, body)

    with pytest.raises(IntegrityError):
        list(store.tags())


def test_there_are_not_more_than_so_many_tags(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.tags._TAG_LIMIT", 5)
    serve_tags(server, {"tags": [f"v{number}" for number in range(6)]})

    with pytest.raises(LimitError):
        list(store.tags())


@pytest.mark.parametrize("without_api", [False, True], ids=["api", "tag"])
def test_f16_a_referrer_is_what_its_own_manifest_says(
    without_api: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.without_referrers_api = without_api
    subject = push_manifest(store, b"layer").descriptor
    note = push_manifest(store, b"note", subject=subject, artifact_type=ARTIFACT, annotations={"by": "us"})
    stranger = push_manifest(store, b"stranger")
    entries = [
        {**note.descriptor.render(), "artifactType": "application/vnd.oci.empty.v1+json", "annotations": {"by": "x"}},
        stranger.descriptor.render(),
        Descriptor.of(b"gone", OCI_MANIFEST).render(),
        Descriptor.of(b"a blob", "application/octet-stream").render(),
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    where = f"GET .*/manifests/{referrers_tag(subject.digest)}" if without_api else "GET .*/referrers/.*"
    server.answer(
        where, lambda _: Answer(200, index, {"Content-Type": OCI_INDEX, "OCI-Filters-Applied": "artifactType"})
    )

    (found,) = store.referrers(subject, ARTIFACT)

    assert found == note.descriptor.with_annotations({"by": "us"})
    assert list(store.referrers(subject, "application/vnd.oci.empty.v1+json")) == []


def test_referrers_without_end_are_refused(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.referrers._LIMIT", 3)
    subject = push_manifest(store, b"layer").descriptor
    for number in range(4):
        push_manifest(store, b"%d" % number, subject=subject)

    with pytest.raises(LimitError, match="more than 3 referrers"):
        list(store.referrers(subject))


def test_a_friendly_page_is_no_list_of_referrers(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    note = push_manifest(store, b"note", subject=subject)
    server.answer("GET .*/referrers/.*", lambda _: Answer(200, b"<html>", {"Content-Type": "text/html"}))

    assert [desc.digest for desc in store.referrers(subject)] == [note.descriptor.digest]


def test_a_registry_with_referrers_is_given_no_index(server: SimulatedRegistry, store: RegistryStore) -> None:
    subject = push_manifest(store, b"layer").descriptor

    push_manifest(store, b"note", subject=subject)

    assert list(store.tags()) == []


def test_an_index_of_referrers_lists_each_once_with_its_type_and_annotations(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    typed = push_manifest(store, b"one", subject=subject, artifact_type=ARTIFACT, annotations={"by": "us"})
    untyped = push_manifest(store, b"two", subject=subject)

    store.push(typed.descriptor, BytesContent(typed.raw))

    raw = store.raw(store.resolve(f"sha256-{subject.digest.hex}"))
    entries = json.loads(raw)["manifests"]
    assert [(entry["digest"], entry["artifactType"], entry.get("annotations")) for entry in entries] == [
        (str(typed.descriptor.digest), ARTIFACT, {"by": "us"}),
        (str(untyped.descriptor.digest), OCI_EMPTY, None),
    ]


def test_a_tag_that_is_no_index_is_not_overwritten(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    occupant = push_manifest(store, b"occupant").descriptor
    store.tag(occupant, referrers_tag(subject.digest))

    with pytest.raises(IntegrityError):
        push_manifest(store, b"note", subject=subject)

    assert store.resolve(referrers_tag(subject.digest)).digest == occupant.digest


def test_two_who_enter_referrers_at_once_lose_none(server: SimulatedRegistry, connect: Connect) -> None:
    server.without_referrers_api = True
    server.with_etags = True
    stores = [connect(server.host).repository("team/digits") for _ in range(3)]
    subject = push_manifest(stores[0], b"layer").descriptor
    threads = [
        threading.Thread(target=push_manifest, args=(store, b"note %d" % number), kwargs={"subject": subject})
        for number, store in enumerate(stores)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(stores[0].referrers(subject))) == 3


def test_a_race_that_cannot_be_won_is_a_conflict(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    tag = referrers_tag(subject.digest)
    empty = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    server.answer(f"GET .*/manifests/{tag}", lambda _: Answer(200, empty, {"Content-Type": OCI_INDEX, "ETag": '"7"'}))
    server.answer(f"PUT .*/manifests/{tag}", lambda _: Answer(412))

    with pytest.raises(ConflictError, match="keep writing"):
        push_manifest(store, b"note", subject=subject)

    puts = [request for request in server.requests if request.line.startswith("PUT") and request.path.endswith(tag)]
    assert [request.headers["if-match"] for request in puts] == ['"7"'] * 5


def test_the_tag_of_a_long_digest_is_cut_as_the_specification_says() -> None:
    assert referrers_tag(Digest("sha512", "ab" * 64)) == "sha512-" + "ab" * 32


def test_a_tag_is_removed_alone(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    for tag in ("v1", "v2"):
        store.tag(manifest.descriptor, tag)

    store.untag("v1")

    assert list(store.tags()) == ["v2"]
    assert store.exists(manifest.descriptor)
    with pytest.raises(NotFoundError, match='no tag "v1"'):
        store.untag("v1")
    server.without_untag = True
    with pytest.raises(NetworkError, match="alone"):
        store.untag("v2")
    server.fail_times(403, 1, on="DELETE .*")
    with pytest.raises(MlkitError):
        store.untag("v2")


def test_content_is_deleted_where_that_is_allowed(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    (layer,) = manifest.layers

    store.delete(manifest.descriptor)
    store.delete(layer)

    assert not store.exists(manifest.descriptor)
    assert not store.exists(layer)
    with pytest.raises(NotFoundError):
        store.delete(layer)
    server.without_delete = True
    with pytest.raises(NetworkError, match="does not let anyone delete"):
        store.delete(push_blob(store, b"layer"))


def test_a_small_document_is_read_whole_and_a_large_one_is_not(store: RegistryStore) -> None:
    desc = push_blob(store, b"{}")

    assert store.raw(desc) == b"{}"
    with pytest.raises(LimitError):
        store.raw(Descriptor(desc.media_type, desc.digest, 5 << 20))
    with pytest.raises(LimitError):
        store.raw(Descriptor(OCI_MANIFEST, desc.digest, 5 << 20))


def test_a_repository_of_docker_hub_has_a_library(connect: Connect) -> None:
    hub = connect("docker.io", plain_http=False)

    assert hub.repository("alpine").name == "docker.io/library/alpine"
    assert hub.repository("team/digits").name == "docker.io/team/digits"
    assert hub.repository("team/digits") is hub.repository("team/digits")


def test_what_is_asked_for_is_named_in_every_error(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = blob(b"x")

    for act in (lambda: list(store.tags()), lambda: store.open(desc), lambda: store.resolve("v1")):
        with pytest.raises(NotFoundError, match=store.name):
            act()
