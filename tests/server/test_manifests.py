from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Client, codes, descriptor, digest_of, index

from mlkit.content.layout import Layout
from mlkit.spec.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

MANIFESTS = "/v2/team/digits/manifests"


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(client: Client) -> None:
    raw = json.dumps(client.manifest(), indent=3).encode()
    digest = digest_of(raw)

    pushed = client.http.put(f"{MANIFESTS}/1.2", content=raw, headers={"Content-Type": OCI_MANIFEST})

    assert pushed.status_code == 201
    assert pushed.headers["Location"] == f"{MANIFESTS}/{digest}"
    assert pushed.headers["Docker-Content-Digest"] == digest
    for reference in ("1.2", digest):
        head = client.http.head(f"{MANIFESTS}/{reference}")
        answer = client.http.get(f"{MANIFESTS}/{reference}")
        assert answer.content == raw
        assert head.content == b""
        for headers in (head.headers, answer.headers):
            assert headers["Content-Type"] == OCI_MANIFEST
            assert headers["Content-Length"] == str(len(raw))
            assert headers["Docker-Content-Digest"] == digest
            assert headers["ETag"] == f'"{digest}"'


def test_the_layout_knows_what_was_pushed_under_its_local_name(client: Client, layout: Layout) -> None:
    digest = client.push_kit("1.2")

    assert str(layout.resolve("team/digits:1.2").digest) == digest


def test_a_manifest_that_the_client_has_is_not_sent_again(client: Client) -> None:
    digest = client.push_kit("1.2")

    answer = client.http.get(f"{MANIFESTS}/1.2", headers={"If-None-Match": f'"{digest}"'})

    assert answer.status_code == 304


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": '"{old}"'}, 201),
        ({"If-Match": "*"}, 201),
        ({"If-Match": '"sha256:other", "{old}"'}, 201),
        ({"If-None-Match": '"sha256:other"'}, 201),
        ({"If-Match": '"sha256:other"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": '"{old}"'}, 412),
    ],
    ids=["as-expected", "exists", "one-of-two", "not-another", "elsewhere", "exists-already", "not-this"],
)
def test_a_tag_moves_only_where_the_conditions_hold(
    conditions: dict[str, str], status: int, client: Client, layout: Layout
) -> None:
    old = client.push_kit("1.2")
    raw = json.dumps(client.manifest(), indent=1).encode()
    headers = {name: text.replace("{old}", old) for name, text in conditions.items()}

    answer = client.http.put(f"{MANIFESTS}/1.2", content=raw, headers={"Content-Type": OCI_MANIFEST, **headers})

    assert answer.status_code == status
    assert str(layout.resolve("team/digits:1.2").digest) == (digest_of(raw) if status == 201 else old)
    assert len(layout.manifests()) == (2 if status == 201 else 1), "what was refused is kept nowhere"


def test_of_many_who_move_a_tag_from_the_same_place_one_does(client: Client) -> None:
    old = client.push_kit("1.2")
    manifest = client.manifest()

    def put(number: int) -> int:
        raw = json.dumps(manifest, indent=number + 1).encode()
        headers = {"Content-Type": OCI_MANIFEST, "If-Match": f'"{old}"'}
        return client.http.put(f"{MANIFESTS}/1.2", content=raw, headers=headers).status_code

    with ThreadPoolExecutor(8) as writers:
        found = sorted(writers.map(put, range(8)))

    assert found == [201] + [412] * 7


def test_a_tag_that_is_not_there_is_not_what_was_expected(client: Client, layout: Layout) -> None:
    old = client.push_kit("1.1")
    raw = json.dumps(client.manifest(), indent=1).encode()

    answers = [
        client.http.put(f"{MANIFESTS}/1.2", content=raw, headers={"Content-Type": OCI_MANIFEST, **conditions})
        for conditions in ({"If-Match": f'"{old}"'}, {"If-Match": "*"}, {"If-None-Match": "*"})
    ]

    assert [answer.status_code for answer in answers] == [412, 412, 201]
    assert codes(answers[0]) == ["DENIED"]


