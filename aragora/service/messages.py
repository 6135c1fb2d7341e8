"""What is sent when a debate ends: signed JSON, or a text for Slack and those like it.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body. By
them a receiver knows the sender of a message, and that it is not an old one sent again.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping

from aragora.service import views
from aragora.storage import DebateRecord

SECRET_PREFIX = "whsec_"  # noqa: S105 - of every secret
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes behind the prefix
LONGEST_TEXT = 2500  # characters of an answer in a text
_TELLING = (
    *("id", "slug", "task", "title", "agents", "status", "reason", "consensus", "consensus_reached", "confidence"),
    *("final_answer", "rounds", "rounds_used", "usage", "metadata", "created_at", "ended_at", "duration_seconds"),
)
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def key_of(secret: str) -> bytes:
    """The key that a secret spells; raises ValueError for one of another form."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise ValueError(
            f"write {SECRET_PREFIX} and {SHORTEST_SECRET} to {LONGEST_SECRET} bytes in base64, as from: "
            "python3 -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"
        )
    return key


def webhook(record: DebateRecord, url: str) -> bytes:
    """The body of a webhook; `url` is where the debate is shown."""
    whole = views.debate(record)
    told = {name: whole[name] for name in _TELLING}
    message = {"type": "debate.ended", "timestamp": whole["ended_at"], "data": {**told, "url": url}}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def signed(message_id: str, at: int, body: bytes, secret: str) -> Mapping[str, str]:
    """The fields that sign a webhook; `at` is in unix seconds."""
    content = f"{message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.digest(key_of(secret), content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def slack(record: DebateRecord, url: str) -> bytes:
    """The body for an incoming webhook of Slack, or of what takes the same (Mattermost, Discord at `/slack`)."""
    result = f"consensus, {record.confidence:.0%} sure" if record.consensus_reached else "no consensus"
    lines = [f"*{_escaped(record.title)}*", f"{record.status.value}: {result}"]
    if record.reason:
        lines.append(_escaped(record.reason))
    if record.final_answer:
        answer = record.final_answer[:LONGEST_TEXT] + ("…" if len(record.final_answer) > LONGEST_TEXT else "")
        lines += [f">{line}" for line in _escaped(answer).split("\n")]
    lines.append(f"<{url}|Read the debate>")
    return json.dumps({"text": "\n".join(lines)}).encode()


def _escaped(text: str) -> str:
    """As text alone: nothing in it mentions anybody or makes a link.

    https://api.slack.com/reference/surfaces/formatting
    """
    return re.sub(r"[&<>]", lambda found: _MARKUP[found[0]], text)
