"""Services that decide who may pass, as oauth2-proxy, Authelia and authentik do: their addresses, cookies and statuses.

Each takes the request's path and fields, and returns status and fields of its response.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

from tests.serving import serving

Response = tuple[int, list[tuple[str, str]]]
Decision = Callable[[str, Mapping[str, str]], Response]


def oauth2_proxy(path: str, fields: Mapping[str, str]) -> Response:
    """With --reverse-proxy --upstream=static://202 --set-xauthrequest --skip-provider-button --cookie-refresh=1s."""
    if path.startswith("/oauth2/"):
        return 200, []
    if "_oauth2_proxy=session" in fields.get("Cookie", ""):
        parts = [("Set-Cookie", f"_oauth2_proxy_{number}={'x' * 3000}; Path=/; HttpOnly") for number in (0, 1)]
        return 202, [("X-Auth-Request-User", "ann"), ("X-Auth-Request-Email", "ann@example.org"), *parts]
    if fields.get("Accept") == "application/json":
        return 401, [("Content-Type", "application/json")]
    back = fields["X-Forwarded-Uri"]
    return 302, [
        ("Location", f"https://provider.example/authorize?rd={back}"),
        ("Set-Cookie", "_oauth2_proxy_csrf=c; Path=/"),
    ]


def authelia(path: str, fields: Mapping[str, str]) -> Response:
    """/api/authz/forward-auth, which needs all of X-Forwarded-*."""
    if path != "/api/authz/forward-auth":
        return 200, []
    if "authelia_session=session" in fields.get("Cookie", ""):
        return 200, [("Remote-User", "ann"), ("Remote-Groups", "admins,dev"), ("Remote-Email", "ann@example.org")]
    method = fields["X-Forwarded-Method"]
    if fields.get("X-Requested-With") == "XMLHttpRequest" or "text/html" not in fields.get("Accept", ""):
        return 401, []
    asked = "{X-Forwarded-Proto}://{X-Forwarded-Host}{X-Forwarded-Uri}".format_map(fields)
    location = f"https://auth.example/?rd={quote(asked, safe='')}&rm={method}"
    return 302 if method in ("GET", "HEAD", "OPTIONS") else 303, [("Location", location)]


def authentik(path: str, fields: Mapping[str, str]) -> Response:
    """An outpost's endpoint for Caddy."""
    if path != "/outpost.goauthentik.io/auth/caddy":
        return 204 if path == "/outpost.goauthentik.io/ping" else 404, []
    cookie = ("Set-Cookie", "authentik_proxy_app=renewed; Path=/; HttpOnly; SameSite=Lax")
    if "authentik_proxy_app=session" in fields.get("Cookie", ""):
        return 200, [("X-authentik-username", "ann"), ("X-authentik-groups", "admins|dev"), cookie]
    asked = "{X-Forwarded-Proto}://{X-Forwarded-Host}{X-Forwarded-Uri}".format_map(fields)
    begin = f"https://authentik.example/application/o/authorize/?state={quote(asked, safe='')}"
    return 302, [("Location", begin), cookie]


@contextmanager
def service(decide: Decision) -> Iterator[int]:
    """A service on a port of the kernel's choice, which it gives."""

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, fields = decide(self.path, self.headers)  # type: ignore[arg-type] # a Message looks up like one
            self.send_response(status)
            for name, value in fields:
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """The gateway's log has it."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Service)) as server:
        yield server.server_port
