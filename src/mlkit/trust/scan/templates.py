"""Chat templates: Jinja, which reaches every function of Python where it is not run in a sandbox."""

from __future__ import annotations

import re
from typing import Final

from mlkit.trust.scan.look import Look, escaped

_REACHES: Final = (
    (re.compile(r"__|\\x5f|\\u005f|\\137", re.IGNORECASE), "names with two underscores, or underscores as escapes"),
    (re.compile(r"\|\s*attr\b"), "the filter attr"),
    (re.compile(r"\.\s*(?:mro|func_globals|gi_frame|gi_code|cr_frame|f_globals|f_locals|f_builtins|tb_frame)\b"),
     "inner parts of Python objects"),
    (re.compile(r"\b(?:lipsum|cycler|joiner|get_flashed_messages|url_for|request|config)\s*[.\[]"),
     "functions that Jinja and web frameworks bring along"),
    (re.compile(r"\bself\s*[.\[]"), "the template itself"),
    (re.compile(r"\{%-?\s*(?:include|import|from|extends)\b"), "other templates"),
    (re.compile(r"\bformat_map\b|\|\s*format\b"), "formatting, which walks attributes"),
    (re.compile(r"\b(?:popen|os\s*\.\s*system|subprocess|eval\s*\(|exec\s*\()"), "commands"),
)  # fmt: skip
_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
# A name put together inside of brackets; `messages[loop.index0 + 1]` is arithmetic.
_BRACKET_TEXT = re.compile(r"\[[^\[\]]*(?:~|%|\|\s*(?:join|replace|reverse|lower)\b|\+\s*[^\s0-9][^\[\]]*\]|'\s*\+)")


def scan_template(text: str, look: Look) -> None:
    """Report what a template does beyond arranging messages."""
    for code in _CODE.findall(text):
        # What it says about messages stands in quotes; what it does stands outside, or between brackets and in filters.
        plain = _TEXT.sub("''", code)
        for number, (pattern, what) in enumerate(_REACHES):
            found = pattern.search(plain if number >= _ONLY_CODE else code)
            if found is not None and not _is_harmless(code, found):
                look.report("template-escape", f"the template uses {what}: {escaped(found[0])}")
        if _BRACKET_TEXT.search(code):
            look.report("template-escape", "the template puts together the name of what it takes")


_ONLY_CODE: Final = 1  # patterns from this one on are for what stands outside of quotes


def _is_harmless(code: str, found: re.Match[str]) -> bool:
    """Two underscores inside of a longer text of words, which is no name: `<__end__>`."""
    if found[0] != "__":
        return False
    return any(
        text.start() < found.start() < text.end() and not re.fullmatch(r"['\"]\s*_*[A-Za-z_]*_*\s*['\"]", text[0])
        for text in _TEXT.finditer(code)
    )
