"""A verdict in words, for terminals and downloads: one line, and then each thing that is to be known of it.

And the bounds of a debate's spending, which are shown next to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aragora.debate.ballots import named

Data = Mapping[str, Any]
_AT = {
    "propose": "proposing",
    "critique": "criticising",
    "revise": "revising",
    "vote": "voting",
    "judge": "judging",
    "synthesize": "summing up",
}
_TIES = {
    "confidence": "as many votes as another; ahead by the voters' confidence",
    "criticism": "as many votes as another, as sure ones; ahead by the mildest criticism",
    "lot": "as many votes as another, as sure ones, as mildly criticised; drawn by lot, which decides nothing",
}


def budget(bounds: Data) -> str:
    """The most that a debate may take (`money` in dollars, `tokens`, `questions`); empty without a bound."""
    found = [f"{bounds['money']:.2f} $"] if bounds.get("money") is not None else []
    found += [f"{bounds[name]:,} {name}" for name in ("tokens", "questions") if bounds.get(name) is not None]
    return f"at most {', '.join(found)}" if found else ""


def headline(verdict: Data) -> str:
    """Whose answer it is, by how many votes of how many, and how many agents could do all that was asked of them."""
    whole = verdict.get("took_part")
    return _decision(verdict) + (f"; {whole['agents']} of {whole['of']} agents took part in full" if whole else "")


def _decision(verdict: Data) -> str:
    if verdict["choice"] is None:
        return "all answers stand side by side" if verdict["method"] == "none" else "an answer"
    support = verdict.get("support") or {}
    alike = (verdict.get("alike") or {}).get(verdict["choice"], [])
    whose = f"the answer of {', '.join(alike)}" if alike else f"{verdict['choice']}'s answer"
    if not support:
        return whose
    if not verdict["votes"] or len(verdict["votes"]) == 1:
        counted = f"given by {support['votes']} of {support['of']}"
    elif verdict["method"] == "judge":
        counted = "chosen by the judge" if support["votes"] else "not chosen by any judge"
    elif verdict["method"] == "borda":
        counted = f"ranked first by {support['votes']} of {support['of']}"
    else:
        counted = f"by {support['votes']} of {support['of']} votes"
    return f"{whose}, {counted}{'' if verdict['reached'] else ', which decides nothing'}"


def details(verdict: Data) -> list[tuple[str, str]]:
    """Label and text of what there is to say beyond that."""
    found = [
        ("Stopped early", verdict.get("stopped_early") or ""),
        ("Tie", _TIES.get(verdict.get("tie_break") or "", "") if verdict["tied"] else ""),
        ("Degraded", degraded(verdict)),
        ("Reasons", _said(verdict.get("reasons") or [], choices=False)),
        ("Dissent", _said(verdict.get("dissent") or [], choices=True)),
        *_synthesis(verdict.get("synthesis") or {}),
    ]
    return [(label, text) for label, text in found if text]


def degraded(verdict: Data) -> str:
    """Which agents could not take part in what, and why; empty when the result is all agents'."""
    return "; ".join(_lack(item) for item in verdict.get("degraded") or [])


def _lack(item: Data) -> str:
    message = f": {item['message']}" if item.get("message") else ""
    if item["kind"] == "cut":
        return f"{item['agent']}'s answer is not whole{message}"
    return f"{item['agent']} failed at {_AT.get(item['purpose'], item['purpose'])}{message}"


def _said(votes: Sequence[Data], *, choices: bool) -> str:
    lines = []
    for vote in votes:
        voter = f"{vote['agent']}, the judge" if vote.get("judge") else vote["agent"]
        choice = f" for {vote['choice']}" if choices else ""
        reasoning = named(vote["reasoning"], vote.get("shown") or ()) or "no reason given"
        lines.append(f"{voter}{choice} ({vote['confidence']:.0%} sure): {reasoning}")
    return "\n".join(lines)


def _synthesis(synthesis: Data) -> list[tuple[str, str]]:
    return [
        ("Synthesis", synthesis.get("answer") or ""),
        ("Agreed", "\n".join(synthesis.get("agreements") or [])),
        ("Disputed", "\n".join(synthesis.get("disputes") or [])),
        ("Minority", synthesis.get("minority") or ""),
    ]
