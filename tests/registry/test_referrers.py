"""Referrers by the API and by the tag, and what registries say about them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.content.contract import ARTIFACT, push_manifest
from tests.registry.conftest import Connect
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.storage import BytesContent
from mlkit.errors import (
    AuthError,
    ConflictError,
    IntegrityError,
    LimitError,
    MlkitError,
)
from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.referrers import referrers_tag
from mlkit.registry.retry import RetryPolicy
from mlkit.registry.store import RegistryStore
from mlkit.registry.transport import Transport
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.limits import ListLimits
from mlkit.spec.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST


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


def test_referrers_without_end_are_refused(server: SimulatedRegistry, connect: Connect) -> None:
    store = connect(server.host, limits=ListLimits(referrers=3)).repository("team/digits")
    subject = push_manifest(store, b"layer").descriptor
    for number in range(3):
        push_manifest(store, b"%d" % number, subject=subject)
    assert len(list(store.referrers(subject))) == 3
    push_manifest(store, b"one too many", subject=subject)

    with pytest.raises(LimitError, match="more than 3 referrers"):
        list(store.referrers(subject))


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_registry_that_does_not_know_the_path_has_its_list_under_the_tag(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    note = push_manifest(store, b"note", subject=subject)
    server.answer("GET .*/referrers/.*", lambda _: Answer(status))

    assert [desc.digest for desc in store.referrers(subject)] == [note.descriptor.digest]


def test_referrers_that_may_not_be_seen_are_no_empty_list(server: SimulatedRegistry, store: RegistryStore) -> None:
    subject = push_manifest(store, b"layer").descriptor
    server.answer("GET .*/referrers/.*", lambda _: Answer(403))

    with pytest.raises(AuthError):
        list(store.referrers(subject))


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ("<http://other.example/v2/team/digits/referrers/x>; rel=next", IntegrityError),
        ('<{itself}>; rel="next"', LimitError),
    ],
    ids=["elsewhere", "itself"],
)
def test_a_next_page_of_referrers_is_on_the_same_host_and_a_new_one(
    link: str, error: type[MlkitError], server: SimulatedRegistry, store: RegistryStore
) -> None:
    subject = push_manifest(store, b"layer").descriptor
    empty = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    headers = {"Content-Type": OCI_INDEX, "Link": link.format(itself=f"/v2/team/digits/referrers/{subject.digest}")}
    server.answer("GET .*/referrers/.*", lambda _: Answer(200, empty, headers))

    with pytest.raises(error):
        list(store.referrers(subject))

    assert len(server.lines("GET .*/referrers/.*")) == 1


def test_referrers_of_all_pages_are_found(server: SimulatedRegistry, store: RegistryStore) -> None:
    subject = push_manifest(store, b"layer").descriptor
    notes = [push_manifest(store, b"note %d" % number, subject=subject).descriptor for number in range(3)]
    left = list(notes)

    def page(_: Request) -> Answer:
        entry = left.pop(0)
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.render()]}).encode()
        link = {"Link": f'</v2/team/digits/referrers/{subject.digest}?page={len(left)}>; rel="next"'} if left else {}
        return Answer(200, body, {"Content-Type": OCI_INDEX, **link})

    server.answer("GET .*/referrers/.*", page)

    assert [desc.digest for desc in store.referrers(subject)] == [note.digest for note in notes]


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


class _InStep(httpx.BaseTransport):
    """Connections whose first read of a tag returns when the other signer has read it, too."""

    def __init__(self, connection: Connection, tag: str, barrier: threading.Barrier) -> None:
        self._below = Transport(connection)
        self._tag = tag
        self._barrier: threading.Barrier | None = barrier

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._below.handle_request(request)
        if self._barrier is not None and request.method == "GET" and request.url.path.endswith(self._tag):
            barrier, self._barrier = self._barrier, None
            barrier.wait(30)
        return response

    def close(self) -> None:
        self._below.close()


@pytest.mark.parametrize("with_etags", [True, False], ids=["etags", "no-etags"])
def test_fault44_two_signers_at_once_are_both_listed(
    with_etags: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    """Both read the list before either writes it, and both have written it before either looks again."""
    server.without_referrers_api = True
    server.with_etags = with_etags
    subject = push_manifest(store, b"layer").descriptor
    tag = referrers_tag(subject.digest)
    have_read, have_written = threading.Barrier(2), threading.Barrier(2)

    def sign(number: int) -> None:
        has_settled: list[bool] = []

        def settle(_: float) -> None:
            if not has_settled:
                has_settled.append(True)
                have_written.wait(30)

        connection = Connection(server.host, plain_http=True)
        transport = _InStep(connection, tag, have_read)
        policy = RetryPolicy(sleep=settle)
        with Registry(connection, lambda _: None, retries=policy, transport=transport) as registry:
            push_manifest(registry.repository("team/digits"), b"%d" % number, subject=subject)

    with ThreadPoolExecutor(2) as signers:
        list(signers.map(sign, range(2)))

    assert len(list(store.referrers(subject))) == 2
    refused = [request for request in server.requests if request.method == "PUT" and request.status == 412]
    assert len(refused) == (1 if with_etags else 0)
    assert len(server.lines(f"PUT .*/manifests/{tag}")) == 3, "there was no race, and so nothing was tested"


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


@pytest.mark.parametrize("without_api", [False, True], ids=["api", "tag"])
def test_a_referrer_that_cannot_be_read_is_told_or_an_error_and_hides_no_other(
    without_api: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.without_referrers_api = without_api
    subject = push_manifest(store, b"layer").descriptor
    good = push_manifest(store, b"good", subject=subject).descriptor
    bad = push_manifest(store, b"bad", subject=subject).descriptor
    manifests = server.repository("team/digits").manifests
    manifests[str(bad.digest)] = (OCI_MANIFEST, b"{" + b" " * (bad.size - 2) + b"}")
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [bad.render(), good.render()]}
    ).encode()
    where = f"GET .*/manifests/{referrers_tag(subject.digest)}" if without_api else "GET .*/referrers/.*"
    server.answer(where, lambda _: Answer(200, index, {"Content-Type": OCI_INDEX}))
    told: list[Descriptor] = []

    found = list(store.referrers(subject, broken=lambda listed, error: told.append(listed)))

    assert [desc.digest for desc in found] == [good.digest]
    assert [desc.digest for desc in told] == [bad.digest]
    with pytest.raises(IntegrityError):
        list(store.referrers(subject))


def test_a_manifest_in_the_place_of_the_list_is_no_list(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.without_referrers_api = True
    subject = push_manifest(store, b"layer").descriptor
    other = push_manifest(store, b"other")
    server.answer(
        f"GET .*/manifests/{referrers_tag(subject.digest)}",
        lambda _: Answer(200, other.raw, {"Content-Type": OCI_MANIFEST}),
    )

    with pytest.raises(IntegrityError):
        list(store.referrers(subject))
