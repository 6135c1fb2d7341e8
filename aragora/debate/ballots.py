"""Answers as a reader is shown them: under letters, in an order of the reader's own, without their authors.

The order is drawn by a digest of the debate's secret, the round and the reader, so that no answer gains from standing
first, no author can foresee where his answer will stand, and a process that continues the debate shows the same.
Answers that are alike word for word are one answer.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from aragora.debate.convergence import terms
from aragora.debate.spec import DebateSpec

LABELS = "ABCDEFGHIJ"  # as many as a debate may have agents
_MENTION = re.compile(rf"\b((?i:answers?|proposals?|options?|candidates?))(\s+)([{LABELS}])\b")


def digest(spec: DebateSpec, *what: object) -> str:
    """Hex digits that depend on `what` and on the debate's secret (on all its rules, where it has none)."""
    key = spec.secret or json.dumps(spec.to_json(), sort_keys=True)
    return hashlib.sha256(json.dumps([key, *map(str, what)]).encode()).hexdigest()


def shuffled(spec: DebateSpec, names: Sequence[str], *what: object) -> tuple[str, ...]:
    """`names` in an order that depends on `what`."""
    return tuple(sorted(names, key=lambda name: (digest(spec, "order", *what, name), name)))


def labelled(names: Sequence[str]) -> dict[str, str]:
    """The letter of each name, in order."""
    return dict(zip(names, LABELS, strict=False))


def distinct(answers: Mapping[str, str]) -> dict[str, str]:
    """The author that represents each author's answer: the first to give the same words in the same order."""
    first: dict[tuple[str, ...], str] = {}
    return {name: first.setdefault(tuple(terms(text)) or (text,), name) for name, text in answers.items()}


def named(text: str, shown: Sequence[str]) -> str:
    """`text` of a reader `shown` answers as A, B, C, with their authors in place of the letters."""

    def known(match: re.Match[str]) -> str:
        place = LABELS.index(match[3])
        return f"{match[0]} ({shown[place]})" if place < len(shown) else match[0]

    return _MENTION.sub(known, text)


def relabelled(text: str, shown: Sequence[str], labels: Mapping[str, str], reader: str) -> str:
    """`text` of a reader `shown` answers as A, B, C, for another `reader` that knows them by other `labels`."""

    def known(match: re.Match[str]) -> str:
        place = LABELS.index(match[3])
        if place >= len(shown):
            return match[0]
        name = shown[place]
        if name == reader:
            return "your answer"
        return f"{match[1]}{match[2]}{labels[name]}" if name in labels else "another answer"

    return _MENTION.sub(known, text)
