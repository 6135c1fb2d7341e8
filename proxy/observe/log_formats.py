"""The formats of access log lines. Bytes that came from a client are escaped, so that no request can forge a line.

The request target is logged as it was received, including its query string; Authorization and Cookie never are.
"""

import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple

from proxy.wire.memo import BoundedMemo

_VERSIONS: Final = ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0")
_PLAIN: Final = bytes(range(0x20, 0x7F)).replace(b'"', b"").replace(b"\\", b"")


ADMIN: Final = "admin"
"""Stands for the peer in the entries of requests to the admin address."""


class Entry(NamedTuple):
    """One finished exchange. Durations are seconds, -1.0 when that phase was not reached."""

    when: float  # unix time at which the request was read
    client: str
    method: bytes
    target: bytes
    version: int  # minor version of HTTP/1, or 2 for HTTP/2
    status: int
    sent: int  # bytes to the client
    received: int  # bytes from the client
    referer: bytes | None
    user_agent: bytes | None
    request_id: bytes  # made or checked by the gateway: letters, digits and ._:/+=@-
    upstream: str  # peer that responded, `ADMIN`, or empty
    queue: float
    connect: float
    first_byte: float
    total: float
    termination: str  # side that ended it, and phase: see proxy.errors
    reason: str  # of a failure, or empty
    trace: bytes  # id of the trace the request belongs to (32 hexadecimal digits), or empty
    host: bytes | None  # that the request names
    user: bytes | None  # that a filter has authenticated
    route: str  # its name, or empty
    tls_client_subject: bytes = b""  # of the certificate that the client has presented, or empty


EntryFields = tuple[
    float,
    str,
    bytes,
    bytes,
    int,
    int,
    int,
    int,
    bytes | None,
    bytes | None,
    bytes,
    str,
    float,
    float,
    float,
    float,
    str,
    str,
    bytes,
    bytes | None,
    bytes | None,
    str,
    bytes,
]
"""An `Entry` without its names."""


# Places in an entry.
WHEN: Final = 0
CLIENT: Final = 1
METHOD: Final = 2
TARGET: Final = 3
VERSION: Final = 4
STATUS: Final = 5
SENT: Final = 6
RECEIVED: Final = 7
REFERER: Final = 8
USER_AGENT: Final = 9
REQUEST_ID: Final = 10
UPSTREAM: Final = 11
QUEUE: Final = 12
CONNECT: Final = 13
FIRST_BYTE: Final = 14
TOTAL: Final = 15
TERMINATION: Final = 16
REASON: Final = 17
TRACE: Final = 18
HOST: Final = 19
USER: Final = 20
ROUTE: Final = 21
TLS_CLIENT_SUBJECT: Final = 22


def escape(value: bytes) -> str:
    """Printable ASCII without quotes or backslashes as it is, any other byte as \\xHH."""
    if not value.translate(None, _PLAIN):
        return value.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in value)


def quote_json(value: bytes) -> str:
    """A JSON string in ASCII; bytes that are not UTF-8 become \\xHH."""
    return encode_basestring_ascii(value.decode("utf-8", "backslashreplace"))


_RECURRING: Final = 4096
"""Durations from so many microseconds on hardly recur."""


class _Texts(BoundedMemo[Any, str]):
    """The text of each value."""

    def __init__(self, text: Callable[[Any], str], most: int = 1024) -> None:
        super().__init__(most)
        self._text = text

    def __missing__(self, value: Any) -> str:
        return self.remember(value, self._text(value))


def _in_seconds(microseconds: int) -> str:
    text = str(microseconds).zfill(7)
    return f"{text[:-6]}.{text[-6:]}"


class _Seconds(_Texts):
    """Microseconds as seconds. Only short durations recur; others would only fill memory."""

    def __init__(self) -> None:
        super().__init__(_in_seconds, _RECURRING)

    def __missing__(self, value: int) -> str:
        return super().__missing__(value) if value < _RECURRING else self._text(value)


# A line takes a seventh of what the gateway itself does for a small request, so recurring texts are made once.
_numbers: Final = _Texts(str)
_seconds: Final = _Seconds()


