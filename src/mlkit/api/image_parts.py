"""From a kit to what an image holds of it: the parts of its layers, its Kitfile, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from posixpath import relpath

from mlkit.api.parents import parents_of
from mlkit.api.policies import Gate
from mlkit.api.session import Located, Session
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.chain import ancestors
from mlkit.packing.kit import Kit
from mlkit.packing.select import KITFILE_NAME, Filter, SelectedLayer, Selection, select, select_parsed
from mlkit.serving.choose import Choice, choose
from mlkit.serving.command import container_command
from mlkit.serving.facts import KitFacts, PackedFile, collect_facts
from mlkit.serving.image_config import Launch
from mlkit.serving.image_tree import KIT, MODELS, KitPart, Text, model_home
from mlkit.serving.runtimes import WORDS
from mlkit.spec.media_types import Class

WITHOUT_DATASETS = (Filter.parse("!datasets"),)
"""What is left out where nobody says what is wanted: data for training has no place in a server."""
NO_RUNTIME = "none"
_REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What of a kit goes into an image."""

    parts: tuple[KitPart, ...]
    texts: tuple[Text, ...]
    directories: tuple[str, ...]
    facts: KitFacts
    home: str
    """The folder of the kit that is `/models`."""

    def place_of(self, path: str) -> str:
        """Where the model at a kit-relative path is in the image, absolute."""
        owner = next((part for part in self.parts if _holds(part, path)), None)
        if owner is None or owner.cls is not Class.MODEL:
            return f"/{KIT}/{path}" if path != "." else f"/{MODELS}"
        if path == owner.home:
            return f"/{MODELS}"
        return f"/{owner.image_path(path)}"


def collect_content(
    session: Session, located: Located, kit: Kit, filters: Sequence[str], gate: Gate | None = None
) -> ImageContent:
    """What is wanted of a kit, and of the kits that its model is, which `gate` is asked about.

    Raises: NotFoundError for a kit without a model, unless `filters` ask for something else; what `select` raises.
    """
    selection = select(kit, filters) if filters else select_parsed(kit, WITHOUT_DATASETS)
    chain = [(kit, located.store, selection)]
    for parent, store in ancestors(kit, parents_of(session, gate)):
        chain.append((parent, store, select(parent, ["model"])))
    parts: list[KitPart] = []
    home: str | None = None
    # The parent's model first, as unpacking does; what is added to it is seen from its folder.
    for one, store, chosen in reversed(chain):
        home = _home(one) or home
        parts += _parts(chosen, store, home or ".")
    if not filters and not any(part.cls is Class.MODEL for part in parts):
        raise NotFoundError(
            f"{located.reference}: no model is in this kit, so there is nothing to serve",
            hint="--filter says what else the image is for, such as --filter code",
        )
    texts = (Text(f"{KIT}/{KITFILE_NAME}", kit.kitfile_text.encode()),) if selection.kitfile else ()
    files = [PackedFile(file.path, file.size) for part in parts if _may_serve(part) for file in part.files or ()]
    return ImageContent(
        tuple(parts),
        texts,
        tuple(f"{KIT}/{directory}" for directory in selection.directories),
        collect_facts(kit.kitfile, files),
        home or ".",
    )


@dataclass(frozen=True, slots=True)
class Started:
    """How the image starts by the table of runtimes, and the links that it needs for that."""

    launch: Launch
    links: tuple[tuple[str, str], ...] = ()
    why: str | None = None
    """One sentence; None where the table was not asked."""


def start_of(content: ImageContent, runtime: str | None, argv: tuple[str, ...] | None, *, is_scratch: bool) -> Started:
    """What the table says for `runtime`, or for the one that the kit asks for; nothing where neither names one.

    A base has a server of its own, and only people know which: a format alone decides nothing. `argv` takes the place
    of the table's command. Raises: UsageError, NotFoundError as of `choose`.
    """
    is_wished = any(word.strip().lower() in WORDS for word in content.facts.wanted)
    if runtime == NO_RUNTIME or (runtime is None and (is_scratch or not is_wished)):
        return Started(Launch())
    chosen = choose(content.facts, runtime, place="container", own_server="--runtime none --entrypoint says what runs")
    if not chosen.runtime.container and argv is None:
        if runtime is not None:
            raise UsageError(f"{runtime}: there is no command to run", hint="--entrypoint says what runs")
        return Started(Launch(), why=chosen.why)
    command = container_command(
        _in_image(content, chosen), root="/", repository=f"/{_REPOSITORY}", name=content.facts.name, argv=argv
    )
    links = []
    for placed in command.placed:
        path = f"{_REPOSITORY}/{placed.target}"
        links.append((path, relpath(placed.source, path.rpartition("/")[0])))
    launch = Launch(entrypoint=command.argv, command=(), env=command.environ, ports=(chosen.runtime.port,))
    return Started(launch, tuple(links), chosen.why)


def _in_image(content: ImageContent, chosen: Choice) -> Choice:
    if chosen.model is None:
        return chosen
    return replace(chosen, model=replace(chosen.model, path=content.place_of(chosen.model.path).strip("/")))


def _home(kit: Kit) -> str | None:
    """The folder of a kit's own model; None where its model is another kit, or where it has none."""
    entry = next((entry for entry in kit.entries if entry.cls is Class.MODEL), None)
    if entry is None or kit.has_parent:
        return None
    paths = [layer.path for layer in kit.layers if layer.entry == entry.id and layer.kind == "raw"]
    return model_home(entry.path, [*paths, *(file.path for file in kit.files)])


def _parts(selection: Selection, store: ReadOnlyStorage, home: str) -> list[KitPart]:
    return [_part(chosen, store, home) for chosen in selection.layers]


def _part(chosen: SelectedLayer, store: ReadOnlyStorage, home: str) -> KitPart:
    layer = chosen.layer
    files = layer.files
    if files is not None and chosen.paths is not None:
        files = tuple(file for file in files if file.path in chosen.paths)
    return KitPart(
        store=store,
        desc=layer.desc,
        kind=layer.kind,
        compression=layer.compression,
        cls=layer.cls,
        diff_id=layer.diff_id,
        files=files,
        is_whole=chosen.is_whole,
        path=layer.path,
        mode=layer.mode,
        place=layer.place,
        wants=chosen.wants,
        home=home,
        only=layer.only,
    )


def _may_serve(part: KitPart) -> bool:
    return part.cls in (Class.MODEL, Class.DEPLOYMENT)


def _holds(part: KitPart, path: str) -> bool:
    known = [file.path for file in part.files] if part.files is not None else [part.path]
    return any(one == path or path == "." or one.startswith(f"{path}/") for one in known)
