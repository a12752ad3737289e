"""What is left of a text of unknown origin when its secrets are gone."""

from __future__ import annotations

import httpx
import pytest

from mlkit.registry.redaction import Secrets, printable, shown_url, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Basic YWRhOmxvdmVsYWNl", "Authorization: Basic ***"),
        ("{'authorization': 'Bearer eyJhbGciOi.eyJ.x-_'}", "{'authorization': 'Bearer ***'}"),
        ("at https://ada:p%40ss@a.example:5000/v2/", "at https://***@a.example:5000/v2/"),
        ("'https://a.example/x?digest=sha256:ab&sig=c2VjcmV0'", "'https://a.example/x?digest=sha256:ab&sig=***'"),
        ("https://a.example/x?X-Amz-Signature=1&n=5 and more", "https://a.example/x?X-Amz-Signature=***&n=5 and more"),
        ("it is s3cret, the s3cret", "it is ***, the ***"),
        ("basic usage; ada@a.example; a?b", "basic usage; ada@a.example; a?b"),
        ("nothing to hide: KeyError('size')", "nothing to hide: KeyError('size')"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text, ["s3cret", None, ""]) == shown


def test_signatures_in_a_url_are_remembered_and_short_values_are_not() -> None:
    secrets = Secrets()

    secrets.add_url(
        httpx.URL("https://s3.example/x?X-Amz-Signature=0123456789abcdef&X-Amz-Expires=1200&digest=sha256:abcdef")
    )

    assert secrets.hide("0123456789abcdef 1200 sha256:abcdef") == "*** 1200 sha256:abcdef"


def test_a_url_is_shown_without_what_could_be_secret() -> None:
    url = httpx.URL("https://user:pass@host.example:8443/v2/a?sig=1&digest=sha256:ab&X-Amz-Signature=2&n=5#frag")

    assert shown_url(url) == "https://host.example:8443/v2/a?sig=***&digest=sha256:ab&X-Amz-Signature=***&n=5"


def test_short_words_are_no_secrets() -> None:
    secrets = Secrets()
    secrets.add("abc")
    secrets.add(None)
    secrets.add("abcdefgh")
    secrets.add("abcd")

    assert secrets.hide("abc abcd abcdefgh") == "abc *** ***"


def test_long_text_is_cut() -> None:
    assert printable("x" * 20, limit=10) == "xxxxxxx..."
