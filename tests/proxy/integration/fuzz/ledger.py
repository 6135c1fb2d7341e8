"""What clients have sent, what of it an application may read, and whatever was read otherwise.

A fault is anything that tells of two parties out of step: a request that nobody sent, one that should have been
refused, one whose body is another's, an answer that went to somebody else.
"""

import re
import threading
from dataclasses import dataclass, field
from enum import Enum, auto

SECRET = b"canary-secret-"
"""Stands in the cookie of each canary request and nowhere else."""

_GATEWAYS_ID = re.compile(rb"[0-9a-f]{16}-[0-9a-f]{8,}")
_MOST_FAULTS = 20
_PATIENCE = 10.0
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Verdict(Enum):
    """What an application is to see of a message."""

    READ = auto()  # all of it, once
    MAYBE = auto()  # all of it or nothing complete: the client took it back, or was too late to spoil it
    NEVER = auto()  # nothing complete
    UNKNOWN = auto()  # whatever the gateway made of it, as a request of the gateway's


@dataclass(frozen=True)
class Message:
    """A request as the application is to read it; `body` without framing."""

    identity: str
    method: str
    target: str
    body: bytes
    verdict: Verdict


@dataclass(frozen=True)
class Read:
    """A complete request as the application read it."""

    method: str
    target: str
    fields: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def identity(self) -> str:
        return self.target.partition("?")[0].rpartition("/")[2]


def smuggled(identity: str) -> bytes:
    """A request as part of a body, where only a reader that is out of step takes it for one."""
    return b"GET /smuggled/%b HTTP/1.1\r\nHost: example.org\r\n\r\n" % identity.encode()


@dataclass
class Ledger:
    """Shared by the clients and the application's threads."""

    faults: list[str] = field(default_factory=list)
    _sent: dict[str, Message] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _ids: set[bytes] = field(default_factory=set)
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def expect(self, message: Message) -> None:
        """A client is about to send this."""
        with self._lock:
            self._sent[message.identity] = message

    def forget(self, identities: list[str]) -> None:
        """The round with these messages is over."""
        with self._lock:
            for identity in identities:
                self._sent.pop(identity, None)
                self._reads.pop(identity, None)

    def knows(self, identity: str) -> bool:
        """Whether somebody has sent this of late."""
        with self._lock:
            return identity in self._sent

    def times_read(self, identity: str) -> int:
        """How often a request was read, once it was, or after a while; its answer may come before that."""
        with self._lock:
            self._lock.wait_for(lambda: identity in self._reads, _PATIENCE)
            return self._reads.get(identity, 0)

    def fault(self, what: str) -> None:
        with self._lock:
            if len(self.faults) < _MOST_FAULTS:
                self.faults.append(what)

    def read(self, read: Read) -> None:
        """The application has read a request."""
        for what in self._judge(read):
            self.fault(f"{what}: {read.method} {read.target} {read.body[:80]!r} {read.fields}")

    def _judge(self, read: Read) -> list[str]:
        found = []
        ids = [value for name, value in read.fields if name == b"x-request-id"]
        with self._lock:
            if len(ids) != 1 or not _GATEWAYS_ID.fullmatch(ids[0]) or ids[0] in self._ids:
                found.append("the gateway has not sent this as a request")
            self._ids.update(ids)
            message = self._sent.get(read.identity)
            count = self._reads[read.identity] = self._reads.get(read.identity, 0) + 1
            self._lock.notify_all()
        if len([name for name, _ in read.fields if name == b"host"]) != 1:
            found.append("not one Host")
        if SECRET in read.body or (SECRET in b"".join(v for _, v in read.fields) and "/canary/" not in read.target):
            found.append("a canary's request is part of another one's")
        if message is None or message.verdict is Verdict.UNKNOWN:
            return found
        if message.verdict is Verdict.NEVER:
            found.append("it should have been refused")
        elif (read.method, read.target, read.body) != (message.method, message.target, message.body):
            found.append(f"it should be {message.method} {message.target} {message.body[:80]!r}")
        elif count > 1 and read.method not in _REPEATABLE:
            found.append("it was read twice")
        return found
