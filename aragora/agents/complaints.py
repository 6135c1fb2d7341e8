"""What an API says when it does not answer, and what that means: of which kind the failure is, and whether it passes.

APIs agree on little: some say it in the status, some in a code, some in words only, and some within an answer that
began with 200. So all of it is looked at, in the order of one table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aragora.agents.json_values import dig, parsed

SHORTEST_KEY = 6  # characters; shorter ones are placeholders, and parts of many words
WORDS = 300  # characters of a provider's own words that are passed on
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# Providers quote part of a refused key.
_KEYLIKE = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|nvapi)[-_][\w*.-]{6,}|\bAIza[\w*.-]{6,}"
    r"|\b(?:key|bearer)[-_ :=]{1,3}(?=[\w*.-]*[\d*])[\w*.-]{6,}",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^>]*>")


class Kind(StrEnum):
    """Why an agent gave no answer, in one word."""

    AUTH = "auth"
    CONFIGURATION = "configuration"
    CONNECTION = "connection"
    CONTEXT = "context"
    MODEL = "model"
    PROTOCOL = "protocol"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    REFUSED = "refused"
    SERVER = "server"
    TIMEOUT = "timeout"
    TOO_LONG = "too_long"


PASSING = frozenset({Kind.RATE_LIMIT, Kind.SERVER})  # what may be otherwise a little later


@dataclass(frozen=True, slots=True)
class Complaint:
    """A failure in an API's own terms. `status` is 0 where it comes within an answer and has no status of its own."""

    status: int
    code: str = ""
    words: str = ""
    body: Any = None

    @property
    def text(self) -> str:
        """Everything that can be searched for what it means."""
        return f"{self.code} {self.words}".casefold()


def read(status: int, body: bytes) -> Complaint:
    """The complaint in the body of an answer."""
    text = body.decode("utf-8", "replace")
    found = parsed(text)
    return found_in(found, status) if isinstance(found, dict) else Complaint(status, "", _plain(text))


def found_in(value: Mapping[str, Any], status: int = 0) -> Complaint:
    """The complaint in a JSON object; its code may be a status, as gateways put it into answers that began with 200."""
    inner = value.get("error")
    place = inner if isinstance(inner, dict) else value
    codes = [place.get("code"), place.get("type"), value.get("code")]
    for code in codes:
        number = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
        if isinstance(number, int) and not isinstance(number, bool) and 400 <= number <= 599:
            status = status if status >= 400 else number
    named = next((code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)), "")
    return Complaint(status, named, _words(value, place), value)


def _words(value: Mapping[str, Any], place: Mapping[str, Any]) -> str:
    detail = value.get("detail")
    invalid = dig(detail, 0, "msg")  # FastAPI's way of refusing a field
    if isinstance(invalid, str):
        where = ".".join(str(step) for step in dig(detail, 0, "loc") or ())
        return f"{where}: {invalid}"
    upstream = dig(place, "metadata", "raw")  # what the provider behind OpenRouter said
    parts = [place.get("message"), value.get("error"), value.get("message"), detail, dig(value, "errors", 0, "message")]
    words = next((part for part in parts if isinstance(part, str) and part.strip()), "")
    return f"{words}: {upstream}" if isinstance(upstream, str) and upstream.strip() else words


def _plain(text: str) -> str:
    title = _TITLE.search(text[:4096])
    return title[1] if title else _MARKUP.sub(" ", text[:4096])


def redacted(words: str, key: str) -> str:
    """One line of `words`, without `key` and whatever else looks like one."""
    if len(key) >= SHORTEST_KEY:
        words = words.replace(key, "[key]")
    words = "".join(letter if letter.isprintable() else " " for letter in words)
    words = _KEYLIKE.sub("[key]", " ".join(words.split()))
    return words if len(words) <= WORDS else words[:WORDS] + " …"


def named(complaint: Complaint, key: str) -> str:
    """The code of the complaint if it may be shown: providers have been seen to put a key there."""
    return complaint.code if redacted(complaint.code, key) == complaint.code else ""


_CONTEXT = re.compile(
    r"context[ _](?:length|window|size|limit)|maximum context|max_model_len|n_ctx|prompt is too long"
    r"|too many (?:input )?tokens|input (?:is|length|tokens?).{0,40}(?:too long|exceed)|context_exceeded"
    r"|request_too_large|string_above_max_length|reduce the length of|request too large|prompt \(.{0,30}\) exceeds"
)
_QUOTA = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|credit balance|exceeded your current quota|billing"
    r"|payment required|out of credits|spending limit"
)
_MODEL = re.compile(
    r"model[ _]not[ _](?:found|exist)|(?:unknown|invalid|unsupported|no such) model\b|not a valid model"
    r"|does not exist or you do not have access|no endpoints found|try pulling it first"
    r"|model.{0,120}(?:does not exist|not found|not available|has been (?:deprecated|retired|decommissioned))"
)
_AUTH = re.compile(
    r"authentication|invalid[ _](?:x-)?api[ _-]?key|unauthori[sz]ed|no auth credentials|permission_error"
)
_FLAGGED = re.compile(r"moderat|flagged|content[ _](?:policy|filter|management)|safety")
_LATER = re.compile(r"overloaded|rate[ _]limit|too many requests|temporarily|try again")
_RATE = re.compile(r"rate[ _]limit|too many (?:concurrent )?requests|tokens per minute|requests per minute")


def kind(complaint: Complaint) -> Kind:
    """Of which kind the failure is."""
    status, text = complaint.status, complaint.text
    if status == 402 or (_QUOTA.search(text) and status != 200):
        return Kind.QUOTA
    if status == 429:
        return Kind.RATE_LIMIT
    if _CONTEXT.search(text) or status == 413:
        return Kind.CONTEXT
    if status in (0, 400, 404, 422, 500) and _MODEL.search(text):
        return Kind.MODEL
    if status in (401, 403) or (status in (0, 400) and _AUTH.search(text)):
        return Kind.REFUSED if status == 403 and _FLAGGED.search(text) else Kind.AUTH
    if status == 404 or 300 <= status < 400:
        return Kind.CONFIGURATION
    if _RATE.search(text):
        return Kind.RATE_LIMIT
    if status >= 500 or status in (0, 408, 409, 425) or (status == 400 and _LATER.search(text)):
        return Kind.SERVER
    return Kind.REFUSED
