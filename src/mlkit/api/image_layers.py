"""The layers of an image on their way to where the image goes: made while they are sent, and known the next time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mlkit.api.session import Session
from mlkit.content.copy import Mounter
from mlkit.content.layout import CONTROL
from mlkit.content.stat_cache import StatCache
from mlkit.content.storage import Ingestor, OnlyWhole, Storage, Taker
from mlkit.errors import IntegrityError
from mlkit.packing.jobs import Job, run_jobs
from mlkit.serving.image_archive import ImageArchive
from mlkit.serving.image_config import Appended
from mlkit.serving.image_layers import LayerContent, Moved, check_reused, digest_of, layer_chunks
from mlkit.serving.image_source import ImageSource
from mlkit.serving.image_tree import ImageLayer
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_json, render_json
from mlkit.spec.media_types import KIT_LAYER, OCI_LAYER

_FORM = 1
"""Of recipes: another one where the same recipe would give other bytes."""
_VALUE_LIMIT = 200  # bytes of a digest and a size in JSON
_HEADER_LIMIT = 8**11 - 1
"""Bytes of a layer that an archive can take without knowing its size beforehand."""


@dataclass(frozen=True, slots=True)
class MadeLayer:
    """A layer on top of the base."""

    path: str
    """What is in it: a path in the image, or a number of files."""
    digest: Digest
    size: int
    diff_id: Digest
    media_type: str
    kit_layer: Digest | None
    """The layer of the kit that it carries; None for one that carries several."""
    is_reused: bool
    """Whether it is that very layer, byte for byte."""
    is_sent: bool
    """Whether its bytes went out while it was made; the others go, or are there, once their digest is known."""

    @property
    def desc(self) -> Descriptor:
        annotations = {} if self.kit_layer is None else {KIT_LAYER: str(self.kit_layer)}
        return Descriptor(self.media_type, self.digest, self.size, annotations)

    @property
    def appended(self) -> Appended:
        """As the image's config tells of it."""
        comment = "" if self.kit_layer is None else f"layer {self.kit_layer} of the kit"
        return Appended(self.desc, self.diff_id, f"mlkit image build: {self.path}", comment)


