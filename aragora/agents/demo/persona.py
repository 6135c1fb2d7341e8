"""What the offline demo has to say about a question, made of the question's own words.

A question is read into a `Topic`. Each agent has a `Persona`: a stance it begins with and a concern, one
sentence about the topic that it misses in the answers of the others. An agent that takes up the concerns of others and
meets them in the middle says nearly the same in the end: that is how the demo's answers converge.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

_WORD = re.compile(r"[^\W_]+(?:['’.+#-][^\W_]+)*[+#]*")  # noqa: RUF001 - both apostrophes occur in questions
_CLAUSE = re.compile(r"[?!;:\n]|\.(?=\s|$)")
_ALTERNATIVES = re.compile(r"\bor\b", re.IGNORECASE)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CLOSED = _set("am are can could did do does has have is may might must ought shall should was were will would")
_STOP = _CLOSED | _set(
    """a about after all also an and any as at be because been before between both but by each either every for from
    had he her his how i if in instead into it its just let me more most my no not of off on one only or our out over
    own per she so some such than that the their them then there these they this those through to too under until up
    us use using very we what when where whether which while who whom whose why with within without you your"""
)
_PRONOUNS = _set("i he it one people she that the there they this we you")
_LONGEST_WORD, _LONGEST_PHRASE, _PHRASES = 32, 3, 6
_LONGEST_SUBJECT = 110  # characters of the question that an answer repeats


class Stance(IntEnum):
    """For, against, or the middle: a trial."""

    AGAINST = -1
    TRIAL = 0
    FOR = 1


@dataclass(frozen=True, slots=True)
class Topic:
    """A question, read. `keys` are its telling phrases, never empty; `options` what it offers to choose between."""

    subject: str
    keys: tuple[str, ...]
    options: tuple[str, str] | None
    closed: bool

    def claim(self, stance: Stance) -> str:
        """The answer in one sentence."""
        if self.options:
            one, other = self.options
            return {
                Stance.FOR: f"Take “{one}”.",
                Stance.AGAINST: f"Take “{other}”.",
                Stance.TRIAL: f"Try “{one}” on a small part first and keep “{other}” ready.",
            }[stance]
        if self.closed:
            return {
                Stance.FOR: f"Yes: {self.subject}.",
                Stance.AGAINST: f"Not now: the case for “{self.subject}” is not made.",
                Stance.TRIAL: f"On trial: {self.subject}, on a small part first, with a date to look back.",
            }[stance]
        first, last = self.keys[0], self.keys[-1]
        return {
            Stance.FOR: f"Begin with “{first}” and decide it as a whole.",
            Stance.AGAINST: f"Begin with “{last}” and leave the rest as it is.",
            Stance.TRIAL: f"Begin with a trial around “{first}”, and decide the rest by what it shows.",
        }[stance]

    def stance(self, text: str) -> Stance | None:
        """Which of the three claims `text` makes."""
        return next((stance for stance in Stance if self.claim(stance) in text), None)


@dataclass(frozen=True, slots=True)
class Persona:
    """How an agent argues. `{key}` stands for a phrase of the question."""

    stance: Stance
    reason: str
    concern: str
    lack: str


PERSONAS = (
    Persona(
        Stance.FOR,
        "Waiting has a price too, and nobody writes that invoice for “{key}”.",
        "Name the gain of “{key}” as one figure that should move, and look at it after a month.",
        "It does not say which figure “{key}” should move",
    ),
    Persona(
        Stance.AGAINST,
        "What goes wrong with “{key}” goes wrong at the worst moment, and the promise is older than the proof.",
        "Write down the way back from “{key}” beforehand, and who notices within a day that it is needed.",
        "It has no way back if “{key}” fails",
    ),
    Persona(
        Stance.TRIAL,
        "A small part of “{key}” teaches more in two weeks than this debate can.",
        "Keep the first step of “{key}” so small that it is done in two weeks and can be thrown away.",
        "Its first step with “{key}” is too big to be thrown away",
    ),
    Persona(
        Stance.FOR,
        "Those who asked about “{key}” already feel what is missing.",
        "Ask those who will live with “{key}” every day, and let one of them decide the details.",
        "It does not say who will live with “{key}”",
    ),
    Persona(
        Stance.TRIAL,
        "Only what cannot be undone about “{key}” deserves a long debate.",
        "Decide now only what cannot be undone about “{key}”, and leave the rest open on purpose.",
        "It decides more about “{key}” than has to be decided now",
    ),
    Persona(
        Stance.AGAINST,
        "Most of what is said about “{key}” was heard and not seen.",
        "Rest every claim about “{key}” on something observed, and say where it was observed.",
        "It offers nothing observed about “{key}”",
    ),
)


@dataclass(frozen=True, slots=True)
class Character:
    """One agent's persona with its own phrase of the question in it."""

    stance: Stance
    reason: str
    concern: str
    lack: str


