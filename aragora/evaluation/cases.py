"""Questions with known answers, and whether an answer is right.

Agents are instructed to end with a line of its own, `Answer: …`. Its content is compared with what is known:
as a number where that is one, else word by word, whatever the case, the punctuation and the markup.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 16 * 1024 * 1024
MOST_CASES = 10_000
LONGEST = 20_000  # characters of a question
INSTRUCTION = "End with one line of the form “Answer: …” that holds nothing but the short answer."

_MARKUP = r"[\s*_`\"'“”\u2018\u2019$>#-]*"
_ANSWER = re.compile(
    rf"^{_MARKUP}(?:the\s+)?(?:final\s+)?answer\b[*_`]*(?:\s+is\b)?(?:\s*[:：=]|(?<=is)\s)[*_`]*\s*(.+)$",  # noqa: RUF001 - full width
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NUMBER = re.compile(r"[-\u2212+]?\d[\d,\u202f\u00a0']*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_EDGES = " \t.,;:!?*_`\"'“”\u2018\u2019$()[]{}<>"


class CasesError(ValueError):
    """The file cannot be used; says which line and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and every way in which its answer may be written."""

    question: str
    answers: tuple[str, ...]

    @property
    def asked(self) -> str:
        """The question as it is put."""
        return f"{self.question}\n\n{INSTRUCTION}"

    def is_right(self, given: str | None) -> bool:
        """Whether `given`, as `final` found it, is one of the answers."""
        return given is not None and any(_same(given, known) for known in self.answers)


def final(text: str) -> str | None:
    """The short answer that `text` ends with; None where it gives none."""
    found = _ANSWER.findall(text)
    if not found:
        boxed = _BOXED.findall(text)
        return boxed[-1].strip() or None if boxed else None
    return (_BOXED.sub(r"\1", found[-1]).strip(_EDGES) or None) if found else None


def key(given: str) -> str:
    """What equal short answers have in common, to count them."""
    number = _number(given)
    return f"{number:.10g}" if number is not None else _words(given)


def _same(given: str, known: str) -> bool:
    expected = _number(known) if _NUMBER.fullmatch(known.strip(_EDGES).strip("%")) else None
    if expected is None:
        return _words(given) == _words(known)
    number = _number(given)
    return number is not None and math.isclose(number, expected, rel_tol=1e-6, abs_tol=1e-9)


def _number(text: str) -> float | None:
    """The number in `text`, where there is one only."""
    found = {float(re.sub(r"[,\u202f\u00a0']", "", match).replace("\u2212", "-")) for match in _NUMBER.findall(text)}
    return found.pop() if len(found) == 1 else None


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or plain.strip()


def load(path: Path) -> list[Case]:
    """The cases of a file: a JSON list, or one JSON object on each line, with `question` and `answer`.

    `answer` is a text, a number, or a list of them. Raises CasesError.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CasesError(f"{path}: larger than {MOST_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CasesError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CasesError(f"{path}: is not UTF-8 text") from None
    cases = [_case(value, where) for where, value in _values(text, path)]
    if not cases:
        raise CasesError(f"{path}: holds no question")
    if len(cases) > MOST_CASES:
        raise CasesError(f"{path}: {len(cases)} questions, at most {MOST_CASES}")
    return cases


def _values(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        for number, value in enumerate(_parsed(text, str(path)), 1):
            yield f"{path}: question {number}", value
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, f"{path}:{number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CasesError(f"{where}: is not JSON: {error}") from None


def _case(value: Any, where: str) -> Case:
    if not isinstance(value, dict):
        raise CasesError(f'{where}: write an object: {{"question": "…", "answer": "…"}}')
    question, answer = value.get("question"), value.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise CasesError(f"{where}: question: write a text")
    if len(question) > LONGEST:
        raise CasesError(f"{where}: question: at most {LONGEST} characters")
    every = answer if isinstance(answer, list) else [answer]
    known = tuple(_plain(one) for one in every)
    if not known or not all(known):
        raise CasesError(f"{where}: answer: write a text, a number or a list of them")
    return Case(question.strip(), known)


def _plain(answer: Any) -> str:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return ""
    return answer.strip() if isinstance(answer, str) else f"{answer:.15g}"
