"""The trace a request belongs to: W3C Trace Context's `traceparent` and `tracestate`, and the request's own id."""

import re
from dataclasses import dataclass
from typing import Self

_REQUEST_ID = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_STATE_MEMBER = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MOST_STATES = 32
_LONGEST_STATE = 512


def well_formed_id(value: bytes) -> bool:
    """Whether a request id may be kept and logged as it stands: at most 128 letters, digits and ._:/+=@-."""
    return _REQUEST_ID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Trace:
    """What a valid `traceparent` says, as lower-case hexadecimal digits."""

    trace_id: bytes
    span: bytes
    flags: bytes

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """None for anything malformed (Trace Context section 3.2.2); later versions are read as far as known."""
        found = _TRACEPARENT.fullmatch(value)
        if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
            return None
        if not found[2].strip(b"0") or not found[3].strip(b"0"):
            return None
        return cls(found[2], found[3], found[4])

    def line(self) -> bytes:
        return b"traceparent: 00-%s-%s-%s\r\n" % (self.trace_id, self.span, self.flags)


def valid_state(values: list[bytes]) -> bytes | None:
    """The members of all `tracestate` fields as one value, or None if any is malformed or there are too many."""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    joined = b",".join(members)
    if not members or len(members) > _MOST_STATES or len(joined) > _LONGEST_STATE or len(keys) < len(members):
        return None
    return joined if all(_STATE_MEMBER.fullmatch(member) for member in members) else None
