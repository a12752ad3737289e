"""Documents exactly at the limits of the formats, and one past them."""

from __future__ import annotations

import pytest
from tests.spec.test_dsse import SOUND
from tests.spec.test_manifest import BLOB, index_bytes, manifest_bytes

from mlkit.errors import LimitError
from mlkit.spec.dsse import SIGNATURE_LIMIT, envelope_of
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_json
from mlkit.spec.kit_document import DOCUMENT_LIMIT, KitDocument, parse_kit_document, render_kit_document
from mlkit.spec.manifest import LAYER_LIMIT, Index, Manifest, parse_manifest
from mlkit.spec.yaml_text import DEPTH_LIMIT, NODE_LIMIT, TEXT_LIMIT, read_yaml


def test_json_of_4_mib_and_64_levels_is_read_and_no_more() -> None:
    assert parse_json(b"1".ljust(MANIFEST_LIMIT), what="x") == 1
    assert isinstance(parse_json(b"[" * 64 + b"]" * 64, what="x"), list)
    for beyond in (b"1".ljust(MANIFEST_LIMIT + 1), b"[" * 65 + b"]" * 65):
        with pytest.raises(LimitError):
            parse_json(beyond, what="x")


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (b"a: 1\n".ljust(TEXT_LIMIT, b"#"), b"a: 1\n".ljust(TEXT_LIMIT + 1, b"#")),
        (b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT, b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1)),
        (b"[" + b"x," * (NODE_LIMIT - 1) + b"]", b"[" + b"x," * NODE_LIMIT + b"]"),
    ],
    ids=["bytes", "levels", "values"],
)
def test_yaml_at_a_limit_is_read_and_past_it_is_not(within: bytes, beyond: bytes) -> None:
    assert read_yaml(within, what="x").is_complete
    with pytest.raises(LimitError):
        read_yaml(beyond, what="x")


def test_a_kit_document_of_64_mib_is_read_and_no_more() -> None:
    raw = render_kit_document(KitDocument(kitfile="manifestVersion: 1.0.0\n"))

    assert parse_kit_document(raw.ljust(DOCUMENT_LIMIT)).kitfile == "manifestVersion: 1.0.0\n"
    with pytest.raises(LimitError):
        parse_kit_document(raw.ljust(DOCUMENT_LIMIT + 1))


def test_4096_layers_or_manifests_are_read_and_no_more() -> None:
    manifest = parse_manifest(manifest_bytes(layers=[BLOB] * LAYER_LIMIT))
    index = parse_manifest(index_bytes(manifests=[BLOB] * LAYER_LIMIT))

    assert isinstance(manifest, Manifest)
    assert isinstance(index, Index)
    assert (len(manifest.layers), len(index.manifests)) == (4096, 4096)
    for beyond in (
        manifest_bytes(layers=[BLOB] * (LAYER_LIMIT + 1)),
        index_bytes(manifests=[BLOB] * (LAYER_LIMIT + 1)),
    ):
        with pytest.raises(LimitError):
            parse_manifest(beyond)


def test_an_envelope_of_64_signatures_is_read_and_no_more() -> None:
    one = {"sig": "QQ=="}

    assert len(envelope_of({**SOUND, "signatures": [one] * SIGNATURE_LIMIT}, what="e").signatures) == 64
    with pytest.raises(LimitError):
        envelope_of({**SOUND, "signatures": [one] * (SIGNATURE_LIMIT + 1)}, what="e")
