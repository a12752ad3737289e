from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.errors import UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference, check_host, check_tag, is_repository, is_tag

DIGEST = Digest.of(b"kit")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("host/../x:tag", id="dots that climb"),
        pytest.param("host.example/../x:tag", id="dots that climb after a host"),
        pytest.param("registry.example/Team/digits", id="upper-case repository"),
        pytest.param("Digits:1", id="upper-case repository without a host"),
        pytest.param("repo:", id="empty tag"),
        pytest.param("repo@", id="empty digest"),
        pytest.param("repo@sha256:abc", id="short digest"),
        pytest.param("repo@latest", id="a tag for a digest"),
        pytest.param("repo:a:b", id="two tags"),
        pytest.param("a" * 256, id="256 characters of repository"),
        pytest.param("registry.example/" + "a/" * 600 + "b", id="a long path"),
        pytest.param("régistry.example/x", id="a letter that is not ASCII"),
        pytest.param("r\N{CYRILLIC SMALL LETTER IE}gistry.example/x", id="a Cyrillic letter that looks Latin"),
        pytest.param(
            "registry.example/d\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}gits",
            id="such a letter in the repository",
        ),
        pytest.param("repo:1٣", id="a digit that is not ASCII"),
        pytest.param("host:99999/x", id="port out of range"),
        pytest.param("host:0/x", id="port 0"),
        pytest.param("host:/x", id="empty port"),
        pytest.param("host:80a/x", id="port that is no number"),
        pytest.param("user:pw@host.example/x", id="credentials"),
        pytest.param("http://registry.example/x", id="a scheme"),
        pytest.param("oci://registry.example/x", id="another scheme"),
        pytest.param("registry.example/x?y#z", id="query and fragment"),
        pytest.param("registry.example/x:1\n", id="trailing newline"),
        pytest.param("registry.example\n/x", id="newline in the host"),
        pytest.param("-repo", id="leading dash"),
        pytest.param("-registry.example/x", id="leading dash of a host"),
        pytest.param("/repo", id="no host before the slash"),
        pytest.param("registry.example/", id="no repository"),
        pytest.param("registry.example//x", id="empty component"),
        pytest.param("repo/", id="trailing slash"),
        pytest.param("a..b/x", id="empty label"),
        pytest.param("[::1/x", id="a bracket without its pair"),
        pytest.param("a b", id="white space"),
        pytest.param("repo:t\0", id="NUL"),
        pytest.param("repo\\x", id="backslash"),
        pytest.param("%2e%2e/x.y/z", id="percent-encoded"),
        pytest.param("", id="empty"),
    ],
)
def test_c01_what_is_no_reference_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)

    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param("a" * 129, id="129 characters"),
        pytest.param(f"sha256-{DIGEST.hex}", id="the referrers tag"),
        pytest.param(f"sha256-{DIGEST.hex}.sig", id="a cosign signature"),
        pytest.param(f"sha256-{DIGEST.hex}.att", id="a cosign attestation"),
        pytest.param(f"sha512-{'0' * 128}", id="the referrers tag of a sha512"),
        pytest.param(".sig", id="leading dot"),
        pytest.param("-1", id="leading dash"),
        pytest.param("1+cuda", id="a plus"),
        pytest.param("", id="empty"),
    ],
)
def test_c05_a_tag_that_is_none_or_is_kept_for_signatures_is_refused(tag: str) -> None:
    with pytest.raises(UsageError):
        check_tag(tag)
    with pytest.raises(UsageError):
        Reference.parse(f"team/digits:{tag}")
    with pytest.raises(UsageError):
        Reference.parse("team/digits").with_tag(tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", Reference(None, "digits")),
        ("digits:1.2", Reference(None, "digits", "1.2")),
        ("team/digits:1.2", Reference(None, "team/digits", "1.2")),
        ("localhost/digits", Reference("localhost", "digits")),
        ("localhost:5000/team/digits:v1", Reference("localhost:5000", "team/digits", "v1")),
        ("registry.example/digits", Reference("registry.example", "digits")),
        ("Registry.Example/digits", Reference("registry.example", "digits")),
        ("host:443/digits", Reference("host:443", "digits")),
        ("127.0.0.1:5000/a__b/c--d.e:_x", Reference("127.0.0.1:5000", "a__b/c--d.e", "_x")),
        ("[::1]:5000/x", Reference("[::1]:5000", "x")),
        (f"digits@{DIGEST}", Reference(None, "digits", None, DIGEST)),
        (f"registry.example/digits:1@{DIGEST}", Reference("registry.example", "digits", "1", DIGEST)),
        ("digits:" + "a" * 128, Reference(None, "digits", "a" * 128)),
    ],
)
def test_each_part_of_a_reference_is_found(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


def test_the_digest_wins_over_the_tag_and_latest_is_the_default() -> None:
    assert Reference.parse(f"digits:1@{DIGEST}").target == str(DIGEST)
    assert Reference.parse("digits:1").target == "1"
    assert Reference.parse("digits").target == "latest"


def test_names_in_the_local_store_keep_host_and_tag() -> None:
    assert Reference.parse("registry.example/team/digits:1.2").local_name == "registry.example/team/digits:1.2"
    assert Reference.parse("digits").local_name == "digits:latest"
    assert Reference.parse("localhost:5000/digits:1").name == "localhost:5000/digits"


def test_several_tags_are_read_in_order_and_once_each() -> None:
    reference, tags = Reference.parse_tags("team/digits:1.2,latest,1.2")

    assert reference == Reference(None, "team/digits", "1.2")
    assert tags == ("1.2", "latest")


def test_several_tags_are_refused_where_one_is_meant() -> None:
    with pytest.raises(UsageError, match="several tags"):
        Reference.parse("digits:1,2")


@pytest.mark.parametrize("text", ["digits:1,", "digits:,1", "digits:1,-2", "digits:1, 2"])
def test_each_of_several_tags_must_be_a_tag(text: str) -> None:
    with pytest.raises(UsageError, match="is not a tag"):
        Reference.parse_tags(text)


def test_a_reference_is_moved_to_another_tag_or_pinned() -> None:
    pinned = Reference.parse("digits:1").with_digest(DIGEST)

    assert str(pinned) == f"digits:1@{DIGEST}"
    assert str(pinned.with_tag("2")) == "digits:2"


@pytest.mark.parametrize(("text", "is_one"), [("latest", True), ("a" * 129, False), ("", False), ("a\n", False)])
def test_tags_are_told_from_other_text(text: str, is_one: bool) -> None:
    assert is_tag(text) is is_one


@pytest.mark.parametrize(("text", "is_one"), [("a/b", True), ("a" * 256, False), ("../a", False), ("a\n", False)])
def test_repositories_are_told_from_other_text(text: str, is_one: bool) -> None:
    assert is_repository(text) is is_one


@pytest.mark.parametrize("text", ["", "a b", "host:port", "host:65536", "a/b", "x" * 64, "[::1", "host\n"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a registry host"):
        check_host(text)


@given(st.text("abAB01./:@-_,[]", max_size=40))
def test_the_text_of_a_reference_parses_to_it(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        return

    assert Reference.parse(str(reference)) == reference
