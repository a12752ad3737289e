"""Reports: nothing from outside is markup, nothing is loaded, and a browser shows them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.support.facts import KEY, Filled, base, dataset, digest, kit
from tests.support.tools import find_tool

from mlkit.lineage.ask import Subject
from mlkit.lineage.facts import ReleaseFacts
from mlkit.lineage.picture import picture
from mlkit.lineage.report import Report, View, render_report_csv, render_report_json
from mlkit.lineage.report_page import render_report_page

HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J\u202e=cmd()"


class Page(HTMLParser):
    """What a reader of HTML finds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def all(self, name: str) -> list[str]:
        return [value or "" for found, value in self.attributes if found == name]


def report(filled: Filled, view: View = View.PCI, kits: int = 3) -> Report:
    filled.add(
        kit("data", holds={"train.csv": "datasets"}, signed_by=[KEY]),
        kit("direct", holds={"train.csv": "datasets", "w": "model"}),
        kit("hostile", holds={"train.csv": "datasets", HOSTILE: "model"}, title=HOSTILE),
        *(
            kit(f"m{n}", holds={f"w{n}": "model"}, inputs=[dataset("data") if n % 5 == 0 else base(f"m{n - 1}")])
            for n in range(kits)
        ),
    )
    moved = ReleaseFacts("production", 1, "promote", digest("m0"), None, "2026-01-02T03:04:05Z", HOSTILE, digest("r"))
    filled.index.write_releases(filled.place, [moved])
    filled.finish()
    questions = filled.questions(KEY)
    asked = Subject(HOSTILE, {str(digest("m2" if view is View.AI_ACT else "train.csv")): "found/train.csv"})
    answer = questions.inputs(asked) if view is View.AI_ACT else questions.trained_on(asked)
    return Report(view, answer, questions.deployed(asked), "mlkit lineage audit train.csv", "0.1.0")


@pytest.mark.parametrize("view", View)
def test_nothing_from_outside_is_markup(in_sqlite: Filled, view: View) -> None:
    text = render_report_page(report(in_sqlite, view))

    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert {"svg", "table", "section"} <= set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]


def test_nothing_is_loaded_and_the_policy_allows_nothing_but_its_own_style(in_sqlite: Filled) -> None:
    text = render_report_page(report(in_sqlite))

    page = Page(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    told = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{told}'" in text
    assert page.all("src") == []
    assert {href[0] for href in page.all("href")} == {"#"}
    assert "url(" not in style[1]


def test_every_link_of_the_page_leads_somewhere_on_it(in_sqlite: Filled) -> None:
    page = Page(render_report_page(report(in_sqlite)))

    assert {href[1:] for href in page.all("href")} <= set(page.all("id"))
    assert len(page.all("id")) == len(set(page.all("id")))


def test_the_page_says_what_it_is_about_and_what_it_cannot_say(in_sqlite: Filled) -> None:
    text = render_report_page(report(in_sqlite))

    for told in ("Answer", "Where the data lies", "Where it ran", "Picture", "Limits", "How to ask again", "proved"):
        assert told in text
    assert str(digest("train.csv")) in text
    assert "host.example" in text
    assert "2026-01-02T03:04:05Z" in text


def test_the_view_for_the_ai_act_lists_training_data_and_what_is_missing(in_sqlite: Filled) -> None:
    text = render_report_page(report(in_sqlite, View.AI_ACT))

    assert "Annex IV" in text
    assert str(digest("train.csv")) in text
    assert "for the provider to write" in text


def test_a_report_without_hits_never_says_none(in_sqlite: Filled) -> None:
    questions = in_sqlite.finish().questions()
    asked = Subject("x", {str(digest("x")): None})
    text = render_report_page(Report(View.DATA, questions.trained_on(asked), questions.deployed(asked), "x", "0"))

    assert "Nothing was found in what was scanned" in text
    assert "not the same as none" in text


def test_a_spreadsheet_takes_no_cell_for_a_formula(in_sqlite: Filled) -> None:
    in_sqlite.add(kit("k", holds={"=cmd()": "datasets", "train.csv": "datasets"}, title="@sum"))
    answer = in_sqlite.questions().trained_on(Subject("x", {str(digest("=cmd()")): "=cmd()"}))

    rows = list(csv.DictReader(io.StringIO(render_report_csv(Report(View.DATA, answer, None, "x", "0")))))

    assert {row["name"] for row in rows} == {"'=cmd()"}
    assert {row["kit"] for row in rows} == {str(digest("k"))}


def test_the_json_of_a_report_has_everything(in_sqlite: Filled) -> None:
    found = report(in_sqlite)

    value = json.loads(render_report_json(found))

    assert value["answer"]["asked"] == HOSTILE
    assert len(value["answer"]["hits"]) == sum(value["counts"].values()) == 6
    assert value["deployed"]["deployments"][0]["channel"] == "production"


def test_a_picture_is_bounded_and_says_so(in_sqlite: Filled) -> None:
    found = report(in_sqlite, kits=700)

    svg, left_out = picture(found.answer, {})

    assert svg.count("<rect") == 500
    assert left_out > 0
    heights = [float(y) for y in re.findall(r'<rect x="320" y="([0-9.]+)"', svg)]
    assert heights == sorted(set(heights)), "no two boxes of a column overlap"


def test_a_browser_shows_the_page_and_runs_nothing(in_sqlite: Filled, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_report_page(report(in_sqlite, kits=40)), encoding="utf-8")

    dom = browse(tmp_path, "--dump-dom").stdout
    browse(tmp_path, f"--screenshot={tmp_path / 'shot.png'}", "--window-size=1200,1600")
    browse(tmp_path, f"--print-to-pdf={tmp_path / 'report.pdf'}", "--no-pdf-header-footer")

    assert dom.count(b'class="hit"') == 43
    assert b"<script" not in dom
    colours = rows_of(tmp_path / "shot.png")
    assert len(set(colours)) > 100, "the page is not empty, nor one thing repeated"
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Open the report in a real browser."""
    chromium = find_tool("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", *quiet]
    profile = f"--user-data-dir={folder / 'profile'}"
    return subprocess.run(
        [*command, profile, *arguments, (folder / "report.html").as_uri()], check=True, capture_output=True, timeout=120
    )


def rows_of(path: Path) -> list[bytes]:
    """The rows of a PNG as they were compressed; enough to tell an empty page."""
    raw = path.read_bytes()
    width, _ = struct.unpack(">II", raw[16:24])
    channels = {2: 3, 6: 4}[raw[25]]
    content, at = b"", 8
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        if raw[at + 4 : at + 8] == b"IDAT":
            content += raw[at + 8 : at + 8 + size]
        at += size + 12
    pixels = zlib.decompress(content)
    length = 1 + width * channels
    return [pixels[start : start + length] for start in range(0, len(pixels), length)]
