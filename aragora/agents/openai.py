"""Chat completions as OpenAI defined them and many servers speak them: POST {base}/chat/completions.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Any

from aragora.agents.account import Account
from aragora.agents.complaints import found_in
from aragora.agents.exchange import Request
from aragora.agents.facts import Form, Order
from aragora.agents.json_values import count, dig, word
from aragora.agents.pieces import End, Piece, finish
from aragora.debate.forms import bounded
from aragora.debate.usage import Usage


class ChatCompletions:
    """See `Dialect`."""

    schemas = frozenset({Form.SCHEMA, Form.OBJECT_BY_SCHEMA})

    def request(self, account: Account, order: Order) -> Request:
        """A system and a user message; no temperature, as some models take only their own."""
        facts = order.facts
        question = order.question
        user = f"{question.opening}{question.prompt}"
        messages = [{"role": "system", "content": question.system}, {"role": "user", "content": user}]
        if not facts.system_role:
            messages = [{"role": "user", "content": f"{question.system}\n\n{user}"}]
        body: dict[str, Any] = {"model": account.model, "messages": messages, facts.limit: order.tokens}
        streams = account.streams and order.streams
        if streams:
            body["stream"] = True
            if facts.counts:
                body["stream_options"] = {"include_usage": True}
        if question.agent.effort is not None and facts.effort:
            body["reasoning_effort"] = question.agent.effort.value
        form = _form(order)
        if form is not None:
            body["response_format"] = form
        return Request(account, f"{account.base_url}/chat/completions", headers(account), body, streams)

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """A chunk; its text is in the first choice's delta."""
        return _piece(event, "delta")

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """A completion; its text is in the first choice's message."""
        return _piece(body, "message")


def headers(account: Account) -> dict[str, str]:
    """The fields with the credentials."""
    return {"Authorization": f"Bearer {account.key}"} if account.key else {}


def _form(order: Order) -> dict[str, Any] | None:
    """How an answer in JSON is demanded: by a schema, or as any object (llama.cpp takes a schema for that, too)."""
    schema = order.question.schema
    if schema is None:
        return None
    match order.facts.form:
        case Form.SCHEMA:
            named = {"name": order.question.purpose.value, "schema": schema, "strict": True}
            return {"type": "json_schema", "json_schema": named}
        case Form.OBJECT_BY_SCHEMA:
            return {"type": "json_object", "schema": bounded(schema)}
        case Form.OBJECT:
            return {"type": "json_object"}
    return None


def _piece(body: Mapping[str, Any], member: str) -> Piece:
    choice = dig(body, "choices", 0)
    if body.get("error") or dig(choice, "error"):
        return Piece(error=found_in(body if body.get("error") else choice), usage=_usage(body))
    if choice is None and isinstance(body.get("detail") or body.get("message"), str):
        return Piece(error=found_in(body))
    said = dig(choice, member) or dig(choice, "message") or dig(choice, "delta")
    end = finish(dig(choice, "finish_reason"))
    refusal = word(dig(said, "refusal"))
    if refusal is None and (dig(said, "tool_calls") or dig(said, "function_call")):
        refusal = "it called a tool in place of an answer"
    return Piece(
        text=_text(dig(said, "content")),
        model=word(body.get("model")),
        thought=any(dig(said, name) for name in ("reasoning_content", "reasoning", "reasoning_details", "thinking"))
        or _thinks(dig(said, "content")),
        end=end if end is not None or member == "delta" or said is None else End.DONE,
        refused=refusal,
        usage=_usage(body),
    )


def _text(content: object) -> str:
    """A text, or a list of parts of which some are text: reasoning models think in parts of their own."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (dig(part, "text") for part in content if dig(part, "type") == "text")
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _thinks(content: object) -> bool:
    return isinstance(content, list) and any(dig(part, "type") in ("thinking", "reasoning") for part in content)


def _usage(body: Mapping[str, Any]) -> Usage | None:
    """The counts of an answer; each provider has its own place for what came from a cache."""
    found = body.get("usage") or dig(body, "x_groq", "usage")
    if not isinstance(found, dict) or not (count(found.get("prompt_tokens")) or count(found.get("completion_tokens"))):
        return None
    cached = (
        count(dig(found, "prompt_tokens_details", "cached_tokens"))
        or count(found.get("prompt_cache_hit_tokens"))
        or count(found.get("num_cached_tokens"))
        or count(dig(body, "timings", "cache_n"))
    )
    return Usage(
        input=count(found.get("prompt_tokens")),
        output=count(found.get("completion_tokens")),
        cached=min(cached, count(found.get("prompt_tokens"))),
        written=count(dig(found, "prompt_tokens_details", "cache_write_tokens")),
        thought=count(dig(found, "completion_tokens_details", "reasoning_tokens")),
    )
