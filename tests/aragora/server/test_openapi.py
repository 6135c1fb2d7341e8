"""The served description: valid, complete, and kept by the server under generated requests."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from aragora.server import openapi, wsgi
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
    descriptions = {"/ws", "/api/openapi.json", "/openapi.json"}
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
