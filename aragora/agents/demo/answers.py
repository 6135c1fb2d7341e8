"""What the offline demo thinks at one moment of a debate: a function of the question it is asked."""

import json
import re
from collections.abc import Iterable
from typing import Any

from aragora.agents.demo.persona import Stance, character, concerns, read, spread
from aragora.debate.questions import Kind, Purpose, Question

ADOPTED = 1  # concerns of others that one revision takes up
# From which round on critique moves an agent to the middle, and what its own answer is worth to it in votes before
# the third: the advocates give in first and look for the best of the others, the sceptics hold out.
_MOVES_IN = {Stance.FOR: 2, Stance.AGAINST: 3}
_PRIDE = {Stance.FOR: -1.1, Stance.TRIAL: 0.5, Stance.AGAINST: 0.5}
_PROUD_ROUNDS = 2
_STEADY = 0.6  # worth of an answer whose author did not have to change sides
_GAVE_UP = "I gave up my first answer, because the critics had the better case."
_SHORT = 160  # characters of somebody else's words in an answer
_ADD = "Add: "
_KEEP = "Keep it as it is, only shorter."
_SUGGESTED = re.compile(r"^- suggestion: (.+)$", re.MULTILINE)
_TAKEN_UP = re.compile(r"Taken up: “[^“”]{1,200}”\.")


class Opinion:
    """One agent's mind. Its memory is its own answer, which the question quotes."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._name = question.agent.name
        self._topic = read(_first(question, Kind.QUESTION) or question.prompt[-2000:])
        self._self = character(self._name, self._topic)

    def text(self) -> str:
        """The answer as the engine wants it: prose for proposals and revisions, JSON otherwise."""
        match self._question.purpose:
            case Purpose.PROPOSE:
                return self._proposal()
            case Purpose.REVISE:
                return self._revision()
            case Purpose.CRITIQUE:
                return json.dumps(self._critique(), ensure_ascii=False)
            case Purpose.VOTE | Purpose.JUDGE:
                return json.dumps(self._vote(), ensure_ascii=False)

    def _proposal(self) -> str:
        """Stance, reason and concern."""
        return _prose(self._topic.claim(self._self.stance), self._self.reason, self._self.concern, *self._closing())

    def _revision(self) -> str:
        """The own answer with something that its critics miss; in the end they move it to the middle."""
        own = _first(self._question, Kind.OWN)
        held = self._topic.stance(own)
        stance = self._self.stance if held is None else held
        moved = stance is not Stance.TRIAL and self._question.round >= _MOVES_IN[stance] and self._criticised()
        if moved:
            stance = Stance.TRIAL
        has = [*concerns(self._topic, own), *_TAKEN_UP.findall(own)] or [self._self.concern]
        new = [point for point in self._wanted() if point not in has][:ADOPTED]
        return _prose(
            self._topic.claim(stance),
            "" if stance is Stance.TRIAL else self._self.reason,
            *sorted({*has, *new}),
            _GAVE_UP if moved or _GAVE_UP in own else "",
            *self._closing(),
        )

    def _critique(self) -> dict[str, Any]:
        """What the answer of the target lacks; mild when that is nothing."""
        answer = _first(self._question, Kind.ANSWER)
        stance = self._topic.stance(answer)
        distance = 1 if stance is None else abs(stance - self._self.stance)
        lacks = self._self.concern not in answer
        issues = [f"{self._self.lack}."] if lacks else []
        if stance is None:
            issues.append("It takes no side that the offline demo can recognise.")
        elif distance:
            issues.append(f"It gives no reason against “{_short(self._topic.claim(self._self.stance))}”")
        return {
            "issues": issues,
            "suggestions": [f"{_ADD}{self._self.concern}" if lacks else _KEEP],
            "severity": round(2.5 * distance + 3 * lacks + spread(f"{self._name}>{self._question.target}", 16) / 10, 1),
            "reasoning": f"{self._name} is an offline demo: it looks for its own stance and concern, and for no more.",
        }

    def _vote(self) -> dict[str, Any]:
        """For the answer nearest to the own stance and concern that covers most of what anybody asked for."""
        answers = {
            passage.author: passage.text
            for passage in self._question.passages
            if passage.author in self._question.choices and passage.kind in (Kind.ANSWER, Kind.OWN)
        }
        every = {concern for text in answers.values() for concern in concerns(self._topic, text)}
        scores = {name: self._score(name, answers.get(name, ""), every) for name in self._question.choices}
        ranked = sorted(scores, key=lambda name: (-scores[name], spread(f"{self._topic.subject}>{name}", 1 << 16)))
        lead = scores[ranked[0]] - scores[ranked[1]] if len(ranked) > 1 else 0.0
        return {
            "choice": ranked[0] if ranked else self._name,
            "confidence": round(min(0.95, 0.5 + 0.15 * lead + 0.06 * self._question.round), 2),
            "reasoning": f"It comes nearest to “{_short(self._self.concern)}” and leaves the least out; "
            f"{self._name} is an offline demo that counts and does not judge.",
        }

    def _score(self, name: str, answer: str, every: set[str]) -> float:
        stance = self._topic.stance(answer)
        near = 0.5 if stance is None else 2 - abs(stance - self._self.stance)
        covered = sum(concern in answer for concern in every) / (len(every) or 1)
        proud = name == self._name and self._question.purpose is Purpose.VOTE and self._question.round <= _PROUD_ROUNDS
        pride = _PRIDE[self._self.stance] if proud else 0.0
        steady = 0.0 if _GAVE_UP in answer else _STEADY
        return near + (self._self.concern in answer) + covered + pride + steady

    def _criticised(self) -> bool:
        return any(passage.kind is Kind.CRITIQUE for passage in self._question.passages)

    def _wanted(self) -> list[str]:
        """What the critics suggest: concerns of other demos as they are, anything else as a quotation."""
        said = "\n".join(passage.text for passage in self._question.passages if passage.kind is Kind.CRITIQUE)
        known = concerns(self._topic, said)
        foreign = (point for point in _SUGGESTED.findall(said) if point != _KEEP and not point.startswith(_ADD))
        return known + [f"Taken up: “{_short(point)}”." for point in foreign]

    def _closing(self) -> Iterable[str]:
        """What was given besides the question, and who says all this."""
        context = _first(self._question, Kind.CONTEXT)
        if context:
            yield f"The context begins “{_short(context)}”; a demo can quote it but not weigh it."
        suggested = [passage.text for passage in self._question.passages if passage.kind is Kind.SUGGESTION]
        if suggested:
            yield f"People suggest “{_short(suggested[-1])}”, which belongs into the answer."
        standpoint = _first(self._question, Kind.STANDPOINT)
        role = f", arguing as {_short(standpoint)}" if standpoint else ""
        yield f"({self._name}{role}: the offline demo of this service; no language model wrote this.)"


def _first(question: Question, kind: Kind) -> str:
    return next((passage.text for passage in question.passages if passage.kind is kind), "")


def _prose(claim: str, *sentences: str) -> str:
    *body, signature = (sentence for sentence in sentences if sentence)
    return f"{claim}\n\n{' '.join(body)}\n\n{signature}"


def _short(text: str) -> str:
    text = " ".join(text.split()).replace("“", "'").replace("”", "'")
    return text if len(text) <= _SHORT else text[:_SHORT].rsplit(" ", 1)[0] + " …"
