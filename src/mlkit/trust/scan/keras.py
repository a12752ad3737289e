"""Models of Keras: the JSON of their configs, and the same in HDF5, where it is searched for and not parsed."""

from __future__ import annotations

import re
from typing import Any, Final

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.json_text import parse_json
from mlkit.trust.scan.look import Look, escaped
from mlkit.trust.scan.source import CHUNK, Source

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_CONFIG_LIMIT: Final = 16 * 1024 * 1024
_OVERLAP: Final = 4096
_LAMBDAS: Final = frozenset({"Lambda", "__lambda__"})
"""TFOpLambda calls an operation of TensorFlow by name, and brings no code."""
_HOME = re.compile(
    r"(?:keras|tensorflow\.keras|tensorflow\.python\.keras|tf_keras)(?:\.src|\.api|\._tf_keras|\.engine)*"
    r"(?:\.(?:layers|activations|initializers|regularizers|constraints|losses|metrics|optimizers|models|applications"
    r"|dtype_policies|random|quantizers|schedules|legacy|core|convolutional|pooling|normalization|regularization"
    r"|reshaping|merging|rnn|attention|activation|preprocessing|functional|sequential|model|learning_rate_schedule"
    r"|seed_generator|[a-z0-9_]{0,40}_(?:layer|policy|initializers))){0,5}"
)
_MODULE = re.compile(rb'"module"\s*:\s*"([^"\\]{1,200})"')
# Letters, digits and signs of ASCII, which json.dumps never escapes.
_ESCAPE = re.compile(rb"\\u00[2-7][0-9a-fA-F]")
_FILES: Final = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "Hashing"})


def scan_keras_config(source: Source, look: Look) -> None:
    """The `config.json` of a `.keras` file, which names every class that loading imports."""
    raw = source.read_at(0, _CONFIG_LIMIT + 1)
    if len(raw) > _CONFIG_LIMIT:
        look.report("not-scanned", f"the config has more than {_CONFIG_LIMIT} bytes")
        return
    if _ESCAPE.search(raw):
        look.report("keras-escaped", "writes plain letters as escapes")
    try:
        value = parse_json(raw, what="its config", limit=_CONFIG_LIMIT)
    except (IntegrityError, LimitError) as error:
        look.report("format-broken", f"the config cannot be read: {error.message}")
        return
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
            _check(item, look)


def scan_hdf5(source: Source, look: Look) -> None:
    """Search an HDF5 file for the config of a model: attributes are never compressed, so it stands there as text."""
    position, before = 0, b""
    while chunk := source.read_at(position, CHUNK * 4):
        text = before + chunk
        if b'"Lambda"' in text or b'"__lambda__"' in text:
            look.report("keras-lambda", "has a layer of class Lambda")
        if b"class_name" in text or b"\\u00" in text:
            _search(text, look)
        before = text[-_OVERLAP:]
        position += len(chunk)


def _search(text: bytes, look: Look) -> None:
    for found in _MODULE.finditer(text):
        name = found[1].decode("utf-8", "replace")
        if not _HOME.fullmatch(name) and name != "builtins":
            look.report("keras-foreign", f"names the module {escaped(name)}")
    if (b"class_name" in text and _ESCAPE.search(text)) or (
        b"class_name" not in text and len(_ESCAPE.findall(text)) >= 3
    ):
        look.report("keras-escaped", "writes plain letters as escapes")


def _check(item: dict[str, Any], look: Look) -> None:
    class_name, module = item.get("class_name"), item.get("module")
    if isinstance(class_name, str) and class_name in _LAMBDAS:
        look.report("keras-lambda", f"has a layer of class {class_name}")
    if class_name is None:
        return
    if module is None:
        return  # Keras looks it up among its own and what the program registered
    is_home = isinstance(module, str) and _HOME.fullmatch(module) is not None
    name = class_name if isinstance(class_name, str) else ""
    # What is written in small letters is a function of a module, not a class of layers (CVE-2025-8747: get_file).
    is_plain = name in ("function", "__tuple__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
    is_builtin = module == "builtins" and is_plain
    if module == "builtins" and name == "function":
        is_builtin = isinstance(item.get("config"), str)
    if not is_home and not is_builtin:
        look.report("keras-foreign", f"names {escaped(str(module))}.{escaped(name)}")
    elif is_home and not name[:1].isupper() and not is_plain:
        look.report("keras-foreign", f"names the function {escaped(str(module))}.{escaped(name)}")
    config = item.get("config")
    if name in _FILES and isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        look.report("keras-file", f"reads its vocabulary from {escaped(config['vocabulary'])}")