def test_a_manifest_pushed_by_digest_needs_no_tag(client: Client) -> None:
    value = client.manifest()
    digest = digest_of(json.dumps(value).encode())

    pushed = client.push_manifest(value, digest)

    assert pushed.status_code == 201
    assert client.http.get(f"{MANIFESTS}/{digest}").status_code == 200


def test_a_manifest_can_be_pushed_under_its_sha512(client: Client) -> None:
    value = client.manifest()
    digest = digest_of(json.dumps(value).encode(), "sha512")

    pushed = client.push_manifest(value, digest)

    assert pushed.status_code == 201
    assert pushed.headers["Docker-Content-Digest"] == digest
    assert client.http.get(f"{MANIFESTS}/{digest}").json() == value


def test_a_manifest_under_another_digest_is_refused(client: Client, layout: Layout) -> None:
    answer = client.push_manifest(client.manifest(), digest_of(b"another"))

    assert answer.status_code == 400
    assert codes(answer) == ["DIGEST_INVALID"]
    assert layout.manifests() == ()


@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_manifest_whose_blobs_are_not_here_is_refused(client: Client, layout: Layout, part: str) -> None:
    value = client.manifest()
    absent = descriptor(b"never pushed", "application/octet-stream")
    if part == "config":
        value["config"] = absent
    else:
        value["layers"].append(absent)

    answer = client.push_manifest(value, "1.2")

    assert answer.status_code == 400
    assert codes(answer) == ["MANIFEST_BLOB_UNKNOWN"]
    assert absent["digest"] in answer.text
    assert client.http.get(f"{MANIFESTS}/1.2").status_code == 404
    assert layout.names() == {}


def test_a_manifest_that_lies_about_a_size_is_refused(client: Client) -> None:
    value = client.manifest()
    value["layers"][0]["size"] += 1

    answer = client.push_manifest(value, "1.2")

    assert answer.status_code == 400
    assert codes(answer) == ["MANIFEST_INVALID"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"{", OCI_MANIFEST),
        (b'{"schemaVersion":2}', "application/json"),
        (b'{"schemaVersion":1}', OCI_MANIFEST),
        (b'{"schemaVersion":2,"layers":[],"manifests":[]}', OCI_INDEX),
        (b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}', OCI_INDEX),
        (b"[" * 100_000, OCI_MANIFEST),
        (b'{"schemaVersion":2,"mediaType":"' + OCI_INDEX.encode() + b'","manifests":[]}', OCI_MANIFEST),
    ],
    ids=["empty", "array", "truncated", "type", "version", "both", "twice", "deep", "mistyped"],
)
def test_what_is_no_manifest_is_refused(client: Client, content: bytes, media_type: str) -> None:
    answer = client.http.put(f"{MANIFESTS}/1.2", content=content, headers={"Content-Type": media_type})

    assert answer.status_code == 400
    assert codes(answer) == ["MANIFEST_INVALID"]


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_manifest_beyond_4_mib_is_refused_and_not_kept(client: Client, is_announced: bool) -> None:
    content = b" " * (4 * 1024 * 1024 + 1)

    def pieces() -> Iterator[bytes]:
        yield content

    answer = client.http.put(
        f"{MANIFESTS}/1.2", content=content if is_announced else pieces(), headers={"Content-Type": OCI_MANIFEST}
    )

    assert answer.status_code == 413
    assert codes(answer) == ["SIZE_INVALID"]


def test_a_manifest_of_4_mib_is_kept(client: Client) -> None:
    value = client.manifest()
    raw = json.dumps(value).encode()
    raw += b" " * (4 * 1024 * 1024 - len(raw))

    answer = client.http.put(f"{MANIFESTS}/1.2", content=raw, headers={"Content-Type": OCI_MANIFEST})

    assert answer.status_code == 201
    assert client.http.get(f"{MANIFESTS}/1.2").content == raw


