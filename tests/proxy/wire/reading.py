"""How the tests read a whole head: as the front does, without its connection."""

from dataclasses import dataclass

from proxy.errors import ExchangeError
from proxy.wire.head import END
from proxy.wire.request import RequestFields, parse_request_fields
from proxy.wire.request_line import HeadLimits, parse_request_line, resolve_target

LIMITS = HeadLimits()


@dataclass(frozen=True)
class Head:
    method: bytes
    target: bytes
    minor: int
    host: bytes | None
    fields: RequestFields


def read(head: bytes, limits: HeadLimits = LIMITS) -> Head:
    """Parse a head without its final empty line."""
    line, _, block = head.partition(b"\r\n")
    method, target, minor = parse_request_line(line, limits)
    fields = parse_request_fields(block, limits)
    target, host = resolve_target(method, target, minor, fields.host, chunked=fields.chunked)
    return Head(method, target, minor, host, fields)


def verdict(message: bytes) -> str:
    """ "accepted", or the reason of the refusal, for a head with its empty line."""
    assert message.endswith(END)
    try:
        read(message[: -len(END)])
    except ExchangeError as error:
        return error.failure.reason
    return "accepted"
