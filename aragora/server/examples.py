"""Bodies of requests and responses in the description of the API; each fits its model, which a test checks."""

from typing import Any

ID = "adhoc_0123456789abcdef0123456789"
QUESTION = "Should we adopt event sourcing for billing?"
COUNCIL = [
    {"type": "demo", "name": "Architect"},
    {"type": "demo", "name": "Auditor", "role": "answers for audits and erasure"},
    {"type": "demo", "name": "Operator"},
]
_DEBATE = {"question": QUESTION, "agents": COUNCIL, "rounds": 2}

BODIES: dict[str, dict[str, Any]] = {
    "createDebate": _DEBATE,
    "estimateDebate": _DEBATE,
    "changeDebate": {"title": "Event sourcing", "metadata": {"team": "billing"}},
    "followUpDebate": {"question": "And what would it cost to run?"},
    "forkDebate": {"rounds": 3, "consensus": "unanimous"},
    "askAgain": {"timeout": 300},
    "addNotification": {"kind": "webhook", "url": "https://example.com/hooks/debates"},
    "readSource": {"url": "https://example.com/minutes.html"},
    "savePreset": {"description": "Two sceptics", "agents": COUNCIL, "rounds": 2, "consensus": "majority"},
    "askModel": {"type": "demo"},
    "createChatCompletion": {"model": "aragora", "messages": [{"role": "user", "content": QUESTION}]},
}
"""By the name of the operation."""

ANSWERS: dict[str, dict[str, Any]] = {
    "Created": {"success": True, "debate_id": ID, "status": "created", "task": QUESTION},
    "Cancelled": {"success": True, "debate_id": ID, "status": "cancelled"},
    "Shared": {"debate_id": ID, "share": "/shared/3f0c5e1b9a7d"},
    "EventList": {
        "events": [
            {
                "type": "vote",
                "debate_id": ID,
                "loop_id": ID,
                "seq": 17,
                "round": 2,
                "agent": "Auditor",
                "timestamp": 1769851800.123,
                "data": {"choice": "Architect", "confidence": 0.8, "reasoning": "It can be erased."},
            }
        ],
        "next_seq": 17,
    },
    "VoteList": {
        "debate_id": ID,
        "votes": [
            {
                "seq": 17,
                "round": 2,
                "agent": "Auditor",
                "timestamp": "2026-01-31T09:30:00.123Z",
                "type": "vote",
                "choice": "Architect",
                "confidence": 0.8,
                "reasoning": "It can be erased.",
            }
        ],
        "count": 1,
    },
    "AgentList": {
        "agents": [{"name": "demo", "title": "Demo (offline)", "available": True, "missing": None}],
        "count": 1,
    },
    "Availability": {"available": ["demo"], "missing": {"anthropic": "ANTHROPIC_API_KEY"}},
    "ProbeAnswer": {
        "type": "demo",
        "model": "demo",
        "ok": True,
        "seconds": 0.1,
        "answer": "yes",
        "kind": None,
        "message": None,
        "usage": None,
    },
    "Alive": {"status": "ok"},
    "Readiness": {"status": "ready", "checks": {"store": {"ok": True, "detail": "answers"}}},
    "ErrorAnswer": {
        "error": {"code": "not_found", "message": "no such debate", "trace_id": "5f0c2f7f1d0e4a1b8c3d9e6a7b8c9d0e"}
    },
}
"""By the name of the model."""
