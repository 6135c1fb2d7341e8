"""An answer that the gateway gives itself."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A part of an open file; whoever takes the answer closes the descriptor."""

    descriptor: int
    offset: int
    length: int

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, field lines without their ends, and body; the sender adds length, date and framing."""

    status: int
    fields: tuple[bytes, ...] = ()
    body: bytes | File = b""
