"""Token servers that a registry may name: which are taken, and what is said of the others."""

from __future__ import annotations

import httpx
import pytest

from mlkit.errors import AuthError
from mlkit.registry.origin import Origin
from mlkit.registry.realm import checked_realm, may_see_credentials

REGISTRY = Origin("https", "registry.example", 443)
PLAIN = Origin("http", "registry.example", 5000)
NEAR = Origin("http", "localhost", 5000)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no URL, or one that is too long"),
        ("", "no URL, or one that is too long"),
        ("https://registry.example/" + "x" * (2049 - 25), "no URL, or one that is too long"),
        ("https://[", "expected an absolute https URL"),
        ("ftp://registry.example/", "expected an absolute https URL"),
        ("/token", "expected an absolute https URL"),
        ("https://registry.example:0x/", "not a URL"),
        ("http://registry.example/", "a password would travel unencrypted (expected https)"),
        ("https://ada:lovelace@registry.example/", "it holds credentials"),
        ("https://ada@registry.example/", "it holds credentials"),
        ("https://10.0.0.1/", "it lies in a private network"),
        ("https://localhost/", "it lies in a private network"),
    ],
)
def test_what_is_no_token_server_is_told_with_why(text: str | None, why: str) -> None:
    with pytest.raises(AuthError) as refused:
        checked_realm(text, REGISTRY)

    shown = ascii((text or "")[:100])
    assert refused.value.message == f"registry.example: its token server {shown} is refused: {why}"


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("https://registry.example/" + "x" * (2048 - 25), REGISTRY),
        ("https://auth.elsewhere.example/token?x=1", REGISTRY),
        ("http://registry.example/token", PLAIN),
        ("https://registry.example/token", PLAIN),
        ("http://auth.elsewhere.example/token", PLAIN),
        ("http://127.0.0.1:5001/token", NEAR),
        ("https://10.0.0.1/token", Origin("https", "10.0.0.1", 443)),
    ],
    ids=["the longest", "of another domain", "plain", "better than plain", "plain elsewhere", "loopback", "its own"],
)
def test_a_token_server_is_taken_as_it_is(text: str, registry: Origin) -> None:
    assert str(checked_realm(text, registry)) == text


def test_loopback_is_near_to_loopback_alone() -> None:
    for registry, realm in ((PLAIN, "http://localhost/token"), (NEAR, "http://10.0.0.1/token")):
        with pytest.raises(AuthError, match="private network"):
            checked_realm(realm, registry)
    assert checked_realm("http://auth.elsewhere.example/token", NEAR).host == "auth.elsewhere.example"


def test_a_redirect_is_relative_to_where_it_came_from_and_has_no_fragment() -> None:
    base = httpx.URL("https://auth.registry.example/a/token?x=1")

    assert str(checked_realm("../b#top", REGISTRY, base=base)) == "https://auth.registry.example/b"
    assert str(checked_realm("https://other.example/c", REGISTRY, base=base)) == "https://other.example/c"


@pytest.mark.parametrize(
    ("registry", "realm", "sees"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry-1.docker.io", "login.docker.com", False),
        ("registry.example.com.", "auth.example.com", True),
        (".example.com", "auth.example.com", True),
        ("example.com", "auth.example.com", True),
        ("a.b.example.com", "c.example.com", True),
        ("a.co.uk", "b.a.co.uk", True),
        ("co.uk", "a.co.uk", False),
        ("azurecr.io", "azurecr.io", True),
        ("azurecr.io", "one.azurecr.io", False),
        ("x.one.azurecr.io", "y.one.azurecr.io", False),
        ("notazurecr.io", "x.notazurecr.io", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "10.0.0.1", False),
        ("8.8.8.8", "8.8.8.8", True),
        ("8.8.8.8", "9.8.8.8", False),
        ("8.8.8.8", "x.8.8", False),
        ("one", "two", False),
    ],
)
def test_who_sees_a_password(registry: str, realm: str, sees: bool) -> None:
    assert may_see_credentials(Origin("https", realm, 443), Origin("https", registry, 443)) is sees
