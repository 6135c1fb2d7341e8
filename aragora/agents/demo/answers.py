"""What the offline demo thinks at one moment of a debate: a function of the question it is asked."""

import json
import re
from collections.abc import Iterable
from typing import Any

from aragora.agents.demo.persona import Stance, character, concerns, read, spread
from aragora.debate.ballots import labelled
from aragora.debate.questions import Kind, Purpose, Question

ADOPTED = 1  # concerns of others that one revision takes up
# From which round on critique moves an agent to the middle, and which stance it votes for before the third: the
# advocates give in first and listen to the sceptics, who would rather have a trial, whose friends want to begin.
_MOVES_IN = {Stance.FOR: 2, Stance.AGAINST: 3}
_LIKES = {Stance.FOR: Stance.AGAINST, Stance.AGAINST: Stance.TRIAL, Stance.TRIAL: Stance.FOR}
_LIKED = 3.0  # what that stance is worth, and the own answer where it may be voted for
_STUBBORN_ROUNDS = 2  # unless one of them is the last: then it votes for what most can agree on
_ROUND = re.compile(r"This is round (\d+) of at most (\d+)\.")
_STEADY = 0.6  # worth of an answer whose author did not have to change sides
_GAVE_UP = "I gave up my first answer, because the critics had the better case."
_SHORT = 160  # characters of another agent's words in an answer
_ADD = "Add: "
_KEEP = "Keep it as it is, only shorter."
_SUGGESTED = re.compile(r"^- suggestion: (.+)$", re.MULTILINE)
_VOTED = re.compile(r"votes for answer ([A-J])")
_TAKEN_UP = re.compile(r"Taken up: “[^“”]{1,200}”\.")


