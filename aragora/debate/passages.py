"""Other people's words inside a prompt: cleaned, bounded, and between tags that they cannot imitate."""

import re
from collections.abc import Sequence
from dataclasses import replace

from aragora.debate.ballots import digest
from aragora.debate.questions import Kind, Passage
from aragora.debate.spec import DebateSpec

BUDGET = 48_000  # characters of one prompt for what agents and people said
SHORTEST = 500  # characters that each of them keeps however many there are
CUT = " […]"
MARK = 12  # characters of the mark; it is never shown outside the debate, so a guess is one of 2**48

# Half a surrogate pair is no text and NUL no database column's; the other controls only steer terminals.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BREAKS = re.compile("\r\n?|[\u2028\u2029]")
_WHOLE = (Kind.QUESTION, Kind.CONTEXT, Kind.CRITERIA, Kind.STANDPOINT)  # bounded when the debate is created
_HIDDEN = "…"  # what a mark becomes in a text that holds it


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


def mark(spec: DebateSpec) -> str:
    """The word on the tags of every prompt of a debate: no author can foresee it.

    Agents see it and may repeat it. Therefore what they answer is `stripped` of it, and no passage holds it.
    """
    return digest(spec, "mark")[:MARK]


def quoted(passages: Sequence[Passage], word: str) -> str:
    """The passages between tags that carry `word`."""
    found = re.compile(re.escape(word), re.IGNORECASE)
    blocks = []
    for passage in passages:
        title = _title(passage)
        blocks.append(f"<{title} {word}>\n{found.sub(_HIDDEN, passage.text)}\n</{title} {word}>")
    return "\n\n".join(blocks)


def _title(passage: Passage) -> str:
    match passage.kind:
        case Kind.ANSWER:
            return f"answer {passage.label}"
        case Kind.CRITIQUE:
            return f"critique of answer {passage.label}" if passage.label else "critique of your answer"
        case kind:
            return kind.value


def stripped(text: str, word: str) -> str:
    """`text` without the lines that repeat tags of its prompt; without the tags alone where nothing else is left."""
    if not word or word.casefold() not in text.casefold():
        return text
    kept = [part for part in text.splitlines() if word.casefold() not in part.casefold()]
    return "\n".join(kept) if any(part.strip() for part in kept) else unmarked(text, word)


def unmarked(text: str, word: str) -> str:
    """`text` without the tags and marks of its prompt, and with all else of their lines, as JSON needs it."""
    if not word:
        return text
    found = re.escape(word)
    return re.sub(rf"</?[^<>\n]*{found}>?|{found}", "", text, flags=re.IGNORECASE)