class LayerMaker:
    """Finds the digests of layers, sending them on the way where nobody has them yet."""

    def __init__(
        self, session: Session, target: Storage, source: ImageSource, cache: StatCache, sizes: frozenset[int]
    ) -> None:
        self._session = session
        self._target = target
        self._source = source
        self._cache = cache
        self._sizes = sizes
        self._takes_unknown = isinstance(target, Ingestor)

    @classmethod
    @contextmanager
    def open(
        cls, session: Session, target: Storage, source: ImageSource, *, sizes: frozenset[int]
    ) -> Iterator[LayerMaker]:
        """`sizes`: of layers that the target has, so that one of that size is hashed before it is sent."""
        control = session.settings.home / CONTROL
        with suppress(OSError):  # without it nothing is remembered
            control.mkdir(parents=True, exist_ok=True)
        with StatCache.open(control / "image-layers.sqlite") as cache:
            yield cls(session, target, source, cache, sizes)

    def make(self, layers: Sequence[ImageLayer], repository: str | None) -> list[MadeLayer]:
        """Every layer, with its digest; those of unknown digest are in the target then, the others in the source.

        `repository`: of the target's registry, in which the kit's own layers are. Raises: what the stores raise;
        IntegrityError, UnsafeError for layers of the kit that are not what it says.
        """
        made: dict[int, MadeLayer] = {}
        jobs = []
        for number, layer in enumerate(layers):
            known = None if layer.is_reused else self._known(layer)
            if known is not None:
                made[number] = _made(layer, *known, is_sent=False)
            else:
                jobs.append(self._job(number, layer, made, repository))
        if jobs:
            is_file = isinstance(self._target, ImageArchive)
            run_jobs(jobs, 1 if is_file else self._session.settings.concurrency, self._session.progress)
        for number, layer in enumerate(layers):
            self._source.add_layer(made[number].digest, layer)
        return [made[number] for number in range(len(layers))]

    def _job(self, number: int, layer: ImageLayer, made: dict[int, MadeLayer], repository: str | None) -> Job:
        def write(moved: Moved) -> None:
            made[number] = self._reuse(layer, repository) if layer.is_reused else self._make(layer, moved)

        size = layer.size or sum(part.desc.size for part in layer.parts)
        return Job(f"layer {number}", layer.label, size, size, write)

    def _reuse(self, layer: ImageLayer, repository: str | None) -> MadeLayer:
        part = layer.parts[0]
        check_reused(part)
        assert part.diff_id is not None, "the layers of a kit whose files are known have their diffIDs"
        kind = OCI_LAYER if part.compression == "none" else f"{OCI_LAYER}+{part.compression}"
        desc = Descriptor(kind, part.desc.digest, part.desc.size)
        if repository is not None and isinstance(self._target, Mounter) and not self._target.exists(desc):
            self._target.mount(desc, repository)
        return MadeLayer(
            _told(layer), desc.digest, desc.size, part.diff_id, kind, desc.digest, is_reused=True, is_sent=False
        )

    def _make(self, layer: ImageLayer, moved: Moved) -> MadeLayer:
        is_sent = self._takes_unknown and not self._is_hashed_first(layer)
        if is_sent:
            try:
                digest, size = self._send(layer, moved)
            except OnlyWhole:
                self._takes_unknown = is_sent = False
        if not is_sent:
            digest, size = digest_of(layer, moved)
        if layer.size not in (None, size):
            raise IntegrityError(f"{_told(layer)}: {size} bytes were made (expected {layer.size})")
        self._remember(layer, digest, size)
        return _made(layer, digest, size, is_sent=is_sent)

    def _send(self, layer: ImageLayer, moved: Moved) -> tuple[Digest, int]:
        if isinstance(self._target, Taker) and layer.size is not None:
            return self._target.take(LayerContent(layer, is_verified=True, moved=moved), layer.size), layer.size
        assert isinstance(self._target, Ingestor), "asked before"
        with self._target.ingest() as writer:
            for chunk in layer_chunks(layer):
                writer.write(chunk)
                moved(len(chunk))
            return writer.commit()

    def _is_hashed_first(self, layer: ImageLayer) -> bool:
        """Where the target probably has it, reading it once is cheaper than sending it."""
        if isinstance(self._target, ImageArchive) and (layer.size is None or layer.size > _HEADER_LIMIT):
            return True
        return layer.size in self._sizes

    def _known(self, layer: ImageLayer) -> tuple[Digest, int] | None:
        key = _key(layer)
        raw = None if key is None else self._cache.get(key)
        if raw is None:
            return None
        try:
            digest, size = parse_json(raw, what="a cached layer", limit=_VALUE_LIMIT)
            known = Digest.parse(digest)
        except (IntegrityError, TypeError, ValueError):
            return None
        return (known, size) if type(size) is int and layer.size in (None, size) else None

    def _remember(self, layer: ImageLayer, digest: Digest, size: int) -> None:
        key = _key(layer)
        if key is not None:
            self._cache.put(key, render_json([str(digest), size]))
            # A build that is killed goes on after the last whole layer.
            self._cache.flush()


def _made(layer: ImageLayer, digest: Digest, size: int, *, is_sent: bool) -> MadeLayer:
    only = layer.parts[0].desc.digest if len(layer.parts) == 1 and not (layer.texts or layer.links) else None
    return MadeLayer(_told(layer), digest, size, digest, OCI_LAYER, only, is_reused=False, is_sent=is_sent)


def _told(layer: ImageLayer) -> str:
    """What people read of a layer, and what makes other programs see a model car in the image."""
    files = layer.known_files
    if len(files) == 1:
        return f"/{files[0].name}"
    folders = sorted({file.name.partition("/")[0] for file in files} or {part.path for part in layer.parts} or {"kit"})
    return f"{len(files)} files below " + " and ".join(f"/{folder}" for folder in folders)


def _key(layer: ImageLayer) -> bytes | None:
    recipe = layer.recipe
    return None if recipe is None else hashlib.sha256(render_json([_FORM, recipe])).digest()
