"""What the admin address answers. Pure: request line in, answer out.

The pages are for this machine's scrapers and people. A browser must not be made to read them by a page from elsewhere
whose name was pointed at this address (DNS rebinding), so the Host field has to be an IP address, localhost, or a name
without a dot (a container's name), none of which a stranger can own in the public DNS.
"""

import json
import re
from typing import NamedTuple

from proxy.observe import prometheus
from proxy.observe.metrics import Board, Gauge
from proxy.settings import Settings

_TRUSTED_HOST = re.compile(rb"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+)(?::\d{1,5})?")
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


class Answer(NamedTuple):
    """A whole answer; the listener adds length, date and Cache-Control: no-store."""

    status: int
    content_type: str
    body: bytes


def respond(method: bytes, target: bytes, host: bytes | None, board: Board, settings: Settings, version: str) -> Answer:
    """Answer GET and HEAD of /metrics, /healthz and /status.json."""
    if host is not None and not _TRUSTED_HOST.fullmatch(host):
        return Answer(403, _TEXT, b"this Host is not served here: use an IP address or localhost\n")
    if method not in (b"GET", b"HEAD"):
        return Answer(405, _TEXT, b"only GET and HEAD\n")
    path = target.partition(b"?")[0]
    if path == b"/metrics":
        return Answer(200, prometheus.CONTENT_TYPE, prometheus.render(board, version))
    if path == b"/healthz":
        return _health(board)
    if path == b"/status.json":
        return _status(board, settings, version)
    return Answer(404, _TEXT, b"here are /metrics, /healthz and /status.json\n")


def _health(board: Board) -> Answer:
    serving = any(slot.gauge(Gauge.PID) and not slot.gauge(Gauge.DRAINING) for slot in board.slots())
    return Answer(200, _TEXT, b"ok\n") if serving else Answer(503, _TEXT, b"draining\n")


def _status(board: Board, settings: Settings, version: str) -> Answer:
    page = {
        "version": version,
        "bind": [str(address) for address in settings.bind],
        "upstream": [str(address) for address in settings.upstream],
        **prometheus.status(board),
    }
    return Answer(200, _JSON, json.dumps(page, indent=2).encode() + b"\n")
