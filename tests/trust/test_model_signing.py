from __future__ import annotations

from typing import Any

import pytest

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest
from mlkit.spec.statement import MODEL_SIGNING, Statement, Subject, parse_statement, render_statement
from mlkit.trust.model_signing import files_of, is_ignored, predicate_of, statement_of

KIT = Digest.of(b"kit")
FILES = {name: Digest.of(name.encode()) for name in ("sub-x", "sub/b", "a.txt", ".gitignore", "sub/.gitignore")}


def statement(**more: Any) -> Statement:
    return statement_of({**predicate_of(FILES), **more}, name="digits", kit=KIT, created="2026-01-01T00:00:00Z")


def test_a_statement_names_its_kit_and_lists_its_files_in_the_order_of_their_paths() -> None:
    found = parse_statement(render_statement(statement()))

    assert found.names(KIT)
    assert not found.names(Digest.of(b"another"))
    assert list(files_of(found)) == ["a.txt", "sub/.gitignore", "sub/b", "sub-x"]
    assert is_ignored(".gitignore", found)
    assert is_ignored(".git/config", found)
    assert not is_ignored("sub/.gitignore", found)
    # The digest that the reference program gives for these files (see tests/interop/test_model_signing.py).
    digests = b"".join(bytes.fromhex(digest.hex) for digest in files_of(found).values())
    assert found.subjects[0].digest == Digest.of(digests)


def test_only_a_statement_of_model_signing_may_name_its_kit_beside_its_subject() -> None:
    other = Statement((Subject("x", Digest.of(b"x"), {"dev.mlkit.kit.digest": str(KIT)}),), "urn:other", {})

    assert not other.names(KIT)


def test_a_digest_of_another_kind_cannot_be_said() -> None:
    with pytest.raises(IntegrityError, match="wants sha256"):
        predicate_of({"a": Digest.parse("sha512:" + "0" * 128)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resources": None}, "not a list"),
        ({"resources": [7]}, "is no name of a file"),
        ({"resources": [{"name": "", "algorithm": "sha256", "digest": "0" * 64}]}, "is no name"),
        ({"resources": [{"name": "a", "algorithm": "blake2b", "digest": "0" * 64}]}, "is not sha256"),
        ({"resources": [{"name": "a", "algorithm": "sha256", "digest": "0" * 63}]}, "digest"),
        ({"resources": [{"name": "a", "algorithm": "sha256", "digest": "0" * 64}] * 2}, "is there twice"),
        ({"serialization": {"method": "shards"}}, "'shards' is not supported"),
        ({"serialization": None}, "is not supported"),
    ],
)
def test_a_predicate_that_is_none_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        statement(**change)


def test_a_statement_that_contradicts_itself_is_refused() -> None:
    honest = statement()
    predicate = dict(honest.predicate)
    predicate["resources"] = list(reversed(predicate["resources"]))

    for subjects in ((Subject("x", KIT),), (*honest.subjects, *honest.subjects), ()):
        with pytest.raises(IntegrityError, match="the subject is not the digest"):
            files_of(Statement(subjects, MODEL_SIGNING, honest.predicate))
    with pytest.raises(IntegrityError, match="the subject is not the digest"):
        files_of(Statement(honest.subjects, MODEL_SIGNING, predicate))
