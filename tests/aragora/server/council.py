"""A provider of language models whose models are known by how they answer: in Markdown, at length, in Arabic or
Chinese, slowly, half, or not at all. It speaks the API of chat completions on a port of its own.
"""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving
from tests.waiting import PATIENCE

MARKDOWN = """**Keep PostgreSQL**, and add an *outbox* table; see [the pattern](https://example.com/outbox).

## Why

1. The team knows how to run it.
2. A replay of $n = 10^6$ events takes hours.
   - at least 6
   - at most 9

| Criterion | Event sourcing | Outbox |
|---|---:|---:|
| First value | 4 months | 3 weeks |
| Erasure | keys | `DELETE` |

```sql
CREATE TABLE outbox (
  id bigserial PRIMARY KEY
);
```

> Otherwise, if auditors ask for *every* state.
"""
ARABIC = (
    "**التوصية:** أبقِ على PostgreSQL كنظام أساسي، وأضِف جدول outbox.\n\n1. الفريق يعرف التشغيل.\n2. إعادة البناء مكلفة."
)
CHINESE = "**建議：**保留 PostgreSQL，並加入 outbox 資料表。\n\n1. 團隊已具備經驗。\n2. 重播成本高。"  # noqa: RUF001
_TERMS = ("ledger", "replay", "audit", "snapshot", "cost", "latency", "team", "risk", "erasure", "schema", "tenant")


def _long() -> str:
    """Some thousand words that do not go round in circles."""
    chosen = random.Random(4)
    parts = (" ".join(chosen.choice(_TERMS) for _ in range(90)).capitalize() for _ in range(12))
    return "\n\n".join(f"## Part {number}\n\n{words}." for number, words in enumerate(parts, 1))


LONG = _long()
ANSWERS = {"markdown": MARKDOWN, "arabic": ARABIC, "chinese": CHINESE, "long": LONG, "slow": MARKDOWN, "half": MARKDOWN}
MODELS = (*ANSWERS, "stuck", "broken")
PIECE = 24  # characters of an answer that are sent at once


class Provider(ThreadingHTTPServer):
    """Holds back what `stuck` says after its first words until `released`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.released = threading.Event()

    @property
    def base(self) -> str:
        """What the variable of a provider's address is set to."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class Call(BaseHTTPRequestHandler):
    """One request."""

    server: Provider

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": name} for name in MODELS]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = asked["model"]
        form = asked.get("response_format", {}).get("json_schema", {}).get("schema")
        if model == "broken":
            self._reply(400, {"error": {"message": "this model is out of order", "code": "out_of_order"}})
            return
        text = json.dumps(filled(form)) if form else ANSWERS.get(model, MARKDOWN)
        if model == "half" and not form:
            text = text[: len(text) // 3]
        try:
            self._stream(model, text, "length" if model == "half" and not form else "stop")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _stream(self, model: str, text: str, end: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        pause = threading.Event()
        for at in range(0, len(text), PIECE):
            self._say({"index": 0, "delta": {"content": text[at : at + PIECE]}, "finish_reason": None})
            if model == "slow":
                pause.wait(0.1)
            if model == "stuck" and at >= PIECE:
                self.server.released.wait(PATIENCE)
        self._say(
            {"index": 0, "delta": {}, "finish_reason": end}, usage={"prompt_tokens": 100, "completion_tokens": 50}
        )
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, choice: dict[str, Any], **more: Any) -> None:
        self.wfile.write(b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n")

    def _reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing."""


def filled(form: dict[str, Any], name: str = "") -> Any:
    """Something that fits a JSON schema."""
    if "enum" in form:
        return form["enum"][0]
    match form["type"]:
        case "object":
            return {member: filled(inner, member) for member, inner in form["properties"].items()}
        case "array":
            return [filled(form["items"], name)]
        case "number":
            return 0.8 if name == "confidence" else 4
    return f"Its *{name}* names a figure: `p95 < 20 ms`."


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that answers."""
    with serving(Provider()) as server:
        try:
            yield server
        finally:
            server.released.set()