class _Clock:
    """Text of a second, made once in that second."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._second = -1
        self._text = ""

    def text(self, second: int) -> str:
        if second != self._second:
            self._second = second
            self._text = time.strftime(self._form, time.localtime(second))
        return self._text


def masked_address(client: str) -> str:
    """The network of an address, which many clients share: /24 of IPv4, /48 of IPv6."""
    try:
        address = ip_address(client)
    except ValueError:
        return ""
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False).network_address)


_masked: Final = _Texts(masked_address)


class LineFormat:
    """How an entry becomes a line. `masks`: clients' addresses are masked."""

    def __init__(self, *, masks: bool = False) -> None:
        self._masks = masks

    def line(self, entry: EntryFields) -> str:
        raise NotImplementedError

    def client(self, entry: EntryFields) -> str:
        return _masked[entry[CLIENT]] if self._masks else entry[CLIENT]


class Combined(LineFormat):
    """Apache's combined format, then: request id, upstream, queue/connect/first byte/total in seconds, bytes
    received, side that ended the exchange and phase, reason, trace id, host, route, and the subject of a
    client's certificate if it has presented one."""

    def __init__(self, *, masks: bool = False) -> None:
        super().__init__(masks=masks)
        self._clock = _Clock(' [%d/%b/%Y:%H:%M:%S %z] "')
        self._anonymous = _Clock(' - - [%d/%b/%Y:%H:%M:%S %z] "')
        self._requests = _Texts(lambda key: f'{escape(key[0])} {escape(key[1])} {_VERSIONS[key[2]]}" {key[3]} ')
        self._agents = _Texts(lambda key: f' "{_or_dash(key[0])}" "{_or_dash(key[1])}" ')
        self._users = _Texts(lambda user: escape(user).replace(" ", "\\x20"))
        self._untraced = _Texts(lambda key: _ending(key, "-"))

    def line(self, entry: EntryFields) -> str:
        queue, connect, first_byte, user = entry[QUEUE], entry[CONNECT], entry[FIRST_BYTE], entry[USER]
        second = int(entry[WHEN])
        begun = self._anonymous.text(second) if user is None else f" - {self._users[user]}{self._clock.text(second)}"
        # On a kept connection neither phase is reached: the usual case.
        waits = f" {_duration(queue, '-')}/{_duration(connect, '-')}/" if queue >= 0 or connect >= 0 else " -/-/"
        request = self._requests[entry[METHOD], entry[TARGET], entry[VERSION], entry[STATUS]]
        ends = entry[TERMINATION], entry[REASON], entry[HOST], entry[ROUTE], entry[TLS_CLIENT_SUBJECT]
        ending = _ending(ends, entry[TRACE].decode()) if entry[TRACE] else self._untraced[ends]
        return (
            f"{self.client(entry) or '-'}{begun}{request}{_numbers[entry[SENT]]}"
            f"{self._agents[entry[REFERER], entry[USER_AGENT]]}{entry[REQUEST_ID].decode()} "
            f"{entry[UPSTREAM] or '-'}{waits}{_seconds[int(first_byte * 1e6 + 0.5)] if first_byte >= 0 else '-'}/"
            f"{_seconds[int(entry[TOTAL] * 1e6 + 0.5)]} {_numbers[entry[RECEIVED]]}{ending}"
        )


def _or_dash(value: bytes | None) -> str:
    return "-" if value is None else escape(value)


def _ending(ends: tuple[str, str, bytes | None, str, bytes], trace: str) -> str:
    """What a combined line has behind the bytes received."""
    termination, reason, host, route, subject = ends
    place = f'{escape(host) if host else "-"} "{escape(route.encode()) or "-"}"'
    certified = f' "{escape(subject)}"' if subject else ""
    return f" {termination} {reason or '-'} {trace} {place}{certified}\n"


