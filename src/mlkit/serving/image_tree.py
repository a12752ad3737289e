"""Where the files of a kit are in an image, and in which layers. Nothing here does I/O.

    /models   the model, as KServe's modelcars and most servers look for it: what the kit has below the model's own
              folder lies at the top
    /kit      all that was chosen, by the paths of the kit; files of the model are links to /models

A kit comes from anywhere, and a layer can remove what lies below it (whiteouts), so every name is judged here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from posixpath import relpath

from mlkit.archive.names import NameSet, check_name, shown
from mlkit.archive.tar import BLOCK, END, Member, link_header, padding, tar_header
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import ConflictError, LimitError, UnsafeError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import Compression, FileRecord, Kind
from mlkit.spec.media_types import Class

MODELS = "models"
KIT = "kit"
OWN_LAYER = 1 << 20
"""Bytes of a file from which on it is a layer of its own, so that images of other versions share it."""
DEPTH = 125
"""Layers that Docker stacks at most (moby, layer/layer_store.go, maxLayerDepth); containerd takes a few more."""
_WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True)
class KitPart:
    """What is wanted of one layer of a kit."""

    store: ReadOnlyStorage
    desc: Descriptor
    kind: Kind
    compression: Compression
    cls: Class
    diff_id: Digest | None
    files: tuple[FileRecord, ...] | None
    """Those that are wanted; None where nobody knows them before the layer is read."""
    is_whole: bool
    """Whether every file of the layer is wanted."""
    path: str
    """Of the file, in a raw layer; kit-relative."""
    mode: int
    place: Callable[[str], str]
    """From a name in a tar layer to a kit-relative path. Raises: UnsafeError."""
    wants: Callable[[str], bool]
    """Whether a kit-relative path is wanted."""
    home: str
    """The folder of the kit that is shown as `/models`; "." for the kit's root."""
    only: str | None = None
    """As of `TarReader`."""

    @property
    def size(self) -> int | None:
        """Bytes of the files; None where nobody knows."""
        if self.files is not None:
            return sum(file.size for file in self.files)
        return self.desc.size if self.kind == "raw" and self.compression == "none" else None

    def image_path(self, path: str) -> str:
        """Where a kit-relative path is in the image. Raises: UnsafeError."""
        if self.cls is not Class.MODEL:
            return _checked(f"{KIT}/{path}")
        inner = path.removeprefix(f"{self.home}/") if self.home != "." else path
        return _checked(f"{MODELS}/{inner}")

    @property
    def fits(self) -> bool:
        """Whether the layer's own bytes would put all its files where they belong."""
        return (
            self.kind == "tar"
            and self.is_whole
            and bool(self.files)
            and self.only is None
            and all(self.image_path(file.path) == file.path for file in self.files or ())
        )


