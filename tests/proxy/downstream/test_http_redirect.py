"""What the plain port beside TLS sends to https, and what it lets pass."""

import contextlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from proxy.acme.state import State
from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.proxy.tls_gateway import serve_tls

DIRECTORY = "http://127.0.0.1:9/directory"
TOKEN = "t" * 43
CHALLENGE = f"/.well-known/acme-challenge/{TOKEN}"
ACME = ("--acme", "a@own.test", "--acme-directory", DIRECTORY, "--domain", "own.test")
PROXY = ("--trusted-proxies", "127.0.0.1")
SERVED, REDIRECTED = 200, 308


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedUpstream]:
    with contextlib.closing(ScriptedUpstream()) as upstream:
        yield upstream


class Plain:
    """A gateway with a plain port; `ask` gives the status of its answer."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ask(self, path: str, method: str = "GET", host: str = "own.test", **fields: str) -> int:
        return self.answer(path, method, host, **fields)[0]

    def answer(self, path: str, method: str = "GET", host: str = "own.test", **fields: str) -> tuple[int, bytes]:
        client = HTTPConnection(*self.gateway.plain, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        client.request(method, path, headers={"Host": host} | sent)
        answer = client.getresponse()
        found = answer.status, answer.read()
        client.close()
        return found


@contextlib.contextmanager
def gateway(authority: Authority, origin: ScriptedUpstream, directory: Path, *flags: str) -> Iterator[Plain]:
    cert, key = authority.issue("own.test")
    own = ("--tls-cert", str(cert), "--tls-key", str(key), "--state-dir", str(directory / "state"))
    with contextlib.closing(serve_tls(directory / "gateway", origin.address, *own, *flags)) as running:
        yield Plain(running)


def test_a_strangers_challenge_goes_on_to_the_application(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    state = State(tmp_path / "state", DIRECTORY)
    state.make()
    with gateway(authority, origin, tmp_path, *ACME) as plain:
        for host in ("own.test", "other.test"):
            assert plain.ask(CHALLENGE, host=host) == SERVED
            assert plain.ask(CHALLENGE, "HEAD", host=host) == SERVED
        for path in ("/", f"{CHALLENGE}/..", f"{CHALLENGE}/more", "/.well-known/acme-challenge/", f"{CHALLENGE}?x=y",
                     "/.well-known/acme-challenge/a%2fb", "/.well-known/acme-challengeX"):  # fmt: skip
            assert plain.ask(path) in (REDIRECTED, 400), path
        assert plain.ask(CHALLENGE, "POST") == REDIRECTED
        with state.challenge(TOKEN, b"our own"):
            assert plain.answer(CHALLENGE) == (SERVED, b"our own")
            assert plain.answer(CHALLENGE + "?x=y") == (SERVED, b"our own")
        assert plain.answer(CHALLENGE)[1] != b"our own"


def test_foreign_challenge_goes_to_the_application(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    with gateway(authority, origin, tmp_path, *ACME, "--https-redirect", "off") as plain:
        assert plain.ask(CHALLENGE) == SERVED
        assert plain.ask("/") == SERVED


def test_challenges_are_redirected_where_acme_is_off(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    with gateway(authority, origin, tmp_path) as plain:
        assert plain.ask(CHALLENGE) == REDIRECTED


def test_https_at_a_trusted_proxy_is_not_redirected(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    """A redirect would reach the visitor, who is on https already, and come back the same way for ever."""
    with gateway(authority, origin, tmp_path, *PROXY, "--hsts", "1d") as plain:
        assert plain.ask("/", X_Forwarded_Proto="https") == SERVED
        assert plain.ask("/", X_Forwarded_Proto="http") == REDIRECTED
        assert plain.ask("/", X_Forwarded_Proto="https, http") == REDIRECTED
        assert plain.ask("/") == REDIRECTED


def test_https_is_believed_of_nobody_else(authority: Authority, origin: ScriptedUpstream, tmp_path: Path) -> None:
    with gateway(authority, origin, tmp_path) as plain:
        assert plain.ask("/", X_Forwarded_Proto="https") == REDIRECTED


@pytest.mark.parametrize(("auth", "passes"), [("required", REDIRECTED), ("optional", SERVED)])
def test_nothing_goes_round_a_required_client_certificate(
    authority: Authority, origin: ScriptedUpstream, tmp_path: Path, auth: str, passes: int
) -> None:
    mutual = ("--tls-client-ca", str(authority.file), "--tls-client-auth", auth)
    with gateway(authority, origin, tmp_path, *ACME, *PROXY, *mutual) as plain:
        assert plain.ask(CHALLENGE) == passes
        assert plain.ask("/", X_Forwarded_Proto="https") == passes


def test_routes_are_those_of_tls(authority: Authority, origin: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        '[[route]]\nhost = "own.test"\npath = "/closed"\nrespond = "closed"\ndeny = "0.0.0.0/0"\n'
        '[[route]]\nhost = "own.test"\nrespond = "own"\n'
    )
    with gateway(authority, origin, tmp_path, *ACME, *PROXY, "--config", str(file)) as plain:
        assert plain.answer("/", X_Forwarded_Proto="https") == (SERVED, b"own")
        assert plain.ask("/closed", X_Forwarded_Proto="https") == 403
        assert plain.ask("/closed") == REDIRECTED
        assert plain.answer(CHALLENGE) == (SERVED, b"own")
        assert plain.ask("/", host="elsewhere.test") == REDIRECTED