def test_a_docker_manifest_keeps_its_media_type(client: Client) -> None:
    value = {**client.manifest(), "mediaType": DOCKER_MANIFEST}

    assert client.push_manifest(value, "1.2", media_type=DOCKER_MANIFEST).status_code == 201

    assert client.http.get(f"{MANIFESTS}/1.2").headers["Content-Type"] == DOCKER_MANIFEST


@pytest.mark.parametrize("repository", ["Team/digits", "team//digits", "registry.example/team", "localhost/x", "a..b"])
def test_a_repository_name_that_is_none_or_has_a_host_is_refused(client: Client, repository: str) -> None:
    for answer in (
        client.start(repository),
        client.http.get(f"/v2/{repository}/manifests/1.2"),
        client.http.get(f"/v2/{repository}/tags/list"),
    ):
        assert answer.status_code == 400
        assert codes(answer) == ["NAME_INVALID"]


@pytest.mark.parametrize("tag", [".hidden", "-x", "a" * 129, "ä"])
def test_a_tag_that_is_none_is_refused(client: Client, tag: str) -> None:
    answer = client.push_manifest(client.manifest(), tag)

    assert answer.status_code == 400
    assert codes(answer) == ["MANIFEST_INVALID"]


def test_the_tags_of_the_referrers_fallback_can_be_pushed(client: Client) -> None:
    client.push_kit("sha256-" + "0" * 64)

    assert client.http.get(f"{MANIFESTS}/sha256-{'0' * 64}").status_code == 200


def test_an_unknown_manifest_is_404(client: Client) -> None:
    for reference in ("none", digest_of(b"none")):
        for answer in (client.http.get(f"{MANIFESTS}/{reference}"), client.http.delete(f"{MANIFESTS}/{reference}")):
            assert answer.status_code == 404
            assert codes(answer) == ["MANIFEST_UNKNOWN"]


def test_a_blob_is_never_served_as_a_manifest(client: Client) -> None:
    text = json.dumps(client.manifest()).encode()
    digest = client.push_blob(text)

    answer = client.http.get(f"{MANIFESTS}/{digest}")

    assert answer.status_code == 404
    assert codes(answer) == ["MANIFEST_UNKNOWN"]


def test_an_index_needs_its_manifests_and_serves_them(client: Client) -> None:
    value = client.manifest()
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)

    early = client.push_manifest(index(child), "all", media_type=OCI_INDEX)
    client.push_manifest(value, child["digest"])
    late = client.push_manifest(index(child), "all", media_type=OCI_INDEX)

    assert codes(early) == ["MANIFEST_BLOB_UNKNOWN"]
    assert late.status_code == 201
    assert client.http.get(f"{MANIFESTS}/all").headers["Content-Type"] == OCI_INDEX
    assert client.http.get(f"{MANIFESTS}/{child['digest']}").json() == value


def test_a_manifest_inside_an_index_is_found_though_nothing_else_names_it(client: Client, layout: Layout) -> None:
    value = client.manifest()
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, child["digest"])
    client.push_manifest(index(child), "all", media_type=OCI_INDEX)
    layout.unrecord(next(desc for desc in layout.manifests() if str(desc.digest) == child["digest"]))

    answer = client.http.get(f"{MANIFESTS}/{child['digest']}")

    assert answer.json() == value


def test_a_manifest_of_an_index_that_is_here_stays(client: Client) -> None:
    value = client.manifest()
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, "1.2")
    whole = client.push_manifest(index(child), "all", media_type=OCI_INDEX).headers["Docker-Content-Digest"]

    early = client.http.delete(f"{MANIFESTS}/{child['digest']}")
    client.http.delete(f"{MANIFESTS}/{whole}")
    late = client.http.delete(f"{MANIFESTS}/{child['digest']}")

    assert codes(early) == ["UNSUPPORTED"]
    assert early.status_code == 405
    assert late.status_code == 202
    assert client.http.get(f"{MANIFESTS}/1.2").status_code == 404