@dataclass(frozen=True, slots=True)
class Text:
    """A small file of our own."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer that is to be made."""

    parts: tuple[KitPart, ...]
    texts: tuple[Text, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links: path in the image, and what it points at."""
    directories: tuple[str, ...] = ()

    @property
    def is_reused(self) -> bool:
        """Whether it is a layer of the kit, byte for byte."""
        return len(self.parts) == 1 and not (self.texts or self.links or self.directories) and self.parts[0].fits

    @property
    def label(self) -> str:
        """What people call it."""
        files = self.known_files
        if len(files) == 1 and len(self.parts) == 1:
            return files[0].name
        return f"{len(files)} files" if files else (self.parts[0].path if self.parts else "links")

    @property
    def known_files(self) -> tuple[Member, ...]:
        """The files that are known before layers are read, by their places in the image."""
        found = [Member(text.path, len(text.content), 0o644) for text in self.texts]
        for part in self.parts:
            if part.files is not None:
                found += [Member(part.image_path(file.path), file.size, file.mode) for file in part.files]
            elif part.kind == "raw":
                found.append(Member(part.image_path(part.path), part.desc.size, part.mode))
        return tuple(found)

    @property
    def size(self) -> int | None:
        """Bytes of the layer; None where nobody knows before it is made."""
        if self.is_reused:
            return self.parts[0].desc.size
        if any(part.size is None for part in self.parts):
            return None
        files = self.known_files
        folders = folders_of([*(file.name for file in files), *(path for path, _ in self.links)], self.directories)
        total = sum(len(tar_header(folder)) for folder in folders) + len(END)
        total += sum(len(link_header(path, target)) for path, target in self.links)
        return total + sum(len(tar_header(file)) + file.size + len(padding(file.size)) for file in files)

    @property
    def recipe(self) -> dict[str, object] | None:
        """All that the layer's bytes depend on: equal recipes give equal layers. None where it cannot be said."""
        if any(part.files is None and not part.is_whole for part in self.parts):
            return None
        return {
            "parts": [_recipe(part) for part in self.parts],
            "texts": [[text.path, str(Digest.of(text.content))] for text in self.texts],
            "links": [list(link) for link in self.links],
            "directories": list(self.directories),
            "block": BLOCK,
        }


def plan_layers(
    parts: Sequence[KitPart],
    *,
    texts: Sequence[Text] = (),
    links: Sequence[tuple[str, str]] = (),
    directories: Sequence[str] = (),
    room: int,
) -> tuple[ImageLayer, ...]:
    """The layers for these parts of a kit, large files first, at most `room`.

    `directories` are paths in the image; `links` come beside those from /kit to /models.

    Raises: UnsafeError for names that have no place in an image; ConflictError where two files would be in one place;
    LimitError where there is room for none.
    """
    _check_places(parts, texts)
    if room < 1:
        raise LimitError(
            f"the base image has {DEPTH - room} layers already, and an image may have {DEPTH}",
            hint="squash the base",
        )
    small = [part for part in parts if part.kind == "raw" and part.size is not None and part.size < OWN_LAYER]
    large = [part for part in parts if part not in small]
    model_links = (
        (f"{KIT}/{path}", relpath(part.image_path(path), f"{KIT}/{path}".rpartition("/")[0]))
        for part in parts
        if part.cls is Class.MODEL
        for path in ([file.path for file in part.files] if part.files is not None else [part.path] * _is_raw(part))
    )
    all_links = (*model_links, *links)
    rest = ImageLayer(tuple(small), tuple(texts), all_links, tuple(directories))
    needs_rest = bool(small or texts or all_links or directories)
    groups = _grouped(large, max(1, room - needs_rest))
    if needs_rest and room == 1 and groups:
        return (ImageLayer((*large, *small), tuple(texts), all_links, tuple(directories)),)
    layers = tuple(ImageLayer(group) for group in groups)
    return (*layers, rest) if needs_rest else layers


def folders_of(paths: Iterable[str], directories: Iterable[str] = ()) -> tuple[Member, ...]:
    """The folders above these paths, and `directories` themselves, parents first and each once."""
    found: dict[str, None] = {}
    for path in [*paths, *(f"{directory}/" for directory in directories)]:
        for end in (at for at, letter in enumerate(path) if letter == "/"):
            found[path[:end]] = None
    return tuple(Member(folder, 0, 0o755, is_dir=True) for folder in found)


def model_home(entry_path: str, files: Iterable[str]) -> str:
    """The folder that is shown as `/models`: the entry's own, or that of its only file."""
    if entry_path in set(files):
        return entry_path.rpartition("/")[0] or "."
    return entry_path


def _grouped(parts: Sequence[KitPart], room: int) -> list[tuple[KitPart, ...]]:
    """Each part alone where there is room; else neighbours together, so that a change stays within one group."""
    if len(parts) <= room:
        return [(part,) for part in parts]
    each = -(-len(parts) // room)
    return [tuple(parts[start : start + each]) for start in range(0, len(parts), each)]


def _is_raw(part: KitPart) -> int:
    return int(part.kind == "raw")


def _check_places(parts: Sequence[KitPart], texts: Sequence[Text]) -> None:
    names = NameSet()
    taken: set[str] = set()
    paths = [text.path for text in texts]
    for part in parts:
        known = [file.path for file in part.files] if part.files is not None else [part.path] * _is_raw(part)
        paths += [part.image_path(path) for path in known]
        paths += [f"{KIT}/{path}" for path in known if part.cls is Class.MODEL]
    for path in paths:
        if path in taken:
            raise ConflictError(
                f"two files of the kit would be /{shown(path)[1:-1]} in the image",
                hint="--filter leaves one of them out, or give the model a folder of its own",
            )
        taken.add(path)
        names.add_file(_checked(path))


def _checked(path: str) -> str:
    """A place in the image. Raises: UnsafeError for one outside of /models and /kit, or that removes other files."""
    check_name(path)
    if any(name.startswith(_WHITEOUT) for name in path.split("/")):
        # OCI image specification, layer.md, "Whiteouts": a file of this name removes others.
        raise UnsafeError(f"{shown(path)}: a name that removes other files of an image (expected none with .wh.)")
    return path


def _recipe(part: KitPart) -> list[object]:
    files = None
    if part.files is not None:
        files = [[file.path, part.image_path(file.path), file.mode, file.size] for file in part.files]
    told = [str(part.desc.digest), part.kind, part.compression, part.cls.value, part.home, part.path, part.mode]
    return [*told, files]
