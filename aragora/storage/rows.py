"""Between rows of the tables and the values that the store hands out."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status
from aragora.errors import BadRequest, NotFound
from aragora.storage.ledger import spent
from aragora.storage.records import DebateRecord, Relation
from aragora.storage.tables import SUMS, debates

ID_FORM = re.compile(r"adhoc_[0-9a-f]{26}\Z")
_PLAIN = tuple(name for name in DebateRecord.__dataclass_fields__ if name != "spending")
LISTED = [debates.c[name] for name in (*_PLAIN, "questions", *SUMS)]


def summary(drafts: Sequence[Draft], at: float) -> dict[str, Any]:
    """What `drafts` change in the debate's own row."""
    values: dict[str, Any] = {}
    for draft in drafts:
        match draft.type:
            case EventType.DEBATE_START:
                values["status"] = Status.RUNNING.value
            case EventType.ROUND_START:
                values["rounds_used"] = draft.round
            case EventType.CONSENSUS:
                values["consensus_reached"] = bool(draft.data.get("reached"))
                values["confidence"] = float(draft.data.get("confidence") or 0.0)
                answer = storable(draft.data.get("answer"))
                values |= {"final_answer": answer, "answer_search": None if answer is None else folded(answer)}
            case EventType.DEBATE_END:
                status = draft.data["status"]
                assert Status(status).final, status
                values |= {"status": status, "ended_at": at, "lease_owner": None, "lease_expires": 0.0}
                values["reason"] = storable(draft.data.get("reason"))
    return values


def slug(question: str, debate_id: str) -> str:
    """A readable name for addresses: the question's words in ASCII and the end of the id."""
    plain = unicodedata.normalize("NFKD", question).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].rstrip("-")
    return f"{words or 'debate'}-{debate_id[-6:]}"


def no_such(debate_id: str) -> NotFound:
    """The error of an id that no debate has."""
    return NotFound(f"no debate {debate_id[:80]!r}")


def record_of(row: sa.Row[Any]) -> DebateRecord:
    """The debate of a row of LISTED columns."""
    values = row._mapping
    fields = {name: values[name] for name in _PLAIN}
    fields["relation"] = None if row.relation is None else Relation(row.relation)
    return DebateRecord(
        **fields | {"spec": DebateSpec.from_json(row.spec), "status": Status(row.status), "spending": spent(row)}
    )


def event_of(row: sa.Row[Any]) -> Event:
    """The event of a row."""
    return Event(row.seq, EventType(row.type), row.at, row.round, row.agent, row.data)


def event_row(debate_id: str, event: Event) -> dict[str, Any]:
    """The row of an event."""
    return {
        "debate_id": debate_id,
        "seq": event.seq,
        "type": event.type.value,
        "at": event.at,
        "round": event.round,
        "agent": event.agent,
        "data": event.data,
    }


def storable(text: str | None) -> str | None:
    """A model may answer with what a text column cannot hold: NUL or half a surrogate pair."""
    return text if text is None else text.replace("\x00", "�").encode("utf-8", "replace").decode()


def folded(text: str) -> str:
    """As it is searched for, in Unicode's compatibility forms and case folding: ß is found by ss."""
    return storable(unicodedata.normalize("NFKC", text).casefold()) or ""


def search_text(question: str, title: str) -> str:
    """What a debate is found by."""
    return folded(question if title in question else f"{question}\n{title}")


def cursor_of(record: DebateRecord) -> str:
    """The cursor of the page behind `record`."""
    return base64.urlsafe_b64encode(f"{record.created_at!r} {record.id}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> tuple[float, str]:
    """The moment and id of the debate that a page begins behind; raises `BadRequest` for a cursor that is not ours."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode("ascii")
        at, _, debate_id = text.partition(" ")
        if not ID_FORM.match(debate_id):
            raise ValueError
        return float(at), debate_id
    except (ValueError, binascii.Error):
        raise BadRequest("cursor: take it from next_cursor of the page before") from None
