"""What happens in a debate, in words: for terminals, and for programs that show a debate as a model's thoughts."""

from collections.abc import Iterable, Mapping
from typing import Any

from aragora.debate.ballots import named

Data = Mapping[str, Any]


def described(message: Data) -> tuple[str, str]:
    """An event in words: a heading and a text; both empty for what needs none."""
    data: Data = message.get("data") or {}
    agent = message.get("agent") or "a person"
    match message["type"]:
        case "round_start":
            return f"Round {message['round']}", ""
        case "agent_message":
            cut = f", cut off: {data['cut']}" if data.get("cut") else ""
            return f"{agent} ({data.get('role', 'agent')}{cut})", str(data.get("content", ""))
        case "critique":
            severity = "" if data.get("severity") is None else f", severity {data['severity']}"
            return f"{agent} on {data.get('target')}{severity}", named(_points(data), data.get("shown") or ())
        case "vote":
            share = f", {data['confidence']:.0%} sure" if isinstance(data.get("confidence"), int | float) else ""
            reasoning = named(str(data.get("reasoning") or ""), data.get("shown") or ())
            voter = f"{agent}, the judge," if data.get("judge") else agent
            return f"{voter} votes for {data.get('choice')}{share}", reasoning
        case "synthesis":
            return f"{agent} sums up", str(data.get("answer") or "")
        case "convergence":
            return f"Answers are {data.get('similarity', 0):.0%} alike: {data.get('status', '')}", ""
        case "agent_waiting":
            return f"{agent} waits: {data.get('message') or ''}", ""
        case "agent_error":
            again = "; it is asked again" if data.get("retry") else ""
            return f"{agent} failed: {data.get('message') or data.get('kind')}{again}", ""
        case "user_vote":
            return f"A person votes for {data.get('choice')}", str(data.get("reasoning") or "")
        case "user_suggestion":
            return "A person suggests", str(data.get("text", ""))
        case _:
            return "", ""


def _points(data: Data) -> str:
    def points(name: str) -> Iterable[str]:
        found = data.get(name)
        return [f"- {point}" for point in found] if isinstance(found, list) else []

    parts = [*points("issues"), *(["Suggestions:", *points("suggestions")] if data.get("suggestions") else [])]
    return "\n".join([*parts, str(data.get("reasoning") or "")]).strip()
