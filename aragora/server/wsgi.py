"""The WSGI application: `gunicorn aragora.server.wsgi:application`.

    application     names the request, counts it, leaves WebSockets to `websocket`
      └► Falcon     middleware (alias, CORS, token) → resource → service

Nothing is opened at import: the parts a request needs are started after the fork, by a hook or by the first request.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import falcon

from aragora.errors import AragoraError, NotFound
from aragora.server import (
    asyncapi,
    auth,
    console,
    descendants,
    handshake,
    health,
    notifications,
    openapi,
    presets,
    problems,
    process,
    resources,
    sources,
    websocket,
)
from aragora.server.completions import resources as completions
from aragora.server.context import UNNAMED, RequestContext
from aragora.server.description import Description
from aragora.service import STRANGER

REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
ALIAS = "/api/v1/"
PUBLIC = re.compile(r"/api/debates/([^/]+)(?:/(?:messages|events|convergence|votes|critiques|usage|export/\w+))?/?")

StartResponse = Callable[..., Any]


class Gate:
    """What holds for every request: one address for each resource, foreign pages, tokens."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Settle alias and access before the resource is looked up."""
        context = RequestContext.of(req.env)
        resp.set_header("X-Request-ID", context.request_id)
        if context.error is not None:
            # What went wrong in an asynchronous server's part: reading the body, or a wait that was left to it.
            raise context.error
        resp.set_header("X-Content-Type-Options", "nosniff")
        if req.path.startswith(ALIAS):
            req.path = "/api/" + req.path[len(ALIAS) :]
        if req.path in ("/healthz", "/ready", "/readyz"):
            # Probes are answered even when nothing could be started.
            return
        here = process.current()
        settings = here.settings
        token = auth.bearer(req.auth)
        context.principal = here.access.principal(token)
        auth.check_host(req.get_header("Host"), settings.url, guarded=here.access.needs_token())
        origin = req.get_header("Origin")
        for name, value in auth.cors_fields(origin, settings.allowed_origins):
            resp.set_header(name, value)
        if req.method == "OPTIONS":
            for name, value in auth.preflight_fields(origin, settings.allowed_origins):
                resp.set_header(name, value)
            return
        if context.principal is None and not auth.is_open(req.path):
            if not _is_public(req):
                raise auth.unknown(token)
            context.principal = STRANGER

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        """Leave the route's template, and the address of what was made, to the metrics."""
        context = RequestContext.of(req.env)
        context.route = req.uri_template or UNNAMED
        context.made = resp.get_header("Location")


def _is_public(req: falcon.Request) -> bool:
    """Whether a debate is read that may be read without a token, by any client that knows its id.

    Not with `wait` or as a stream: those hold a place among the watchers, which are few. A client that sends a token is
    asked for a known one, public or not.
    """
    asked = PUBLIC.fullmatch(req.path) if req.method in ("GET", "HEAD") else None
    if asked is None or req.auth is not None or req.has_param("wait") or resources.wants_stream(req):
        return False
    try:
        return process.current().debates.get(asked[1]).is_public
    except NotFound:
        return False


def routes() -> dict[str, object]:
    """Every address and what answers there."""
    item = "/api/debates/{debate_id}"
    ready = health.Ready()
    return {
        "/api/debates": resources.DebateCollection(),
        item: resources.DebateItem(),
        f"{item}/cancel": resources.Cancellation(),
        f"{item}/messages": resources.Messages(),
        f"{item}/events": resources.Events(),
        f"{item}/convergence": resources.Convergence(),
        f"{item}/votes": resources.Votes(),
        f"{item}/critiques": resources.Critiques(),
        f"{item}/export/{{form}}": resources.Export(),
        f"{item}/follow-up": descendants.FOLLOW_UP,
        f"{item}/fork": descendants.FORK,
        f"{item}/ask-again": descendants.ASK_AGAIN,
        f"{item}/usage": resources.Usage(),
        f"{item}/share": resources.Share(),
        f"{item}/notifications": notifications.Notifications(),
        "/api/debates/estimate": resources.Estimation(),
        "/api/usage": resources.Spending(),
        "/api/sources": sources.Sources(),
        "/api/presets": presets.PresetCollection(),
        "/api/presets/{name}": presets.PresetItem(),
        "/shared/{key}": resources.SharedPage(),
        "/shared/{key}/json": resources.SharedDebate(),
        "/api/agents": resources.Agents(),
        "/api/agents/availability": resources.AgentAvailability(),
        "/api/agents/models": resources.Models(),
        "/api/agents/ask": resources.Probe(),
        "/v1/chat/completions": completions.ChatCompletions(),
        "/v1/models": completions.Models(),
        "/v1/models/{name}": completions.Model(),
        "/api/openapi.json": Description(openapi.document),
        "/api/asyncapi.json": Description(asyncapi.document),
        "/api/docs": console.Page("docs.html"),
        "/healthz": health.Alive(),
        "/health": health.Health(),
        "/ready": ready,
        "/readyz": ready,
        "/metrics": health.Scrape(),
        "/ws": handshake.NoUpgrade(),
        "/": console.Page("index.html"),
        "/status": console.Page("status.html"),
        "/docs": console.Elsewhere("/api/docs"),
        "/api": console.Elsewhere("/api/docs"),
        "/openapi.json": console.Elsewhere("/api/openapi.json"),
        "/favicon.svg": console.Page("favicon.svg"),
        "/favicon.ico": console.Page("favicon.svg"),
        "/console/{name}": console.Asset(),
    }


def build() -> falcon.App[falcon.Request, falcon.Response]:
    """The Falcon application."""
    app = falcon.App(middleware=[Gate()])
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.keep_blank_qs_values = True
    problems.install(app)
    for address, resource in routes().items():
        app.add_route(address, resource)
    return app


falcon_app = build()


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request; what a WSGI server calls."""
    context = RequestContext.of(environ)
    if not context.request_id:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        context.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    if environ["PATH_INFO"] == "/healthz":
        return falcon_app(environ, start_response)
    if handshake.is_handshake(environ):
        try:
            return websocket.serve(environ, start_response)
        except AragoraError as error:
            handshake.refuse(environ, error)
    return Counted(environ, start_response)


class Counted:
    """One request, counted from its beginning to the end of its answer's body."""

    def __init__(self, environ: dict[str, Any], start_response: StartResponse) -> None:
        self._environ = environ
        self._status = "500"

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            self._status = status[:3]
            return start_response(status, headers, *rest)

        self._active = process.current().metrics.active if process.is_running() else None
        if self._active is not None:
            self._active.inc()
        try:
            self._body = falcon_app(environ, start)
        except BaseException:
            self._finish()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """The server is done with the answer, whole or not."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._finish()

    def _finish(self) -> None:
        if self._active is not None:
            self._active.dec()
        if RequestContext.of(self._environ).deferred is None:
            count(self._environ, self._status)


def count(environ: dict[str, Any], status: str) -> None:
    """Count an answered request; nothing to count into where the process could not be started."""
    if process.is_running():
        here = process.current()
        context = RequestContext.of(environ)
        seconds = None if context.unhurried else time.monotonic() - context.begun
        here.metrics.http(environ["REQUEST_METHOD"], context.route, status, seconds)
        here.audit.request(environ, int(status))
