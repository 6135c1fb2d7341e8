"""Lines over time as SVG, readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmark.chart import STYLE, legend
from benchmark.report import number

from endurance.samples import binned

WIDTH, LEFT, RIGHT, TOP, PANEL, GAP = 860, 64, 16, 84, 150, 56
STRIP = 34
"""Height of one row of moments."""
POINTS = 360
RATE_SECONDS = 10.0
"""Stretch over which a rate is taken; in a short run a tenth of it."""
COLOURS = ("#2f6fde", "#3a9d5d", "#d9822b", "#8a63d2", "#8b949e", "#d1495b")
GRID = 'stroke="#8b949e" stroke-opacity=".35"'

Points = list[tuple[float, float]]
"""Seconds since the beginning, and the value there."""


@dataclass(frozen=True)
class Panel:
    """Lines with one scale, which begins at 0."""

    title: str
    lines: dict[str, Points]


def rates(counts: Sequence[tuple[float, int]], seconds: float) -> Points:
    """What was counted so far, each with its time, in a run of so many seconds, as rates per second."""
    found: Points = []
    last_at, last_count = 0.0, 0
    for at, count in counts:
        if at - last_at >= min(RATE_SECONDS, seconds / 10):
            found.append((at, (count - last_count) / (at - last_at)))
            last_at, last_count = at, count
    return found


def svg(
    title: str,
    panels: Sequence[Panel],
    seconds: float,
    warm: float,
    marks: Sequence[float],
    strips: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """Panels under one another, one time axis. `marks` are moments that all of them show; the warm-up is shaded.
    `strips` are rows of moments, each with its name, below the panels."""
    strips = strips or {}
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = dict(zip(names, COLOURS, strict=False))
    foot = TOP + len(panels) * (PANEL + GAP)
    height = foot + len(strips) * STRIP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12">\n{STYLE}\n<text x="{LEFT}" y="20" font-size="15" font-weight="600">{escape(title)}</text>\n'
        f"{legend(colours, LEFT, 34)}\n"
        + "\n".join(
            drawn(panel, colours, TOP + place * (PANEL + GAP), seconds, warm, marks)
            for place, panel in enumerate(panels)
        )
        + "\n"
        + "\n".join(
            strip(name, moments, foot + place * STRIP, seconds) for place, (name, moments) in enumerate(strips.items())
        )
        + "\n</svg>\n"
    )


def strip(name: str, moments: Sequence[float], top: float, seconds: float) -> str:
    """One row of moments, on the panels' time axis."""
    line, right = top + 20, WIDTH - RIGHT
    parts = [
        f'<text x="{LEFT}" y="{top + 10}">{escape(name)}</text>',
        f'<line x1="{LEFT}" x2="{right}" y1="{line}" y2="{line}" {GRID}/>',
    ]
    for moment in moments:
        x = f"{LEFT + (right - LEFT) * moment / seconds:.1f}"
        parts.append(f'<circle cx="{x}" cy="{line}" r="3" fill="{COLOURS[2]}"/>')
    return "\n".join(parts)


def drawn(
    panel: Panel, colours: dict[str, str], top: float, seconds: float, warm: float, marks: Sequence[float]
) -> str:
    """One panel that begins at `top`."""
    right, bottom = WIDTH - RIGHT, top + PANEL
    highest = max((value for points in panel.lines.values() for _, value in points), default=0) * 1.1 or 1.0

    def across(at: float) -> float:
        return LEFT + (right - LEFT) * at / seconds

    def up(value: float) -> float:
        return bottom - PANEL * value / highest

    shade = f'x="{LEFT}" y="{top}" width="{across(warm) - LEFT:.1f}" height="{PANEL}" fill="#8b949e"'
    parts = [f'<text x="{LEFT}" y="{top - 8}">{escape(panel.title)}</text>', f'<rect {shade} fill-opacity=".12"/>']
    for mark in marks:
        x = f"{across(mark):.1f}"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom - 5}" stroke="#8b949e"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = up(highest * share)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" {GRID}/>')
        label = number(highest * share) if share else "0"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="quiet">{label}</text>')
        at = f'x="{across(seconds * share):.1f}" y="{bottom + 16}" text-anchor="{"end" if share == 1 else "middle"}"'
        parts.append(f'<text {at} class="quiet">{seconds * share / 60:.3g} min</text>')
    for name, points in panel.lines.items():
        path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in binned(points, POINTS))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>')
    return "\n".join(parts)
