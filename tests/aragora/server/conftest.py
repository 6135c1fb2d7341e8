"""One server of each kind for all tests; those that end a server start their own."""

from collections.abc import Iterator

import pytest

from tests.aragora.server.browser import Page, browser
from tests.aragora.server.servers import KINDS, Server, running

TOKENS = "first-token,second-token"
ORIGIN = "https://app.example"


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An open server."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture(scope="session", params=KINDS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for tokens and lets one foreign page in."""
    environ = {"ARAGORA_API_TOKEN": TOKENS, "ARAGORA_ALLOWED_ORIGINS": ORIGIN, "ARAGORA_MAX_WATCHERS": "4"}
    with running(request.param, tmp_path_factory.mktemp(f"{request.param}-guarded"), **environ) as started:
        yield started


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for the tests of a file."""
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page
