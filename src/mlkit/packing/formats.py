"""What a policy asks of a kit without reading its layers: formats of weights, by name, and licences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.packing.file_names import LICENCE_NAMES
from mlkit.packing.kit import Kit
from mlkit.spec.media_types import Class
from mlkit.spec.weight_formats import RUNS_CODE, WEIGHT_FORMATS, WITHOUT_WEIGHTS

_MAY_BE_PICKLE = "pickle"
_PLAIN = tuple(name.rstrip("*") for name in LICENCE_NAMES)


def weight_formats(kit: Kit) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Names of the format of each file of weights, by path, and the files of the model that nobody can tell of.

    A format that is or may be a pickle is called so, too. A name proves nothing: what is in a file, a scan tells.
    """
    formats: dict[str, tuple[str, ...]] = {}
    unknown = []
    for path, cls in _paths(kit):
        name = path.rpartition("/")[2].lower()
        suffix = name.rpartition(".")[2] if "." in name else ""
        form = WEIGHT_FORMATS.get(suffix)
        if form is not None and form != _MAY_BE_PICKLE and form in RUNS_CODE:
            formats[path] = (form, _MAY_BE_PICKLE)
        elif form is not None:
            formats[path] = (form,)
        elif cls is Class.MODEL and suffix not in WITHOUT_WEIGHTS and not name.startswith(_PLAIN):
            unknown.append(path)
    return formats, tuple(unknown)


def _paths(kit: Kit) -> Iterator[tuple[str, Class]]:
    for layer in kit.layers:
        if layer.files is None:
            # A layer of another tool: its files are known when it is read, and a policy reads none.
            yield layer.path, layer.cls
        for file in layer.files or ():
            yield file.path, layer.cls


def licences_of(kit: Kit) -> dict[str, str]:
    """Every licence that the Kitfile names, by where it stands."""
    kitfile = kit.kitfile
    named = [("package.license", kitfile.package.license)]
    if kitfile.model is not None:
        named.append(("model.license", kitfile.model.license))
        named += [(f"model.parts[{at}].license", part.license) for at, part in enumerate(kitfile.model.parts)]
    named += [(f"datasets[{at}].license", dataset.license) for at, dataset in enumerate(kitfile.datasets)]
    named += [(f"code[{at}].license", code.license) for at, code in enumerate(kitfile.code)]
    return {where: text for where, text in named if text}
