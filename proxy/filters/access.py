"""Access by client address."""

from collections.abc import Sequence

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import NonBlocking
from proxy.exchange.request import Request
from proxy.settings.values.web import Network
from proxy.wire.forwarding import within
from proxy.wire.memo import BoundedMemo

_MOST_CLIENTS = 4096


class AccessList(NonBlocking):
    """Lets clients of the networks in `allow` pass (all, if there are none), but none of those in `deny`.

    A client without an address (on a unix socket) is in no network.
    """

    def __init__(self, allow: Sequence[Network], deny: Sequence[Network]) -> None:
        self._allow = allow
        self._deny = deny
        self._known: BoundedMemo[str, bool] = BoundedMemo(_MOST_CLIENTS)

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (403)."""
        client = request.client
        known = self._known.get(client)
        if known is None:
            known = self._known.remember(client, self._may(client))
        if not known:
            raise ExchangeError(errors.FORBIDDEN)

    def _may(self, client: str) -> bool:
        return not within(client, self._deny) and (not self._allow or within(client, self._allow))
