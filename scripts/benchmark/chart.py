"""A bar chart of the costs as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmark.report import medians, number
from benchmark.rounds import Plan, Results
from benchmark.scenarios import Scenario

COLOURS = {"proxy": "#2f6fde", "nginx": "#3a9d5d", "haproxy": "#d9822b", "caddy": "#8a63d2"}
WIDTH, LABEL, NUMBERS, BAR, GAP, TOP = 860, 250, 130, 12, 16, 56


def svg(scenarios: Sequence[Scenario], results: Results, plan: Plan, title: str) -> str:
    """One group of bars per scenario, each group on its own scale: the longest bar is the dearest peer."""
    parts: list[str] = []
    y = TOP
    for scenario in scenarios:
        row = medians(results, scenario.name)
        if not row:
            continue
        longest = max(row.values()) or 1.0
        middle = y + BAR * len(row) / 2
        place = f'x="{LABEL - 12}" text-anchor="end"'
        parts.append(f'<text {place} y="{middle:.0f}">{escape(scenario.title)}</text>')
        parts.append(f'<text {place} y="{middle + 14:.0f}" class="quiet">{escape(scenario.unit)}</text>')
        for peer in plan.peers:
            if peer not in row:
                continue
            length = max(1.0, (WIDTH - LABEL - NUMBERS) * row[peer] / longest)
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR - 2}" rx="2" fill="{COLOURS[peer]}"/>'
                f'<text x="{LABEL + length + 6:.1f}" y="{y + BAR - 3}" class="quiet">{number(row[peer])}</text>'
            )
            y += BAR
        y += GAP + (BAR if len(row) < 2 else 0)
    legend = "".join(
        f'<rect x="{LABEL + 110 * place}" y="34" width="10" height="10" rx="2" fill="{COLOURS[peer]}"/>'
        f'<text x="{LABEL + 110 * place + 15}" y="43">{peer}</text>'
        for place, peer in enumerate(plan.peers)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" '
        'font-size="12">\n<style>text{fill:#30363d}.quiet{fill:#6e7781;font-size:11px}'
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9da7b3}}</style>\n"
        f'<text x="{LABEL}" y="20" font-size="15" font-weight="600">{escape(title)}</text>\n{legend}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
