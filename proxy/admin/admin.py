"""The admin address: any worker responds for all."""

from collections.abc import Callable
from importlib import resources
from time import monotonic
from typing import Any

import gevent

from proxy.admin import access, status
from proxy.admin.commands import Commands, Try
from proxy.admin.history import history, since_of
from proxy.admin.overrides import OverrideRecord
from proxy.admin.purge import Clear
from proxy.admin.response import TEXT, AdminRequest, AdminResponse, refusal, structured
from proxy.admin.status_csv import status_csv
from proxy.net.certificate_set import Faults
from proxy.observe import prometheus
from proxy.observe.metrics import Board
from proxy.observe.numbers import Gauge
from proxy.observe.reports import Reports
from proxy.settings import Settings

_FRESH = 1.5  # seconds to wait for the workers' reports if none were requested for a while
_PAUSE = 0.05
_UNAUTHORISED = (
    "commands must be authorised: use aragora-proxy COMMAND as the account that started the gateway, or send the "
    "token that aragora-proxy token prints"
)
_TOKEN = b"/token"
_COMMANDS = (
    b"/drain",
    b"/undrain",
    b"/maintenance",
    b"/probe",
    b"/switch",
    b"/deploy",
    b"/remove",
    b"/rollout",
    b"/pause",
    b"/resume",
    b"/containers",
    b"/purge",
    b"/reload",
)
_PAGE = {
    b"/": ("index.html", "text/html; charset=utf-8"),
    b"/page/page.css": ("page.css", "text/css; charset=utf-8"),
    b"/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    b"/page/cache.js": ("cache.js", "text/javascript; charset=utf-8"),
    b"/page/certificates.js": ("certificates.js", "text/javascript; charset=utf-8"),
    b"/page/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    b"/page/documents.js": ("documents.js", "text/javascript; charset=utf-8"),
    b"/page/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    b"/page/filters.js": ("filters.js", "text/javascript; charset=utf-8"),
    b"/page/history.js": ("history.js", "text/javascript; charset=utf-8"),
    b"/page/routes.js": ("routes.js", "text/javascript; charset=utf-8"),
    b"/page/sparkline.js": ("sparkline.js", "text/javascript; charset=utf-8"),
    b"/page/statistics.js": ("statistics.js", "text/javascript; charset=utf-8"),
    b"/page/tables.js": ("tables.js", "text/javascript; charset=utf-8"),
    b"/favicon.svg": ("favicon.svg", "image/svg+xml"),
    b"/favicon.ico": ("favicon.svg", "image/svg+xml"),  # browsers ask for it before they have read the page
}
_PAGE_FIELDS = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"Referrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
)
_FIELDS = b"X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n"


