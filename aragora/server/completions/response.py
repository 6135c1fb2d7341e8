"""A debate as a chat completion, whole or in chunks."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from aragora.debate.usage import Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What a debate came to. `summary` says whose answer it is, `reason` why a debate ended that was not completed."""

    debate_id: str
    status: str
    answer: str | None
    reached: bool
    confidence: float
    summary: str
    reason: str | None
    usage: Usage

    @property
    def content(self) -> str:
        """The answer; of a council that does not agree it says so first."""
        if self.reached or not self.summary:
            return self.answer or ""
        return f"*The council did not agree: {self.summary}.*\n\n{self.answer}"

    @property
    def failure(self) -> str:
        """Why there is no answer; empty where there is one."""
        if self.answer:
            return ""
        reason = f": {self.reason}" if self.reason else ""
        return f"the debate {self.debate_id} ended without an answer, {self.status}{reason}"

    @property
    def finish_reason(self) -> str:
        """`length` for an answer that stands because time or budget ended."""
        return "stop" if self.status == "completed" else "length"

    def facts(self) -> dict[str, Any]:
        """What OpenAI's form has no place for."""
        return {
            "debate_id": self.debate_id,
            "status": self.status,
            "consensus_reached": self.reached,
            "confidence": self.confidence,
            "summary": self.summary,
        }


class Envelope:
    """What all answers to one request have in common."""

    def __init__(self, debate_id: str, model: str, created: float) -> None:
        self.common = {"id": f"chatcmpl-{debate_id}", "created": int(created), "model": model}

    def whole(self, result: Result) -> dict[str, Any]:
        """The completion."""
        message = {"role": "assistant", "content": result.content, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": result.finish_reason}
        shown = {"choices": [choice], "usage": usage(result.usage), "aragora": result.facts()}
        return self.common | {"object": "chat.completion"} | shown

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        """One event of the stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sent(self.common | {"object": "chat.completion.chunk", "choices": [choice]} | more)

    def usage(self, took: Usage) -> bytes:
        """The event that says what the debate took."""
        return sent(self.common | {"object": "chat.completion.chunk", "choices": [], "usage": usage(took)})


DONE = b"data: [DONE]\n\n"


def sent(message: Any) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"


def usage(took: Usage) -> dict[str, Any]:
    """Tokens under OpenAI's names."""
    return {
        "prompt_tokens": took.input,
        "completion_tokens": took.output,
        "total_tokens": took.total,
        "prompt_tokens_details": {"cached_tokens": took.cached},
        "completion_tokens_details": {"reasoning_tokens": took.thought},
    }


class CompletionMessage(BaseModel):
    """The verdict."""

    role: str
    content: str
    refusal: str | None


class CompletionChoice(BaseModel):
    """The one answer; `finish_reason` is `length` where time or budget ended the debate."""

    index: int
    message: CompletionMessage
    logprobs: None
    finish_reason: str


class CompletionFacts(BaseModel):
    """What OpenAI's form has no place for."""

    debate_id: str
    status: str
    consensus_reached: bool
    confidence: float
    summary: str = Field(description="Whose answer it is, and by how many votes.")


class Completion(BaseModel):
    """A chat completion as OpenAI's clients read it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: dict[str, Any]
    aragora: CompletionFacts


class ModelAnswer(BaseModel):
    """A council that can be asked as a model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The councils that can be asked as models."""

    object: str = "list"
    data: list[ModelAnswer]


class FailureBody(BaseModel):
    """What went wrong; `trace_id` finds it in the log."""

    message: str
    type: str
    param: str | None
    code: str | None
    trace_id: str | None


class Failure(BaseModel):
    """An error in OpenAI's form."""

    error: FailureBody
