"""What the parts of the server tell each other of one request; it travels in the request's environ."""

import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from aragora.errors import AragoraError
from aragora.server.stream import Outcome, ServerSent, Wait
from aragora.service import Principal

KEY = "aragora.context"
UNNAMED = "unmatched"


@dataclass(slots=True)
class RequestContext:
    """One request. The server that took it fills in the first group, the application the others."""

    asynchronous: bool = False
    """The server waits itself: what would hold a thread is described in `deferred`."""
    debug: bool = False
    """Tracebacks may be shown."""
    connection: socket.socket | None = None
    """The client's connection, which a WebSocket takes over."""
    error: AragoraError | None = None
    """What went wrong before a resource could be asked, and is to be answered."""

    request_id: str = ""
    """Names the request in logs and answers; given by the gateway or made."""
    principal: Principal | None = None
    """The caller; None for one that was not admitted."""
    begun: float = field(default_factory=time.monotonic)
    """On the monotonic clock."""

    deferred: Wait | ServerSent | None = None
    """What the server shall wait for, or stream, in place of the response."""
    outcome: Outcome | None = None
    """How that wait ended, when the same request is asked again."""
    unhurried: bool = False
    """The response waited for a debate or a provider: its time says nothing of ours."""
    streamed: bool = False
    """The body is made while it is sent."""
    upgraded: bool = False
    """The connection is not HTTP's any more."""

    route: str = UNNAMED
    """The route's template, for metrics."""
    made: str | None = None
    """The address of what was made, for the audit log."""
    action: tuple[str, str] | None = None
    """What the audit log shall call the request, and its object, in place of method and path."""

    @classmethod
    def of(cls, environ: MutableMapping[str, Any]) -> "RequestContext":
        """The context of the request with this environ; made at the first call."""
        found: RequestContext | None = environ.get(KEY)
        if found is None:
            found = environ[KEY] = cls()
        return found
