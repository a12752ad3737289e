"""A picture of a profile: latency against load, as SVG and as one page of HTML that needs nothing else.

Whatever comes from a kit is escaped. Nothing here does I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from mlkit.serving.profile import Level, Profile

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 56, 64, 64
_LINES = (("p50", "#2b6cb0"), ("p95", "#dd6b20"), ("p99", "#c53030"))
_FONT = "font-family='system-ui, sans-serif' font-size='12' fill='#1a202c'"
_STEPS = (1, 2, 3, 4, 6, 8)


def render_svg(profile: Profile) -> str:
    """Lines of p50, p95 and p99 over the number of callers; below each, the answers per second."""
    levels = profile.levels
    top = _nice(max((level.p99 for level in levels), default=0.0) * 1000)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' "
        f"height='{_HEIGHT}' role='img' aria-label='Latency against load of {_text(profile.reference)}'>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#ffffff'/>",
        _label(_LEFT, 24, f"{_shortened(profile.reference, 60)} on {profile.runtime}", weight="600"),
        _label(_LEFT, 44, "milliseconds until the answer, by callers at once", color="#4a5568"),
        *_axes(levels, top),
    ]
    for name, color in _LINES:
        parts += _line(levels, [getattr(level, name) * 1000 for level in levels], top, name, color)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def render_html(profile: Profile) -> str:
    """The picture with its figures and what they suggest."""
    rows = "".join(
        f"<tr><td>{level.concurrency}</td><td>{level.requests}</td><td>{level.failures}</td>"
        f"<td>{level.per_second:.1f}</td><td>{_ms(level.p50)}</td><td>{_ms(level.p95)}</td><td>{_ms(level.p99)}</td>"
        f"<td>{level.cores:.2f}</td></tr>"
        for level in profile.levels
    )
    facts = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in _facts(profile))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Profile of {_text(profile.reference)}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; color: #1a202c; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #e2e8f0 }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }}
dt {{ color: #4a5568 }} dd {{ margin: 0; overflow-wrap: anywhere }} svg {{ max-width: 100%; height: auto }}
</style></head><body>
<h1>Profile of {_text(profile.reference)}</h1>
{render_svg(profile)}
<table><thead><tr><th>callers</th><th>answers</th><th>failures</th><th>per second</th><th>p50 ms</th><th>p95 ms</th>
<th>p99 ms</th><th>CPUs</th></tr></thead><tbody>{rows}</tbody></table>
<h2>What it takes</h2>
<dl>{facts}</dl>
</body></html>
"""


def _facts(profile: Profile) -> list[tuple[str, str]]:
    suggestion = profile.suggestion
    machine = profile.machine
    gpus = ", ".join(machine.gpus) or "no GPU"
    memory = "not known" if profile.peak_memory_bytes is None else f"{profile.peak_memory_bytes / 1e6:.0f} MB"
    gpu_memory = [] if profile.peak_gpu_bytes is None else [("GPU memory", f"{profile.peak_gpu_bytes / 1e9:.1f} GB")]
    return [
        ("kit", f"{profile.reference}, version {profile.version or '-'}"),
        ("model", profile.model or "-"),
        ("unpacked in", f"{profile.unpack_seconds:.2f} s"),
        ("ready after", f"{profile.ready_seconds:.2f} s"),
        ("first answer", f"{profile.first_seconds * 1000:.1f} ms"),
        ("peak memory", memory),
        *gpu_memory,
        ("requests", f"cpu {suggestion.cpu}, memory {suggestion.memory} (limit {suggestion.memory_limit}), "
         f"{suggestion.gpus or 'no'} GPU"),
        ("scale out at", f"{suggestion.concurrency} at once"),
        ("measured", f"{profile.measured_at} on {machine.cpus} CPUs, {gpus}, {machine.system}, mlkit {profile.mlkit}"),
    ]  # fmt: skip


def _axes(levels: Sequence[Level], top: float) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y}' y2='{y}' stroke='#e2e8f0'/>")
        parts.append(_label(_LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    for number, level in enumerate(levels):
        x = _x(number, len(levels))
        parts.append(_label(x, _HEIGHT - _BOTTOM + 20, str(level.concurrency), anchor="middle", weight="600"))
        told = f"{level.per_second:.0f}/s" + (f", {level.failures} failed" if level.failures else "")
        parts.append(_label(x, _HEIGHT - _BOTTOM + 38, told, anchor="middle", color="#4a5568"))
    return parts


def _line(levels: Sequence[Level], values: Sequence[float], top: float, name: str, color: str) -> list[str]:
    points = [(_x(number, len(levels)), _y(value, top)) for number, value in enumerate(values)]
    if not points:
        return []
    drawn = " ".join(f"{x},{y}" for x, y in points)
    parts = [f"<polyline points='{drawn}' fill='none' stroke='{color}' stroke-width='2'/>"]
    parts += [f"<circle cx='{x}' cy='{y}' r='3.5' fill='{color}'/>" for x, y in points]
    # In the corner, not at the end of its line: where latencies are close, names would lie on each other.
    offset = [line for line, _ in _LINES].index(name)
    x = _WIDTH - _RIGHT - 40 * (len(_LINES) - 1 - offset)
    parts.append(_label(x, 44, name, anchor="end", color=color, weight="600"))
    return parts


def _label(x: float, y: float, text: str, *, anchor: str = "start", color: str = "#1a202c", weight: str = "400") -> str:
    font = _FONT.replace("#1a202c", color)
    return f"<text x='{x}' y='{y}' {font} font-weight='{weight}' text-anchor='{anchor}'>{_text(text)}</text>"


def _x(number: int, count: int) -> float:
    inner = _WIDTH - _LEFT - _RIGHT
    return round(_LEFT + inner * (number + 0.5) / max(1, count), 1)


def _y(value: float, top: float) -> float:
    inner = _HEIGHT - _TOP - _BOTTOM
    return round(_HEIGHT - _BOTTOM - inner * (value / top if top > 0 else 0.0), 1)


def _nice(value: float) -> float:
    """A round number at or above `value`, whose quarters are easy to read."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (*_STEPS, 10) if step * power >= value), 10 * power)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _text(text: str) -> str:
    return escape("".join(character if character.isprintable() else "?" for character in text), quote=True)
