"""The pages about settings and networks against the settings themselves."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.reference_docs import ROOT

from mlkit.api.settings import load_settings
from mlkit.cli.options import Network


def _toml_blocks(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_every_setting_has_its_line() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}

    assert rows == set(load_settings({}, Path("/")).sources)
    assert set(Network().overrides) <= rows


def test_the_defaults_are_the_ones_that_the_page_says() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    settings = load_settings({}, Path("/"))

    told = dict(re.findall(r"^\| `(\w+)` \| `([^`/]+)` \|", page, re.MULTILINE))
    assert told == {name: str(getattr(settings, name)).lower() for name in told}
    assert {"concurrency", "retry_budget", "ranges"} <= set(told)


def test_the_mirrors_of_the_page_are_mirrors(tmp_path: Path) -> None:
    (block,) = _toml_blocks("docs/how-to/networks.md")
    config = tmp_path / ".config/mlkit/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(block)

    registries = load_settings({"HOME": str(tmp_path)}, tmp_path / "x").registries

    assert registries["registry.example"].urls == ("https://mirror.example/cache", "http://127.0.0.1:30020")
    assert registries["docker.io"].urls == ("https://mirror.example/hub",)
