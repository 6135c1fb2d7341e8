"""The JSON that critiques, votes and syntheses are answered in: a schema, and an example for models that need one.

The schemas keep to what every provider takes: objects that are closed and whose members are all required, lists, texts,
numbers and enumerations (https://platform.openai.com/docs/guides/structured-outputs#supported-schemas). Bounds are kept
when a reply is read, and by servers that take a schema as a grammar: `bounded`. Reasoning comes before the choice, so
that the choice can follow from it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
MOST_POINTS = 3
LONGEST_TEXT = 300  # characters


@dataclass(frozen=True, slots=True)
class Form:
    """`schema` is JSON Schema; `example` is a valid answer to some other question, and must never count as one."""

    schema: Schema
    example: dict[str, Any]

    @property
    def text(self) -> str:
        """The example as a prompt shows it."""
        return json.dumps(self.example, ensure_ascii=False)


def critiques(labels: Sequence[str]) -> Form:
    """One critique of each answer."""
    item = _closed(answer=_one_of(labels), reasoning=_TEXT, issues=_TEXTS, suggestions=_TEXTS, severity=_NUMBER)
    return Form(_closed(critiques={"type": "array", "items": item}), {"critiques": [_critique(labels[0])]})


def vote(labels: Sequence[str]) -> Form:
    """The best answer."""
    schema = _closed(reasoning=_TEXT, choice=_one_of(labels), confidence=_NUMBER)
    return Form(schema, {"reasoning": REASONING, "choice": labels[-1], "confidence": 0.7})


def ranking(labels: Sequence[str]) -> Form:
    """All answers, the best first."""
    schema = _closed(reasoning=_TEXT, ranking={"type": "array", "items": _one_of(labels)}, confidence=_NUMBER)
    return Form(schema, {"reasoning": REASONING, "ranking": [*reversed(labels)], "confidence": 0.7})


def synthesis() -> Form:
    """What the debate came to."""
    schema = _closed(answer=_TEXT, agreements=_TEXTS, disputes=_TEXTS, minority=_TEXT)
    return Form(schema, dict(SYNTHESIS))


def bounded(schema: Mapping[str, Any]) -> Schema:
    """`schema` with bounds, which keep a small model from going on endlessly: one critique of each answer, under its
    letter; a few points of a few hundred characters. A text that is an answer itself stays as long as it likes.
    """
    match schema.get("type"):
        case "object":
            members = schema["properties"].items()
            return {**schema, "properties": {name: _bounded(name, member) for name, member in members}}
        case "array":
            items = schema["items"]
            if "answer" in items.get("properties", {}):
                return _by_letter(items)
            answers = items.get("enum")
            bounds = {"minItems": len(answers), "maxItems": len(answers)} if answers else {"maxItems": MOST_POINTS}
            return {**schema, "items": bounded(items), **bounds}
        case "string" if "enum" not in schema:
            return {**schema, "maxLength": LONGEST_TEXT}
    return dict(schema)


def _by_letter(critique: Schema) -> Schema:
    """An object with one critique for each letter: a list may have one of them twice, and another not at all."""
    members = {name: member for name, member in critique["properties"].items() if name != "answer"}
    return _closed(**dict.fromkeys(critique["properties"]["answer"]["enum"], bounded(_closed(**members))))


def _bounded(name: str, member: Schema) -> Schema:
    return member if name == "answer" else bounded(member)


REASONING = "It says what the ferry costs in winter, and what to do when the ferry does not run."
SYNTHESIS: dict[str, Any] = {
    "answer": "Take the ferry, and keep the bus ticket until the ferry has sailed.",
    "agreements": ["The ferry is faster from May to September."],
    "disputes": ["How often the ferry is cancelled in winter; there are no figures."],
    "minority": "One holds that the bus is always the safer choice.",
}
_ISSUE = "It does not say what the ferry costs in winter."
_SUGGESTION = "Name the winter fare of the ferry."
_CRITICISM = "The plan is sound, but its costs are guessed."


def _critique(label: str) -> dict[str, Any]:
    return {
        "answer": label,
        "reasoning": _CRITICISM,
        "issues": [_ISSUE],
        "suggestions": [_SUGGESTION],
        "severity": 4,
    }


# Texts of the examples, and of the forms that older prompts showed: a model that repeats them says nothing.
PLACEHOLDERS = frozenset(
    text.casefold().rstrip(".")
    for text in (
        *(REASONING, _ISSUE, _SUGGESTION, _CRITICISM, SYNTHESIS["answer"], SYNTHESIS["minority"]),
        *SYNTHESIS["agreements"],
        *SYNTHESIS["disputes"],
        *("one or two sentences", "one to three sentences", "NAME", "…", "..."),
    )
)


def is_placeholder(text: str) -> bool:
    """Whether `text` is one of the examples' own."""
    return text.strip().casefold().rstrip(".") in PLACEHOLDERS or not text.strip(".… \n")


def _closed(**members: Schema) -> Schema:
    return {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _one_of(labels: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(labels)}
