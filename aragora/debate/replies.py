"""What agents answered, as drafts. Models are not trusted: every value is searched for, checked, clamped and cut.

Nothing that the prompt contains is an answer, nor is the example that it shows, nor what a model thinks aloud. Of
several objects the last counts that answers the question; and a reply that begins with one vote and goes on with
another casts none.
"""

import re
from collections.abc import Sequence

from aragora.debate import thinking
from aragora.debate.ballots import LABELS, labelled
from aragora.debate.events import Draft, EventType
from aragora.debate.forms import is_placeholder
from aragora.debate.json_text import MAX_JSON, Json, folded, number, objects, plain, points, words
from aragora.debate.passages import clean, line, stripped, unmarked
from aragora.debate.questions import Failure, Kind, Purpose, Question, Reply
from aragora.debate.state import ATTEMPTS, UNUSABLE, Role

MAX_ANSWER = 12_000  # characters of a proposal, a revision or a synthesis
MAX_REASONING = 2000
MAX_POINT = 500  # characters of one issue or suggestion
MAX_POINTS = 10
MAX_EXCERPT = 400  # characters of an unusable reply that are kept
SHORTEST_REPEATED = 24  # characters of a line that is not like another by chance
UNKNOWN_CONFIDENCE = 0.5

_SEVERITIES = {"none": 0.0, "minor": 2.0, "low": 2.0, "medium": 5.0, "moderate": 5.0, "major": 7.0, "high": 8.0}
_SEVERITIES |= {"severe": 9.0, "critical": 10.0}
_CRITIQUE = ("issues", "suggestions", "severity")
_ABOUT = ("answer", "target", "label", "id")
_VOTE = ("choice", "vote", "winner", "ranking", "selected", "selection", "best", "answer")
_SYNTHESIS = ("answer", "synthesis", "agreements", "disputes")

# How prose says which answer it is for: by a label, or in so many words at the beginning of a clause, and then a letter
# with which the clause ends. A letter that is merely mentioned ("I cannot vote for B") is no vote, nor is an article.
_LABEL = (
    r"\b(?:choice|vote|winner|decision|verdict|selection|selected|answer)\b"
    r"\W{0,4}(?:[:=]|\bis\b|\bgoes to\b)\W{0,6}"
)
_IN_WORDS = (
    r"(?:^|[.;:,!?*_>\"'\u2013\u2014-]\s*|\b(?:so|and|hence|thus|therefore)\s+)"
    r"i(?:'ll|\u2019ll| will| do)?\s+(?:\w+ly\s+)?"
    r"(?:vote(?:\s+for)?|choose|pick|select|take|prefer|favou?r|support|go with)\W{1,6}(?:the\s+)?"
)
_ENDS = r"(?=[\"'`*)\]]*\s*(?:$|[.,;:!)}]|\b(?:because|since|as|for|over|with)\b))"
_NAMED = r"(?:(?i:answer|option|proposal)\s+)?[#\"'`*(\[]*"
_TOLD = re.compile(rf"(?i:{_LABEL}|{_IN_WORDS}){_NAMED}([{LABELS}]){_ENDS}", re.MULTILINE)
# A letter as the value of a member: alone, before an explanation, or named as an answer's.
_CHOSEN = re.compile(
    rf"[#(\[]*([{LABELS}])(?:[\"'`*)\].:,;]|\s+[-\u2013\u2014(]|$)"
    rf"|(?:answer|option|proposal)\s+[#(\[\"'`*]*([{LABELS}])(?![\w'\u2019-])(?!\s*(?:or|and|&|/)\b)",
    re.IGNORECASE,
)
_SECTION = re.compile(rf"^\W{{0,4}}(?:(?i:answer|option|proposal)\s+)?([{LABELS}])\W*(?:[:.)]|$)", re.MULTILINE)
_NUMBERED = re.compile(r"(?i:answer|proposal|option)?\s*#?(\d{1,2})\.?")


