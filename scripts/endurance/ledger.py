"""What was sent and what became of it. Nothing is lost: sent = responses + explained failures + unexplained ones."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

MOST_DETAILS = 100
"""Unexplained failures that are kept in words; all are counted."""
RESTARTED = "its upstream restarted"
LEFT = "the client left on purpose"


class WrongResponseError(Exception):
    """A response that is not the one that was asked for."""


class ConnectionEndedError(Exception):
    """A connection that had been used before ended as a request was sent on it, with no part of a response.

    A server may close an idle connection at any time; a request that is under way then is never read (RFC 9112 section
    9.5). The text is the request's target.
    """


class LeftOnPurpose(Exception):  # noqa: N818 - no error
    """The client gave up on purpose."""


def everything(_kind: str, _error: str) -> bool:
    """What an outage explains unless it says otherwise."""
    return True


@dataclass
class Outage:
    """From the moment at which processes were told to end, or were killed, until others do their work; by default those
    of the application. `explains` says of a kind of traffic and an error whether this may be the reason."""

    began: float
    ended: float = float("inf")
    cause: str = RESTARTED
    explains: Callable[[str, str], bool] = everything
    severs: bool = False
    """Whether clients' connections end with it, so that whatever used one of before finds that out later."""


@dataclass
class Ledger:
    """Exchanges by kind of traffic: begun, answered in full, and failed with or without an explanation."""

    begun: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    explained: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    crossed: list[tuple[str, str]] = field(default_factory=list)
    """Cause and target of explained requests that met the end of their connection."""
    outages: list[Outage] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def exchange(self, kind: str, since: float | None = None, kept: float | None = None) -> "Exchange":
        """What one request and its response happen in. A failure is explained by an outage between `since` (for
        something that was open before: when it was last seen to work) and now, or by the client's `LeftOnPurpose`.
        `kept`: when the connection that it uses was last seen to work.
        """
        begun = time.monotonic() if since is None else since
        return Exchange(self, kind, begun, begun if kept is None else min(kept, begun))

    def end(self, kind: str, since: float, kept: float, error: Exception | None) -> None:
        """An exchange has ended with this error, or in full."""
        if error is None:
            self.answered[kind] += 1
        elif isinstance(error, LeftOnPurpose):
            self.explained[kind, LEFT] += 1
        else:
            text = f"{type(error).__name__}: {error}"
            if cause := self.cause(kind, since, kept, text):
                self.explained[kind, cause] += 1
                if isinstance(error, ConnectionEndedError):
                    self.crossed.append((cause, str(error)))
            else:
                self._unexplained(kind, text, since)

    def cause(self, kind: str, since: float, kept: float, error: str) -> str:
        """The first outage between then and now that explains this error; an empty text if none does."""
        for outage in self.outages:
            if outage.ended >= (kept if outage.severs else since) and outage.explains(kind, error):
                return outage.cause
        return ""

    @property
    def failed(self) -> int:
        """All failures that nothing explains."""
        return self.unexplained.total()

    @property
    def open(self) -> int:
        """Exchanges that are under way; 0 once all traffic has ended."""
        return self.begun.total() - self.answered.total() - self.explained.total() - self.unexplained.total()

    def _unexplained(self, kind: str, text: str, since: float) -> None:
        self.unexplained[kind] += 1
        if len(self.details) < MOST_DETAILS:
            now = time.monotonic()
            self.details.append(f"after {now - self.started:.1f} s, {kind}, in {now - since:.2f} s: {text}")


@dataclass
class Exchange:
    """Counted when it begins and when it ends; whatever the client's library raises is a failure to be counted."""

    ledger: Ledger
    kind: str
    since: float
    kept: float
    failed: bool = False

    def __enter__(self) -> "Exchange":
        self.ledger.begun[self.kind] += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self.failed = error is not None
        self.ledger.end(self.kind, self.since, self.kept, error)
        return True
