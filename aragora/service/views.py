"""How a debate is shown: the same shapes for HTTP, exports and the command line. Times are ISO 8601 in UTC."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from aragora.agents.prices import MICRODOLLARS
from aragora.debate import wording
from aragora.debate.events import Event, EventType
from aragora.debate.usage import Usage
from aragora.service.estimates import Estimate
from aragora.storage import DayOfSpending, DebateRecord, Spending
from aragora.storage.notifications import Notification
from aragora.storage.presets import Preset

Row = dict[str, Any]


def moment(seconds: float | None) -> str | None:
    """Unix seconds as `2026-01-31T09:30:00.123Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def debate(record: DebateRecord, *, owned: bool = True) -> Row:
    """One debate without its messages; `owned` shows what only its owner and administrators see."""
    spec = record.spec
    return {
        "id": record.id,
        "debate_id": record.id,
        "slug": record.slug,
        "task": spec.question,
        "title": record.title,
        "context": spec.context,
        "context_length": len(spec.context),
        "agents": [agent.name for agent in spec.agents],
        "participants": [asdict(agent) for agent in spec.agents],
        "consensus": spec.consensus,
        "threshold": spec.threshold,
        "rounds": spec.rounds,
        "rounds_used": record.rounds_used,
        "status": record.status,
        "in_progress": not record.ended,
        "consensus_reached": record.consensus_reached,
        "confidence": record.confidence,
        "final_answer": record.final_answer,
        "conclusion": record.final_answer,
        "reason": record.reason if owned else _cause(record.reason),
        "criteria": spec.criteria,
        "synthesis": spec.synthesis,
        "budget": asdict(spec.budget),
        "usage": spending(record.spending),
        "owner": record.owner if owned else None,
        "share": share(record) if owned else None,
        "parent": None if record.relation is None else {"id": record.parent_id, "relation": record.relation},
        "is_public": record.is_public,
        "metadata": dict(record.metadata),
        "last_seq": record.last_seq,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "ended_at": moment(record.ended_at),
        "duration_seconds": round((record.ended_at or record.updated_at) - record.created_at, 3),
    }


def verdict(stored: Event | None, *, owned: bool = True) -> Row | None:
    """What the debate came to and why, from its consensus event; None before it.

    `owned` shows what providers said of their failures. Debates of older versions lack some of it.
    """
    if stored is None:
        return None
    data = stored.data
    found = {name: data.get(name) for name in VERDICT} | {name: data.get(name) or [] for name in ("reasons", "dissent")}
    lacking = data.get("degraded") or []
    found["degraded"] = lacking if owned else [{**item, "message": ""} for item in lacking]
    found |= {"reached": bool(data.get("reached")), "tied": bool(data.get("tied"))}
    found["votes"] = data.get("votes") or {}
    return found | {"summary": wording.headline(found)}


VERDICT = (
    *("reached", "choice", "support", "share", "threshold", "confidence", "method", "quorum", "tie_break", "alike"),
    *("synthesis", "stopped_early", "user_votes", "took_part", "cut_short"),
)
SHARED = (
    "slug",
    "task",
    "title",
    "agents",
    "consensus",
    "threshold",
    "rounds",
    "rounds_used",
    "status",
    "in_progress",
    "consensus_reached",
    "confidence",
    "final_answer",
    "created_at",
    "ended_at",
    "duration_seconds",
)


def shared(record: DebateRecord, decided: Event | None) -> Row:
    """What a share link shows: not whose the debate is, what it was told in confidence, and what it cost."""
    whole = debate(record, owned=False)
    return {name: whole[name] for name in SHARED} | {"verdict": verdict(decided, owned=False)}


def share(record: DebateRecord) -> str | None:
    """The address of the debate's share link, without the server's."""
    return None if record.share_key is None else f"/shared/{record.share_key}"


def spending(spent: Spending) -> Row:
    """What was spent: tokens, and dollars. What is held belongs to questions without an answer, counted at the most
    that they may have taken."""
    return {
        "questions": spent.questions,
        **spent.usage.to_json(),
        "cost": spent.cost / MICRODOLLARS,
        "held_tokens": spent.held_tokens,
        "held_cost": spent.held_cost / MICRODOLLARS,
    }


def day(spent: DayOfSpending) -> Row:
    """What one owner spent on one day."""
    return {"day": spent.day, "owner": spent.owner, **spending(spent.spending)}


def estimate(found: Estimate) -> Row:
    """What a debate would take."""
    return {
        "questions": found.questions,
        "input": found.usage.input,
        "output": found.usage.output,
        "tokens": found.usage.total,
        "cost": found.cost / MICRODOLLARS,
        "summary": found.summary,
        "assumed": list(found.assumed),
        "prices_checked": found.checked,
        "budget": asdict(found.budget),
    }


def preset(kept: Preset, *, own: bool) -> Row:
    """One council; `own` where the caller keeps it."""
    body = {name: value for name, value in kept.body.items() if name != "description"}
    return {
        "name": kept.name,
        "description": kept.body.get("description", ""),
        "is_own": own,
        "updated_at": moment(kept.updated_at),
        "body": body,
    }


def notification(kept: Notification) -> Row:
    """A message and what became of it, without what is secret in its address."""
    return {
        "id": kept.id,
        "kind": kept.recipient.kind,
        "host": urlsplit(kept.recipient.url).hostname or "",
        "state": kept.state,
        "attempts": kept.attempts,
        "next_at": moment(kept.next_at),
        "problem": kept.problem,
    }


def usage(stored: Iterable[Event]) -> Iterator[Row]:
    """What each agent's answers took, in the order in which the agents first answered."""
    sums: dict[str, tuple[int, Usage, float]] = {}
    for item in stored:
        if isinstance(took := item.data.get("usage"), dict):
            answers, tokens, cost = sums.get(item.agent or "", (0, Usage(), 0.0))
            sums[item.agent or ""] = (answers + 1, tokens + Usage.from_json(took), cost + float(took.get("cost", 0)))
    for agent, (answers, tokens, cost) in sums.items():
        yield {"agent": agent, "answers": answers, **tokens.to_json(), "cost": round(cost, 6)}


def event(stored: Event) -> Row:
    """One event as it travels over HTTP, SSE and WebSocket; its timestamp is in unix seconds."""
    return {
        "type": stored.type.value,
        "seq": stored.seq,
        "round": stored.round,
        "agent": stored.agent,
        "timestamp": stored.at,
        "data": stored.data,
    }


def without_words(stored: Event) -> Event:
    """An event as strangers see it: without what a provider said, in which account and models may be named."""
    match stored.type:
        case EventType.AGENT_ERROR:
            return replace(stored, data={**stored.data, "message": f"the agent failed: {stored.data['kind']}"})
        case EventType.CONSENSUS if stored.data.get("degraded"):
            lacking = [{**item, "message": ""} for item in stored.data["degraded"]]
            return replace(stored, data={**stored.data, "degraded": lacking})
        case EventType.DEBATE_END if stored.data.get("reason"):
            return replace(stored, data={**stored.data, "reason": _cause(stored.data["reason"])})
        case EventType.AGENT_WAITING:
            return replace(stored, data={**stored.data, "message": "the agent waits for its provider"})
    return stored


def _cause(reason: str | None) -> str | None:
    """Why a debate ended, without the failures that led to it."""
    return reason and reason.partition(": ")[0]


def messages(stored: Iterable[Event], first: int = 0) -> Iterator[Row]:
    """What was said, counted from `first`."""
    for index, item in enumerate(stored, first):
        yield {
            "index": index,
            "role": item.data.get("role"),
            "agent": item.agent,
            "content": item.data.get("content"),
            "round": item.round,
            "timestamp": moment(item.at),
            "model": item.data.get("model"),
            "usage": item.data.get("usage"),
            "cut": item.data.get("cut"),
            "omitted": item.data.get("omitted") or [],
        }


def argument(stored: Iterable[Event], *, owned: bool = True) -> Iterator[Row]:
    """What a debate was argued by, in its order; `owned` shows what providers said of their failures."""
    return findings(stored if owned else map(without_words, stored), typed=True)


def findings(stored: Iterable[Event], *, typed: bool = False) -> Iterator[Row]:
    """Critiques, votes or measures of convergence: what the event carries, with agent, time and round.

    `typed` adds which type of event it is, where several stand together.
    """
    for item in stored:
        kind = {"type": item.type.value} if typed else {}
        found = {"seq": item.seq, "round": item.round, "agent": item.agent, "timestamp": moment(item.at)}
        yield kind | found | item.data