def drafts(question: Question, reply: Reply | Failure) -> tuple[Draft, ...]:
    """What one answer, or its absence, adds to the log: one draft at least, a critic's one for each answer."""
    if isinstance(reply, Failure):
        return (_error(question, line(reply.kind, 40) or "failed", line(reply.message, 500), final=reply.final),)
    prose = question.purpose in (Purpose.PROPOSE, Purpose.REVISE)
    text = (stripped if prose else unmarked)(thinking.answer(reply.text), question.mark)
    found: tuple[Draft, ...]
    match question.purpose:
        case Purpose.PROPOSE | Purpose.REVISE:
            found = (_message(question, text, reply.model),)
        case Purpose.CRITIQUE:
            found = _critiques(question, text)
        case Purpose.VOTE | Purpose.JUDGE:
            found = (_vote(question, text),)
        case Purpose.SYNTHESIZE:
            found = (_synthesis(question, text),)
    for draft in found:
        draft.data.update(_shortcomings(reply))
    return found


def _shortcomings(reply: Reply) -> Json:
    """Why the answer is not whole, and what the agent was not shown."""
    found: Json = {}
    if reply.cut:
        found["cut"] = line(reply.cut, 40)
    if reply.omitted:
        found["omitted"] = [line(part, MAX_POINT) for part in reply.omitted]
    return found


def _error(question: Question, kind: str, message: str, *, final: bool = False) -> Draft:
    data: Json = {
        "kind": kind,
        "message": message,
        "purpose": question.purpose.value,
        "target": None,
        "attempt": question.attempt,
        "retry": question.attempt < ATTEMPTS and not final,
    }
    return Draft(EventType.AGENT_ERROR, question.round, question.agent.name, data)


def _unusable(question: Question, message: str, text: str) -> Draft:
    draft = _error(question, UNUSABLE, message)
    draft.data["excerpt"] = clean(text, MAX_EXCERPT)
    return draft


def _message(question: Question, text: str, model: str | None) -> Draft:
    content = clean(_without_instructions(question, text[: 4 * MAX_ANSWER]), MAX_ANSWER)
    if not content:
        return _unusable(question, "the answer is empty", text)
    if any(passage.kind is Kind.QUESTION and plain(passage.text) == plain(content) for passage in question.passages):
        return _unusable(question, "the answer repeats the question", text)
    role = Role.PROPOSER if question.purpose is Purpose.PROPOSE else Role.REVISER
    data: Json = {"role": role.value, "content": content}
    if model:
        data["model"] = line(model, 128)
    return Draft(EventType.AGENT_MESSAGE, question.round, question.agent.name, data)


def _without_instructions(question: Question, text: str) -> str:
    """`text` without the lines that repeat what the agent was told to do; what others said may be repeated."""
    told = question.prompt
    for passage in question.passages:
        told = told.replace(passage.text, "\n")
    told = plain(told)
    parts = text.splitlines()
    return "\n".join(part for part in parts if len(part) < SHORTEST_REPEATED or plain(part) not in told)


def _critiques(question: Question, text: str) -> tuple[Draft, ...]:
    """The critique of each answer, the last that says something; and an error if some are missing."""
    found: dict[str, Json] = {}
    seen = objects(text, question.shown, ("critiques", *_CRITIQUE))
    for item in (part for value in seen for part in _listed(value)):
        name = _criticised(item, question.choices)
        if name is not None and any(key in item for key in _CRITIQUE) and not _is_form(item):
            found[name] = item
    if not found and question.attempt >= ATTEMPTS:
        found = _prose(question, seen, text)
    given = tuple(_critique(question, name, found[name]) for name in question.choices if name in found)
    missing = [label for name, label in labelled(question.choices).items() if name not in found]
    if not missing:
        return given
    no_json = "the critique is not the JSON that was asked for"
    return (*given, _unusable(question, f"there is no critique of {', '.join(missing)}" if given else no_json, text))


