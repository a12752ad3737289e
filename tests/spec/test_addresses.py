"""Addresses that go into kits: what is left of them, so that no kit carries a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.spec.addresses import public_address


@pytest.mark.parametrize(
    ("uri", "left"),
    [
        ("https://ada:secret@host/x?token=1#f", "https://host/x"),
        ("HTTPS://token@Host:8443/x", "https://Host:8443/x"),
        ("s3://key:secret@bucket/x?X-Amz-Signature=1", "s3://bucket/x"),
        ("gs://bucket/x?token=1", "gs://bucket/x"),
        ("//ada:secret@host/x", "//host/x"),
        ("https://ada:se@cret@host/x", "https://host/x"),
        ("postgresql://ada:secret@host/db?sslmode=require", "postgresql://host/db?sslmode=require"),
        ("git@example.com:org/repository", "git@example.com:org/repository"),
        ("mlflow://run/1", "mlflow://run/1"),
        ("file:///data/x", "file:///data/x"),
    ],
)
def test_an_address_is_left_without_what_is_secret(uri: str, left: str) -> None:
    assert public_address(uri) == left


@pytest.mark.parametrize(
    "uri", ["http://[::1", "https:/ada:secret@host/x", "https:ada:secret@host/x", "s3:key:secret@bucket"]
)
def test_of_what_is_no_uri_nothing_is_left(uri: str) -> None:
    assert public_address(uri) is None


@given(
    scheme=st.sampled_from(["https", "http", "s3", "gs"]),
    slashes=st.sampled_from(["", "/", "//", "///", "\\\\"]),
    before=st.sampled_from(["ada:", ""]),
    after=st.sampled_from(["", "/x", "?a=b", "#f", ":80/x"]),
)
def test_whatever_the_slashes_no_password_before_the_host_is_left(
    scheme: str, slashes: str, before: str, after: str
) -> None:
    assert "PASSWORD" not in (public_address(f"{scheme}:{slashes}{before}PASSWORD@host{after}") or "")
