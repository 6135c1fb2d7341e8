"""How a debate is shown: the same shapes for HTTP, exports and the command line. Times are ISO 8601 in UTC."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from aragora.debate.events import Event
from aragora.storage import DebateRecord

Row = dict[str, Any]


def moment(seconds: float | None) -> str | None:
    """Unix seconds as `2026-01-31T09:30:00.123Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def debate(record: DebateRecord) -> Row:
    """One debate without its messages."""
    spec = record.spec
    return {
        "id": record.id,
        "debate_id": record.id,
        "slug": record.slug,
        "task": spec.question,
        "title": record.title,
        "context": spec.context,
        "agents": [agent.name for agent in spec.agents],
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
        "is_public": record.is_public,
        "metadata": dict(record.metadata),
        "last_seq": record.last_seq,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "ended_at": moment(record.ended_at),
        "duration_seconds": round((record.ended_at or record.updated_at) - record.created_at, 3),
    }


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
        }


def findings(stored: Iterable[Event], *, typed: bool = False) -> Iterator[Row]:
    """Critiques, votes or measures of convergence: what the event carries, and who, when, in which round.

    `typed` adds which type of event it is, where several stand together.
    """
    for item in stored:
        kind = {"type": item.type.value} if typed else {}
        found = {"seq": item.seq, "round": item.round, "agent": item.agent, "timestamp": moment(item.at)}
        yield kind | found | item.data
