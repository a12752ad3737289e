"""What refers to a manifest: by the referrers API, or by an index under a tag where a registry has none.

OCI distribution, "Listing Referrers" and "Referrers Tag Schema". Entries of either are hints: who refers to what is
read from each referrer's own manifest (cosign 2.5.0 writes wrong artifact types into the index).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mlkit.content.storage import Broken
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError
from mlkit.registry.auth import Scope
from mlkit.registry.manifests import Manifests, is_manifest
from mlkit.registry.tagging import SETTLING
from mlkit.registry.tags import pages
from mlkit.registry.wire import Call, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.limits import raised_by
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import OCI_INDEX

# What registries say that have no referrers API: the specification's 404, and what their routers make of the path.
_NO_API = frozenset({400, 404, 405, 501})
_RACES = 5


class Referrers:
    """Thread-safe."""

    def __init__(self, wire: Wire, repository: str, manifests: Manifests) -> None:
        self._wire = wire
        self._repository = repository
        self._manifests = manifests
        self._name = f"{wire.host}/{repository}"
        self._entering = threading.Lock()

    def of(self, desc: Descriptor, artifact_type: str | None, broken: Broken | None = None) -> Iterator[Descriptor]:
        """The referrers of `desc`, each fetched and found to name it; `broken` is told of those that cannot be read.

        Raises: LimitError; IntegrityError for one that cannot be read, where nobody is told.
        """
        limit = self._wire.limits.referrers
        for number, listed in enumerate(self._listed(desc.digest)):
            if number >= limit:
                raise LimitError(
                    f"{self._name}@{desc.digest}: more than {limit} referrers", hint=raised_by("referrers")
                )
            if not is_manifest(listed):
                continue
            try:
                found = self._manifest(listed)
            except (IntegrityError, LimitError) as error:
                if broken is None:
                    raise
                broken(listed, error)
                continue
            if found is None or found.subject is None or found.subject.digest != desc.digest:
                continue
            entry = _entry(found, listed)
            if artifact_type is None or entry.artifact_type == artifact_type:
                yield entry

    def enter(self, subject: Descriptor, manifest: Manifest | Index) -> None:
        """Enter a referrer into the index under the subject's tag, as whoever pushes it must.

        Raises: ConflictError where others keep writing the same index; IntegrityError where the tag is no index.
        """
        tag = referrers_tag(subject.digest)
        entry = _entry(manifest, manifest.descriptor)
        with self._entering:
            for _ in range(_RACES):
                entries, condition = self._tagged(tag)
                if entry.digest in {known.digest for known in entries}:
                    return
                with suppress(ConflictError):
                    self._write(tag, (*entries, entry), condition)
                # Most registries heed no condition. Whoever read the list before we wrote it has written over it by
                # the time that we look again, so that time must not be nothing.
                self._wire.policy.sleep(SETTLING + self._wire.policy.wait(1))
        raise ConflictError(
            f"{self._name}:{tag}: others keep writing the list of referrers", hint="try again when they have finished"
        )

    def _listed(self, digest: Digest) -> Iterator[Descriptor]:
        what = f"{self._name}@{digest}: referrers"
        url = self._wire.url(f"{self._repository}/referrers/{digest}")
        call = Call("GET", url, Scope(self._repository), what, {"Accept": OCI_INDEX})
        try:
            for headers, raw in pages(self._wire, call, absent=_NO_API):
                content_type = headers.get("Content-Type", "").partition(";")[0].strip()
                # Some registries answer any unknown path with a friendly page.
                if content_type != OCI_INDEX:
                    break
                yield from _index(raw, what)
            else:
                return
        except NotFoundError:
            pass
        yield from self._tagged(referrers_tag(digest))[0]

    def _tagged(self, tag: str) -> tuple[tuple[Descriptor, ...], dict[str, str]]:
        """The entries of the index under a tag, none where there is no such tag, and the condition for replacing it."""
        answer = self._manifests.get(tag)
        if answer is None:
            return (), {"If-None-Match": "*"}
        etag = answer.headers.get("ETag")
        return _index(answer.raw, f"{self._name}:{tag}"), {"If-Match": etag} if etag else {}

    def _manifest(self, listed: Descriptor) -> Manifest | Index | None:
        try:
            found = self._manifests.resolve(str(listed.digest))
            return parse_manifest(self._manifests.raw(found), media_type=found.media_type, what=str(listed.digest))
        except NotFoundError:
            return None  # deleted, and still listed

    def _write(self, tag: str, entries: tuple[Descriptor, ...], condition: dict[str, str]) -> None:
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry.render() for entry in entries],
        }
        raw = render_json(value)
        self._manifests.put(Descriptor.of(raw, OCI_INDEX), raw, tag, condition=condition)


def referrers_tag(digest: Digest) -> str:
    """The tag under which the referrers of a digest are listed."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def _index(raw: bytes, what: str) -> tuple[Descriptor, ...]:
    index = parse_manifest(raw, media_type=OCI_INDEX, what=what)
    if not isinstance(index, Index):
        raise IntegrityError(f"{what}: not an index")
    return index.manifests


def _entry(manifest: Manifest | Index, listed: Descriptor) -> Descriptor:
    """A descriptor that tells what the manifest itself says: artifact type, else the config's type, and annotations."""
    artifact_type = manifest.artifact_type
    if artifact_type is None and isinstance(manifest, Manifest):
        artifact_type = manifest.config.media_type
    return Descriptor(
        manifest.descriptor.media_type, listed.digest, len(manifest.raw), manifest.annotations, artifact_type
    )