def _listed(value: Json) -> list[Json]:
    """The critiques in one object: a list of them, one by the letter of its answer, or the object itself."""
    many = value.get("critiques")
    if isinstance(many, list):
        return [folded(item) for item in many if isinstance(item, dict)]
    if isinstance(many, dict):
        return [{"answer": key, **folded(item)} for key, item in many.items() if isinstance(item, dict)]
    by_letter = [{"answer": key, **folded(item)} for key, item in value.items() if isinstance(item, dict)]
    return [value, *(item for item in by_letter if any(key in item for key in _CRITIQUE))]


def _criticised(item: Json, choices: Sequence[str]) -> str | None:
    """Whose answer a critique is about: the only one there is, where it does not say."""
    name = next((name for key in _ABOUT if (name := _chosen(item.get(key), choices)) is not None), None)
    return choices[0] if name is None and len(choices) == 1 else name


def _prose(question: Question, seen: Sequence[Json], text: str) -> dict[str, Json]:
    """Critiques without JSON, taken as reasoning on the last try: of one answer, or under the letter of each."""
    said = [item for item in seen if "reasoning" in item and not any(key in item for key in _VOTE)]
    if len(question.choices) == 1:
        prose = "" if seen or _begins_with_object(text) else text
        sections = {question.choices[0]: _reasoning(said[-1]) if said else prose}
    else:
        parts = _SECTION.split(text[:MAX_JSON])
        sections = {
            name: body
            for label, body in zip(parts[1::2], parts[2::2], strict=True)
            if (name := _chosen(label, question.choices)) is not None
        }
    shown = plain(question.shown)
    found = {name: clean(body, MAX_REASONING) for name, body in sections.items()}
    return {name: {"reasoning": body} for name, body in found.items() if body and plain(body) not in shown}


def _critique(question: Question, name: str, found: Json) -> Draft:
    data: Json = {
        "target": name,
        "issues": _points(found.get("issues")),
        "suggestions": _points(found.get("suggestions")),
        "severity": _severity(found.get("severity")),
        "reasoning": _reasoning(found),
        "shown": list(question.choices),
    }
    return Draft(EventType.CRITIQUE, question.round, question.agent.name, data)


def _is_form(found: Json) -> bool:
    """Whether these are the example's texts, or dots, in place of points."""
    said = found.get("issues")
    return isinstance(said, list) and any(words(item).strip() for item in said) and not _points(said)


def _vote(question: Question, text: str) -> Draft:
    cast = [item for item in objects(text, question.shown, _VOTE) if any(key in item for key in _VOTE)]
    cast = [item for item in cast if not is_placeholder(words(item.get("reasoning")) or "?")]
    chosen = [(ranked, item) for item in cast if (ranked := _ranked(item, question))]
    if not chosen and question.attempt >= ATTEMPTS and (told := _told(question, text)) is not None:
        chosen = [((told,), {"reasoning": text})]
    if not chosen:
        unelectable = "the vote names no answer that is up for election"
        return _unusable(question, unelectable if cast else "the vote is not the JSON that was asked for", text)
    if _begins_with_object(text) and len({ranked[0] for ranked, _ in chosen}) > 1:
        return _unusable(question, "the vote is followed by another one", text)
    ranked, found = chosen[-1]
    data: Json = {
        "choice": ranked[0],
        "confidence": _confidence(found.get("confidence")),
        "reasoning": _reasoning(found),
        "shown": list(question.choices),
    }
    if question.ranks:
        data["ranking"] = list(ranked)
    if question.purpose is Purpose.JUDGE:
        data["judge"] = True
    return Draft(EventType.VOTE, question.round, question.agent.name, data)


