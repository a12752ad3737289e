"""A tree as the text of a picture: Graphviz' DOT and Mermaid's flowcharts. Arrows go from the earlier to the later.

Names come from kits, and kits from anywhere: what a label says is text in both languages, and never more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlkit.lineage.answer import Branch, Thing, Tree
from mlkit.lineage.graph import NodeKind

_LABEL_LIMIT = 80
_SHORT = 19  # characters of a digest: the algorithm and twelve digits
_SHAPES = {NodeKind.KIT: "box", NodeKind.RUN: "diamond", NodeKind.RELEASE: "house"}


@dataclass(frozen=True, slots=True)
class Arrow:
    """From what was there to what came of it."""

    origin: Thing
    made: Thing
    relation: str
    """In words."""
    standing: str


def arrows(tree: Tree) -> tuple[Arrow, ...]:
    """Every link of a tree, once."""
    found = [
        *_arrows(tree.thing, tree.origins, is_origin=True),
        *_arrows(tree.thing, tree.results, is_origin=False),
    ]
    return tuple({(arrow.origin.key, arrow.made.key, arrow.relation): arrow for arrow in found}.values())


def dot(tree: Tree) -> str:
    """For `dot -Tsvg` and its like."""
    links = arrows(tree)
    things = _things(tree, links)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="sans-serif", fontsize=10];']
    for number, thing in enumerate(things.values()):
        shape = _SHAPES.get(thing.kind, "ellipse")
        bold = ", penwidth=2" if thing.key == tree.thing.key else ""
        lines.append(f'  n{number} [label="{_dot_text(label_of(thing))}", shape={shape}{bold}];')
    order = {key: number for number, key in enumerate(things)}
    for arrow in links:
        style = "solid" if arrow.standing == "proved" else "dashed" if arrow.standing == "stated" else "dotted"
        text = _dot_text(f"{arrow.relation} ({arrow.standing})")
        lines.append(f'  n{order[arrow.origin.key]} -> n{order[arrow.made.key]} [label="{text}", style={style}];')
    return "\n".join([*lines, "}", ""])


def mermaid(tree: Tree) -> str:
    """For Markdown pages that draw flowcharts."""
    links = arrows(tree)
    things = _things(tree, links)
    order = {key: number for number, key in enumerate(things)}
    lines = ["flowchart LR"]
    for number, thing in enumerate(things.values()):
        opening, closing = ("[", "]") if thing.kind is NodeKind.KIT else ("([", "])")
        lines.append(f'  n{number}{opening}"{_mermaid_text(label_of(thing))}"{closing}')
    for arrow in links:
        line = "-->" if arrow.standing == "proved" else "-.->"
        text = _mermaid_text(f"{arrow.relation}, {arrow.standing}")
        lines.append(f'  n{order[arrow.origin.key]} {line}|"{text}"| n{order[arrow.made.key]}')
    lines.append(f"  style n{order[tree.thing.key]} stroke-width:3px")
    return "\n".join([*lines, ""])


def label_of(thing: Thing) -> str:
    """What a thing is called in a picture: its name, and the beginning of its digest."""
    digest = thing.key[:_SHORT] if thing.key.startswith(("sha256:", "sha512:")) else ""
    text = "" if thing.text == thing.key and digest else thing.text
    version = f" {thing.version}" if thing.version and thing.version not in text else ""
    whole = " ".join(part for part in (f"{text}{version}", digest) if part)
    return whole if len(whole) <= _LABEL_LIMIT else f"{whole[: _LABEL_LIMIT - 1]}…"


def _things(tree: Tree, links: tuple[Arrow, ...]) -> dict[str, Thing]:
    """By key, the one in the middle first."""
    found = {tree.thing.key: tree.thing}
    for arrow in links:
        found.setdefault(arrow.origin.key, arrow.origin)
        found.setdefault(arrow.made.key, arrow.made)
    return found


def _arrows(thing: Thing, branches: tuple[Branch, ...], *, is_origin: bool) -> Iterator[Arrow]:
    # A stack of its own: a chain may be longer than Python's.
    waiting = [(thing, branch) for branch in branches]
    while waiting:
        near, branch = waiting.pop()
        step = branch.step
        origin, made = (step.thing, near) if is_origin else (near, step.thing)
        yield Arrow(origin, made, step.role or step.relation or "came of it", step.standing.value)
        waiting += [(step.thing, further) for further in branch.branches]


def _dot_text(text: str) -> str:
    """The DOT Language, "double-quoted strings"; a backslash also begins escapes of labels."""
    return _printable(text).replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_text(text: str) -> str:
    """Mermaid, "Entity codes to escape characters": what Markdown, HTML or Mermaid would read is told by number."""
    return "".join(one if one.isalnum() or one in " .:/@+-_,…" else f"#{ord(one)};" for one in _printable(text))


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "�" for one in text)
