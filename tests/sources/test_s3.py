"""Objects in S3-compatible storage, against a server."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.s3_server import CREDENTIALS, s3_server

from mlkit.errors import AuthError, DigestMismatch, IntegrityError, NetworkError, NotFoundError, UsageError
from mlkit.sources.s3 import Network, Place, _file_system, find_object
from mlkit.spec.digest import Digest

DIRECT = Network({})
CONTENT = os.urandom((9 << 20) + 17)
"""More than is asked for at once."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def storage(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the server with a bucket of its own, and the environment that leads mlkit there."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="data")
    client.put_object(Bucket="data", Key="train/a b.parquet", Body=CONTENT)
    return client


def etag_of(storage: Any, key: str = "train/a b.parquet") -> str:
    return str(storage.head_object(Bucket="data", Key=key)["ETag"])


URL = "s3://data/train/a%20b.parquet"


@pytest.mark.parametrize("bare", [False, True], ids=["quoted", "bare"])
def test_an_object_is_read_whole_when_its_etag_is_the_pinned_one(storage: Any, bare: bool) -> None:
    etag = etag_of(storage)
    sink, counts = io.BytesIO(), []

    found = find_object(URL, etag.strip('"') if bare else etag, DIRECT)
    found.write(sink, counts.append)

    assert (found.size, found.place.name) == (len(CONTENT), "a b.parquet")
    assert sink.getvalue() == CONTENT
    assert sum(counts) == len(CONTENT)
    assert max(counts) <= 1 << 20, "no more than a piece is in memory"


def test_an_object_is_read_when_its_digest_is_the_pinned_one(storage: Any) -> None:
    sink = io.BytesIO()

    find_object(URL, f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", DIRECT).write(sink, lambda _: None)

    assert sink.getvalue() == CONTENT


def test_a_disk_that_is_full_is_no_failure_of_the_network(storage: Any) -> None:
    class Full:
        def write(self, content: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        find_object(URL, etag_of(storage), DIRECT).write(Full(), lambda _: None)


def test_other_bytes_than_the_pinned_ones_are_refused(storage: Any) -> None:
    found = find_object(URL, str(Digest.of(b"others")), DIRECT)

    with pytest.raises(DigestMismatch, match="expected sha256"):
        found.write(io.BytesIO(), lambda _: None)


def test_an_object_of_another_etag_is_refused_before_it_is_read(storage: Any) -> None:
    with pytest.raises(IntegrityError, match=r"ETag is .*expected '0123'"):
        find_object(URL, "0123", DIRECT)


def test_an_object_that_is_replaced_after_the_look_is_refused(storage: Any) -> None:
    found = find_object(URL, etag_of(storage), DIRECT)
    storage.put_object(Bucket="data", Key="train/a b.parquet", Body=b"short")

    with pytest.raises(IntegrityError):
        found.write(io.BytesIO(), lambda _: None)


@pytest.mark.parametrize("pin", [None, ""])
def test_an_object_that_nobody_pinned_is_refused(pin: str | None) -> None:
    with pytest.raises(IntegrityError, match="remoteHash"):
        find_object(URL, pin, DIRECT)


@pytest.mark.parametrize("url", ["s3://data/none", "s3://none/none"])
def test_what_is_not_there_is_not_found(storage: Any, url: str) -> None:
    with pytest.raises(NotFoundError, match="no such object"):
        find_object(url, "0123", DIRECT)


def test_a_prefix_of_objects_is_no_object(storage: Any) -> None:
    with pytest.raises(NotFoundError, match="a prefix"):
        find_object("s3://data/train", "0123", DIRECT)


def test_a_server_that_is_away_is_a_failure_of_the_network(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(NetworkError, match="s3://data"):
        find_object(URL, "0123", DIRECT)


def test_without_credentials_the_error_says_where_they_come_from(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(AuthError) as caught:
        find_object(URL, "0123", DIRECT)

    assert caught.value.hint is not None
    assert "AWS_PROFILE" in caught.value.hint


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(UsageError) as caught:
        find_object(URL, "0123", DIRECT)

    assert caught.value.hint == "pip install 'mlkit[s3]'"


def test_a_host_that_a_kit_names_is_shown_no_credentials(storage: Any) -> None:
    of_the_user = _file_system(Place.parse(URL), DIRECT)
    of_the_kit = _file_system(Place.parse("https://elsewhere.example/data/key"), DIRECT)

    assert (of_the_user.anon, of_the_user.endpoint_url) == (False, None)
    assert (of_the_kit.anon, of_the_kit.endpoint_url) == (True, "https://elsewhere.example")


@pytest.mark.parametrize(
    ("url", "endpoint", "bucket", "key"),
    [
        ("s3://data/a/b.csv", None, "data", "a/b.csv"),
        ("https://minio.example:9000/data/a/b.csv", "https://minio.example:9000", "data", "a/b.csv"),
        ("https://s3.example/data/a%20b", "https://s3.example", "data", "a b"),
    ],
)
def test_urls_are_read(url: str, endpoint: str | None, bucket: str, key: str) -> None:
    assert Place.parse(url) == Place(url, endpoint, bucket, key)


@pytest.mark.parametrize(
    "url",
    [
        "s3://data",
        "s3://data/",
        "s3:///key",
        "s3://data/folder/",
        "http://host/data/key",
        "https://host/data",
        "https://user:secret@host/data/key",
        "https://host/data/key?X-Amz-Signature=secret",
        "s3://data/key#part",
        "https://host:99999/data/key",
        "file:///etc/passwd",
        "s3://data/" + "x" * 3000,
    ],
)
def test_what_is_no_url_of_an_object_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Place.parse(url)
