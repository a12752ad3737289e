"""The schemas of policies, of settings and of KitOps' Kitfiles, against the programs that read these files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.packing.trees import DATA
from tests.support.schemas import SCHEMAS
from tests.trust.policies import policy

from mlkit.api.settings import load_settings
from mlkit.errors import UsageError
from mlkit.spec.kitfile import parse_kitfile

ROOT = Path(__file__).parents[2]


def accepts(name: str, value: object) -> bool:
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema).is_valid(value)


POLICY = """
version: 1
keys: {alice: {file: alice.pub, not_before: 2026-01-01, revoked: false}, bob: {file: bob.pub, revoked: "2026-05-01"}}
rules:
  - scope: registry.example/team/**
    require:
      - {type: signature, keys: [alice, bob], threshold: 2}
      - {predicateType: slsaprovenance1, keys: [alice], max_age: 2w}
      - {scan: clean, max_age: 90d}
      - {checks: passed}
    serialization: {allow: [safetensors], deny: [pickle]}
    licenses: [MIT]
    not_older_than: 2026-02-01T00:00:00Z
  - {scope: a/b, level: skip}
"""


def test_a_policy_that_mlkit_reads_fits_the_schema() -> None:
    policy(POLICY)
    value = yaml.safe_load(re.sub(r"(: )(20\d\d-[0-9T:Z-]+)", r'\1"\2"', POLICY))

    assert accepts("policy-v1.json", value)


@pytest.mark.parametrize(
    "text",
    [
        "version: 2\nrules: [{scope: a, licenses: [MIT]}]",
        "version: 1\nrules: [{scope: a, lisences: [MIT]}]",
        "version: 1\nrules: [{scope: a, level: off, licenses: [MIT]}]",
        "version: 1\nrules: [{licenses: [MIT]}]",
        "version: 1\nkeys: {a: {fil: x}}\nrules: [{scope: a, licenses: [MIT]}]",
        "version: 1\nrules: [{scope: a, serialization: {allow: [pickel]}}]",
        "version: 1\nrules: [{scope: a, require: [{scan: dirty, keys: [a]}]}]",
        "version: 1\nrules: [{scope: a, require: [{type: signature, keys: [a], threshold: 0}]}]",
        "version: 1\nrules: [{scope: a, require: [{type: signature, keys: [a], max_age: 3y}]}]",
        "version: 1\n",
    ],
)
def test_the_schema_refuses_what_no_policy_may_say(text: str) -> None:
    with pytest.raises(UsageError):
        policy(text)

    assert not accepts("policy-v1.json", yaml.safe_load(text))


def test_settings_that_mlkit_reads_fit_the_schema(tmp_path: Path) -> None:
    text = """
home = "/srv/mlkit"
plain_http_hosts = ["loopback"]
ca_files = "/a.pem,/b.pem"
concurrency = 8
limit_rate = "20M"
ranges = 4
retry_budget = 60
progress = "plain"
insecure = false
policy = "/etc/mlkit/policy.yaml"
trusted_keys = ["alice.pub"]
on_promote = ["systemctl", "restart", "digits"]
[limits]
ratio = 500
max_size = "20G"
[registries."registry.example"]
mirrors = ["https://mirror.example"]
mirror_tags = true
"""
    folder = tmp_path / ".config/mlkit"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)
    load_settings({"HOME": str(tmp_path)}, tmp_path)

    assert accepts("config-v1.json", tomllib.loads(text))
    for page in (ROOT / "docs").rglob("*.md"):
        for block in re.findall(r"```toml\n(# ~/\.config/mlkit/config\.toml\n.*?)```", page.read_text(), re.DOTALL):
            assert accepts("config-v1.json", tomllib.loads(block)), page


@pytest.mark.parametrize(
    "text",
    [
        'polcy = "x"',
        "concurrency = 65",
        'ranges = "many"',
        "retry_budget = -1",
        'progress = "loud"',
        '[registries."x"]\nmirror = []',
        "home = 1",
        "[limits]\nratoi = 5",
        'on_promote = ["", "x"]',
    ],
)
def test_the_schema_refuses_what_no_setting_may_be(text: str, tmp_path: Path) -> None:
    folder = tmp_path / ".config/mlkit"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)
    with pytest.raises(UsageError):
        load_settings({"HOME": str(tmp_path)}, tmp_path)

    assert not accepts("config-v1.json", tomllib.loads(text))


def test_the_variables_of_the_environment_are_in_no_file() -> None:
    assert not accepts("config-v1.json", {"registry_host": ["x"]})


CASES = sorted((DATA / "kitfile-cases").glob("*.yaml")) if DATA.is_dir() else []


@pytest.mark.skipif(not CASES, reason="the cases of KitOps are not at hand")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_kitfiles_of_kitops_fit_the_schema_of_the_subset(path: Path) -> None:
    found = list(kitfiles(yaml.safe_load(path.read_text(encoding="utf-8"))))

    assert found
    for kitfile in found:
        assert accepts("kitops-kitfile-v1.json", kitfile)
        assert accepts("kitfile-v1.json", kitfile)


def kitfiles(case: Any) -> Iterator[Any]:
    """A case has one Kitfile, or several kits that have one each."""
    for key, value in case.items() if isinstance(case, dict) else enumerate(case):
        if key == "kitfile":
            yield yaml.safe_load(value)
        elif isinstance(value, dict | list):
            yield from kitfiles(value)


@pytest.mark.parametrize(
    "text",
    [
        "parameters: [{path: p}]",
        "deployment: [{path: d}]",
        "inputs: [{role: run, uri: x}]",
        "checks: [{name: c, run: [x]}]",
        "datasets: [{path: d, version: '2'}]",
        "code: [{path: d, name: x}]",
        "model: {path: m, parts: [{path: p, version: '1'}]}",
    ],
)
def test_what_is_mlkits_own_is_not_in_the_subset(text: str) -> None:
    parse_kitfile(text.encode())

    assert accepts("kitfile-v1.json", yaml.safe_load(text))
    assert not accepts("kitops-kitfile-v1.json", yaml.safe_load(text))
