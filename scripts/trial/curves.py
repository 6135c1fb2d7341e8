"""Latencies from the middle to the worst, one line a site, as SVG readable on light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmark.chart import STYLE, legend

PARTS = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
WIDTH, HEIGHT, LEFT, TOP, PANEL, GAP = 860, 330, 64, 92, 350, 76
GRID = 'stroke="#8b949e" stroke-opacity=".35"'

Curves = Mapping[str, Sequence[float]]
"""Milliseconds at each of PARTS, by site."""


def svg(title: str, colours: Mapping[str, str], panels: Mapping[str, Curves]) -> str:
    """Panels side by side, each with a logarithmic scale of its own."""
    drawn = [
        panel(name, curves, colours, LEFT + place * (PANEL + GAP))
        for place, (name, curves) in enumerate(panels.items())
        if curves
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="12">\n{STYLE}\n'
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="600">{escape(title)}</text>\n'
        f"{legend(colours, LEFT, 34)}\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def panel(name: str, curves: Curves, colours: Mapping[str, str], left: int) -> str:
    """One panel that begins at `left`."""
    values = [max(value, 0.1) for curve in curves.values() for value in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    bottom = HEIGHT - 40

    def across(place: int) -> float:
        return left + PANEL * place / (len(PARTS) - 1)

    def up(value: float) -> float:
        return bottom - (bottom - TOP) * (math.log10(max(value, 0.1)) - low) / (high - low)

    parts = [f'<text x="{left}" y="{TOP - 16}">{escape(name)}, ms</text>']
    for power in range(low, high + 1):
        y = up(10.0**power)
        parts.append(f'<line x1="{left}" x2="{left + PANEL}" y1="{y:.1f}" y2="{y:.1f}" {GRID}/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" class="quiet">{10.0**power:g}</text>')
    for place, label in enumerate(PARTS):
        at = f'x="{across(place):.1f}" y="{bottom + 18}" text-anchor="middle"'
        parts.append(f'<text {at} class="quiet">{label}</text>')
    for site, curve in curves.items():
        line = " ".join(f"{across(place):.1f},{up(value):.1f}" for place, value in enumerate(curve))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colours[site]}" stroke-width="2"/>')
    return "\n".join(parts)
