"""The description of the API, made from the models that check requests and write answers.

Only the addresses stand here a second time; a test compares them with the router's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import falcon
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from aragora.debate.downloads import Format
from aragora.server import build, models, queries
from aragora.server.completions.request import ChatRequest
from aragora.server.completions.response import Completion, Failure, ModelAnswer, ModelList
from aragora.server.resources import Resource
from aragora.service.lineage import AskAgain, FollowUp, Fork
from aragora.service.requests import DebateChanges, NewDebate, NewProbe

DEBATE = "/api/debates/{debate_id}"
EXPORTS = ("application/json", "text/csv", "text/html", "text/plain", "text/markdown")
REFUSALS = {
    400: "The request breaks a rule; `details` names each field.",
    401: "A token is needed, or the one given is not known.",
    403: "The token may not do this, or the host is not served without a token.",
    404: "No such debate.",
    405: "This address does not take this method.",
    409: "The debate has ended, or has not; or the Idempotency-Key was used for another request.",
    413: "The body is too long.",
    415: "The body does not say that it is JSON.",
    502: "The debate ended without an answer, because its agents failed or its time was up.",
    429: "Too many watchers or debates, the debate is full, or the token has spent what it may on a day.",
    503: "Not available at the moment; try again after Retry-After.",
}


IDEMPOTENCY = {
    "Idempotency-Key": "The same key of the same token with the same body makes one debate, however often it is sent."
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address. `answers` maps a status to a model, or to media types for what is no model."""

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, type[BaseModel] | str | None]
    refusals: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    errors: type[BaseModel] = models.ErrorAnswer
    headers: dict[str, str] = field(default_factory=dict)
    is_open: bool = False