class Respondent:
    """One agent's mind. Its memory is its own answer, which the question quotes."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._name = question.agent.name
        self._labels = labelled(question.choices)
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
                found = {"critiques": [self._critique(name, label) for name, label in self._labels.items()]}
            case Purpose.VOTE | Purpose.JUDGE:
                found = self._vote()
            case Purpose.SYNTHESIZE:
                found = self._synthesis()
        return json.dumps(found, ensure_ascii=False)

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

    def _critique(self, name: str, label: str) -> dict[str, Any]:
        """What an answer lacks; mild when that is nothing."""
        answer = self._answers().get(name, "")
        stance = self._topic.stance(answer)
        distance = 1 if stance is None else abs(stance - self._self.stance)
        lacks = self._self.concern not in answer
        issues = [f"{self._self.lack}."] if lacks else []
        if stance is None:
            issues.append("It takes no side that the offline demo can recognise.")
        elif distance:
            issues.append(f"It gives no reason against “{_short(self._topic.claim(self._self.stance))}”")
        return {
            "answer": label,
            "reasoning": "An offline demo wrote this: it looks for its own stance and concern, and for no more.",
            "issues": issues,
            "suggestions": [f"{_ADD}{self._self.concern}" if lacks else _KEEP],
            "severity": round(2.5 * distance + 3 * lacks + spread(f"{self._name}>{name}", 16) / 10, 1),
        }

    def _vote(self) -> dict[str, Any]:
        """For the answer nearest to the own stance and concern that covers most of what anybody asked for."""
        answers = self._answers()
        every = {concern for text in answers.values() for concern in concerns(self._topic, text)}
        scores = {name: self._score(name, answers.get(name, ""), every) for name in self._labels}
        ranked = sorted(scores, key=lambda name: (-scores[name], spread(f"{self._topic.subject}>{name}", 1 << 16)))
        lead = scores[ranked[0]] - scores[ranked[1]] if len(ranked) > 1 else 0.0
        chosen = [self._labels[name] for name in ranked]
        return {
            "reasoning": f"It comes nearest to “{_short(self._self.concern)}” and leaves the least out; "
            "an offline demo wrote this: it counts and does not judge.",
            **({"ranking": chosen} if self._question.ranks else {"choice": chosen[0] if chosen else ""}),
            "confidence": round(min(0.95, 0.5 + 0.15 * lead + 0.06 * self._question.round), 2),
        }

    def _synthesis(self) -> dict[str, Any]:
        """What all answers take in, what only some do, and the claims that are not the most voted one's."""
        answers = self._answers()
        votes = _VOTED.findall(_first(self._question, Kind.RESULT))
        best = max(self._labels, key=lambda name: votes.count(self._labels[name]), default="")
        claims = {name: text.partition("\n")[0] for name, text in answers.items()}
        held = {name: set(concerns(self._topic, text)) for name, text in answers.items()}
        shared = set.intersection(*held.values()) if held else set()
        others = sorted({claim for claim in claims.values() if claim != claims.get(best)})
        return {
            "answer": f"{claims.get(best, '')} (The offline demo summed up; no language model wrote this.)",
            "agreements": sorted(shared),
            "disputes": sorted(set().union(*held.values()) - shared),
            "minority": " ".join(others),
        }

    def _answers(self) -> dict[str | None, str]:
        """The answers that the question is about, by their authors."""
        return {
            passage.author: passage.text
            for passage in self._question.passages
            if passage.kind is Kind.ANSWER and passage.author in self._question.choices
        }

    def _score(self, name: str, answer: str, every: set[str]) -> float:
        stance = self._topic.stance(answer)
        near = 0.5 if stance is None else 2 - abs(stance - self._self.stance)
        covered = sum(concern in answer for concern in every) / (len(every) or 1)
        stubborn = self._question.purpose is Purpose.VOTE and self._question.round <= self._stubborn_rounds()
        likes = name == self._name if self._name in self._labels else stance is _LIKES[self._self.stance]
        steady = 0.0 if _GAVE_UP in answer else _STEADY
        return near + (self._self.concern in answer) + covered + steady + _LIKED * (stubborn and likes)

    def _stubborn_rounds(self) -> int:
        told = _ROUND.search(self._question.prompt)
        return min(_STUBBORN_ROUNDS, int(told[2]) - 1) if told else _STUBBORN_ROUNDS

    def _criticised(self) -> bool:
        return any(passage.kind is Kind.CRITIQUE for passage in self._question.passages)

    def _wanted(self) -> list[str]:
        """What the critics suggest: concerns of other demos as they are, anything else as a quotation."""
        said = "\n".join(passage.text for passage in self._question.passages if passage.kind is Kind.CRITIQUE)
        known = concerns(self._topic, said)
        foreign = (point for point in _SUGGESTED.findall(said) if point != _KEEP and not point.startswith(_ADD))
        return known + [f"Taken up: “{_short(point)}”." for point in foreign]

    def _closing(self) -> Iterable[str]:
        """What was given besides the question, and the speaker's role."""
        context = _first(self._question, Kind.CONTEXT)
        if context:
            yield f"The context begins “{_short(context)}”; a demo can quote it but not weigh it."
        suggested = [passage.text for passage in self._question.passages if passage.kind is Kind.SUGGESTION]
        if suggested:
            yield f"People suggest “{_short(suggested[-1])}”, which belongs into the answer."
        standpoint = _first(self._question, Kind.STANDPOINT)
        role = f", arguing as {_short(standpoint)}" if standpoint else ""
        yield f"(The offline demo of this service{role}; no language model wrote this.)"


def _first(question: Question, kind: Kind) -> str:
    return next((passage.text for passage in question.passages if passage.kind is kind), "")


def _prose(claim: str, *sentences: str) -> str:
    *body, signature = (sentence for sentence in sentences if sentence)
    return f"{claim}\n\n{' '.join(body)}\n\n{signature}"


def _short(text: str) -> str:
    text = " ".join(text.split()).replace("“", "'").replace("”", "'")
    return text if len(text) <= _SHORT else text[:_SHORT].rsplit(" ", 1)[0] + " …"