class Json(LineFormat):
    """One JSON object a line, with all usual fields. A phase that was not reached and an absent field are null."""

    def __init__(self, *, masks: bool = False) -> None:
        super().__init__(masks=masks)
        self._clock = _Clock('{"time":"%Y-%m-%dT%H:%M:%S.')
        self._zone = _Clock("%z")
        self._requests = _Texts(
            lambda key: (
                f'"method":{quote_json(key[0])},"target":{quote_json(key[1])},"protocol":"{_VERSIONS[key[2]]}",'
                f'"status":{key[3]},"sent":'
            )
        )
        self._agents = _Texts(
            lambda key: ",".join(
                f'"{name}":{"null" if value is None else quote_json(value)}'
                for name, value in zip(("referer", "user_agent"), key, strict=True)
            )
        )
        self._endings = _Texts(lambda key: f'"termination":"{key[0]}","reason":{_quoted(key[1])},"trace_id":')
        self._places = _Texts(lambda key: f',"host":{_json(key[0])},"user":{_json(key[1])},"route":{_route(key[2])}')

    def line(self, entry: EntryFields) -> str:
        second = int(entry[WHEN])
        zone = self._zone.text(second)
        subject = entry[TLS_CLIENT_SUBJECT]
        certified = f',"tls_client_subject":{quote_json(subject)}' if subject else ""
        request = self._requests[entry[METHOD], entry[TARGET], entry[VERSION], entry[STATUS]]
        return (
            f'{self._clock.text(second)}{int((entry[WHEN] - second) * 1000):03d}{zone[:3]}:{zone[3:]}",'
            f'"client":"{self.client(entry)}",{request}{_numbers[entry[SENT]]},"received":{_numbers[entry[RECEIVED]]},'
            f'{self._agents[entry[REFERER], entry[USER_AGENT]]},"request_id":"{entry[REQUEST_ID].decode()}",'
            f'"upstream":{_quoted(entry[UPSTREAM])},"queue":{_duration(entry[QUEUE])},'
            f'"connect":{_duration(entry[CONNECT])},"first_byte":{_duration(entry[FIRST_BYTE])},'
            f'"total":{_duration(entry[TOTAL])},{self._endings[entry[TERMINATION], entry[REASON]]}'
            f"{_quoted(entry[TRACE].decode())}{self._places[entry[HOST], entry[USER], entry[ROUTE]]}{certified}}}\n"
        )


class ChosenJson(LineFormat):
    """One JSON object a line, with these fields in this order (`proxy.settings.values.log_fields.NAMES`)."""

    def __init__(self, names: Sequence[str], *, masks: bool = False) -> None:
        super().__init__(masks=masks)
        self._clock = _Clock('"%Y-%m-%dT%H:%M:%S.')
        self._zone = _Clock("%z")
        own: dict[str, Callable[[EntryFields], str]] = {
            "time": self._time,
            "client": lambda entry: _quoted(self.client(entry)),
        }
        self._fields = [(f'"{name}":', own.get(name) or _TEXTS[name]) for name in names]

    def line(self, entry: EntryFields) -> str:
        return "{" + ",".join([f"{name}{text(entry)}" for name, text in self._fields]) + "}\n"

    def _time(self, entry: EntryFields) -> str:
        second = int(entry[WHEN])
        zone = self._zone.text(second)
        return f'{self._clock.text(second)}{int((entry[WHEN] - second) * 1000):03d}{zone[:3]}:{zone[3:]}"'


def line_format(name: str, fields: Sequence[str], *, masks: bool) -> LineFormat:
    """The format of this name, with these fields, or all that are usual."""
    if name == "json":
        return ChosenJson(fields, masks=masks) if fields else Json(masks=masks)
    return Combined(masks=masks)


def _json(value: bytes | None) -> str:
    return quote_json(value) if value is not None else "null"


def _route(name: str) -> str:
    return quote_json(name.encode()) if name else "null"


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "null"


def _duration(seconds: float, absent: str = "null") -> str:
    return _seconds[int(seconds * 1e6 + 0.5)] if seconds >= 0 else absent


_TEXTS: Final[dict[str, Callable[[EntryFields], str]]] = {
    "method": lambda entry: quote_json(entry[METHOD]),
    "target": lambda entry: quote_json(entry[TARGET]),
    "path": lambda entry: quote_json(entry[TARGET].partition(b"?")[0]),
    "protocol": lambda entry: f'"{_VERSIONS[entry[VERSION]]}"',
    "status": lambda entry: str(entry[STATUS]),
    "sent": lambda entry: str(entry[SENT]),
    "received": lambda entry: str(entry[RECEIVED]),
    "referer": lambda entry: _json(entry[REFERER]),
    "user_agent": lambda entry: _json(entry[USER_AGENT]),
    "request_id": lambda entry: _quoted(entry[REQUEST_ID].decode()),
    "upstream": lambda entry: _quoted(entry[UPSTREAM]),
    "queue": lambda entry: _duration(entry[QUEUE]),
    "connect": lambda entry: _duration(entry[CONNECT]),
    "first_byte": lambda entry: _duration(entry[FIRST_BYTE]),
    "total": lambda entry: _duration(entry[TOTAL]),
    "termination": lambda entry: _quoted(entry[TERMINATION]),
    "reason": lambda entry: _quoted(entry[REASON]),
    "trace_id": lambda entry: _quoted(entry[TRACE].decode()),
    "host": lambda entry: _json(entry[HOST]),
    "user": lambda entry: _json(entry[USER]),
    "route": lambda entry: _route(entry[ROUTE]),
    "tls_client_subject": lambda entry: _json(entry[TLS_CLIENT_SUBJECT] or None),
}
