"""Anthropic's messages: POST {base}/v1/messages.

https://docs.anthropic.com/en/api/messages and /en/docs/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

from aragora.agents.chat import TOKENS, Account, Piece
from aragora.agents.exchange import Request, dig
from aragora.debate.questions import Question

VERSION = "2023-06-01"
_PASSING = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})


class Messages:
    """See `aragora.agents.chat.Dialect`."""

    def request(self, account: Account, question: Question) -> Request:
        """A system text and one user message."""
        body = {
            "model": account.model,
            "system": question.system,
            "messages": [{"role": "user", "content": question.prompt}],
            account.limit: TOKENS,
            "stream": True,
        }
        headers = {"x-api-key": account.key, "anthropic-version": VERSION}
        return Request(account.title, f"{account.base_url}/v1/messages", headers, body, account.key)

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """An event; pings and the frames of content blocks say nothing."""
        match event.get("type"):
            case "error":
                return _error(event)
            case "message_start":
                return Piece(model=_word(dig(event, "message", "model")))
            case "content_block_delta" if dig(event, "delta", "type") == "text_delta":
                return Piece(text=_word(dig(event, "delta", "text")) or "")
            case "message_delta":
                return _end(dig(event, "delta", "stop_reason"))
            case "message_stop":
                return Piece(ended=True)
        return Piece()

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """A message in one JSON object."""
        if body.get("type") == "error":
            return _error(body)
        content = body.get("content")
        blocks = content if isinstance(content, list) else []
        texts = (_word(dig(block, "text")) for block in blocks if dig(block, "type") == "text")
        end = _end(body.get("stop_reason"))
        text = "".join(text or "" for text in texts)
        return Piece(text, _word(body.get("model")), end.ended, end.cut, end.refused)


def _end(reason: object) -> Piece:
    return Piece(ended=isinstance(reason, str), cut=reason == "max_tokens", refused=reason == "refusal")


def _error(event: Mapping[str, Any]) -> Piece:
    words = _word(dig(event, "error", "message")) or "an error without words"
    return Piece(error=words, busy=dig(event, "error", "type") in _PASSING)


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None
