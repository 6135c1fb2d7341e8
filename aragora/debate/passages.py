"""Other people's words inside a prompt: cleaned, bounded, and between marks that they cannot imitate."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from aragora.debate.questions import Kind, Passage

BUDGET = 48_000  # characters of one prompt for what agents and people said
SHORTEST = 500  # characters that each of them keeps however many there are
CUT = " […]"

# Half a surrogate pair is no text and NUL no database column's; the other controls only steer terminals.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BREAKS = re.compile("\r\n?|[\u2028\u2029]")
_WHOLE = (Kind.QUESTION, Kind.CONTEXT, Kind.STANDPOINT)  # bounded when the debate is created


def clean(text: str, limit: int) -> str:
    """`text` without controls and outer space, cut to `limit` characters."""
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub("\n", text.strip())).strip()
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT


def line(text: str, limit: int) -> str:
    """`clean`, and on one line."""
    return clean(" ".join(text.split()), limit)


def fitted(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Passages of which what agents and people said shares `BUDGET` evenly."""
    said = sum(passage.kind not in _WHOLE for passage in passages)
    limit = max(SHORTEST, BUDGET // max(1, said))
    return tuple(
        passage if passage.kind in _WHOLE else replace(passage, text=clean(passage.text, limit)) for passage in passages
    )


def mark(passages: Sequence[Passage]) -> str:
    """A word that occurs in no passage and that none of their authors could have foreseen.

    It is a digest of all of them together: to hold it, a text would have to contain a digest of itself.
    """
    texts = [[passage.kind, passage.author, passage.text] for passage in passages]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    while any(digest[:16] in passage.text for passage in passages):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return f"DATA-{digest[:16]}"


def quoted(passages: Sequence[Passage], word: str) -> str:
    """The passages between marks; answers are numbered in their order."""
    blocks = []
    number = 0
    for passage in passages:
        title = passage.kind.value
        if passage.kind is Kind.ANSWER:
            number += 1
            title = f"{title} {number}"
        if passage.author is not None:
            title = f"{title} by {passage.author}"
        blocks.append(f"<<<{word} {title}\n{passage.text}\n{word}>>>")
    return "\n\n".join(blocks)
