"""The page about what runs where: read as text, and looked at through a real browser."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlkit.release.page import render_page
from mlkit.release.state import ChannelState, LastCheck, RepositoryState, differences_of
from mlkit.spec.digest import Digest
from mlkit.spec.release import EntryVersion, EvidenceRef, Release

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script> & "quotes" \x1b[31m \u202egnp.exe'


def release(channel: str, version: str, *, action: str = "promote", model: str = "6", sequence: int = 2) -> Release:
    return Release(
        repository="team/digits",
        channel=channel,
        action=action,  # type: ignore[arg-type]
        sequence=sequence,
        previous=Digest.of(b"before"),
        to=Digest.of(version.encode()),
        from_=None,
        at="2026-03-03T09:30:00Z",
        by="ci@runner-7",
        message="trained on the data of February",
        version=version,
        entries=(EntryVersion("model", "net", model), EntryVersion("datasets[0]", "train", "2")),
        evidence=(EvidenceRef("signature", Digest.of(b"s"), ("ci",)), EvidenceRef("checks", Digest.of(b"c"), ("ci",))),
        reason="https://digits.example/health answered 503" if action == "rollback" else None,
    )


def state(channel: str, last: Release, **more: object) -> ChannelState:
    values: dict[str, object] = {
        "digest": last.to,
        "record": Digest.of(b"r"),
        "is_signed": True,
        "signed_by": ("ci",),
        "mark": None,
        "drift": None,
        "problem": None,
        "recent": (last,),
    }
    return ChannelState(channel=channel, release=last, **{**values, **more})  # type: ignore[arg-type]


def page() -> str:
    production = state("production", release("production", "1.2", action="rollback", model="6"))
    staging = state("staging", release("staging", "1.3", model="7"), mark="bad", drift="the tag is gone", digest=None)
    hostile = Release(
        "team/x", HOSTILE, "promote", 1, None, Digest.of(b"x"), None, "2026-03-05T11:59:30Z", HOSTILE, HOSTILE
    )
    return render_page(
        [
            RepositoryState(
                "registry.example/team/digits", (production, staging), differences_of((production, staging))
            ),
            RepositoryState("registry.example/team/x", (state("canary", hostile, is_signed=False, signed_by=()),), ()),
            RepositoryState("registry.example/team/gone", (), (), "no such repository"),
        ],
        now=NOW,
    )


class Reader(HTMLParser):
    """What stands on a page, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("br", "meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_says_what_runs_where_and_loads_nothing() -> None:
    read = Reader(page())

    assert read.open == []
    assert read.links == []
    assert "script" not in read.tags
    for words in ("production", "1.2", "2 days ago", "signature by ci", "marked bad", "not where its history says"):
        assert words in read.words
    assert "answered 503" in read.words
    assert "3 repositories, 3 channels, 1 not where its history says" in read.words
    assert "no such repository" in read.words
    assert "url(" not in page()
    assert "default-src 'none'" in page()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"check": LastCheck(False, "2026-03-04T08:00:00Z", ("ci",), Digest.of(b"f"))}, "last check failed 2026-03-04"),
        ({"check": LastCheck(True, None, (), Digest.of(b"f"))}, "last check passed"),
        ({"check_problem": "no route"}, "whether its last check passed cannot be had: no route"),
        ({}, "no result of its checks counts today"),
    ],
    ids=["failed", "passed", "unreadable", "gone"],
)
def test_the_page_says_what_the_checks_say_today_beside_what_they_said_that_day(
    more: dict[str, object], told: str
) -> None:
    text = render_page(
        [RepositoryState("team/digits", (state("production", release("production", "1.2"), **more),), ())], now=NOW
    )

    words = Reader(text).words
    assert told in words
    assert "promoted with checks by ci" in words
    assert not re.search(r'badge good">(promoted|checks)', text)


def test_text_from_outside_is_text_on_the_page() -> None:
    text = page()

    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "alert(1)" in Reader(text).words


def test_the_same_states_give_the_same_page() -> None:
    assert page() == page()


BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


def browse(folder: Path, *arguments: str, width: int = 1100) -> subprocess.CompletedProcess[str]:
    """Open the page in a browser of its own, without a network."""
    if BROWSER is None:
        pytest.skip("no chromium is installed")
    file = folder / "status.html"
    file.write_text(page(), encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1400",
        *arguments,
        file.as_uri(),
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        pytest.skip("the browser does not answer on this machine")


def test_a_real_browser_draws_the_page(tmp_path: Path) -> None:
    picture = tmp_path / "status.png"

    done = browse(tmp_path, f"--screenshot={picture}")

    assert picture.exists(), done.stderr[-1000:]
    width, height, rows = _png(picture.read_bytes())
    assert (width, height) == (1100, 1400)
    assert len(set(rows)) > 300, "most lines of the picture are not alike"


def test_a_real_browser_finds_the_words_and_runs_nothing(tmp_path: Path) -> None:
    done = browse(tmp_path, "--dump-dom")

    assert "What runs where" in done.stdout, done.stderr[-1000:]
    assert "1.3" in done.stdout
    assert not re.search(r"<script", done.stdout)


def _png(raw: bytes) -> tuple[int, int, list[bytes]]:
    """Size and filtered lines of a PNG (RFC 2083), without a package for pictures."""
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", raw[16:24])
    position, packed = 8, b""
    while position < len(raw):
        (length,) = struct.unpack(">I", raw[position : position + 4])
        if raw[position + 4 : position + 8] == b"IDAT":
            packed += raw[position + 8 : position + 8 + length]
        position += 12 + length
    lines = zlib.decompress(packed)
    size = len(lines) // height
    return width, height, [lines[start : start + size] for start in range(0, len(lines), size)]
