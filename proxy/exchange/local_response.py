"""A response that the gateway gives itself, without an upstream."""

import os
from dataclasses import dataclass

from proxy.wire.fields import field_value
from proxy.wire.response import ResponseHead, local_head


@dataclass(frozen=True, slots=True)
class File:
    """Part of an open file as a body; the exchange closes it when it ends."""

    descriptor: int
    offset: int
    length: int

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """Status, field lines (without their ends; framing and Date are added for the client's protocol) and body."""

    status: int
    fields: tuple[bytes, ...] = ()
    body: bytes | File = b""

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, File) else len(self.body)

    def head(self) -> ResponseHead:
        """Its head, before a route changes anything."""
        length = None if self.status in (204, 304) else self.length
        return local_head(
            self.status, [*self.fields], length, private=field_value(self.fields, b"set-cookie") is not None
        )

    def close(self) -> None:
        """The exchange has ended."""
        if isinstance(self.body, File):
            self.body.close()
