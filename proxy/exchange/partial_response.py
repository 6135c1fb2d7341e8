"""Parts of a body that is at hand whole, as a response (RFC 9110 section 15.3.7)."""

import os
from collections.abc import Sequence

from proxy.exchange.local_response import File, FileParts, LocalResponse
from proxy.wire.ranges import content_range, part_heads


def partial_response(
    body: bytes | int, size: int, parts: Sequence[slice], content_type: bytes, fields: Sequence[bytes], peer: str = ""
) -> LocalResponse:
    """These parts of a body of `size` bytes, or of the file with that descriptor, which it takes over.

    `fields` are all fields but Content-Type and Content-Range. Several parts are one multipart body, whose random
    boundary cannot be in the content.
    """
    if len(parts) == 1:
        (part,) = parts
        more = b"Content-Type: " + content_type, b"Content-Range: " + content_range(part, size)
        content = body[part] if isinstance(body, bytes) else File(body, part.start, part.stop - part.start)
        return LocalResponse(206, (*fields, *more), content, peer)
    boundary = os.urandom(15).hex().encode()
    heads, end = part_heads(parts, content_type, size, boundary)
    fields = *fields, b"Content-Type: multipart/byteranges; boundary=" + boundary
    if isinstance(body, bytes):
        joined = b"".join([head + body[part] for head, part in zip(heads, parts, strict=True)]) + end
        return LocalResponse(206, fields, joined, peer)
    pieces = [(head, part.start, part.stop - part.start) for head, part in zip(heads, parts, strict=True)]
    return LocalResponse(206, fields, FileParts(body, (*pieces, (end, 0, 0))), peer)
