"""What a chat front end asks, and the debate that answers it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aragora.debate.limits import LONGEST_CONTEXT, LONGEST_MODEL, LONGEST_QUESTION, SHORTEST_QUESTION
from aragora.errors import Problem, ValidationFailed
from aragora.server.completions.errors import ContextTooLong
from aragora.service.requests import NewDebate, problems

COUNCIL = "aragora"
MOST_MESSAGES = 2000
INSTRUCTING = ("system", "developer")
NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool", "function": "Tool"}
LEFT_OUT = "(Earlier messages are left out: {count}.)"
GOES_ON = " ... (the whole question is in the context)"


class _Lenient(BaseModel):
    """Clients send much that means nothing to a debate: it is passed over."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Part(_Lenient):
    """A part of a message; only `text` can be debated."""

    type: Literal["text"]
    text: str


class Message(_Lenient):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content).strip()
        return (self.content or "").strip()


class StreamOptions(_Lenient):
    """What a stream brings besides."""

    include_usage: bool | None = False


class ResponseFormat(_Lenient):
    """The form of the answer: a debate answers in prose."""

    type: Literal["text"] = "text"


class ChatRequest(_Lenient):
    """The body of `POST /v1/chat/completions`; members that are not listed are passed over."""

    model: str = Field(min_length=1, max_length=LONGEST_MODEL, description="`aragora`, or the name of a preset.")
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    response_format: ResponseFormat | None = None
    aragora: dict[str, Any] | None = Field(
        None, description="Members of `POST /api/debates` besides the question: agents, rounds, consensus ..."
    )

    @classmethod
    def parse(cls, body: object) -> "ChatRequest":
        """The request in `body`; raises `ValidationFailed` naming each field."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise ValidationFailed.of(*problems(error)) from None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with what the debate took."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def debate(self, council: dict[str, Any]) -> NewDebate:
        """The debate that answers: the rules of the `council` asked for, and those of the request over them.

        Raises `ValidationFailed`, and `ContextTooLong` when the question and the instructions alone are too long.
        """
        question, context = self._subject()
        own = self.aragora or {}
        if reserved := sorted(own.keys() & {"question", "task", "context"}):
            raise ValidationFailed.of(Problem(f"aragora.{reserved[0]}", "comes from the messages"))
        metadata = {"model": self.model, "api": "chat.completions"}
        given = {**council, **own, "question": question, "context": context}
        return NewDebate.parse(given | {"metadata": {**metadata, **_object(own.get("metadata"))}})

    def _subject(self) -> tuple[str, str]:
        """What is debated, and what is to be known of it."""
        last = next((index for index in reversed(range(len(self.messages))) if self.messages[index].role == "user"), -1)
        asked = self.messages[last].text if last >= 0 else ""
        if not asked:
            raise ValidationFailed.of(Problem("messages", "a message of the user with some text is needed"))
        instructions = "\n\n".join(message.text for message in self.messages if message.role in INSTRUCTING)
        fixed = []
        if len(asked) > LONGEST_QUESTION:
            fixed.append(f"The whole question:\n{asked}")
        if instructions:
            fixed.append(f"Instructions for the answer:\n{instructions}")
        room = LONGEST_CONTEXT - sum(len(part) + 2 for part in fixed)
        if room < 0:
            raise ContextTooLong(f"the question and the instructions are longer than {LONGEST_CONTEXT} characters")
        return _question(asked), "\n\n".join([*fixed, *self._conversation(last, room)])

    def _conversation(self, last: int, room: int) -> list[str]:
        """What was said before the question, as much of its end as there is room for."""
        said = [f"{NAMES[one.role]}: {one.text}" for one in self.messages[:last] if one.role in NAMES and one.text]
        heading = "The conversation so far:"
        note = LEFT_OUT.format(count=len(said))
        kept: list[str] = []
        size = len(heading) + len(note) + 4
        for text in reversed(said):
            size += len(text) + 2
            if size > room:
                break
            kept.insert(0, text)
        if not said or len(note) + 2 > room:
            return []
        left_out = [LEFT_OUT.format(count=len(said) - len(kept))] if len(kept) < len(said) else []
        return ["\n\n".join([heading, *left_out, *kept])] if kept else left_out


def _question(asked: str) -> str:
    """The message as the question of a debate, which has bounds."""
    if len(asked) > LONGEST_QUESTION:
        return asked[: LONGEST_QUESTION - len(GOES_ON)].rstrip() + GOES_ON
    return asked if len(asked) >= SHORTEST_QUESTION else f'What is the best answer to "{asked}"?'


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
