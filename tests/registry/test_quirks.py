"""The table of registries, and what it makes of hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.content.contract import blob
from tests.registry.conftest import Connect

from mlkit.content.places import Places
from mlkit.errors import UsageError
from mlkit.registry.memory import Memory
from mlkit.registry.quirks import QUIRKS, quirks_of


@pytest.mark.parametrize("host", ["ghcr.io", "gcr.io", "eu.gcr.io", "europe-docker.pkg.dev", "public.ecr.aws",
                                  "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443", "GHCR.io",
                                  "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com"])  # fmt: skip
def test_some_registries_take_blobs_only_whole(host: str, connect: Connect) -> None:
    assert not quirks_of(host).is_chunked
    with pytest.raises(UsageError, match="only whole"):
        connect(host).repository("a").ingest()


@pytest.mark.parametrize(
    "host", ["registry.example", "notgcr.io.example", "quay.io", "localhost:5000", "registry-1.docker.io", "xghcr.io"]
)
def test_other_registries_take_chunks(host: str) -> None:
    assert quirks_of(host).is_chunked


def test_no_host_is_two_registries() -> None:
    names = [quirks.name for quirks in QUIRKS]

    assert len(set(names)) == len(names)
    for host in ("ghcr.io", "gcr.io", "x-docker.pkg.dev", "1.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws",
                 "docker.io", "quay.io"):  # fmt: skip
        assert len([quirks for quirks in QUIRKS if quirks.hosts and quirks.hosts.fullmatch(host)]) == 1, host


def test_a_registry_that_grants_no_mounts_is_not_asked(connect: Connect, tmp_path: Path) -> None:
    places = Places(tmp_path / "seen.sqlite")
    places.saw("https://public.ecr.aws", "b", [blob(b"x").digest])
    log: list[str] = []

    store = connect("public.ecr.aws", memory=Memory(places=places), plain_http=False, log=log.append).repository("a")

    assert not store.mount(blob(b"x"))
    assert log == []
    places.close()
