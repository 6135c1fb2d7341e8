"""Chat completions as OpenAI defined them and many servers speak them: POST {base}/chat/completions.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Any

from aragora.agents.chat import TOKENS, Account, Piece
from aragora.agents.exchange import Request, dig
from aragora.debate.questions import Question


class ChatCompletions:
    """See `aragora.agents.chat.Dialect`."""

    def request(self, account: Account, question: Question) -> Request:
        """One system and one user message; no temperature, as some models take only their own."""
        body = {
            "model": account.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": question.prompt}],
            account.limit: TOKENS,
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {account.key}"} if account.key else {}
        return Request(account.title, f"{account.base_url}/chat/completions", headers, body, account.key)

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """A chunk; its text is in the first choice's delta."""
        return _piece(event, "delta")

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """A completion; its text is in the first choice's message."""
        return _piece(body, "message")


def _piece(body: Mapping[str, Any], member: str) -> Piece:
    error = body.get("error")
    if error:
        words = dig(error, "message") if isinstance(error, dict) else error
        return Piece(error=words if isinstance(words, str) else "an error without words", busy=True)
    finish = dig(body, "choices", 0, "finish_reason")
    model = body.get("model")
    return Piece(
        text=_text(dig(body, "choices", 0, member, "content")),
        model=model if isinstance(model, str) and model else None,
        ended=isinstance(finish, str) and bool(finish),
        cut=finish == "length",
        refused=finish == "content_filter",
    )


def _text(content: object) -> str:
    """A text, or a list of parts of which some are text: reasoning models think in parts of their own."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (dig(part, "text") for part in content if dig(part, "type") == "text")
        return "".join(text for text in texts if isinstance(text, str))
    return ""
