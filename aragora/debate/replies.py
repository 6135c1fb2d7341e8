"""What agents answered, as drafts. Models are not trusted: every value is searched for, checked, clamped and cut.

Nor are the texts that they were shown: an answer may hold a vote of its own, for whoever quotes it to cast. So nothing
that stands in the prompt is an answer; of several objects the last counts that answers the question; and a reply that
begins with one and goes on with one that says something else answers nothing.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aragora.debate.events import Draft, EventType
from aragora.debate.passages import clean, line
from aragora.debate.questions import Failure, Purpose, Question, Reply
from aragora.debate.state import ATTEMPTS, UNUSABLE, Role

MAX_ANSWER = 12_000  # characters of a proposal or revision
MAX_REASONING = 2000
MAX_POINT = 500  # characters of one issue or suggestion
MAX_POINTS = 10
MAX_JSON = 64_000  # characters of a reply that are searched for JSON
MAX_STARTS = 256  # braces at which JSON is tried, the last ones
UNKNOWN_CONFIDENCE = 0.5

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_SEVERITIES = {"none": 0.0, "minor": 2.0, "low": 2.0, "medium": 5.0, "moderate": 5.0, "major": 7.0, "high": 8.0}
_SEVERITIES |= {"severe": 9.0, "critical": 10.0}
_CRITIQUE = ("issues", "suggestions", "severity")
_VOTE = ("choice", "vote", "winner")
_PLACEHOLDERS = frozenset({"one or two sentences", "one to three sentences"})  # of the form that the prompt shows
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")

# How prose says whom it is for: by a label, or in so many words at the beginning of a clause. A name that is merely
# mentioned ("I cannot vote for gpt-1") is no vote.
_LABEL = (
    r"\b(?:choice|vote|winner|decision|verdict|selection|selected|answer)\b"
    r"\W{0,4}(?:[:=]|\bis\b|\bgoes to\b)\W{0,6}"
)
_IN_WORDS = (
    r"(?:^|[.;:,!?*_>\"'\u2013\u2014-]\s*|\b(?:so|and|hence|thus|therefore)\s+)"
    r"i(?:'ll|\u2019ll| will| do)?\s+(?:\w+ly\s+)?"
    r"(?:vote(?:\s+for)?|choose|pick|select|take|prefer|favou?r|support|go with)\W{1,6}(?:the\s+)?"
)
_BY = r"(?:answer\s+(?:\d+\s+)?(?:by|of)\W{1,4})?"

Json = dict[str, Any]


def drafts(question: Question, reply: Reply | Failure) -> tuple[Draft, ...]:
    """What one answer, or its absence, adds to the log: always exactly one draft."""
    if isinstance(reply, Failure):
        return (_error(question, line(reply.kind, 40) or "failed", line(reply.message, 500), final=reply.final),)
    text = _said(reply.text)
    match question.purpose:
        case Purpose.PROPOSE | Purpose.REVISE:
            draft = _message(question, text, reply.model)
        case Purpose.CRITIQUE:
            draft = _critique(question, text)
        case Purpose.VOTE | Purpose.JUDGE:
            draft = _vote(question, text)
    draft.data.update(_shortcomings(reply))
    return (draft,)


def _shortcomings(reply: Reply) -> Json:
    """Why the answer is not whole, and what the agent was not shown."""
    found: Json = {}
    if reply.cut:
        found["cut"] = line(reply.cut, 40)
    if reply.omitted:
        found["omitted"] = [line(part, MAX_POINT) for part in reply.omitted]
    return found


def _said(text: str) -> str:
    """Without the thinking aloud that some models put first; nothing when they never came to an end of it."""
    return text.partition("</think>")[2] if text.lstrip().startswith("<think>") else text


def _error(question: Question, kind: str, message: str, *, final: bool = False) -> Draft:
    data = {
        "kind": kind,
        "message": message,
        "purpose": question.purpose.value,
        "target": question.target,
        "attempt": question.attempt,
        "retry": question.attempt < ATTEMPTS and not final,
    }
    return Draft(EventType.AGENT_ERROR, question.round, question.agent.name, data)


def _message(question: Question, text: str, model: str | None) -> Draft:
    content = clean(text, MAX_ANSWER)
    if not content:
        return _error(question, UNUSABLE, "the answer is empty")
    role = Role.PROPOSER if question.purpose is Purpose.PROPOSE else Role.REVISER
    data = {"role": role.value, "content": content}
    if model:
        data["model"] = line(model, 128)
    return Draft(EventType.AGENT_MESSAGE, question.round, question.agent.name, data)


def _critique(question: Question, text: str) -> Draft:
    objects = _objects(question, text)
    usable = [item for item in objects if any(key in item for key in _CRITIQUE) and not _is_form(item)]
    if not usable:
        said = [item for item in objects if "reasoning" in item and not any(key in item for key in _VOTE)]
        prose = _reasoning(said[-1]) if said else clean(text, MAX_REASONING)
        if question.attempt < ATTEMPTS or not prose:
            return _error(question, UNUSABLE, "the critique is not the JSON that was asked for")
        usable = [{"reasoning": prose}]
    found = usable[-1]
    data = {
        "target": question.target,
        "issues": _points(found.get("issues")),
        "suggestions": _points(found.get("suggestions")),
        "severity": _severity(found.get("severity")),
        "reasoning": _reasoning(found),
    }
    return Draft(EventType.CRITIQUE, question.round, question.agent.name, data)


def _is_form(found: Json) -> bool:
    """Whether these are the placeholders that the prompt shows, in place of points."""
    points = found.get("issues")
    return bool(points) and isinstance(points, list) and not _points(points)


def _vote(question: Question, text: str) -> Draft:
    cast = [item for item in _objects(question, text) if any(key in item for key in _VOTE)]
    chosen = [(choice, item) for item in cast if (choice := _choice(item, question.choices)) is not None]
    if not chosen and question.attempt >= ATTEMPTS and (told := _told(question, text)) is not None:
        chosen = [(told, {"reasoning": text})]
    if not chosen:
        nobody = "the vote names no answer that stands for election"
        return _error(question, UNUSABLE, nobody if cast else "the vote is not the JSON that was asked for")
    if _begins_with_object(text) and len({choice for choice, _ in chosen}) > 1:
        return _error(question, UNUSABLE, "the vote is followed by another one")
    choice, found = chosen[-1]
    data: Json = {"choice": choice, "confidence": _confidence(found.get("confidence")), "reasoning": _reasoning(found)}
    if question.purpose is Purpose.JUDGE:
        data["judge"] = True
    return Draft(EventType.VOTE, question.round, question.agent.name, data)


def _choice(found: Json, choices: Sequence[str]) -> str | None:
    return next((name for key in _VOTE if (name := _chosen(found.get(key), choices)) is not None), None)


def _told(question: Question, text: str) -> str | None:
    """Whom prose votes for, if it says so and of one only; what it repeats of the prompt says nothing."""
    text = text[:MAX_JSON]
    shown = _plain(question.prompt)
    names = "|".join(re.escape(name) for name in sorted(question.choices, key=len, reverse=True))
    if not names:
        return None
    said = re.compile(
        rf"(?:{_LABEL}|{_IN_WORDS}){_BY}(?P<name>{names})(?![\w-])(?!\s*\?)", re.IGNORECASE | re.MULTILINE
    )
    found = {match["name"].casefold() for match in said.finditer(text) if _plain(match[0]) not in shown}
    meant = [name for name in question.choices if name.casefold() in found]
    return meant[0] if len(meant) == 1 else None


def _begins_with_object(text: str) -> bool:
    return re.sub(r"```\w*", "", text.lstrip(), count=1).lstrip().startswith("{")


def _reasoning(found: Json) -> str:
    text = clean(_words(found.get("reasoning")), MAX_REASONING)
    return "" if text.casefold().rstrip(".") in _PLACEHOLDERS else text


def _objects(question: Question, text: str) -> list[Json]:
    """The JSON objects that `text` is, or that stand in it whole, in order and with their keys folded.

    Those within another stand for it where it is only their wrapping. What stands in the prompt as well is left out.
    """
    text = text[:MAX_JSON]
    repaired = _TRAILING_COMMA.sub("", text)
    shown = _plain(question.prompt)
    for candidate in (text, repaired) if repaired != text else (text,):
        found = [item for source, value in _values(candidate) if _plain(source) not in shown for item in _inner(value)]
        if found:
            return found
    return []


def _plain(text: str) -> str:
    return " ".join(text.split())


def _values(text: str) -> Iterator[tuple[str, object]]:
    """Each object that stands in `text`, with its source; none of those that stand within another."""
    decoder = json.JSONDecoder(strict=False)
    starts = [match.start() for match in re.finditer("{", text)][-MAX_STARTS:]
    end = 0
    for start in starts:
        if start < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        yield text[start:end], value


def _inner(value: object, depth: int = 3) -> Iterator[Json]:
    """The object with folded keys; behind it those it wraps, as in `{"vote": {"choice": ...}}`."""
    if not isinstance(value, dict):
        return
    folded = {key.casefold().strip(): item for key, item in value.items()}
    yield folded
    if depth and all(isinstance(folded.get(key), dict | None) for key in (*_CRITIQUE, *_VOTE)):
        for item in value.values():
            yield from _inner(item, depth - 1)


def _words(value: object) -> str:
    """Text in whatever a model made of it; empty for what holds none."""
    match value:
        case str():
            return value
        case bool() | None:
            return ""
        case int() | float():
            return f"{value:.15g}" if abs(value) < 1e15 else ""
        case dict():
            return "; ".join(part for part in value.values() if isinstance(part, str))
        case list():
            return " ".join(part for part in value if isinstance(part, str))
    return ""


def _points(value: object) -> list[str]:
    items = value if isinstance(value, list) else _words(value).split("\n")
    points = (line(_words(item)[: 4 * MAX_POINT].lstrip("-*• "), MAX_POINT) for item in items[: 10 * MAX_POINTS])
    return list(dict.fromkeys(point for point in points if point.strip(".… ")))[:MAX_POINTS]


def _number(value: object) -> float | None:
    """A finite number, or the first one that a text contains."""
    if isinstance(value, str):
        found = _NUMBER.search(value[:100])
        return float(found[0]) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _severity(value: object) -> float | None:
    """0 to 10, or None where the critique says none: severity decides ties, and must not be ours."""
    if isinstance(value, str) and value.strip().casefold() in _SEVERITIES:
        return _SEVERITIES[value.strip().casefold()]
    number = _number(value)
    return None if number is None else round(min(10.0, max(0.0, number)), 1)


def _confidence(value: object) -> float:
    """Models write 0.8, 80 and "80 %"."""
    number = _number(value)
    if number is None:
        return UNKNOWN_CONFIDENCE
    if number >= 2 or (isinstance(value, str) and "%" in value):
        number /= 100
    return round(min(1.0, max(0.0, number)), 3)


def _chosen(value: object, choices: Sequence[str]) -> str | None:
    """Which of `choices` is meant: its name, its number in the prompt, or the only name that a text mentions."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 < value <= len(choices) else ""
    if not isinstance(value, str):
        return None
    exact = value[:MAX_JSON].strip().strip("\"'`*")
    if exact in choices:
        return exact
    wanted = exact.casefold()
    for name in choices:
        if wanted == name.casefold():
            return name
    numbered = re.fullmatch(r"(?:answer|proposal|option)?\s*#?(\d{1,2})\.?", wanted)
    if numbered and 0 < int(numbered[1]) <= len(choices):
        return choices[int(numbered[1]) - 1]
    named = [name for name in choices if re.search(rf"(?<![\w-]){re.escape(name.casefold())}(?![\w-])", wanted)]
    return named[0] if len(named) == 1 else None
