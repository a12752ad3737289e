from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlkit.archive.ignore import (
    ALWAYS_IGNORED,
    DEFAULT_IGNORES,
    MAX_PATTERNS,
    MAX_RULES_SIZE,
    SECRET_PATTERNS,
    IgnoreRules,
)
from mlkit.errors import LimitError, UsageError

_CASE = Path(__file__).parent / "data/pack-ignores-basic.yaml"
_DEFAULTS = IgnoreRules.parse("", before=(*DEFAULT_IGNORES, *SECRET_PATTERNS), after=ALWAYS_IGNORED)


def _ignored(text: str, *paths: str) -> list[str]:
    rules = IgnoreRules.parse(text)
    return [path for path in paths if rules.ignored(path, False)]


def test_the_case_of_kitops_comes_out_as_there() -> None:
    case = yaml.safe_load(_CASE.read_text())
    rules = IgnoreRules.parse(case["kitignore"], before=(*DEFAULT_IGNORES, *SECRET_PATTERNS), after=ALWAYS_IGNORED)

    assert [path for path in case["files"] if rules.ignored(path, False)] == []
    assert [path for path in case["ignored"] if not rules.ignored(path, False)] == []


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("/a", "a", True),
        ("a/", "a", True),
        ("./a/../b", "b", True),
        ("*", "a", True),
        ("*", "a/b", True),
        ("*.md", "x.md", True),
        ("*.md", "d/x.md", False),
        ("**/*.md", "x.md", True),
        ("**/*.md", "d/e/x.md", True),
        ("**.md", "d/e/x.md", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/c", False),
        ("**", "a/b", True),
        ("**/a/**", "x/a/y", True),
        ("**/a/**", "x/a", False),
        ("a*b", "a/b", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[^a-c]x", "dx", True),
        ("[!a-c]x", "ax", False),
        ("[]]x", "]x", True),
        ("[a-]x", "-x", True),
        ("[\\]]x", "]x", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("\\!a", "!a", True),
        ("\\#a", "#a", True),
        ("#a", "#a", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "abb", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "axbxcx", False),
        ("*[ab]*c", "xxbxc", True),
        ("..", "a", False),
        ("../a", "a", False),
        (".", "a", False),
        ("/", "a", False),
        ("  a  ", "a", True),
        ("a\r", "a", True),
        ("\ufeffa", "a", True),
        ("a.b", "axb", False),
        ("a+(b)|$", "a+(b)|$", True),
        ("*\n!a", "a", False),
        ("*\n!a", "b", True),
        ("!a\n*", "a", True),
        ("d\n!d/keep", "d/keep", False),
        ("d\n!d/keep", "d/drop", True),
        ("d\n!d", "d/x", False),
        ("d\n!d/e\nd/e/f", "d/e/f", True),
        ("d\n!d/e\nd/e/f", "d/e/g", False),
        ("**/*.md\n!dir5/not.md", "dir5/not.md", False),
    ],
)
def test_patterns_mean_what_they_mean_in_a_dockerignore(text: str, path: str, expected: bool) -> None:
    assert IgnoreRules.parse(text).ignored(path, False) is expected


@pytest.mark.parametrize("text", ["!", "a\n!  ", "[a", "a[", "[^]", "[b-a]", "a\\"])
def test_a_pattern_that_cannot_be_read_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(UsageError, match=rf"\.kitignore, line {text.count(chr(10)) + 1}"):
        IgnoreRules.parse(text)


def test_a_directory_is_entered_only_where_something_may_come_back() -> None:
    rules = IgnoreRules.parse("data\nlogs\n!data/keep/one.txt\n!*/deep/*.txt\ncache\n")

    assert not rules.ignored("data", True)
    assert not rules.ignored("data/keep", True)
    assert rules.ignored("data/other", True)
    assert not rules.ignored("logs", True)
    assert not rules.ignored("logs/deep", True)
    assert rules.ignored("logs/flat", True)
    assert rules.ignored("cache", True)
    assert not rules.ignored("src", True)


def test_an_exception_reaches_into_default_junk_only_by_name() -> None:
    rules = IgnoreRules.parse("!**/*.md\n!.venv/keep.cfg\n!**/.tox/log", before=DEFAULT_IGNORES)

    assert rules.ignored(".git", True)
    assert rules.ignored("node_modules/x/README.md", False)
    assert not rules.ignored(".venv", True)
    assert not rules.ignored(".venv/keep.cfg", False)
    assert rules.ignored(".venv/lib.md", False)
    assert not rules.ignored("a/.tox/log", False)
    assert not rules.ignored("docs/x.md", False)


def test_what_describes_the_kit_is_ignored_at_the_root_whatever_the_rules_say() -> None:
    rules = IgnoreRules.parse("!Kitfile\n!**", after=ALWAYS_IGNORED)

    assert [rules.ignored(name, False) for name in ALWAYS_IGNORED] == [True] * 4
    assert not rules.ignored("sub/Kitfile", False)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "app/.env.production",
        "prod.env",
        "deploy/prod/db.env",
        "id_rsa",
        "keys/id_ed25519.bak",
        "tls/server.key",
        "tls/server.pem",
        "tls/server-cert-key.pem",
        ".netrc",
        ".aws/credentials",
        ".npmrc",
        ".pypirc",
        ".cache/huggingface/token",
        ".huggingface/token",
        ".docker/config.json",
        "kubeconfig",
        ".kube/config",
        ".ssh/known_hosts",
        "x.p12",
    ],
)
def test_what_looks_like_a_credential_is_left_out_with_a_reason(path: str) -> None:
    assert _DEFAULTS.ignored(path, False)
    assert SECRET_PATTERNS[_DEFAULTS.decided_by(path) or ""]


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "deploy/example.env",
        "model.partial.safetensors",
        "data/set.tar.part",
        "w.tmp",
        "parts/template.json",
        "id_rsa.pub",
        "tls/ca.pem",
        "tls/cacert.pem",
        "fullchain.pem",
        "jwt-public-key.pem",
        "tokenizer.json",
        "config.json",
        "model.key.safetensors",
        "environment.yaml",
        "token_embedding.bin",
        ".gitignore",
        "venv.md",
    ],
)
def test_what_is_no_credential_and_no_junk_is_kept(path: str) -> None:
    assert not _DEFAULTS.ignored(path, False)


