"""Response heads of old servers, normalised to RFC 9112 (the setting `lenient_responses`).

Only faults that cannot mislead the client, whose response is re-framed: lines that end in a bare LF (section 2.2),
folded lines (section 5.2), a repeated equal length (section 6.3), chunks from an HTTP/1.0 server (section 6.1). The
framing of the body must still be unambiguous.
"""

import re

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.head import CRLF
from proxy.wire.names import RESPONSE_NAMES, Kind

_LINE_END = re.compile(rb"\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_UNFOLDED = frozenset({Kind.CONTENT_LENGTH, Kind.TRANSFER_ENCODING, Kind.CONNECTION, Kind.UPGRADE, Kind.INVALID})
_OLD = b"HTTP/1.0 "


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """The normalised head at the start of `data`, and the bytes after it; None while it is incomplete.

    Raises `ExchangeError` (502).
    """
    end = _END.search(data)
    if end is None:
        return None
    first, *lines = _unfolded(_LINE_END.split(data[: end.start()]))
    kinds = [RESPONSE_NAMES[line.partition(b":")[0].rstrip(b" \t")] for line in lines]
    if Kind.CONTENT_LENGTH in kinds:
        lines = _with_one_length(lines, kinds)
    if first.startswith(_OLD) and Kind.TRANSFER_ENCODING in kinds:
        first = first.replace(_OLD, b"HTTP/1.1 ", 1)
        lines.append(b"Connection: close")
    return CRLF.join([first, *lines]), data[end.end() :]


def _unfolded(lines: list[bytes]) -> list[bytes]:
    found = lines[:1]
    for line in lines[1:]:
        if line[:1] not in (b" ", b"\t"):
            found.append(line)
        elif len(found) == 1 or RESPONSE_NAMES[found[-1].partition(b":")[0].rstrip(b" \t")] in _UNFOLDED:
            raise ExchangeError(errors.BAD_RESPONSE, "a folded line")
        else:
            found[-1] = found[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
    return found


def _with_one_length(lines: list[bytes], kinds: list[Kind]) -> list[bytes]:
    """The lines with one Content-Length, if all are equal; else unchanged, for the strict parser to refuse."""
    said = [line.partition(b":")[2] for line, kind in zip(lines, kinds, strict=True) if kind is Kind.CONTENT_LENGTH]
    lengths = {length.strip(b" \t") for value in said for length in value.split(b",")}
    if len(lengths) > 1:
        return lines
    others = [line for line, kind in zip(lines, kinds, strict=True) if kind is not Kind.CONTENT_LENGTH]
    return [*others, b"Content-Length: " + lengths.pop()]
