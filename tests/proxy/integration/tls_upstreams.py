"""Servers that speak TLS, to stand behind the gateway."""

import os
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.ports import ports
from tests.proxy.integration.upstreams import APPLICATIONS, Upstream
from tests.reach import open_to_all
from tests.waiting import PATIENCE

Pair = tuple[Path, Path]
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  log_format sessions "$ssl_protocol $ssl_session_reused $ssl_client_verify $connection_requests $http_host";
  access_log {folder}/access.log sessions;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  ssl_certificate {cert}; ssl_certificate_key {key}; ssl_session_cache shared:a:1m;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_client_certificate {ca}; ssl_verify_client optional;
    location / {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} return 200 "$ssl_client_s_dn $http_host"; }}
    location /old {{ keepalive_timeout 0; return 200 "$ssl_session_reused"; }}
  }}
}}
"""


class TlsUpstream(Upstream):
    """A server whose log announces an https address."""

    def _announced(self) -> int:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"https://127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(found[1]) if found else 0

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def gunicorn(folder: Path, pair: Pair) -> TlsUpstream:
    command = [
        sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--graceful-timeout", "5",
        "--certfile", str(pair[0]), "--keyfile", str(pair[1]), "--worker-class", "gthread", "--threads", "8",
        f"{APPLICATIONS}:wsgi",
    ]  # fmt: skip
    return TlsUpstream(command, folder / "gunicorn.log")


def uvicorn(folder: Path, pair: Pair) -> TlsUpstream:
    command = [
        sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", "--ssl-certfile", str(pair[0]),
        "--ssl-keyfile", str(pair[1]), f"{APPLICATIONS}:asgi",
    ]  # fmt: skip
    return TlsUpstream(command, folder / "uvicorn.log")


def nginx(folder: Path, pair: Pair, client_ca: Path) -> TlsUpstream:
    """nginx that wants a client's certificate, and says in its access log what it got."""
    folder.mkdir()
    open_to_all(folder)
    (port,) = ports(1)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, cert=pair[0], key=pair[1], ca=client_ca))
    return TlsUpstream(["nginx", "-c", str(config), "-p", str(folder)], folder / "nginx.log", port)


Script = Callable[[ssl.SSLSocket, bytes], None]


@contextmanager
def scripted(context: ssl.SSLContext, script: Script, *, header: bool = False) -> Iterator[str]:
    """An address whose every connection, once it has shaken hands, is handed to `script`; then it is closed at once.

    `header`: a line comes before TLS, which the script gets too.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    raw = listener.accept()[0]
                except OSError:
                    return
                raw.settimeout(PATIENCE)
                with raw, suppress(OSError):
                    line = b""
                    while header and not line.endswith(b"\r\n"):
                        line += raw.recv(1)
                    with context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as secure:
                        shake_hands(secure)
                        script(secure, line)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def shake_hands(secure: ssl.SSLSocket) -> None:
    """Raises `SSLError` once the client has left: closing at once would reset, and take back the alert."""
    try:
        secure.do_handshake()
    except ssl.SSLError:
        with socket.socket(fileno=os.dup(secure.fileno())) as below:
            below.settimeout(PATIENCE)
            below.shutdown(socket.SHUT_WR)
            while below.recv(4096):
                pass
        raise


def server_context(pair: Pair, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
