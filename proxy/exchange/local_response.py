"""A response that the gateway gives itself, without an upstream."""

import os
from dataclasses import dataclass


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
