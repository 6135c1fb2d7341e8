"""The challenges that authorities may look for here, whichever worker or gateway has asked for them."""

import ssl
from collections.abc import Callable
from typing import TypeVar

from proxy.acme.shared_store import SharedStore, StoreLost
from proxy.acme.state import State
from proxy.settings import Settings

Found = TypeVar("Found")


class PendingChallenges:
    """The challenges of all authorities that the settings name; none without ACME.

    `waits`: they are in a directory that gateways share, so looking for one blocks the greenlet.
    """

    def __init__(self, settings: Settings) -> None:
        shared = settings.shared_certificates
        directory = (shared or settings.state_dir) if settings.acme else None
        servers = settings.acme_servers if directory is not None else ()
        self._states = [State(directory, server.directory) for server in servers if directory is not None]
        self._store = SharedStore(shared, "challenges") if shared is not None else None
        self.waits = self._store is not None

    def response(self, token: str) -> bytes | None:
        """See `State.response`."""
        return self._first(lambda state: state.response(token))

    def validation_context(self, domain: str) -> ssl.SSLContext | None:
        """See `State.validation_context`."""
        return self._first(lambda state: state.validation_context(domain))

    def _first(self, look: Callable[[State], Found | None]) -> Found | None:
        def found() -> Found | None:
            return next(filter(None, map(look, self._states)), None)

        if self._store is None:
            return found()
        try:
            return self._store.run(found)
        except StoreLost:
            return None
