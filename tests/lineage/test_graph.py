from __future__ import annotations

import pytest

from mlkit.errors import UsageError
from mlkit.lineage.graph import Node, NodeKind, Standing, node_of_reference, node_of_uri, unpinned, weakest
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

DIGEST = Digest.of(b"poison")


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("https://huggingface.co/datasets/org/name", "hf://datasets/org/name"),
        ("https://huggingface.co/org/name/tree/abc123/sub", "hf://org/name@abc123"),
        ("hf://org/Name@abc", "hf://org/Name@abc"),
        ("hf://gpt2@abc", "hf://gpt2@abc"),
        ("git@github.com:team/repo.git", "git+ssh://github.com/team/repo"),
        ("git+https://user:secret@GitHub.com/team/repo.git@c0ffee", "git+https://github.com/team/repo@c0ffee"),
        ("HTTPS://Data.Example:443/a/B/", "https://data.example/a/B"),
        ("s3://Bucket/key?X-Amz-Signature=secret", "s3://Bucket/key"),
        ("dvc+md5:D41D8CD98F00B204E9800998ECF8427E.dir", "md5:d41d8cd98f00b204e9800998ecf8427e.dir"),
        ("d41d8cd98f00b204e9800998ecf8427e", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        ("s3://key:secret@Bucket/x", "s3://Bucket/x"),
        (str(DIGEST), str(DIGEST)),
        ("a plain name", "a plain name"),
        ("https://[broken/x", "https://[broken/x"),
    ],
)
def test_one_thing_has_one_key_however_it_was_written(written: str, key: str) -> None:
    assert node_of_uri(written).key == key


@pytest.mark.parametrize("written", ["", "  ", "s3://a\x1b[2Jb", "a\nb"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(UsageError):
        node_of_uri(written)


def test_an_endless_address_keeps_its_identity_in_a_bounded_key() -> None:
    one, other = node_of_uri("s3://b/" + "a" * 100_000), node_of_uri("s3://b/" + "a" * 99_999)

    assert len(one.key) <= 2048
    assert one != other


@pytest.mark.parametrize(
    ("key", "without"),
    [
        ("hf://org/name@abc", "hf://org/name"),
        ("hf://datasets/org/name@abc", "hf://datasets/org/name"),
        ("git+https://host/repo@c0ffee#sub", "git+https://host/repo#sub"),
        ("hf://org/name", None),
        ("s3://bucket/a@b", None),
    ],
)
def test_a_revision_can_be_left_out(key: str, without: str | None) -> None:
    found = unpinned(Node(key, NodeKind.URI))

    assert (found.key if found else None) == without


def test_a_reference_with_a_digest_is_the_kit_and_one_without_is_a_name() -> None:
    pinned = node_of_reference(Reference.parse(f"host.example/a/b:1@{DIGEST}"))

    assert pinned.key == str(DIGEST)
    assert pinned.digest == DIGEST
    assert node_of_reference(Reference.parse("host.example/a/b")).key == "oci://host.example/a/b:latest"


def test_a_chain_is_worth_as_much_as_its_weakest_link() -> None:
    assert weakest([Standing.PROVED, Standing.INFERRED, Standing.STATED]) is Standing.INFERRED
    assert weakest([]) is Standing.PROVED
