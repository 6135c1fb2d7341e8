"""Whether an instance of an application is ready, asked from where the command runs.

Over TLS the gateway itself asks: it has the authorities, and the certificate of its own.
"""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from proxy.commands.client import Admin, CommandError, connect
from proxy.settings.values import Peer

PAUSE = 0.2
"""Seconds between two questions."""

_PROBE = 5.0  # seconds one probe may take


@dataclass(frozen=True, slots=True)
class Readiness:
    """What counts as ready: a response to `path` with one of these statuses; without a path, an accepted connection.

    `host` is the Host of the request, the peer's own address if it is empty. `target` says what the instance is for, as
    the gateway's command `probe` takes it: a route, a peer to be replaced, or nothing.
    """

    admin: Admin
    path: str | None
    statuses: range
    target: Mapping[str, str]
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
        if peer.address.scheme:
            statuses = f"{self.statuses.start}-{self.statuses.stop - 1}"
            more = {"path": self.path, "host": self.host or None, "statuses": statuses}
            return str(self.admin.command("probe", **self.target, upstream=str(peer), **more)["fault"])
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