@pytest.mark.parametrize(
    "path", [".git/config", "a/__pycache__/x.pyc", ".DS_Store", ".ipynb_checkpoints/a.ipynb", "a.py~", "b/.c.swp"]
)
def test_junk_is_left_out_without_being_called_a_secret(path: str) -> None:
    assert _DEFAULTS.ignored(path, False)
    assert _DEFAULTS.decided_by(path) not in SECRET_PATTERNS


def test_the_user_can_take_a_default_back() -> None:
    rules = IgnoreRules.parse("!tls/server.pem\n!.env", before=(*DEFAULT_IGNORES, *SECRET_PATTERNS))

    assert not rules.ignored("tls/server.pem", False)
    assert not rules.ignored(".env", False)
    assert rules.decided_by(".env") == ".env"
    assert rules.decided_by("src/x.py") is None


def _dockerignore(lines: list[str], path: str) -> bool:
    """What Docker does, slowly: every pattern as a regular expression, against the path and all above it."""
    parts = path.split("/")
    candidates = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    ignored = False
    for line in lines:
        pattern = line.removeprefix("!")
        regex = ""
        position = 0
        while position < len(pattern):
            if pattern.startswith("**/", position):
                regex, position = regex + "(.*/)?", position + 3
            elif pattern.startswith("**", position):
                regex, position = regex + ".*", position + 2
            elif pattern[position] == "*":
                regex, position = regex + "[^/]*", position + 1
            elif pattern[position] == "?":
                regex, position = regex + "[^/]", position + 1
            else:
                regex, position = regex + re.escape(pattern[position]), position + 1
        if any(re.fullmatch(regex, candidate) for candidate in candidates):
            ignored = not line.startswith("!")
    return ignored


_PART = st.one_of(st.just("**"), st.text("ab?*", min_size=1, max_size=4).filter(lambda text: "**" not in text))
_LINE = st.builds(
    lambda bang, parts: bang + "/".join(parts), st.sampled_from(["", "", "!"]), st.lists(_PART, min_size=1, max_size=4)
).filter(lambda line: "**/**" not in line)
_PATH = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@given(st.lists(_LINE, max_size=5), st.lists(_PATH, min_size=1, max_size=5))
def test_any_rules_decide_as_docker_does(lines: list[str], paths: list[str]) -> None:
    rules = IgnoreRules.parse("\n".join(lines))

    for path in paths:
        assert rules.ignored(path, False) is _dockerignore(lines, path)
        # A directory that is not entered holds nothing that would be kept.
        parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
        if any(rules.ignored(parent, True) for parent in parents):
            assert rules.ignored(path, False)
        for above, below in pairwise(parents):
            assert not rules.ignored(above, True) or rules.ignored(below, True)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/".join(["**", "a"] * 500) + "/b", "/".join("a" * 60)),
        ("**/" * 20_000 + "b", "/".join("a" * 60)),
        ("*a" * 2_000 + "b", "a" * 250),
        ("a*" * 2_000 + "b", "a" * 250),
        ("*?" * 2_000, "a" * 250),
        ("*[ab]" * 2_000 + "c", "ab" * 120),
        ("\n".join(f"**/x{number}/**/y" for number in range(MAX_PATTERNS)), "/".join("a" * 60)),
        ("\n".join(f"x*{number}*" for number in range(300)), "a"),
        ("!" + "**/" * 1_000 + "a*a*a*a*a*b", "a" * 250),
        ("../../../etc/*\n../**/x\n..", "etc/x"),
    ],
    ids=[
        "stars-a",
        "stars",
        "star-a",
        "a-star",
        "star-any",
        "star-class",
        "many",
        "many-globs",
        "exception",
        "climbing",
    ],
)
def test_d10_hostile_rules_are_matched_in_linear_time(text: str, path: str) -> None:
    rules = IgnoreRules.parse(text)

    # A matcher that goes back would not come to an end within the timeout of the suite.
    assert not rules.ignored(path, False)


def test_rules_beyond_the_limits_are_refused() -> None:
    with pytest.raises(LimitError):
        IgnoreRules.parse("a\n" * (MAX_PATTERNS + 1))
    with pytest.raises(LimitError):
        IgnoreRules.parse("#" * (MAX_RULES_SIZE + 1))
