"""The audit log: one JSON line for each call that changes something or was denied, with caller, action and result.

`record` puts a line on a bounded queue, and one thread writes; a stalled disk or reader delays no request,
and what does not fit is lost and counted. No line holds a token, a query string or anything that was said.
"""

import json
import logging
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gevent import monkey
from gevent.threadpool import ThreadPool

from aragora.server import auth
from aragora.server.context import RequestContext
from aragora.service import Principal

log = logging.getLogger("aragora.server.audit")

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
DENIED = frozenset({401, 403})
CAPACITY = 10_000  # lines that wait; a few megabytes
OPEN = "WebSocket open"  # what a handshake is called here
DENIALS, HANDSHAKES = 1000, 20  # of one client that are written one by one
DENIAL_SECONDS = 10.0
CLIENTS = 1024  # whose denials are counted at once; those denied longest ago are forgotten first
LONGEST = 512  # characters of a field that a client chose
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")  # W3C Trace Context
PATIENCE = 1.0  # seconds that the end of a process waits for a log that does not move


class Caller(NamedTuple):
    """The caller, as far as it is known; `principal` is None for a caller that was not admitted."""

    client: str
    principal: Principal | None
    who: str
    request_id: str
    trace_id: str | None = None

    @classmethod
    def of(cls, environ: MutableMapping[str, Any], subprotocol: str | None = None) -> "Caller":
        """The caller of a request; the address is the gateway's word where there is a gateway."""
        told = environ.get("HTTP_X_REAL_IP") or environ.get("HTTP_X_FORWARDED_FOR")
        client = told or environ.get("REMOTE_ADDR") or "-"
        given = auth.given_token(environ.get("HTTP_AUTHORIZATION"), subprotocol)
        trace = TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", ""))
        context = RequestContext.of(environ)
        principal = context.principal
        stranger = "nobody" if given is None else "unknown token"
        who = stranger if principal is None else principal.label
        return cls(client, principal, who, context.request_id or "-", trace[1] if trace else None)


class Denials:
    """Which denials get a line of their own: of each client so many at once, then one in `DENIAL_SECONDS`.

    The others are counted in that client's next line, so that refused requests cannot fill the disk. A
    handshake is refused before any limit of requests counts it, hence the smaller number. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: OrderedDict[tuple[str, bool], tuple[float, float, int]] = OrderedDict()

    def unlisted(self, caller: Caller, *, handshake: bool) -> int | None:
        """How many denials of this client had no line since its last one; None if this one gets none either."""
        now = time.monotonic()
        burst = float(HANDSHAKES if handshake else DENIALS)
        client = (caller.client, handshake)
        with self._lock:
            allowance, at, unlisted = self._clients.pop(client, (burst, now, 0))
            allowance = min(burst, allowance + (now - at) / DENIAL_SECONDS)
            listed = allowance >= 1
            self._clients[client] = (allowance - 1, now, 0) if listed else (allowance, now, unlisted + 1)
            if len(self._clients) > CLIENTS:
                self._clients.popitem(last=False)
        return unlisted if listed else None


class AuditLog:
    """The log of one process, made after the fork. Without a path nothing is recorded."""

    def __init__(self, path: str, lost: Callable[[int], None]) -> None:
        """`lost` is called with the number of lines that could not be written."""
        self._path = path
        self._lost = lost
        self._file: int | None = None
        self._lines: deque[str] = deque()
        self._work = threading.Event()
        self._ending = False
        self._denials = Denials()
        # Where threads are greenlets, a write that blocks would stop them all: it needs a thread of the kernel's.
        self._apply = ThreadPool(1).apply if monkey.is_module_patched("threading") else _call
        self._thread = threading.Thread(target=self._run, name="aragora-audit", daemon=True)
        if path:
            self._thread.start()

    def request(self, environ: MutableMapping[str, Any], status: int) -> None:
        """Record an answered request, if it would have changed something or was denied."""
        method = environ["REQUEST_METHOD"]
        if self._path and (method in CHANGING or status in DENIED):
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            context = RequestContext.of(environ)
            what, target = context.action or (f"{method} {path[:LONGEST]}", context.made or path)
            self.record(Caller.of(environ), what, target, status)

    def record(self, caller: Caller, what: str, target: str, status: int) -> None:
        """Put one line on the queue; `status` is HTTP's, for a message on a WebSocket the one it would have had."""
        if not self._path:
            return
        unlisted = self._denials.unlisted(caller, handshake=what == OPEN) if status in DENIED else 0
        if unlisted is None:
            return
        if len(self._lines) >= CAPACITY:
            self._lost(1)
            return
        fields = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "client": caller.client[:LONGEST],
            "who": caller.who,
            "what": what,
            "object": target[:LONGEST],
            "status": status,
            "result": _result(status),
            "request_id": caller.request_id,
            "trace_id": caller.trace_id,
        }
        if unlisted:
            fields["unlisted"] = unlisted
        self._lines.append(json.dumps(fields) + "\n")
        self._work.set()

    def close(self) -> None:
        """Write what waits, for a moment at most."""
        self._ending = True
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            if waiting:
                try:
                    self._apply(self._write, ("".join(waiting).encode(),))
                except OSError as error:
                    self._lost(len(waiting))
                    log.warning("%d lines of the audit log lost: %s: %s", len(waiting), self._path, error.strerror)
            if self._ending and not self._lines:
                return

    def _write(self, text: bytes) -> None:
        file = self._opened()
        while text:
            text = text[os.write(file, text) :]

    def _opened(self) -> int:
        """The file of that name, opened anew once a rotation has moved the old one away."""
        if self._path == "-":
            return 1
        if self._file is not None:
            try:
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):  # noqa: PTH116 - a pair for samestat
                    return self._file
            except FileNotFoundError:
                pass
            os.close(self._file)
            self._file = None
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._file


def _call(function: Callable[..., None], arguments: tuple[bytes]) -> None:
    function(*arguments)


def _result(status: int) -> str:
    if status < 400:
        return "done"
    if status in DENIED:
        return "denied"
    return "failed" if status >= 500 else "refused"