def _ranked(found: Json, question: Question) -> tuple[str, ...]:
    """The answers in the order of the vote: those it ranks, each once; else the one it chooses; nothing for neither."""
    ranking = found.get("ranking")
    names = [_chosen(item, question.choices) for item in ranking] if isinstance(ranking, list) else []
    ranked = tuple(dict.fromkeys(name for name in names if name is not None))
    if ranked and None not in names and len(ranked) == len(names):
        return ranked
    choice = next((name for key in _VOTE if (name := _chosen(found.get(key), question.choices)) is not None), None)
    return () if choice is None else (choice,)


def _told(question: Question, text: str) -> str | None:
    """Which answer prose votes for, if it says so and of one only; what it repeats of the prompt says nothing."""
    shown = plain(question.shown)
    names = {label: name for name, label in labelled(question.choices).items()}
    matches = [match for match in _TOLD.finditer(text[:MAX_JSON]) if plain(match[0]) not in shown]
    found = {names[match[1]] for match in matches if match[1] in names}
    return found.pop() if len(found) == 1 and all(match[1] in names for match in matches) else None


def _begins_with_object(text: str) -> bool:
    return re.sub(r"```\w*", "", text.lstrip(), count=1).lstrip().startswith("{")


def _chosen(value: object, choices: Sequence[str]) -> str | None:
    """Which of `choices` is meant: by its letter, alone or before an explanation, by its number, or by its name."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    exact = value[:MAX_JSON].strip().strip("\"'`*")
    lettered = _CHOSEN.match(exact)
    if lettered and (place := LABELS.index((lettered[1] or lettered[2]).upper())) < len(choices):
        return choices[place]
    numbered = _NUMBERED.fullmatch(exact)
    if numbered and 0 < int(numbered[1]) <= len(choices):
        return choices[int(numbered[1]) - 1]
    if exact in choices:
        return exact
    return next((name for name in choices if name.casefold() == exact.casefold()), None)


def _synthesis(question: Question, text: str) -> Draft:
    """The last object that sums up; on the last try prose will do."""
    seen = [item for item in objects(text, question.shown, _SYNTHESIS) if any(key in item for key in _SYNTHESIS)]
    said = [item for item in seen if not is_placeholder(_summary(item) or "…")]
    if not said and question.attempt >= ATTEMPTS and not _begins_with_object(text):
        prose = clean(text, MAX_ANSWER)
        said = [{"answer": prose}] if prose and plain(prose) not in plain(question.shown) else []
    if not said:
        return _unusable(question, "the synthesis is not the JSON that was asked for", text)
    found = said[-1]
    minority = clean(words(found.get("minority")), MAX_REASONING)
    data: Json = {
        "answer": clean(_summary(found), MAX_ANSWER),
        "agreements": _points(found.get("agreements")),
        "disputes": _points(found.get("disputes")),
        "minority": "" if is_placeholder(minority or "…") else minority,
    }
    return Draft(EventType.SYNTHESIS, question.round, question.agent.name, data)


def _summary(found: Json) -> str:
    return words(found.get("answer")) or words(found.get("synthesis"))


def _reasoning(found: Json) -> str:
    text = clean(words(found.get("reasoning")), MAX_REASONING)
    return "" if is_placeholder(text or "…") else text


def _points(value: object) -> list[str]:
    return [point for point in points(value, MAX_POINTS, MAX_POINT) if not is_placeholder(point)]


def _severity(value: object) -> float | None:
    """0 to 10, or None where the critique says none: severity decides ties, and must not be ours."""
    if isinstance(value, str) and value.strip().casefold() in _SEVERITIES:
        return _SEVERITIES[value.strip().casefold()]
    found = number(value)
    return None if found is None else round(min(10.0, max(0.0, found)), 1)


def _confidence(value: object) -> float:
    """Models write 0.8, 80 and "80 %"."""
    found = number(value)
    if found is None:
        return UNKNOWN_CONFIDENCE
    if found >= 2 or (isinstance(value, str) and "%" in value):
        found /= 100
    return round(min(1.0, max(0.0, found)), 3)
