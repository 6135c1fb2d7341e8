"""Access: the tokens of ARAGORA_API_TOKEN, those of the database, and open access where there are none."""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import replace

from aragora.errors import Unavailable
from aragora.service.policy import daily_limits
from aragora.service.principal import EVERYBODY, Principal
from aragora.settings import Settings
from aragora.storage import Scope
from aragora.storage.ledger import CONFIGURED
from aragora.storage.tokens import ApiTokens

LOOK_SECONDS = 1.0  # between two looks whether there is a token in the database by now


class Access:
    """Tells callers by their tokens. Any thread may use it."""

    def __init__(self, settings: Settings, tokens: ApiTokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._everybody = replace(EVERYBODY, limits=daily_limits(settings))
        self._configured = {token: _administrator(token, self._everybody) for token in settings.api_tokens}
        self._looked = float("-inf")
        self._stored = False

    def needs_token(self) -> bool:
        """Whether callers need a token; a first one of `aragora tokens add` is noticed within a second.

        A service that has had one goes on asking: removing the last must not open the service. Raises `Unavailable`
        when that cannot be known.
        """
        if self._configured:
            return True
        now = self._clock()
        if now - self._looked > LOOK_SECONDS:
            self._stored = self._tokens.have_existed()
            self._looked = now
        return self._stored

    def principal(self, token: str | None) -> Principal | None:
        """The caller with `token`; None if one is needed and this is not a known one. Raises `Unavailable`."""
        if not self.needs_token():
            return self._everybody
        if token is None:
            return None
        if (found := self._administrator(token)) is not None:
            return found
        stored = self._tokens.find(token)
        return None if stored is None else Principal.of(stored)

    def is_current(self, principal: Principal) -> bool:
        """Whether it would still be admitted: tokens of the database come and go. Yes where that cannot be known."""
        try:
            if principal.token is not None:
                return self._tokens.is_current(principal.token)
            return bool(principal.name) or not self.needs_token()
        except Unavailable:
            return True

    def _administrator(self, token: str) -> Principal | None:
        """Every configured token is compared, so that time tells nothing."""
        given = token.encode(errors="surrogateescape")
        found = None
        for known, principal in self._configured.items():
            if hmac.compare_digest(given, known.encode()):
                found = principal
        return found


def _administrator(token: str, everybody: Principal) -> Principal:
    """Eight digits of its hash name a configured token: enough to tell ours apart, and too few to find one."""
    digest = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
    label = f"token {digest[:8]}"
    return Principal(CONFIGURED + digest[:8], label, frozenset(Scope), limits=everybody.limits, key=digest)
