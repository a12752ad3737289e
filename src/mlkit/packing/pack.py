"""From a directory to a kit: `prepare` looks and decides, `pack` reads and writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlkit.content.storage import BytesContent, Ingestor, Storage
from mlkit.errors import LimitError
from mlkit.packing.config import kitops_config, layer_annotations, manifest_annotations, modelpack_config
from mlkit.packing.digest_cache import DigestCache, cache_key, is_settled, parse_content, render_content
from mlkit.packing.fetch import Moved
from mlkit.packing.jobs import Job, run_jobs
from mlkit.packing.kitops_view import ViewedLayer, render_view
from mlkit.packing.layer_types import document_media_type
from mlkit.packing.plan import PackOptions, PackPlan, PlannedLayer, plan_pack, with_tars
from mlkit.packing.scan import scan
from mlkit.packing.write_layer import LayerContent, layer_record, write_layer
from mlkit.progress import NoProgress, Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.kit_document import InputRecord, KitDocument, LayerRecord, render_kit_document
from mlkit.spec.kitfile import Kitfile, entries, parse_kitfile
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import (
    FILEPATH,
    KIT_DOCUMENT_PATH,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    Class,
)
from mlkit.spec.run_record import RunRecord

_NOTHING = NoProgress()
_CONCURRENCY = 2
"""Layers that are read at once where nobody says: a disk and a processor each have one to work on."""


class PackTarget(Storage, Ingestor, Protocol):
    """A store that takes content of known and of unknown digest."""


@dataclass(frozen=True, slots=True)
class PackResult:
    """A kit that is in the store, without a name."""

    manifest: Manifest
    document: KitDocument
    layer_count: int
    """Layers, the kit document included."""
    size: int
    """Bytes of manifest, config and layers."""
    read_bytes: int
    """Bytes of files that were read."""
    reused_bytes: int
    """Bytes of files that were known from an earlier pack."""
    notes: tuple[str, ...]
    """What a person should know that could not be known before: sentences."""


def prepare(
    context: Path, kitfile_text: str, options: PackOptions, *, inputs: tuple[InputRecord, ...] | None = None
) -> PackPlan:
    """Decide what a kit of the files under `context` holds; nothing is written.

    `inputs` are those of the Kitfile, and the kits that it names, as the caller pinned them; None for the Kitfile's
    own `inputs` as they stand there.
    Raises: UsageError for a bad Kitfile; NotFoundError for an entry whose path is not there; UnsafeError for links,
    special files and names that have no place in a kit; LimitError.
    """
    kitfile = parse_kitfile(kitfile_text.encode("utf-8"))
    local = entries(kitfile)
    found = scan(context, local, options)
    return plan_pack(
        context,
        kitfile_text,
        kitfile,
        options,
        entries=local,
        files=found.files,
        empty_directories=found.empty_directories,
        inputs=_unpinned(kitfile) if inputs is None else inputs,
        ignored_secrets=found.ignored_secrets,
    )


def pack(
    plan: PackPlan,
    store: PackTarget,
    *,
    cache: DigestCache | None = None,
    progress: Progress = _NOTHING,
    clock: Callable[[], int] = time.time_ns,
) -> PackResult:
    """Write layers, config, kit document and manifest; naming the kit is the caller's.

    `clock` (ns since 1970) only decides which files are old enough for the cache; no time gets into the kit.
    Raises: ConflictError for files that changed since `prepare`, and then there is no manifest.
    """
    layers = _Layers(plan.layers, store, cache, progress, clock)
    contents = layers.pack(concurrency=plan.options.concurrency or _CONCURRENCY)
    read_bytes, reused_bytes = plan.size - layers.reused_bytes, layers.reused_bytes
    equal = _equal_raw_layers(plan, contents) if plan.options.format == "kitops" else ()
    if equal:
        plan = with_tars(plan, equal)
        again = _Layers(tuple(plan.layers[number] for number in equal), store, cache, progress, clock)
        apart = dict(zip(equal, again.pack(concurrency=plan.options.concurrency or _CONCURRENCY), strict=True))
        contents = tuple(apart.get(number, content) for number, content in enumerate(contents))
        read_bytes += sum(plan.layers[number].size for number in equal) - again.reused_bytes
    records = tuple(layer_record(layer, content) for layer, content in zip(plan.layers, contents, strict=True))
    from_runs, notes = _run_inputs(plan.runs, records)
    document = KitDocument(
        kitfile=plan.kitfile_text,
        entries=plan.entries,
        layers=records,
        inputs=tuple(dict.fromkeys((*plan.inputs, *from_runs))),
    )
    manifest = _push_documents(plan, document, store)
    return PackResult(
        manifest=manifest,
        document=document,
        layer_count=len(manifest.layers),
        size=manifest.size,
        read_bytes=read_bytes,
        reused_bytes=reused_bytes,
        notes=notes,
    )


def _equal_raw_layers(plan: PackPlan, contents: tuple[LayerContent, ...]) -> tuple[int, ...]:
    """The raw layers that have the bytes of one before them, by number.

    `kit unpack` looks for the layer of an entry by digest alone, finds one file where two are equal, and fails over
    writing it twice; as a tar, which holds its path, the second one is found. A bundle of an MCP server is never a tar.
    """
    seen: set[Digest] = set()
    equal = []
    for number, (layer, content) in enumerate(zip(plan.layers, contents, strict=True)):
        if layer.kind == "raw" and content.digest in seen and layer.cls is not Class.MCPSERVERS:
            equal.append(number)
        seen.add(content.digest)
    return tuple(equal)


def _unpinned(kitfile: Kitfile) -> tuple[InputRecord, ...]:
    return tuple(
        InputRecord(
            role=item.role,
            ref=item.ref,
            uri=item.uri,
            digest=None if item.digest is None else Digest.parse(item.digest),
            name=item.name,
        )
        for item in kitfile.inputs
    )


def _run_inputs(
    runs: Iterable[RunRecord], layers: Iterable[LayerRecord]
) -> tuple[tuple[InputRecord, ...], tuple[str, ...]]:
    """What runs say of a kit that holds a file of theirs, byte for byte; and a sentence for each run that has none."""
    packed = {file.digest for layer in layers for file in layer.files}
    found: list[InputRecord] = []
    notes = []
    for run in runs:
        if any(made.digest in packed for made in run.produces):
            found += run.inputs()
            unpinned = ", ".join(used.ref for used in run.uses if used.ref is not None and used.digest is None)
            if unpinned:
                notes.append(f"run {run.name}: used {unpinned} without a digest; what that was then, nothing says")
        else:
            notes.append(f"run {run.name}: no file in this kit is as the run wrote it; its record is left out")
    return tuple(found), tuple(notes)


class _Layers:
    """The layers of one plan on their way into a store.

    The cache is asked and told by the calling thread only: it may be a database connection that belongs to it.
    """

    def __init__(
        self,
        layers: tuple[PlannedLayer, ...],
        store: PackTarget,
        cache: DigestCache | None,
        progress: Progress,
        clock: Callable[[], int],
    ) -> None:
        self._layers = layers
        self._store = store
        self._cache = cache
        self._progress = progress
        self._clock = clock
        self.reused_bytes = 0

    def pack(self, *, concurrency: int) -> tuple[LayerContent, ...]:
        """The content of every layer, in order; on an error the other layers are given up."""
        contents: dict[int, LayerContent] = {}
        jobs: dict[str, tuple[int, bytes]] = {}
        listed: list[Job] = []
        for number, layer in enumerate(self._layers):
            cached_as = cache_key(layer) if self._cache is not None else b""
            known = self._known(layer, cached_as)
            if known is not None:
                contents[number] = known
                self._tell_present(number, layer)
                continue
            job = self._job(number, layer, contents)
            listed.append(job)
            jobs[job.key] = number, cached_as

        def remember(job: Job) -> None:
            number, cached_as = jobs[job.key]
            self._remember(self._layers[number], cached_as, contents[number])

        run_jobs(listed, concurrency, self._progress, on_done=remember)
        return tuple(contents[number] for number in range(len(self._layers)))

    def _job(self, number: int, layer: PlannedLayer, contents: dict[int, LayerContent]) -> Job:
        def write(moved: Moved) -> None:
            contents[number] = write_layer(layer, self._store, moved)

        return Job(_progress_key(number, layer), layer.path, layer.size, layer.size, write)

    def _known(self, layer: PlannedLayer, cached_as: bytes) -> LayerContent | None:
        """What the cache says, if the store still has the blob."""
        raw = self._cache.get(cached_as) if self._cache is not None else None
        content = parse_content(raw, file_count=len(layer.files)) if raw is not None else None
        if content is None or not self._store.exists(Descriptor(layer.media_type, content.digest, content.size)):
            return None
        return content

    def _remember(self, layer: PlannedLayer, cached_as: bytes, content: LayerContent) -> None:
        if self._cache is not None and is_settled(layer, now=self._clock()):
            self._cache.put(cached_as, render_content(content))

    def _tell_present(self, number: int, layer: PlannedLayer) -> None:
        key = _progress_key(number, layer)
        self._progress.start(key, layer.path, layer.size)
        self._progress.finish(key, "present")
        self.reused_bytes += layer.size


def _progress_key(number: int, layer: PlannedLayer) -> str:
    return f"{number} {layer.path}"


def _push_documents(plan: PackPlan, document: KitDocument, store: Storage) -> Manifest:
    to = plan.options.format
    raw_document = render_kit_document(document)
    described = Descriptor.of(raw_document, document_media_type(to), {FILEPATH: KIT_DOCUMENT_PATH})
    view = render_view(plan.kitfile, _viewed(plan, document))
    if to == "modelpack":
        diff_ids = [*(layer.diff_id for layer in document.layers), described.digest]
        raw_config = modelpack_config(plan.kitfile, diff_ids)
        config = Descriptor.of(raw_config, MODELPACK_CONFIG)
    else:
        raw_config = kitops_config(view)
        config = Descriptor.of(raw_config, KITOPS_CONFIG)
    manifest = render_manifest(
        config=config,
        layers=(*_descriptors(plan, document), described),
        artifact_type=MODELPACK_ARTIFACT if to == "modelpack" else KITOPS_ARTIFACT,
        annotations=manifest_annotations(plan.kitfile, plan.options, view=view, document=described.digest),
    )
    if len(manifest.raw) > MANIFEST_LIMIT:
        raise LimitError(
            f"the manifest would have {len(manifest.raw)} bytes, more than the {MANIFEST_LIMIT} that registries take",
            hint="pack with --layers tar, or give fewer entries",
        )
    store.push(described, BytesContent(raw_document))
    store.push(config, BytesContent(raw_config))
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest


def _viewed(plan: PackPlan, document: KitDocument) -> list[ViewedLayer]:
    return [
        ViewedLayer(layer.cls, layer.entry.id, layer.path, record.digest, record.diff_id)
        for layer, record in zip(plan.layers, document.layers, strict=True)
    ]


def _descriptors(plan: PackPlan, document: KitDocument) -> Iterable[Descriptor]:
    annotations = layer_annotations(plan.layers)
    for layer, record, own in zip(plan.layers, document.layers, annotations, strict=True):
        yield Descriptor(layer.media_type, record.digest, record.size, own)
