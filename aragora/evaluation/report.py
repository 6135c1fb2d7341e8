"""The comparisons as a table, with how much they can tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from aragora.agents.prices import MICRODOLLARS
from aragora.evaluation.comparison import Comparison, Method, Outcome
from aragora.evaluation.statistics import chance, difference_interval, share_interval

_COLUMNS = ("method", "right", "accuracy", "95 % interval", "asked", "tokens", "$", "s", "no answer")
# What a debate is compared with: the cheap way, the equally dear one, and itself before anybody criticised.
_AGAINST = (Method.ALONE, Method.MAJORITY, Method.FIRST)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of some comparisons."""

    comparisons: Sequence[Comparison]

    def lines(self) -> Iterator[str]:
        """A table: what each method had right, and on average took for a question; then what the differences mean."""
        rows = [_COLUMNS, *(self._row(method) for method in Method)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        for row in rows:
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            yield "  ".join(cells)
        yield ""
        for method in _AGAINST:
            yield self._difference(method)

    def to_json(self) -> dict[str, Any]:
        """Every figure, and every question's answers."""
        return {
            "questions": len(self.comparisons),
            "methods": {method.name.lower(): self._figures(method) for method in Method},
            "debate_against": {method.name.lower(): self._against(method) for method in _AGAINST},
            "answers": [
                {
                    "question": one.case.question,
                    "answers": list(one.case.answers),
                    **{method.name.lower(): _told(one.outcomes[method]) for method in Method},
                }
                for one in self.comparisons
            ],
        }

    def _outcomes(self, method: Method) -> list[Outcome]:
        return [one.outcomes[method] for one in self.comparisons]

    def _figures(self, method: Method) -> dict[str, Any]:
        found = self._outcomes(method)
        right, total = sum(one.right for one in found), len(found)
        low, high = share_interval(right, total)
        return {
            "right": right,
            "accuracy": right / total if total else 0.0,
            "interval": [round(low, 4), round(high, 4)],
            "asked": _mean(found, lambda one: one.spent.questions),
            "tokens": _mean(found, lambda one: one.spent.usage.total),
            "cost": _mean(found, lambda one: one.spent.cost) / MICRODOLLARS,
            "seconds": _mean(found, lambda one: one.spent.seconds),
            "no_answer": sum(one.given is None for one in found),
        }

    def _row(self, method: Method) -> tuple[str, ...]:
        figures = self._figures(method)
        low, high = figures["interval"]
        return (
            method.value,
            f"{figures['right']}/{len(self.comparisons)}",
            f"{figures['accuracy']:.0%}",
            f"{low:.0%} to {high:.0%}",
            f"{figures['asked']:.1f}",
            f"{figures['tokens']:,.0f}",
            f"{figures['cost']:.4f}",
            f"{figures['seconds']:.1f}",
            str(figures["no_answer"]),
        )

    def _against(self, method: Method) -> dict[str, Any]:
        pairs = [(one.outcomes[Method.DEBATE].right, one.outcomes[method].right) for one in self.comparisons]
        better = sum(debate and not other for debate, other in pairs)
        worse = sum(other and not debate for debate, other in pairs)
        low, high = difference_interval(better, worse, len(pairs))
        return {
            "better": better,
            "worse": worse,
            "difference": (better - worse) / len(pairs) if pairs else 0.0,
            "interval": [round(low, 4), round(high, 4)],
            "chance": round(chance(better, worse), 4),
        }

    def _difference(self, method: Method) -> str:
        found = self._against(method)
        low, high = found["interval"]
        sure = "" if found["chance"] < 0.05 else "; too few questions to tell"
        return (
            f"debate less {method.value}: {found['difference']:+.0%} ({low:+.0%} to {high:+.0%}), "
            f"better at {found['better']}, worse at {found['worse']}, by chance with p = {found['chance']:.3f}{sure}"
        )


def _mean(found: Sequence[Outcome], of: Any) -> float:
    return fmean([float(of(one)) for one in found]) if found else 0.0


def _told(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {"given": outcome.given, "right": outcome.right, "asked": outcome.spent.questions}
    return told | ({"failed": outcome.failed} if outcome.failed else {})
