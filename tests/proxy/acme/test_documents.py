"""Documents of an authority that are JSON, but not what the standard has there."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from proxy.acme.account import Authority, NotObtained, register
from proxy.acme.order import obtain
from proxy.acme.renewal_info import ask_when_to_renew
from proxy.acme.state import State
from proxy.net.private_file import write_private
from tests.proxy.authority import Authority as Issuer

NESTED = b"[" * 100_000
WRONG = [b"null", b"[]", b"1", b'"text"', b"{}", b'{"meta": 1}', b'{"meta": {"profiles": 1}}', b"\xff", NESTED]
SITE = "site.test"


@contextlib.contextmanager
def answering(documents: dict[str, bytes]) -> Iterator[str]:
    """An authority that answers like this at these paths, and like a good one elsewhere; its directory's URL."""
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            base = f"http://127.0.0.1:{server.server_port}"
            paths = {"newNonce": "/nonce", "newAccount": "/account", "newOrder": "/order", "renewalInfo": "/renewal"}
            good = {
                "/directory": {name: base + path for name, path in paths.items()},
                "/account": {"status": "valid"},
                "/order": {"status": "pending", "authorizations": [f"{base}/authorization"], "finalize": f"{base}/end"},
            }
            body = documents.get(self.path, json.dumps(good.get(self.path, {})).encode())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", f"{base}/some/1")
            self.send_header("Replay-Nonce", f"nonce{next(numbers):019}")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/directory"
        server.shutdown()


def both(authority: Authority, state: State) -> None:
    register(authority, state)
    obtain(authority, state, SITE, ("http-01",))


@pytest.mark.parametrize("document", WRONG)
@pytest.mark.parametrize("path", ["/directory", "/account", "/order", "/authorization"])
def test_an_order_fails_with_a_reason(tmp_path: Path, path: str, document: bytes) -> None:
    with answering({path: document}) as directory:
        authority, state = Authority(directory, None, "a@site.test", "test"), State(tmp_path, directory)
        with pytest.raises(NotObtained):
            both(authority, state)


@pytest.mark.parametrize("document", WRONG)
@pytest.mark.parametrize("path", ["/directory", "/renewal"])
def test_renewal_information_is_none(tmp_path: Path, authority: Issuer, path: str, document: bytes) -> None:
    class Anywhere(dict[str, bytes]):
        def get(self, asked: str, default: bytes = b"") -> bytes:  # type: ignore[override]
            return document if asked.startswith(path) else default

    with answering(Anywhere()) as directory:
        state = State(tmp_path, directory)
        state.make()
        cert, key = authority.issue(SITE)
        write_private(state.certificate(SITE), key.read_bytes() + cert.read_bytes())
        pair = state.read(SITE)
        with contextlib.suppress(NotObtained):
            ask_when_to_renew(Authority(directory, None, "a@site.test", "test"), state, SITE)
        assert state.suggestion(SITE, pair).at == 0.0
