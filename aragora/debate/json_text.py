"""JSON objects in what a model wrote, and plain values in what it made of a member. Nothing is trusted.

A text that a model is shown may hold an answer of its own, planted to be quoted. So an object that occurs in
the prompt, word for word, is not the model's.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from aragora.debate.passages import line

MAX_JSON = 64_000  # characters of a reply that are searched for JSON
MAX_STARTS = 256  # braces at which JSON is tried, the last ones

_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_RANGE = re.compile(r"\d\s*(?:-|\u2013|to|or|and|bis)\s*\d")

Json = dict[str, Any]


def plain(text: str) -> str:
    """`text` with single spaces, to compare with others."""
    return " ".join(text.split())


def objects(text: str, prompt: str, wanted: Collection[str]) -> list[Json]:
    """The JSON objects that `text` is, or that it contains whole, in order and with their keys folded.

    Those within another stand for it where it is only their wrapping: where it has none of the `wanted` members itself.
    What occurs in `prompt` as well is left out.
    """
    text = text[:MAX_JSON]
    repaired = _TRAILING_COMMA.sub("", text)
    shown = plain(prompt)
    for candidate in (text, repaired) if repaired != text else (text,):
        found = [
            item
            for source, value in _values(candidate)
            if plain(source) not in shown
            for item in _unwrapped(value, wanted)
        ]
        if found:
            return found
    return []


def _values(text: str) -> Iterator[tuple[str, object]]:
    """Each object in `text`, with its source; none of those nested in another."""
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


def folded(value: Json) -> Json:
    """The object with its keys in lower case."""
    return {key.casefold().strip(): item for key, item in value.items()}


def _unwrapped(value: object, wanted: Collection[str], depth: int = 3) -> Iterator[Json]:
    """The object; behind it those it wraps, as in `{"vote": {"choice": ...}}`."""
    if not isinstance(value, dict):
        return
    found = folded(value)
    yield found
    if depth and all(isinstance(found.get(key), dict | None) for key in wanted):
        for item in value.values():
            yield from _unwrapped(item, wanted, depth - 1)


def words(value: object) -> str:
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


def points(value: object, most: int, longest: int) -> list[str]:
    """A list of sentences, each once, or the lines of a text."""
    items = value if isinstance(value, list) else words(value).split("\n")
    found = (line(words(item)[: 4 * longest].lstrip("-*• "), longest) for item in items[: 10 * most])
    return list(dict.fromkeys(point for point in found if point.strip(".… ")))[:most]


def number(value: object) -> float | None:
    """A finite number, or the only one that a text names: "3 of 10", "about 7", but not "3-5"."""
    if isinstance(value, str):
        text = value[:100]
        found = _NUMBER.search(text)
        return None if found is None or _RANGE.search(text) else float(found[0])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None
