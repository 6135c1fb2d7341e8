"""Making a prompt fit a model: by rule, and saying what was left out.

First the critiques are cut to what they begin with, then left out; then people's suggestions; then the context is cut;
at last the answers, evenly. The question, the rules and the task stay whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aragora.debate.questions import Kind, Passage, Question

CUT = " […]"
_LEFT_OUT = "[…]"
_CLOSE = 24  # characters: nearer to what fits it makes no difference


@dataclass(frozen=True, slots=True)
class Stage:
    """Passages of `kinds` may be cut, evenly, to as little as `least` characters each."""

    kinds: tuple[Kind, ...]
    least: int
    what: str


STAGES = (
    Stage((Kind.CRITIQUE,), 240, "critiques"),
    Stage((Kind.CRITIQUE,), 0, "critiques"),
    Stage((Kind.SUGGESTION,), 0, "people's suggestions"),
    Stage((Kind.CONTEXT,), 0, "the context"),
    Stage((Kind.ANSWER, Kind.OWN), 400, "answers"),
)


def trimmed(question: Question, count: Callable[[str], int], budget: int) -> tuple[Question, tuple[str, ...]]:
    """`question` in at most `budget` tokens, as `count` reckons them, if that can be; and what was left out of it."""
    omitted: dict[str, str] = {}
    before = question
    for stage in STAGES:
        if size(question, count) <= budget:
            break
        cut = _shortened(question, stage, count, budget)
        if cut is not question:
            omitted[stage.what] = _said(stage, before, cut)
            question = cut
    return question, tuple(omitted.values())


def size(question: Question, count: Callable[[str], int]) -> int:
    """The tokens of the whole prompt."""
    return count(question.system + question.opening + question.prompt)


def _shortened(question: Question, stage: Stage, count: Callable[[str], int], budget: int) -> Question:
    """The longest passages of the stage cut to the same length: the greatest that fits, or the least allowed."""
    low, high = stage.least, max(_lengths(stage, question), default=0)
    if high <= max(low, len(_LEFT_OUT)):
        return question
    best = _cut(question, stage, low)
    if size(best, count) <= budget:
        while high - low > _CLOSE:
            middle = (low + high) // 2
            tried = _cut(question, stage, middle)
            if size(tried, count) <= budget:
                best, low = tried, middle
            else:
                high = middle
    return best


def _lengths(stage: Stage, question: Question) -> list[int]:
    return [len(passage.text) for passage in question.passages if passage.kind in stage.kinds]


def _said(stage: Stage, before: Question, after: Question) -> str:
    whole, left = _lengths(stage, before), _lengths(stage, after)
    if max(left) <= len(_LEFT_OUT):
        return f"{stage.what} ({sum(whole)} characters)"
    return f"{stage.what} beyond {sum(left)} of {sum(whole)} characters"


def _cut(question: Question, stage: Stage, limit: int) -> Question:
    """With every passage of the stage cut to `limit` characters, in the prompt as among the passages."""
    passages = tuple(
        replace(passage, text=_beginning(passage.text, limit))
        if passage.kind in stage.kinds and len(passage.text) > limit
        else passage
        for passage in question.passages
    )
    text = _replaced(question.opening + question.prompt, question.passages, passages)
    opening = _replaced(question.opening, question.passages, passages)
    return replace(question, opening=opening, prompt=text.removeprefix(opening), passages=passages)


def _beginning(text: str, limit: int) -> str:
    return text[: limit - len(CUT)].rstrip() + CUT if limit > len(CUT) else _LEFT_OUT


def _replaced(text: str, before: Sequence[Passage], after: Sequence[Passage]) -> str:
    """`text` with the passages, which occur in it in their order, replaced."""
    parts = []
    place = 0
    for old, new in zip(before, after, strict=True):
        start = text.find(old.text, place)
        if start < 0:
            continue
        parts += [text[place:start], new.text]
        place = start + len(old.text)
    return "".join(parts) + text[place:]