def test_a_manifest_that_an_index_of_another_repository_needs_loses_its_tags_only(client: Client) -> None:
    value = client.manifest()
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, "1.2")
    client.push_manifest(index(child), "all", "team/other", media_type=OCI_INDEX)

    answer = client.http.delete(f"{MANIFESTS}/{child['digest']}")

    assert answer.status_code == 202
    assert client.http.get(f"{MANIFESTS}/1.2").status_code == 404
    assert client.http.get(f"/v2/team/other/manifests/{child['digest']}").json() == value


def test_the_answer_to_a_referrer_names_its_subject(client: Client) -> None:
    subject = descriptor(b"some kit", OCI_MANIFEST)

    answer = client.push_manifest(client.manifest(subject=subject), "signature")

    assert answer.headers["OCI-Subject"] == subject["digest"]


def test_a_tag_can_be_moved_and_the_old_digest_stays(client: Client) -> None:
    old = client.push_kit("latest", text="one")
    new = client.push_kit("latest", text="two")

    assert client.http.head(f"{MANIFESTS}/latest").headers["Docker-Content-Digest"] == new
    assert client.http.get(f"{MANIFESTS}/{old}").status_code == 200


def test_deleting_a_tag_leaves_the_manifest(client: Client) -> None:
    digest = client.push_kit("1.2")
    client.push_kit("1.3")

    answer = client.http.delete(f"{MANIFESTS}/1.2")

    assert answer.status_code == 202
    assert client.http.get(f"{MANIFESTS}/1.2").status_code == 404
    assert client.http.get(f"{MANIFESTS}/1.3").status_code == 200
    assert client.http.delete(f"{MANIFESTS}/1.3").status_code == 202
    assert client.http.get(f"{MANIFESTS}/{digest}").status_code == 200


def test_deleting_a_manifest_takes_its_tags_in_this_repository(client: Client) -> None:
    digest = client.push_kit("1.2")
    client.push_kit("1.3")
    client.push_kit("1.2", "other/digits")

    answer = client.http.delete(f"{MANIFESTS}/{digest}")

    assert answer.status_code == 202
    assert client.http.get(f"{MANIFESTS}/1.2").status_code == 404
    assert client.http.get(f"{MANIFESTS}/1.3").status_code == 404
    assert client.http.get("/v2/other/digits/manifests/1.2").headers["Docker-Content-Digest"] == digest


def test_a_deleted_manifest_is_gone(client: Client, layout: Layout) -> None:
    digest = client.push_kit("1.2")

    client.http.delete(f"{MANIFESTS}/{digest}")

    assert client.http.get(f"{MANIFESTS}/{digest}").status_code == 404
    assert client.http.delete(f"{MANIFESTS}/{digest}").status_code == 404
    assert layout.manifests() == ()


def test_a_damaged_manifest_is_never_served(client: Client, layout: Layout) -> None:
    digest = client.push_kit("1.2")
    file = layout.root / "blobs" / Path(*digest.split(":"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)

    answer = client.http.get(f"{MANIFESTS}/1.2")

    assert answer.status_code == 500
    assert codes(answer) == ["UNKNOWN"]
    assert str(layout.root) not in answer.text


def test_a_method_or_path_that_the_protocol_does_not_have_is_unsupported(client: Client) -> None:
    for answer, status in (
        (client.http.patch(f"{MANIFESTS}/1.2"), 405),
        (client.http.get("/v2/team/digits/nothing"), 404),
        (client.http.get("/"), 404),
    ):
        assert answer.status_code == status
        assert codes(answer) == ["UNSUPPORTED"]


def test_the_manifest_a_kit_needs_can_be_any_value(client: Client) -> None:
    more: dict[str, Any] = {"annotations": {"a": "ä\u2028"}, "artifactType": "application/vnd.example"}

    digest = client.push_kit("odd", **more)

    assert client.http.get(f"{MANIFESTS}/{digest}").json()["annotations"] == more["annotations"]
