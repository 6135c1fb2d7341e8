"""The trace of a request (W3C Trace Context), and the request id."""

import os
import re
from collections.abc import Iterable
from random import random
from typing import NamedTuple, Self

_REQUEST_ID = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_STATE_MEMBER = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MOST_STATES = 32
_LONGEST_STATE = 512


def well_formed_id(value: bytes) -> bool:
    """Whether a request id is safe to forward and log: at most 128 letters, digits and ._:/+=@-."""
    return _REQUEST_ID.fullmatch(value) is not None


class Trace(NamedTuple):
    """A valid `traceparent`, as lower-case hexadecimal digits, and its `tracestate`."""

    trace_id: bytes
    span: bytes
    flags: bytes
    state: bytes | None = None

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """None for anything malformed (Trace Context section 3.2.2); later versions are parsed as far as known."""
        found = _TRACEPARENT.fullmatch(value)
        if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
            return None
        if not found[2].strip(b"0") or not found[3].strip(b"0"):
            return None
        return cls(found[2], found[3], found[4])

    @property
    def lines(self) -> bytes:
        """The fields for the upstream."""
        line = b"traceparent: 00-%s-%s-%s\r\n" % (self.trace_id, self.span, self.flags)
        return line if self.state is None else b"%stracestate: %s\r\n" % (line, self.state)

    def continued(self) -> Self:
        """The same trace with a span of the gateway's own."""
        return self._replace(span=_random(8))

    @property
    def sampled(self) -> bool:
        """Whether it is to be recorded (Trace Context section 3.2.2.5.1)."""
        return bool(int(self.flags, 16) & 1)


def new_trace(share: float = 1.0) -> Trace:
    """A new trace; `share` of them are marked as sampled."""
    return Trace(_random(16), _random(8), _flags(share))


def _flags(share: float) -> bytes:
    return b"01" if share >= 1.0 or random() < share else b"00"  # noqa: S311 - no secret


def _random(size: int) -> bytes:
    return os.urandom(size).hex().encode()


def read_trace(forwarding_fields: Iterable[tuple[bytes, bytes]]) -> Trace | None:
    """The trace in a request's fields; None if there is none or it is malformed."""
    parents = [value for name, value in forwarding_fields if name == b"traceparent"]
    trace = Trace.parse(parents[0]) if len(parents) == 1 else None
    if trace is None:
        return None
    return trace._replace(state=valid_state([value for name, value in forwarding_fields if name == b"tracestate"]))


class TraceContext(NamedTuple):
    """What identifies a request beyond this gateway: the id and the trace it came with.

    With `tracing` the gateway participates: it continues the trace with a span of its own, or starts one. If `decided`
    the trace says itself whether it is recorded; else `share` of all are.
    """

    request_id: bytes | None
    trace: Trace | None
    tracing: bool
    share: float = 1.0
    decided: bool = True

    def outgoing(self) -> Trace | None:
        """The trace to send to the upstream for one request."""
        if not self.tracing:
            return self.trace
        if self.trace is None:
            return new_trace(self.share)
        trace = self.trace.continued()
        return trace if self.decided else trace._replace(flags=_flags(self.share))


def valid_state(values: list[bytes]) -> bytes | None:
    """The members of all `tracestate` fields as one value, or None if any is malformed or there are too many."""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    joined = b",".join(members)
    if not members or len(members) > _MOST_STATES or len(joined) > _LONGEST_STATE or len(keys) < len(members):
        return None
    return joined if all(_STATE_MEMBER.fullmatch(member) for member in members) else None
