"""A picture of an answer: what was asked about on the left, what came of it to the right, as SVG without scripts.

Each thing hangs on the one by which it was reached, so the picture is a tree and lines never cross. How a line is drawn
tells how it is known, and not by its colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlkit.lineage.answer import Answer, Step
from mlkit.lineage.graph import Standing
from mlkit.lineage.markup import visible

NODE_LIMIT = 500
"""Things in one picture; a larger one is no picture any more, and the table has them all."""
_ROW, _COLUMN, _BOX = 30, 310, 250  # pixels
_MARGIN = 10
_LABEL = 32  # characters that fit into a box
_LINES = {
    Standing.PROVED: 'stroke="#0a6b2d" stroke-width="3"',
    Standing.STATED: 'stroke="#1f4e9e" stroke-width="1.5"',
    Standing.INFERRED: 'stroke="#a04a00" stroke-width="1.5" stroke-dasharray="5 4"',
}


@dataclass(slots=True)
class _Node:
    step: Step
    anchor: str | None
    """What of the page tells more of it."""
    below: list[_Node] = field(default_factory=list)
    column: int = 0
    row: float = 0


def picture(answer: Answer, anchors: Mapping[str, str]) -> tuple[str, int]:
    """The SVG, and how many things are left out of it. `anchors` are ids of the page, by keys of things."""
    roots, left_out = _tree(answer, anchors)
    _place(roots)
    nodes = list(_all(roots))
    height = int(max((node.row for node in nodes), default=0) + 1) * _ROW + 2 * _MARGIN
    width = (max((node.column for node in nodes), default=0) + 1) * _COLUMN + 2 * _MARGIN
    title = visible(f"What came of {answer.asked}, as a tree of {len(nodes)} things")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="picture-title" font-family="sans-serif" font-size="13">',
        f'<title id="picture-title">{title}</title>',
        *(_line(node, child) for node in nodes for child in node.below),
        *(_box(node) for node in nodes),
        "</svg>",
    ]
    return "\n".join(parts), left_out


def _tree(answer: Answer, anchors: Mapping[str, str]) -> tuple[list[_Node], int]:
    roots: list[_Node] = []
    found: dict[str, _Node] = {}
    left_out: set[str] = set()
    for hit in answer.hits:
        before: _Node | None = None
        for step in hit.steps:
            key = step.thing.key
            node = found.get(key)
            if node is None:
                if len(found) >= NODE_LIMIT:
                    left_out.add(key)
                    break
                node = found[key] = _Node(step, anchors.get(key))
                (roots if before is None else before.below).append(node)
            before = node
    return roots, len(left_out)


def _place(roots: list[_Node]) -> None:
    """Columns by distance, a row for each thing without branches, the others between theirs; nothing calls itself."""
    row = 0.0
    stack: list[tuple[_Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            node.row = node.below[0].row  # at the top, where the eye begins
        elif node.below:
            stack.append((node, True))
            for child in reversed(node.below):
                child.column = node.column + 1
                stack.append((child, False))
        else:
            node.row = row
            row += 1


def _all(roots: list[_Node]) -> Iterable[_Node]:
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.below))


def _line(node: _Node, child: _Node) -> str:
    x1, y1 = _MARGIN + node.column * _COLUMN + _BOX, _middle(node)
    x2, y2 = _MARGIN + child.column * _COLUMN, _middle(child)
    bend = (x1 + x2) / 2
    style = _LINES[child.step.standing]
    return f'<path d="M{x1:g} {y1:g} C{bend:g} {y1:g} {bend:g} {y2:g} {x2:g} {y2:g}" fill="none" {style}/>'


def _box(node: _Node) -> str:
    x, y = _MARGIN + node.column * _COLUMN, _middle(node) - _ROW / 2 + 3
    step = node.step
    label = _shortened(step.name if step.relation is None and step.name else step.thing.text)
    told = f"{step.thing.text}\n{step.thing.key}" + (f"\n{step.relation} [{step.standing}]" if step.relation else "")
    fill = {True: "#e8f0fc", False: "#f4f4f4", None: "#fff8e6"}[step.thing.has_model]
    box = (
        f"<title>{visible(told)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{_BOX}" height="{_ROW - 6}" rx="4" fill="{fill}" stroke="#555"/>'
        f'<text x="{x + 8:g}" y="{y + 16:g}">{visible(label)}</text>'
    )
    return f"<g>{box}</g>" if node.anchor is None else f'<a href="#{visible(node.anchor)}">{box}</a>'


def _middle(node: _Node) -> float:
    return _MARGIN + node.row * _ROW + _ROW / 2


def _shortened(text: str) -> str:
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    # The end of a reference tells more than its beginning.
    return shown if len(shown) <= _LABEL else f"\N{HORIZONTAL ELLIPSIS}{shown[-_LABEL + 1 :]}"
