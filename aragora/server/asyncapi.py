"""The description of the WebSocket: an AsyncAPI 3.0 document, made of the models of its messages."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aragora.server import build
from aragora.server.models import event_data, messages

ADDRESS = "/ws"
CHANNEL = "debates"


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document. Its point of view is the server's, which `receive`s what clients send."""
    sent: tuple[type[BaseModel], ...] = (*messages.RESPONSES, *event_data.EVENTS)
    everything: tuple[type[BaseModel], ...] = (*messages.REQUESTS, *sent)
    _, definitions = models_json_schema(
        [(model, "validation") for model in everything], ref_template="#/components/schemas/{model}"
    )
    names = {name: {"$ref": f"#/components/messages/{name}"} for name in map(_name, everything)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aragora's live events",
            "version": build.version(),
            "description": "Text messages of one JSON object each, at most 64 KiB. After a loss: connect again, and "
            "subscribe with `replay_from_seq` = the last `seq` you saw.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {"host": "127.0.0.1:8000", "protocol": "ws", "security": [_security("token")]}},
        "channels": {CHANNEL: {"address": ADDRESS, "messages": names}},
        "operations": {
            "answer": _operation("receive", messages.REQUESTS, "What a client asks; each message is answered."),
            "tell": _operation("send", sent, "What the server sends: responses, events as they happen, signs of life."),
        },
        "components": {
            "messages": {_name(model): _message(model) for model in everything},
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the server has tokens; pages send it as subprotocol "
                    "`access_token.TOKEN`.",
                }
            },
        },
    }


def _name(model: type[BaseModel]) -> str:
    """The message's own name of its type; it distinguishes what a client sends from the event it becomes."""
    kind = str(model.model_json_schema()["properties"]["type"]["const"])
    return f"event.{kind}" if issubclass(model, event_data.EventFrame) else kind


def _message(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": str(_name(model).removeprefix("event.")),
        "summary": (model.__doc__ or "").strip().partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _operation(action: str, models: Iterable[type[BaseModel]], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "messages": [{"$ref": f"#/channels/{CHANNEL}/messages/{_name(model)}"} for model in models],
    }


def _security(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/securitySchemes/{name}"}