class Admin:
    """The admin address of one worker."""

    def __init__(
        self,
        board: Board,
        reports: Reports,
        book: OverrideRecord,
        version: str,
        settings: Callable[[], Settings],
        faults: Callable[[], Faults] = tuple,
        token: bytes = b"",
        *,
        probe: Try,
        purge: Clear = lambda _which, _value: None,
        listening: Callable[[], list[dict[str, str]]] = list,
    ) -> None:
        """`settings` returns those in force at the time of a request, `faults` those of certificate files; `token` is
        the one to require if the settings name none. `probe` tries an address as a route would connect to it, `purge`
        removes stored responses, `listening` tells of each listener its `role` and `address`."""
        self._board = board
        self._reports = reports
        self._book = book
        self._version = version
        self._settings = settings
        self._faults = faults
        self._token = token
        self._listening = listening
        self._commands = Commands(board, book, settings, probe, purge, reports)

    def respond(self, asked: AdminRequest) -> AdminResponse:
        """Respond. May wait: about a second for workers' reports, some seconds for commands."""
        settings = self._settings()
        chosen = settings.admin_token_file is not None
        proven = asked.proven or access.has_token(asked, settings.admin_token if chosen else self._token)
        refused = None if proven else self._unproven(asked, chosen=chosen)
        answer = refused or self._misplaced(asked) or self._routed(asked, proven=proven)
        return answer._replace(fields=_FIELDS + answer.fields)

    def _unproven(self, asked: AdminRequest, *, chosen: bool) -> AdminResponse | None:
        """Refuse requests that need proof; `chosen`: the operator has set a token, which all requests need."""
        path = asked.target.partition(b"?")[0]
        if not chosen and (refused := access.check_host(asked)):
            return refused
        if path in _PAGE or path == b"/healthz":
            return None
        if chosen:
            return access.no_token("this address requires a token")
        return access.no_token(_UNAUTHORISED) if path in (*_COMMANDS, _TOKEN) else None

    def _misplaced(self, asked: AdminRequest) -> AdminResponse | None:
        """Refuse methods that a path does not have, and commands that a stranger's page may have sent."""
        path = asked.target.partition(b"?")[0]
        if path in _COMMANDS:
            if asked.method != b"POST":
                return refusal(405, f"{path.decode()} is a command: send it with POST", b"Allow: POST\r\n")
            return access.check_origin(asked)
        if asked.method not in (b"GET", b"HEAD"):
            return refusal(405, "method not allowed: use GET or HEAD", b"Allow: GET, HEAD\r\n")
        return None

    def _routed(self, asked: AdminRequest, *, proven: bool) -> AdminResponse:
        path = asked.target.partition(b"?")[0]
        if path in _COMMANDS:
            return self._commands.carry_out(path[1:].decode(), asked.body)
        if path == b"/metrics":
            return AdminResponse(200, prometheus.CONTENT_TYPE, self._metrics())
        if path == b"/healthz":
            return self._health()
        if path == b"/status.json":
            return self._status(private=proven)
        if path == b"/status.csv":
            return AdminResponse(200, "text/csv; charset=utf-8", status_csv(self._document()))
        if path == b"/history.json":
            since = since_of(asked.target.partition(b"?")[2])
            return structured(history(self._board, self._settings(), self._book.get(), since))
        if path == _TOKEN:
            return self._reveal_token()
        if path in _PAGE:
            name, content_type = _PAGE[path]
            body = resources.files("proxy.admin.page").joinpath(name).read_bytes()
            return AdminResponse(200, content_type, body, _PAGE_FIELDS)
        return refusal(
            404,
            "no such path; there are /, /metrics, /healthz, /status.json, /status.csv, /history.json, /token, and "
            "the commands " + ", ".join(command.decode() for command in _COMMANDS),
        )

    def _metrics(self) -> bytes:
        return prometheus.render(self._board, self._version, self._reports.containers())

    def _health(self) -> AdminResponse:
        if self._board.accepting():
            return AdminResponse(200, TEXT, b"ok\n")
        return AdminResponse(503, TEXT, b"draining\n")

    def _reveal_token(self) -> AdminResponse:
        file = self._settings().admin_token_file
        if file is not None:
            return refusal(404, f"the token of this gateway is in {file}")
        return structured({"token": self._token.decode()})

    def _status(self, *, private: bool) -> AdminResponse:
        page = self._document()
        return structured(page if private else status.public(page))

    def _document(self) -> dict[str, Any]:
        self._await_reports()
        settings, faults = self._settings(), self._faults()
        page = status.status(self._board, self._reports, self._book.get(), settings, self._version, faults)
        return {**page, "listeners": self._listening()}

    def _await_reports(self) -> None:
        """Request reports, and wait for all workers' if none were being written."""
        writing = self._reports.wanted
        now = monotonic()
        self._reports.look()
        while not writing and monotonic() < now + _FRESH:
            slots = [slot.index for slot in self._board.slots() if slot.gauge(Gauge.PID)]
            writing = all(self._reports.read(slot, now) for slot in slots)
            if not writing:
                gevent.sleep(_PAUSE)