def character(name: str, topic: Topic) -> Character:
    """How the agent `name` argues about `topic`; demo-1 to demo-6 all differ."""
    digits = re.search(r"(\d{1,9})$", name)
    number = int(digits[1]) - 1 if digits else spread(name, 1 << 16)
    persona = PERSONAS[number % len(PERSONAS)]
    key = topic.keys[number % len(topic.keys)]
    return Character(
        persona.stance,
        persona.reason.format(key=key),
        persona.concern.format(key=key),
        persona.lack.format(key=key),
    )


def spread(text: str, below: int) -> int:
    """A number from 0 to `below` - 1 that depends on `text` alone and is the same on every run."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]) % below


def read(question: str) -> Topic:
    """The topic of `question`, in whatever language; words that tell little are known for English only."""
    sentences = question.rpartition("?")[0] or question
    clauses = [clause.strip() for clause in _CLAUSE.split(sentences) if _WORD.search(clause)]
    asked = clauses[-1] if clauses else "the question"
    words = _WORD.findall(asked)
    closed = bool(words) and words[0].casefold() in _CLOSED
    options = _options(asked)
    return Topic(_subject(words) or asked, _keys(question) or (_cut(asked),), options, closed)


def _subject(words: list[str]) -> str:
    """The words that follow the question's opening: `adopt event sourcing` of `Should we adopt event sourcing`."""
    rest = list(words)
    while rest and rest[0].casefold() in _CLOSED | _PRONOUNS and len(rest) > 1:
        rest = rest[1:]
    return _cut(" ".join(rest))


def _options(asked: str) -> tuple[str, str] | None:
    sides = _ALTERNATIVES.split(asked)
    if len(sides) < 2:
        return None
    before, after = _phrases(sides[0]), _phrases(sides[1])
    return (before[-1], after[0]) if before and after and before[-1] != after[0] else None


def _keys(question: str) -> tuple[str, ...]:
    """The telling phrases, longest first, none within another."""
    found: list[str] = []
    for phrase in sorted(_phrases(question), key=len, reverse=True):
        if not any(phrase.casefold() in longer.casefold() for longer in found):
            found.append(phrase)
    return tuple(found[:_PHRASES])


def _phrases(text: str) -> list[str]:
    """Runs of at most three words that are no stop words, in the order of the text."""
    phrases: list[list[str]] = [[]]
    for word in _WORD.findall(text):
        if word.casefold() in _STOP:
            phrases.append([])
            continue
        if len(phrases[-1]) == _LONGEST_PHRASE:
            phrases.append([])
        phrases[-1].append(word[:_LONGEST_WORD])
    return [" ".join(words) for words in phrases if words]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SUBJECT else text[:_LONGEST_SUBJECT].rsplit(" ", 1)[0] + " …"


def concerns(topic: Topic, text: str) -> list[str]:
    """Every concern about `topic` that `text` has taken in, in a fixed order."""
    every = (persona.concern.format(key=key) for persona in PERSONAS for key in topic.keys)
    return [concern for concern in every if concern in text]
