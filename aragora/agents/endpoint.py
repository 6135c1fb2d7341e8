"""What all questions of this process to one account share: the gate, what is known of its models, an outage."""

import functools
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aragora.agents.account import Account
from aragora.agents.facts import Facts, facts
from aragora.agents.gate import Gate
from aragora.agents.register import Register

FORGOTTEN = 60.0  # seconds after which an unobserved outage may be over, and a new one begins
FIRST_CONTACT = 60.0  # seconds for which a provider is waited for that has never answered: it may be just starting


class Outage:
    """Since when a provider has been away; questions that come later do not begin to wait anew."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._seen = 0.0
        self._known = False

    def until(self, now: float, patience: float, deadline: float) -> float:
        """The moment, in unix seconds, up to which it is worth waiting: half of what time is left to the debate is kept
        for going on without this agent."""
        if self._since is None or now - self._seen > FORGOTTEN:
            self._since = now
        self._seen = now
        allowed = patience if self._known else min(patience, FIRST_CONTACT)
        return min(self._since + allowed, self._since + max(0.0, deadline - self._since) / 2)

    def over(self) -> None:
        """It has answered, whatever it said."""
        self._since = None
        self._known = True


class Endpoint:
    """One account of one provider. `clock` is in unix seconds."""

    def __init__(self, account: Account, register: Path | None, clock: Callable[[], float] = time.time) -> None:
        self.gate = Gate(account.limits, None if account.limits.none else Register(register), clock)
        self.outage = Outage()
        self._facts: dict[str, Facts] = {}
        self._lock = threading.Lock()

    def facts(self, account: Account) -> Facts:
        """What is known of the account's model."""
        with self._lock:
            if account.model not in self._facts:
                self._facts[account.model] = facts(account)
            return self._facts[account.model]


class Endpoints:
    """The endpoints of a process. `directory` is where processes of the machine find each other; None: they do not."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str, str], Endpoint] = {}

    def of(self, account: Account) -> Endpoint:
        """The one of `account`, made at the first question."""
        name = (account.provider.name, account.base_url, account.key)
        with self._lock:
            if name not in self._found:
                self._found[name] = Endpoint(account, self._register(account))
            return self._found[name]

    def _register(self, account: Account) -> Path | None:
        if self._directory is None:
            return None
        digest = hashlib.sha256(f"{account.base_url}\0{account.key}".encode()).hexdigest()[:12]
        return self._directory / f"{account.provider.name}-{digest}.json"


@functools.cache
def process_endpoints() -> Endpoints:
    """Those of this process, unless others are passed."""
    return Endpoints()
