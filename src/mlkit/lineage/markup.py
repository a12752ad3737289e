"""Text from anywhere, as it may stand in HTML and SVG."""

from __future__ import annotations

from html import escape


def visible(text: str) -> str:
    """Escaped; what steers terminals and directions of writing becomes visible instead of taking effect."""
    shown = "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}" for character in text
    )
    return escape(shown)
