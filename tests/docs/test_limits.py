"""The page of limits says what the limits are, and every one of them has a test at it and one past it."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pytest
from tests.support.reference_docs import ROOT

from mlkit.archive.headers import safetensors
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.content import graph, referrers
from mlkit.packing import kit, plan
from mlkit.registry import auth, challenge, failures, http1, wire
from mlkit.spec import bundle, dsse, json_text, kit_document, manifest, yaml_text

PAGE = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8")


def kib(size: int) -> str:
    """`64 KiB`, `4 MiB`, `1 GiB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    raise AssertionError(size)


ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "manifests, indexes, configs, signatures": (
        f"{kib(json_text.MANIFEST_LIMIT)}, {json_text._DEPTH_LIMIT} levels",
        ("tests/spec/test_edges.py::test_json_of_4_mib_and_64_levels_is_read_and_no_more",),
    ),
    "Kitfile, policy, settings": (
        f"{kib(yaml_text.TEXT_LIMIT)}, {yaml_text.DEPTH_LIMIT} levels, {yaml_text.NODE_LIMIT:,} values",
        ("tests/spec/test_edges.py::test_yaml_at_a_limit_is_read_and_past_it_is_not",),
    ),
    "kit document": (
        kib(kit_document.DOCUMENT_LIMIT),
        ("tests/spec/test_edges.py::test_a_kit_document_of_64_mib_is_read_and_no_more",),
    ),
    "layers of a manifest, kits of an index": (
        f"{manifest.LAYER_LIMIT:,}",
        ("tests/spec/test_edges.py::test_4096_layers_or_manifests_are_read_and_no_more",),
    ),
    "layers of a kit that mlkit packs": (
        f"{plan.LAYER_LIMIT:,}",
        ("tests/packing/test_plan.py::test_the_limit_counts_the_kit_document",),
    ),
    "indexes inside indexes": (
        f"{graph.DEPTH_LIMIT}",
        ("tests/content/test_graph.py::test_indexes_may_be_nested_four_deep_and_no_deeper",),
    ),
    "kit references in a chain": (
        f"{kit.CHAIN_LIMIT}",
        ("tests/api/test_remotes.py::test_a_chain_of_ten_is_packed_and_no_longer_one",),
    ),
    "referrers of referrers": (
        f"{referrers.DEPTH_LIMIT}",
        ("tests/content/test_referrers.py::test_a_chain_of_referrers_without_end_is_refused",),
    ),
    "signatures in one envelope": (
        f"{dsse.SIGNATURE_LIMIT}",
        ("tests/spec/test_edges.py::test_an_envelope_of_64_signatures_is_read_and_no_more",),
    ),
    "answers with a token, or an error": (
        kib(auth.TOKEN_LIMIT),
        (
            "tests/registry/test_token_exchange.py::test_a_token_as_large_as_may_be_is_taken",
            "tests/registry/test_token_exchange.py::test_an_answer_without_a_token_is_told",
            "tests/registry/test_failures.py::test_an_error_of_64_kib_is_read_and_no_more",
        ),
    ),
    "headers of an answer": (
        f"{http1._HEADER_COUNT}, {kib(http1._HEAD_LIMIT)}",
        ("tests/registry/test_http1.py::test_a_head_at_the_limits_is_read_and_a_byte_or_a_header_more_is_not",),
    ),
    "challenges of an answer": (
        kib(challenge._LIMIT),
        ("tests/registry/test_challenge.py::test_a_challenge_of_8_kib_is_read_and_no_more",),
    ),
    "redirects": (
        f"{wire._HOPS}",
        (
            "tests/registry/test_wire.py::test_five_redirects_of_a_blob_are_followed",
            "tests/registry/test_wire.py::test_a_sixth_redirect_and_a_loop_are_refused",
            "tests/registry/test_token_exchange.py::test_five_redirects_are_followed_and_not_six",
        ),
    ),
    "header of safetensors": (
        f"{safetensors.HEADER_LIMIT // 10**6} MB",
        ("tests/archive/test_header_checks.py::test_a_header_of_safetensors_has_at_most_what_its_own_library_reads",),
    ),
}
"""Rows of the table of what is fixed: the limit as the code has it, and the tests at it and past it."""

SETTABLE = {
    "scan_members": (
        "tests/trust/scan/test_edges.py::test_65535_members_are_looked_at_and_no_more",
        "tests/api/test_scanning.py::test_archives_are_scanned_as_far_as_the_settings_say",
    ),
    "scan_bytes": (
        "tests/trust/scan/test_edges.py::test_one_gibibyte_is_expanded_and_no_more",
        "tests/api/test_scanning.py::test_archives_are_scanned_as_far_as_the_settings_say",
    ),
    "referrers": (
        "tests/registry/test_referrers.py::test_referrers_without_end_are_refused",
        "tests/content/test_referrers.py::test_more_referrers_than_anyone_needs_are_refused",
    ),
    "statements": (
        "tests/api/test_evidence.py::test_as_many_statements_are_looked_at_as_the_setting_says",
        "tests/trust/test_attached.py::test_as_many_older_signatures_are_read_as_the_limit_says",
    ),
    "pages": ("tests/registry/test_tags.py::test_pages_beyond_the_limit_are_not_asked_for",),
    "tags": (
        "tests/registry/test_tags.py::test_there_are_not_more_than_so_many_tags",
        "tests/registry/test_catalog.py::test_a_catalog_without_end_is_refused",
    ),
}
"""Limits of lists and scans; those of archives have their cases in tests/archive/test_limits.py, which counts them."""


def test_every_limit_that_can_be_set_is_on_the_page_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE))

    expected = {field.name: str(getattr(DEFAULT_LIMITS, field.name)) for field in fields(Limits)}
    assert {**told, "max_size": "None"} == expected


def test_every_limit_that_is_fixed_is_on_the_page_as_the_code_has_it_with_a_reason() -> None:
    table = PAGE.split("## Documents and answers", 1)[1]
    rows = re.findall(r"^\| ([^|`]+?) \| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)[1:]

    assert {what: limit for what, limit, _ in rows} == {what: limit for what, (limit, _) in ROWS.items()}
    assert all(len(why) > 5 for _, _, why in rows)


def test_what_shares_a_row_has_one_limit() -> None:
    assert bundle.BUNDLE_LIMIT == json_text.MANIFEST_LIMIT
    assert failures.ERROR_LIMIT == auth.TOKEN_LIMIT


@pytest.mark.parametrize("what", [*ROWS, *SETTABLE])
def test_every_limit_has_a_test_at_it_and_one_past_it(what: str) -> None:
    for named in SETTABLE[what] if what in SETTABLE else ROWS[what][1]:
        path, _, name = named.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))

        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, named
