"""Asking over TLS: whom it trusts, how often that is read, and that deadlines hold there too."""

import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from aragora.agents import AgentFailed, build, exchange
from aragora.debate.questions import Question, Reply
from aragora.debate.spec import AgentSpec
from tests.aragora.agents.provider import OpenAI, answers, provider

pytestmark = pytest.mark.component("openssl")
API = OpenAI()


class Authorities(ssl.SSLContext):
    """Counts how often authorities are read."""

    read = 0

    def load_verify_locations(self, *args: object, **kwargs: object) -> None:
        self.read += 1
        super().load_verify_locations(*args, **kwargs)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, *subject, "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + Path(str(path) + ".crt").read_text())
    return path


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Authorities:
    """The process trusts the certificate."""
    context = Authorities(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    monkeypatch.setattr(exchange, "authorities", lambda: context)
    return context


@pytest.fixture
def put(question: Question, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Reply]]:
    """Asks at an address."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    sessions: list[requests.Session] = []

    def put(url: str, within: float = 30.0) -> Reply:
        sessions.append(exchange.session.__wrapped__())
        environ = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": url}
        agent = build(AgentSpec("x", "openai"), environ, connections=sessions[-1], sleep=lambda seconds: None)
        return agent.ask(question, lambda text: None, time.time() + within)

    yield put
    for session in sessions:
        session.close()


def test_the_authorities_are_read_once_for_many_connections(
    certificate: Path, trusting: Authorities, put: Callable[..., Reply]
) -> None:
    with provider(answers(API, "Yes."), certificate=certificate) as server:
        for _ in range(3):
            assert put(server.url).text == "Yes."
    assert trusting.read == 1


def test_a_certificate_that_nobody_vouches_for_gets_no_key(certificate: Path, put: Callable[..., Reply]) -> None:
    with provider(answers(API, "Yes."), certificate=certificate) as server:
        with pytest.raises(AgentFailed, match="certificate is not trusted") as caught:
            put(server.url)
        assert not server.calls
    assert caught.value.kind == "connection"


def test_a_certificate_for_another_name_gets_no_key(
    certificate: Path, trusting: Authorities, put: Callable[..., Reply]
) -> None:
    with provider(answers(API, "Yes."), certificate=certificate) as server:
        with pytest.raises(AgentFailed, match="certificate is not trusted"):
            put(server.url.replace("127.0.0.1", "localhost"))
        assert not server.calls


def test_the_environment_may_name_other_authorities(
    certificate: Path, put: Callable[..., Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with provider(answers(API, "Yes."), certificate=certificate) as server:
        assert put(server.url).text == "Yes."


def test_a_trickle_ends_at_the_deadline(certificate: Path, trusting: Authorities, put: Callable[..., Reply]) -> None:
    def act(call: object) -> None:
        call.begin()
        call.wfile.write(b"ffff\r\n")
        while not call.server.released.wait(0.02):
            call.wfile.write(b":")

    began = time.monotonic()
    with provider(act, certificate=certificate) as server, pytest.raises(AgentFailed) as caught:
        put(server.url, within=0.5)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 20  # the provider itself would never end it