OPERATIONS = (
    Operation(
        "post",
        "/api/debates",
        "createDebate",
        "Begin a debate. 202 and its address, or 200 with the finished debate if `wait` was long enough.",
        {202: models.Created, 200: models.Debate},
        (400, 409, 413, 415, 429),
        query=queries.CreateQuery,
        body=NewDebate,
        headers=IDEMPOTENCY,
    ),
    Operation(
        "get",
        "/api/debates",
        "listDebates",
        "Debates, newest first, running ones included.",
        {200: models.DebateList},
        (400,),
        query=queries.ListQuery,
    ),
    Operation("get", DEBATE, "getDebate", "One debate, also while it runs.", {200: models.Debate}, (404,)),
    Operation(
        "patch",
        DEBATE,
        "changeDebate",
        "Change title, metadata, or whether it may be read without a token.",
        {200: models.Debate},
        (400, 404, 413, 415),
        body=DebateChanges,
    ),
    Operation("delete", DEBATE, "deleteDebate", "Remove a debate and its events.", {204: None}, (404,)),
    Operation(
        "post",
        f"{DEBATE}/cancel",
        "cancelDebate",
        "End a debate for good: no agent is called again.",
        {200: models.Cancelled},
        (404, 409),
    ),
    Operation(
        "get",
        f"{DEBATE}/messages",
        "listMessages",
        "What was said, also while it runs.",
        {200: models.MessageList},
        (400, 404),
        query=queries.MessagesQuery,
    ),
    Operation(
        "get",
        f"{DEBATE}/events",
        "listEvents",
        "The debate's log: a page, a long poll (`wait`), or a stream (`Accept: text/event-stream`). "
        "204 answers a stream that would bring nothing any more.",
        {200: models.EventList, 204: None},
        (400, 404, 429),
        query=queries.EventsQuery,
        headers={"Last-Event-ID": "For streams: the last `seq` you saw; takes the place of `since`."},
    ),
    Operation(
        "get",
        f"{DEBATE}/convergence",
        "getConvergence",
        "How near the answers came, round by round.",
        {200: models.ConvergenceAnswer},
        (404,),
    ),
    Operation("get", f"{DEBATE}/votes", "listVotes", "Who chose whom.", {200: models.VoteList}, (404,)),
    Operation(
        "get",
        f"{DEBATE}/critiques",
        "listCritiques",
        "What the agents hold against each other's answers.",
        {200: models.CritiqueList},
        (404,),
    ),
    Operation(
        "get",
        f"{DEBATE}/export/{{form}}",
        "exportDebate",
        "Download a debate.",
        {200: ", ".join(EXPORTS)},
        (400, 404),
        query=queries.ExportQuery,
    ),
    *(
        Operation(
            "post",
            f"{DEBATE}/{path}",
            name,
            summary,
            {202: models.Created, 200: models.Debate},
            (400, 404, 409, 413, 415, 429),
            query=queries.CreateQuery,
            body=asked,
            headers=IDEMPOTENCY,
        )
        for path, name, asked, summary in (
            ("follow-up", "followUpDebate", FollowUp, "Debate a further question, knowing what this debate came to."),
            ("fork", "forkDebate", Fork, "Debate the same with changes, knowing what this debate came to."),
            ("ask-again", "askAgain", AskAgain, "Go on where this debate first failed, with what was said until then."),
        )
    ),
    Operation(
        "get", f"{DEBATE}/usage", "getUsage", "What the debate took, and each agent.", {200: models.UsageAnswer}, (404,)
    ),
    Operation(
        "post",
        f"{DEBATE}/share",
        "shareDebate",
        "Give the debate an address that nobody can guess and everybody may read; a second call changes nothing.",
        {200: models.Shared},
        (404,),
    ),
    Operation("delete", f"{DEBATE}/share", "unshareDebate", "Withdraw that address for good.", {204: None}, (403, 404)),
    Operation(
        "post",
        "/api/debates/estimate",
        "estimateDebate",
        "What a debate would take: questions, tokens, money. Nothing is begun.",
        {200: models.EstimateAnswer},
        (400, 413, 415),
        body=NewDebate,
    ),
    Operation(
        "get",
        "/api/usage",
        "listSpending",
        "What was spent on each of the last days.",
        {200: models.SpendingAnswer},
        (400,),
        query=queries.SpendingQuery,
    ),
    Operation(
        "get",
        "/shared/{key}",
        "getSharedPage",
        "A shared debate as a page.",
        {200: "text/html"},
        (404, 503),
        is_open=True,
    ),
    Operation(
        "get",
        "/shared/{key}/json",
        "getSharedDebate",
        "A shared debate.",
        {200: models.SharedDebate},
        (404, 503),
        is_open=True,
    ),
    Operation("get", "/api/agents", "listAgents", "Every type of agent.", {200: models.AgentList}),
    Operation(
        "get",
        "/api/agents/availability",
        "getAvailability",
        "Which types can run now, and which variable the others miss.",
        {200: models.Availability},
    ),
    Operation(
        "get",
        "/api/agents/models",
        "listModels",
        "What the providers that can be asked offer. Each is asked; within a minute the same is said again.",
        {200: models.OfferList},
        (400, 404),
        query=queries.ModelsQuery,
    ),
    Operation(
        "post",
        "/api/agents/ask",
        "askModel",
        "Ask a model one word: whether its server is there, its key taken and its name known.",
        {200: models.ProbeAnswer},
        (400, 413, 415, 429),
        body=NewProbe,
    ),
    Operation(
        "post",
        "/v1/chat/completions",
        "createChatCompletion",
        "OpenAI's chat completions: a council debates the last message and answers with its verdict.",
        {200: Completion},
        (400, 403, 404, 409, 413, 415, 429, 502),
        body=ChatRequest,
        headers=IDEMPOTENCY,
        errors=Failure,
    ),
    Operation("get", "/v1/models", "listCouncils", "The councils that can be asked.", {200: ModelList}, errors=Failure),
    Operation("get", "/v1/models/{name}", "getCouncil", "One of them.", {200: ModelAnswer}, (404,), errors=Failure),
    Operation(
        "get", "/healthz", "isAlive", "Whether the process serves; asks nobody.", {200: models.Alive}, is_open=True
    ),
    Operation(
        "get", "/health", "getHealth", "Liveness with version, build and uptime.", {200: models.Health}, is_open=True
    ),
    *(
        Operation(
            "get",
            path,
            name,
            "Whether requests should be sent here; each check by name.",
            {200: models.Readiness, 503: models.Readiness},
            is_open=True,
        )
        for path, name in (("/ready", "isReady"), ("/readyz", "isReadyz"))
    ),
    Operation("get", "/metrics", "getMetrics", "Prometheus text of all workers.", {200: "text/plain"}, is_open=True),
)


