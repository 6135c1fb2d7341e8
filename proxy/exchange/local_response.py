"""A response that the gateway gives itself, without an upstream."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.wire.fields import field_value
from proxy.wire.response import ResponseHead, local_head


@dataclass(frozen=True, slots=True)
class File:
    """Part of an open file as a body; the exchange closes it when it ends."""

    descriptor: int
    offset: int
    length: int

    @property
    def pieces(self) -> Sequence["Piece"]:
        return ((b"", self.offset, self.length),)

    def close(self) -> None:
        os.close(self.descriptor)


Piece = tuple[bytes, int, int]
"""Bytes to send, then offset and length of the part of a file to send behind them."""


@dataclass(frozen=True, slots=True)
class FileParts:
    """Several parts of an open file as a body, each with what precedes it; the exchange closes it when it ends."""

    descriptor: int
    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        return sum(len(before) + length for before, _, length in self.pieces)

    def close(self) -> None:
        os.close(self.descriptor)


class EncodedForms(Protocol):
    """A body that is kept in content codings of the gateway's own."""

    def ready(self, coding: bytes) -> bytes | None:
        """The body in this coding, if that needs no waiting."""

    def open(self, coding: bytes) -> bytes | File | None:
        """The body in this coding, if it is kept; the caller closes a file. May wait."""

    def keep(self, coding: bytes, pieces: Iterable[bytes]) -> None:
        """Keep the body in this coding, if there is room. May wait."""


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """Status, field lines (without their ends; framing and Date are added for the client's protocol) and body."""

    status: int
    fields: tuple[bytes, ...] = ()
    body: bytes | File | FileParts = b""
    peer: str = ""
    """What the application sent it through, for a response that is not the gateway's own."""
    made: ResponseHead | None = None
    """Its head, if it was made before."""
    forms: EncodedForms | None = None
    """What is kept of its body in other codings, of a body that is the same each time."""

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def head(self) -> ResponseHead:
        """Its head, before a route changes anything."""
        if self.made is not None:
            return self.made
        length = None if self.status in (204, 304) else self.length
        return local_head(
            self.status,
            [*self.fields],
            length,
            dated=field_value(self.fields, b"date") is not None,
            private=field_value(self.fields, b"set-cookie") is not None,
        )

    def close(self) -> None:
        """The exchange has ended."""
        if not isinstance(self.body, bytes):
            self.body.close()
