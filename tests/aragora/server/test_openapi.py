"""The served description: valid, complete, and kept by the server under generated requests."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from aragora.server import examples, models, openapi, wsgi
from aragora.server.texts import describe
from tests.aragora.debate.test_old_logs import LOGS, stored
from tests.aragora.server.servers import BIN, Server, running

# Generated cases for each operation. A thorough run: ARAGORA_FUZZ_CASES=600 pytest tests/aragora/server/test_openapi.py
CASES = os.environ.get("ARAGORA_FUZZ_CASES", "8")
THOROUGH = "ARAGORA_FUZZ_CASES" in os.environ
SECONDS = 3600
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.fixture
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is made up here should not stand in other tests' lists."""
    with running("gunicorn", tmp_path_factory.mktemp("fuzzed")) as started:
        yield started


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(openapi.document()).validate()


def test_every_address_is_documented() -> None:
    pages = {"/", "/status", "/favicon.svg", "/favicon.ico", "/console/{name}", "/api/docs", "/docs", "/api"}
    descriptions = {"/ws", "/api/openapi.json", "/api/asyncapi.json", "/openapi.json"}
    assert set(openapi.document()["paths"]) == set(wsgi.routes()) - pages - descriptions


def test_every_documented_method_exists() -> None:
    routes = wsgi.routes()
    for operation in openapi.OPERATIONS:
        assert hasattr(routes[operation.path], f"on_{operation.method}"), operation


def test_requests_are_described_by_the_models_that_check_them() -> None:
    schemas = openapi.document()["components"]["schemas"]
    question = schemas["NewDebate"]["properties"]["question"]
    assert (question["minLength"], question["maxLength"]) == (5, 2000)
    assert schemas["NewDebate"]["additionalProperties"] is False


def test_every_operation_says_what_it_is_about() -> None:
    found = openapi.document()
    about = {tag["name"]: tag["description"] for tag in found["tags"]}
    used = [operation["tags"] for item in found["paths"].values() for operation in item.values() if "tags" in operation]
    assert {name for (name,) in used} == set(about)
    assert len(used) == len(openapi.OPERATIONS)
    assert all(about.values())


def test_every_example_fits_its_model() -> None:
    taken = {operation.name: operation.body for operation in openapi.OPERATIONS if operation.body is not None}
    assert set(examples.BODIES) == set(taken)
    for name, body in examples.BODIES.items():
        taken[name].model_validate(body)
    for name, content in examples.ANSWERS.items():
        shown = getattr(models, name).model_validate(content)
        assert shown.model_dump(mode="json", exclude_unset=True) == content


def test_times_are_described_as_times() -> None:
    schemas = openapi.document()["components"]["schemas"]
    loose = [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, described in schema.get("properties", {}).items()
        if re.search(r"_at$|^timestamp$", member) and "date-time" not in json.dumps(described)
        if described.get("type") != "number"
    ]
    assert loose == []


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_events_of_every_version_fit_their_description(path: Path) -> None:
    _, log = stored(path)
    assert_described(*(describe(examples.ID, event) for event in log))


def test_events_of_a_debate_fit_their_description(server: Server) -> None:
    events = server.get(f"/api/debates/{server.debate['id']}/events?limit=500").json()["events"]
    assert len(events) == server.debate["last_seq"]
    assert_described(*events)


def assert_described(*events: dict[str, Any]) -> None:
    """Each of them is what the document says of its type."""
    found = openapi.document()
    schema = {"$ref": "#/components/schemas/EventAnswer", "components": found["components"]}
    checked = Draft202012Validator(schema)
    for event in events:
        checked.validate(event)
        wrong = {**event, "data": {"none": "of it"}}
        assert not checked.is_valid(wrong), event["type"]


def test_the_server_serves_the_document(server: Server) -> None:
    served = server.get("/api/openapi.json").json()
    assert served["paths"] == openapi.document()["paths"]


@pytest.mark.timeout(SECONDS)
def test_generated_requests_find_no_fault(fuzzed: Server) -> None:
    command = [
        *(str(BIN / "schemathesis"), "run", f"{fuzzed.base}/api/openapi.json"),
        *("--checks", ",".join(CHECKS), "--max-examples", CASES, "--request-timeout", "60"),
        *(("--phases", "coverage,fuzzing") if THOROUGH else ("--phases", "fuzzing", "--generation-deterministic")),
        "--no-color",
        # Long polls would only wait.
        *("--exclude-path-regex", "/events$"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=fuzzed.directory, timeout=SECONDS)
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert "Traceback" not in fuzzed.log.read_text()
