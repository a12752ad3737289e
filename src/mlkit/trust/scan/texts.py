"""Texts that loaders act upon: configs, indexes of shards, notebooks, YAML, templates and Python itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.json_text import parse_json
from mlkit.trust.scan.look import Look, escaped
from mlkit.trust.scan.source import Source
from mlkit.trust.scan.templates import scan_template
from mlkit.trust.scan.zip_directory import leaves_folder

TEXT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a text that are read; tokenizers have up to 35 MB and are read no further, configs some thousand."""
_JSON_LIMIT: Final = 8 * 1024 * 1024
_CODE_KEYS: Final = ("auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code")
_YAML_OBJECT = re.compile(r"!!python/|!<?tag:yaml\.org,2002:python/|%TAG\s+\S+\s+tag:yaml\.org,2002:python")
_SHELL = re.compile(r"^\s*(?:!|%%(?:bash|sh|script|cmd)\b|%(?:sx|system)\b)", re.MULTILINE)


def scan_text(source: Source, look: Look, name: str) -> str | None:
    """Look at a text by the name that loaders look for; gives its kind, None where the name says nothing."""
    base = name.rpartition("/")[2].lower()
    suffix = base.rpartition(".")[2] if "." in base else ""
    scan = _BY_SUFFIX.get(suffix)
    if scan is None:
        return None
    raw = source.read_at(0, TEXT_LIMIT)
    if b"\0" in raw[:4096]:
        return None
    return scan(raw, look, base)


def _json(raw: bytes, look: Look, base: str) -> str:
    if not _has_interest(raw, base):
        return "json"
    try:
        value = parse_json(raw, what="it", limit=_JSON_LIMIT)
    except LimitError as error:
        look.report("not-scanned", f"the JSON is not read: {error.message}")
        return "json"
    except IntegrityError as error:
        look.report("format-broken", f"the JSON cannot be read: {error.message}")
        return "json"
    for holder, key, item in _pairs(value):
        if key in _CODE_KEYS and item:
            shown = next(iter(item.values()), "") if isinstance(item, dict) else item
            look.report("remote-code", f"{key} names code: {escaped(str(shown))}")
        elif key == "weight_map" and isinstance(item, dict):
            for place in item.values():
                if isinstance(place, str) and leaves_folder(place):
                    look.report("path-escape", f"weight_map names {escaped(place)}")
        elif (key == "chat_template" and isinstance(item, str)) or (
            key == "template" and isinstance(item, str) and "name" in holder
        ):
            scan_template(item, look)
    return "json"


def _has_interest(raw: bytes, base: str) -> bool:
    words = (b"auto_map", b"custom_pipeline", b"weight_map", b"chat_template", b"trust_remote_code")
    # An escape may spell a word otherwise; JSON of models has no reason for escapes in names.
    is_config = base.endswith(("config.json", ".index.json")) or (len(raw) == TEXT_LIMIT and "template" in base)
    return is_config or any(word in raw for word in words)


def _pairs(value: Any) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            for key, inner in item.items():
                yield item, key, inner
            pending.extend(item.values())


def _notebook(raw: bytes, look: Look, _base: str) -> str:
    look.report("notebook", "a notebook, with code in it")
    try:
        value = parse_json(raw, what="it", limit=_JSON_LIMIT)
    except (IntegrityError, LimitError):
        look.report("not-scanned", "the notebook cannot be read")
        return "notebook"
    cells = value.get("cells") if isinstance(value, dict) else None
    for cell in cells if isinstance(cells, list) else ():
        if not isinstance(cell, dict):
            continue
        if cell.get("cell_type") == "code" and _SHELL.search(_joined(cell.get("source"))):
            look.report("notebook-shell", "a cell runs commands of the shell")
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            shown = output.get("data") if isinstance(output, dict) else None
            if not isinstance(shown, dict):
                continue
            markup = _joined(shown.get("text/html")) + _joined(shown.get("image/svg+xml"))
            if "application/javascript" in shown or re.search(r"<script|\bon(?:error|load)\s*=", markup, re.IGNORECASE):
                look.report("notebook-active", "a saved output holds a script")
    return "notebook"


def _joined(value: object) -> str:
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def _python(_raw: bytes, look: Look, _base: str) -> str:
    look.report("python-code", "Python code")
    return "python"


def _yaml(raw: bytes, look: Look, _base: str) -> str:
    found = _YAML_OBJECT.search(raw.decode("utf-8", "replace"))
    if found is not None:
        look.report("yaml-object", "makes Python objects")
    return "yaml"


def _template(raw: bytes, look: Look, _base: str) -> str:
    scan_template(raw.decode("utf-8", "replace"), look)
    return "template"


_BY_SUFFIX: Final[dict[str, Callable[[bytes, Look, str], str]]] = {
    "json": _json,
    "ipynb": _notebook,
    "py": _python,
    "pyw": _python,
    "yaml": _yaml,
    "yml": _yaml,
    "jinja": _template,
    "jinja2": _template,
    "j2": _template,
}
