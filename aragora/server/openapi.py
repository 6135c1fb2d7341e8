"""The description of the API, made from the models that check requests and write answers.

`aragora.server.operations` has the table.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from aragora.debate.downloads import Format
from aragora.server import build, models
from aragora.server.examples import ANSWERS, BODIES
from aragora.server.operations import OPERATIONS, REFUSALS, TAGS, Operation


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
        "tags": [{"name": name, "description": about} for name, (about, _) in TAGS.items()],
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
    summary, _, description = operation.summary.partition(". ")
    described: dict[str, Any] = {"operationId": operation.name, "tags": [operation.tag]}
    described["summary"] = summary.removesuffix(".")
    if description:
        described["description"] = description
    parameters = [*_query_parameters(operation.query), *_header_parameters(operation.headers)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"application/json": {"schema": references[operation.body]}}
        if operation.name in BODIES:
            content["application/json"]["example"] = BODIES[operation.name]
        content |= {media_type: {"schema": {"type": "string"}} for media_type in operation.files}
        described["requestBody"] = {"required": True, "content": content}
    if operation.is_open:
        described["security"] = []
    responses = {str(status): _answer(item, references) for status, item in operation.answers.items()}
    refusals = operation.refusals if operation.is_open else (*operation.refusals, 401, 403, 503)
    for status in sorted(refusals):
        content = {"application/json": _shown(operation.errors, references)}
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
    return {"description": description, "content": {"application/json": _shown(item, references)}}


def _shown(model: type[BaseModel], references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    """A model's schema, with an example where there is one."""
    shown: dict[str, Any] = {"schema": references[model]}
    if model.__name__ in ANSWERS:
        shown["example"] = ANSWERS[model.__name__]
    return shown


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