class Document(Resource):
    """`/api/openapi.json`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """The OpenAPI 3.1 document."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = _serialised()
        resp.set_header("Cache-Control", "no-cache")


@cache
def _serialised() -> bytes:
    return json.dumps(document()).encode()


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    references, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(operation.path, {})
        if "{" in operation.path and "parameters" not in item:
            item["parameters"] = list(_path_parameters(operation.path))
        item[operation.method] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aragora",
            "version": build.version(),
            "description": "Several language models argue a question to a decision. `/api/v1/…` names the same "
            "resources. Live events also come over the WebSocket at `/ws`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Needed where the server has tokens."}
            },
        },
    }


def _schemas() -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """A reference for each model, and the schemas they point to."""
    wanted: dict[type[BaseModel], JsonSchemaMode] = {}
    for operation in OPERATIONS:
        wanted[operation.errors] = "serialization"
        if operation.body is not None:
            wanted[operation.body] = "validation"
        wanted.update({item: "serialization" for item in operation.answers.values() if isinstance(item, type)})
    found, definitions = models_json_schema(list(wanted.items()), ref_template="#/components/schemas/{model}")
    return {model: found[model, mode] for model, mode in wanted.items()}, definitions["$defs"]


def _operation(operation: Operation, references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    parameters = [*_query_parameters(operation.query), *_header_parameters(operation.headers)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.is_open:
        described["security"] = []
    responses = {str(status): _answer(item, references) for status, item in operation.answers.items()}
    refusals = operation.refusals if operation.is_open else (*operation.refusals, 401, 403, 503)
    for status in sorted(refusals):
        content = {"application/json": {"schema": references[operation.errors]}}
        responses[str(status)] = {"description": REFUSALS[status], "content": content}
    described["responses"] = responses
    if parameters:
        responses["414"] = {"description": "The address is too long; answered by the server, before the application."}
    if models.Created in operation.answers.values():
        location = {"description": "Address of the debate.", "schema": {"type": "string"}}
        responses["202"]["headers"] = {"Location": location}
    if operation.name in ("listEvents", "createChatCompletion"):
        responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return described


def _answer(item: type[BaseModel] | str | None, references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    if item is None:
        return {"description": "Nothing to say."}
    if isinstance(item, str):
        content = {
            kind: {"schema": {} if kind == "application/json" else {"type": "string"}} for kind in item.split(", ")
        }
        return {"description": "The file.", "content": content}
    description = (item.__doc__ or "").strip().partition("\n")[0]
    return {"description": description, "content": {"application/json": {"schema": references[item]}}}


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    if "{key}" in path:
        yield {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
    if "{name}" in path:
        yield {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "examples": ["aragora"]}}
    if "{debate_id}" in path:
        debate = {"type": "string", "examples": ["adhoc_0123456789abcdef0123456789"]}
        yield {"name": "debate_id", "in": "path", "required": True, "schema": debate}
    if "{form}" in path:
        yield {
            "name": "form",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "enum": [form.value for form in Format]},
        }


def _query_parameters(query: type[BaseModel] | None) -> Iterator[dict[str, Any]]:
    if query is None:
        return
    whole = query.model_json_schema()
    for name, schema in whole["properties"].items():
        parameter = {"name": name, "in": "query", "schema": _present(schema, whole.get("$defs", {}))}
        if "description" in schema:
            parameter["description"] = schema["description"]
        yield parameter


def _present(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is there, with its enumerations: leaving one out is how a query says null."""
    kept = {name: value for name, value in schema.items() if name not in ("title", "description")}
    branches = [branch for branch in kept.pop("anyOf", []) if branch != {"type": "null"}]
    if kept.get("default", 0) is None:
        del kept["default"]
    present = {**kept, **branches[0]} if branches else kept
    if "$ref" in present:
        found = definitions[present.pop("$ref").removeprefix("#/$defs/")]
        present |= {"type": found["type"], "enum": found["enum"]}
    return present


def _header_parameters(headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    for name, description in headers.items():
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$" if name == "Idempotency-Key" else "^[0-9]{1,15}$"}
        yield {"name": name, "in": "header", "description": description, "schema": schema}
