"""A bar chart as SVG, readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmark.report import medians, number
from benchmark.rounds import Plan, Results
from benchmark.scenarios import Scenario

COLOURS = {
    "proxy": "#2f6fde",
    "compiled": "#6ea8fe",
    "nginx": "#3a9d5d",
    "haproxy": "#d9822b",
    "caddy": "#8a63d2",
    "nginx-current": "#7fc89a",
    "haproxy-current": "#f0b27a",
    "caddy-current": "#b9a0e6",
    "envoy": "#d1495b",
    "bare": "#8b949e",
    "relay": "#57606a",
}
WIDTH, LABEL, NUMBERS, BAR, GAP, TOP = 860, 250, 130, 12, 16, 56
STYLE = (
    "<style>text{fill:#30363d}.quiet{fill:#6e7781;font-size:11px}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9da7b3}}</style>"
)


@dataclass(frozen=True)
class Group:
    """The bars of one measure, each on the group's own scale."""

    title: str
    unit: str
    values: Mapping[str, float]


def bars(title: str, colours: Mapping[str, str], groups: Sequence[Group]) -> str:
    """One group under the other; the longest bar of each is its largest value."""
    parts: list[str] = []
    y = TOP
    for group in groups:
        longest = max(group.values.values()) or 1.0
        middle = y + BAR * len(group.values) / 2
        place = f'x="{LABEL - 12}" text-anchor="end"'
        parts.append(f'<text {place} y="{middle:.0f}">{escape(group.title)}</text>')
        parts.append(f'<text {place} y="{middle + 14:.0f}" class="quiet">{escape(group.unit)}</text>')
        for name, colour in colours.items():
            if name not in group.values:
                continue
            value = group.values[name]
            length = max(1.0, (WIDTH - LABEL - NUMBERS) * value / longest)
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR - 2}" rx="2" fill="{colour}"/>'
                f'<text x="{LABEL + length + 6:.1f}" y="{y + BAR - 3}" class="quiet">{number(value)}</text>'
            )
            y += BAR
        y += GAP + (BAR if len(group.values) < 2 else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" '
        f'font-size="12">\n{STYLE}\n'
        f'<text x="{LABEL}" y="20" font-size="15" font-weight="600">{escape(title)}</text>\n'
        f"{legend(colours, LABEL, 34)}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def legend(colours: Mapping[str, str], x: int, y: int) -> str:
    """Which colour is whose, in a line that begins there."""
    return "".join(
        f'<rect x="{x + 110 * place}" y="{y}" width="10" height="10" rx="2" fill="{colour}"/>'
        f'<text x="{x + 110 * place + 15}" y="{y + 9}">{escape(name)}</text>'
        for place, (name, colour) in enumerate(colours.items())
    )


def svg(scenarios: Sequence[Scenario], results: Results, plan: Plan, title: str) -> str:
    """One group of bars per scenario."""
    measured = [(scenario, medians(results, scenario.name)) for scenario in scenarios]
    groups = [Group(scenario.title, scenario.unit, row) for scenario, row in measured if row]
    return bars(title, {peer: COLOURS[peer] for peer in plan.peers}, groups)
