"""What agents answered, as drafts. Models are not trusted: every value is searched for, checked, clamped and cut."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from aragora.debate.asks import Ask, Failure, Purpose, Reply
from aragora.debate.events import Draft, EventType
from aragora.debate.passages import clean, line
from aragora.debate.state import ATTEMPTS, UNUSABLE, Role

MAX_ANSWER = 12_000  # characters of a proposal or revision
MAX_REASONING = 2000
MAX_POINT = 500  # characters of one issue or suggestion
MAX_POINTS = 10
MAX_JSON = 64_000  # characters of a reply that are searched for JSON
MAX_STARTS = 64  # braces at which JSON is tried
UNKNOWN_SEVERITY, UNKNOWN_CONFIDENCE = 5.0, 0.5

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_SEVERITIES = {"none": 0.0, "minor": 2.0, "low": 2.0, "medium": 5.0, "moderate": 5.0, "major": 7.0, "high": 8.0}
_SEVERITIES |= {"severe": 9.0, "critical": 10.0}
_CRITIQUE = ("issues", "suggestions", "severity", "reasoning")
_VOTE = ("choice", "vote", "winner")

Json = dict[str, Any]


def drafts(ask: Ask, reply: Reply | Failure) -> tuple[Draft, ...]:
    """What one answer, or its absence, adds to the log: always exactly one draft."""
    if isinstance(reply, Failure):
        return (_error(ask, line(reply.kind, 40) or "failed", line(reply.message, 300)),)
    text = _said(reply.text)
    match ask.purpose:
        case Purpose.PROPOSE | Purpose.REVISE:
            draft = _message(ask, text, reply.model)
        case Purpose.CRITIQUE:
            draft = _critique(ask, text)
        case Purpose.VOTE | Purpose.JUDGE:
            draft = _vote(ask, text)
    return (draft,)


def _said(text: str) -> str:
    """Without the thinking aloud that some models put first; nothing when they never came to an end of it."""
    return text.partition("</think>")[2] if text.lstrip().startswith("<think>") else text


def _error(ask: Ask, kind: str, message: str) -> Draft:
    data = {
        "kind": kind,
        "message": message,
        "purpose": ask.purpose.value,
        "target": ask.target,
        "attempt": ask.attempt,
        "retry": ask.attempt < ATTEMPTS,
    }
    return Draft(EventType.AGENT_ERROR, ask.round, ask.agent.name, data)


def _message(ask: Ask, text: str, model: str | None) -> Draft:
    content = clean(text, MAX_ANSWER)
    if not content:
        return _error(ask, UNUSABLE, "the answer is empty")
    role = Role.PROPOSER if ask.purpose is Purpose.PROPOSE else Role.REVISER
    data = {"role": role.value, "content": content}
    if model:
        data["model"] = line(model, 128)
    return Draft(EventType.AGENT_MESSAGE, ask.round, ask.agent.name, data)


def _critique(ask: Ask, text: str) -> Draft:
    found = _object(text, _CRITIQUE)
    if found is None:
        prose = clean(text, MAX_REASONING)
        if ask.attempt < ATTEMPTS or not prose:
            return _error(ask, UNUSABLE, "the critique is not the JSON that was asked for")
        found = {"reasoning": prose}
    data = {
        "target": ask.target,
        "issues": _points(found.get("issues")),
        "suggestions": _points(found.get("suggestions")),
        "severity": _severity(found.get("severity")),
        "reasoning": clean(_words(found.get("reasoning")), MAX_REASONING),
    }
    return Draft(EventType.CRITIQUE, ask.round, ask.agent.name, data)


def _vote(ask: Ask, text: str) -> Draft:
    found = _object(text, _VOTE)
    if found is None and ask.attempt >= ATTEMPTS:
        found = {"choice": text[:MAX_JSON], "reasoning": text}
    if found is None:
        return _error(ask, UNUSABLE, "the vote is not the JSON that was asked for")
    choice = next((name for key in _VOTE if (name := _chosen(found.get(key), ask.choices)) is not None), None)
    if choice is None:
        return _error(ask, UNUSABLE, "the vote names no answer that stands for election")
    data: Json = {
        "choice": choice,
        "confidence": _confidence(found.get("confidence")),
        "reasoning": clean(_words(found.get("reasoning")), MAX_REASONING),
    }
    if ask.purpose is Purpose.JUDGE:
        data["judge"] = True
    return Draft(EventType.VOTE, ask.round, ask.agent.name, data)


def _object(text: str, keys: Collection[str]) -> Json | None:
    """The first JSON object in ``text`` that has one of ``keys``, whatever stands around it."""
    text = text[:MAX_JSON]
    decoder = json.JSONDecoder(strict=False)
    for start in _starts(text):
        for candidate in (text[start:], re.sub(r",(\s*[}\]])", r"\1", text[start:])):
            try:
                value, _ = decoder.raw_decode(candidate)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                folded = {key.casefold().strip(): item for key, item in value.items()}
                if any(key in folded for key in keys):
                    return folded
    return None


def _starts(text: str) -> Iterator[int]:
    start = text.find("{")
    for _ in range(MAX_STARTS):
        if start < 0:
            return
        yield start
        start = text.find("{", start + 1)


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
    return list(dict.fromkeys(point for point in points if point))[:MAX_POINTS]


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


def _severity(value: object) -> float:
    if isinstance(value, str) and value.strip().casefold() in _SEVERITIES:
        return _SEVERITIES[value.strip().casefold()]
    number = _number(value)
    return UNKNOWN_SEVERITY if number is None else round(min(10.0, max(0.0, number)), 1)


def _confidence(value: object) -> float:
    """Models write 0.8, 80 and "80 %"."""
    number = _number(value)
    if number is None:
        return UNKNOWN_CONFIDENCE
    if number >= 2 or (isinstance(value, str) and "%" in value):
        number /= 100
    return round(min(1.0, max(0.0, number)), 3)


def _chosen(value: object, choices: Sequence[str]) -> str | None:
    """Which of ``choices`` is meant: its name, its number in the prompt, or the only name that a text mentions."""
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
