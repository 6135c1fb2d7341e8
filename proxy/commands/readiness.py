"""Whether an instance of an application is ready, asked from where the command runs."""

import http.client
import time
from dataclasses import dataclass
from time import monotonic

from proxy.commands.client import CommandError, connect
from proxy.settings.values import Peer

PAUSE = 0.2
"""Seconds between two questions."""

_PROBE = 5.0  # seconds one probe may take


@dataclass(frozen=True, slots=True)
class Readiness:
    """What counts as ready: a response to `path` with one of these statuses; without a path, an accepted connection.

    `host` is the Host of the request, the peer's own address if it is empty.
    """

    path: str | None
    statuses: range
    host: str = ""

    def wait(self, peer: Peer, deadline: float, timeout: float) -> None:
        """Return when the peer is ready.

        Raises CommandError when the deadline (monotonic seconds) passes; `timeout` is for its text.
        """
        while fault := self.fault(peer):
            if monotonic() + PAUSE > deadline:
                raise CommandError(f"nothing changed: {peer.address} was not ready within {timeout:g} s: {fault}")
            time.sleep(PAUSE)

    def fault(self, peer: Peer) -> str:
        """Probe once: what is wrong, or an empty text."""
        connection = connect(peer.address, _PROBE)
        fields = {"User-Agent": "aragora-proxy", "Connection": "close", **({"Host": self.host} if self.host else {})}
        try:
            if self.path is None:
                connection.connect()
                return ""
            connection.request("GET", self.path, headers=fields)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return (error.strerror if isinstance(error, OSError) else "") or str(error) or "connection closed"
        finally:
            connection.close()
        return "" if status in self.statuses else f"GET {self.path} returned {status}"
