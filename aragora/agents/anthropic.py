"""Anthropic's messages: POST {base}/v1/messages.

https://docs.anthropic.com/en/api/messages and /en/docs/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

from aragora.agents.account import Account
from aragora.agents.complaints import Complaint, found_in
from aragora.agents.exchange import Request
from aragora.agents.facts import Form, Order
from aragora.agents.json_values import count, dig, word
from aragora.agents.pieces import End, Piece
from aragora.debate.usage import Usage

VERSION = "2023-06-01"
# The statuses that its names of errors stand for; within a stream there are only the names.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ENDS = {
    "max_tokens": End.LENGTH,
    "model_context_window_exceeded": End.WINDOW,
    "pause_turn": End.PAUSE,
    "refusal": End.REFUSED,
    "tool_use": End.REFUSED,
}
_KEPT: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}  # up to here the prompt is the same next time


class Messages:
    """See `Dialect`."""

    schemas = frozenset({Form.SCHEMA})

    def request(self, account: Account, order: Order) -> Request:
        """A system text and a user message, and what the model has said so far where it goes on.

        A mark for the cache covers all that comes before it, so that the one behind the opening is enough.
        """
        question = order.question
        user: str | list[dict[str, Any]] = question.prompt
        if question.opening:
            user = [{"type": "text", "text": question.opening, **_KEPT}, {"type": "text", "text": question.prompt}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
        if order.so_far:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": order.so_far}]})
        body: dict[str, Any] = {
            "model": account.model,
            "messages": messages,
            order.facts.limit: order.tokens,
        }
        if question.system:
            body["system"] = question.system
        streams = account.streams and order.streams
        if streams:
            body["stream"] = True
        config: dict[str, Any] = {}
        if question.schema is not None and order.facts.form is Form.SCHEMA:
            config["format"] = {"type": "json_schema", "schema": question.schema}
        if question.agent.effort is not None and order.facts.effort:
            config["effort"] = question.agent.effort.value
        if config:
            body["output_config"] = config
        return Request(account, f"{account.base_url}/v1/messages", headers(account), body, streams)

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """An event; pings and the frames of content blocks say nothing."""
        match event.get("type"):
            case "error":
                return Piece(error=_complaint(event))
            case "message_start":
                message = event.get("message")
                return Piece(model=word(dig(message, "model")), usage=_usage(dig(message, "usage")))
            case "content_block_start":
                return _block(dig(event, "content_block"))
            case "content_block_delta":
                delta = event.get("delta")
                if dig(delta, "type") == "text_delta":
                    return Piece(text=word(dig(delta, "text")) or "")
                return Piece(thought=dig(delta, "type") in ("thinking_delta", "signature_delta"))
            case "message_delta":
                return Piece(end=_end(dig(event, "delta", "stop_reason")), usage=_usage(event.get("usage")))
            case "message_stop":
                return Piece(end=End.DONE, last=True)
        return Piece()

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """A message in one JSON object."""
        if body.get("type") == "error" or body.get("error"):
            return Piece(error=_complaint(body))
        content = body.get("content")
        blocks = [_block(block) for block in content] if isinstance(content, list) else []
        return Piece(
            text="".join(block.text for block in blocks),
            model=word(body.get("model")),
            thought=any(block.thought for block in blocks),
            refused=next((block.refused for block in blocks if block.refused is not None), None),
            end=_end(body.get("stop_reason")) or (End.DONE if isinstance(content, list) else None),
            usage=_usage(body.get("usage")),
        )


def headers(account: Account) -> dict[str, str]:
    """The fields with the credentials and the version of the API."""
    return {"x-api-key": account.key, "anthropic-version": VERSION}


def _block(block: object) -> Piece:
    """A content block, whole or at its beginning."""
    kind = dig(block, "type")
    if kind == "tool_use":
        return Piece(refused="it called a tool in place of an answer")
    if kind in ("thinking", "redacted_thinking"):
        return Piece(thought=True)
    return Piece(text=word(dig(block, "text")) or "") if kind == "text" else Piece()


def _end(reason: object) -> End | None:
    return _ENDS.get(reason, End.DONE) if isinstance(reason, str) and reason else None


def _complaint(event: Mapping[str, Any]) -> Complaint:
    return found_in(event, _STATUSES.get(word(dig(event, "error", "type")) or "", 0))


def _usage(found: object) -> Usage | None:
    """Its input is without what came from the cache, or went there."""
    if not isinstance(found, dict):
        return None
    cached, written = count(found.get("cache_read_input_tokens")), count(found.get("cache_creation_input_tokens"))
    return Usage(
        input=count(found.get("input_tokens")) + cached + written,
        output=count(found.get("output_tokens")),
        cached=cached,
        written=written,
        thought=count(dig(found, "output_tokens_details", "thinking_tokens"))
        or count(dig(found, "output_tokens_details", "reasoning_tokens")),
    )
