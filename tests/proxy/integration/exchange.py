"""Raw clients: sending bytes in some way, reading answers as they are."""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tests.waiting import PATIENCE

"""Less than any time limit that the gateway has where a test sets none."""


@dataclass
class Answer:
    """One response as it came; `whole` is False when the connection ended before it did."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes
    whole: bool

    def field(self, name: str) -> str | None:
        """The value of the one field of this name, or None. AssertionError if it is repeated."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(found) <= 1, f"{name} repeated: {found}"
        return found[0] if found else None


class Client:
    """One connection to the gateway."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        self.ended = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """In one go. A peer that has refused already may have stopped reading."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        """One byte at a time; long cases in odd pieces."""
        step = 1 if len(data) < 2000 else 97
        with contextlib.suppress(OSError):
            for position in range(0, len(data), step):
                self.sock.sendall(data[position : position + step])

    def _more(self) -> bool:
        if self.ended:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self.pending += data
        self.ended = not data
        return bool(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next response, 1xx ones included."""
        while b"\r\n\r\n" not in self.pending:
            if not self._more():
                assert not self.pending, f"a broken head: {self.pending!r}"
                return Answer(0, "", [], b"", whole=False)
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        answer = Answer(int(lines[0][9:12]), lines[0][13:], fields, b"", whole=True)
        if head_only or answer.status in (204, 304) or answer.status < 200:
            return answer
        length = answer.field("Content-Length")
        if answer.field("Transfer-Encoding") is not None:
            assert length is None, "Content-Length beside Transfer-Encoding"
            answer.whole = self._read_chunks(answer)
        elif length is None:
            while self._more():
                pass
            answer.body, self.pending = self.pending, b""
        else:
            answer.body = self._take(int(length))
            answer.whole = len(answer.body) == int(length)
        return answer

    def _take(self, count: int) -> bytes:
        pieces, left = [], count
        while left and (self.pending or self._more()):
            piece, self.pending = self.pending[:left], self.pending[left:]
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _line(self) -> bytes:
        while b"\r\n" not in self.pending and self._more():
            pass
        line, _, self.pending = self.pending.partition(b"\r\n")
        return line

    def _read_chunks(self, answer: Answer) -> bool:
        while True:
            line = self._line()
            if not line:
                return False
            size = int(line, 16)
            if not size:
                while trailer := self._line():
                    name, _, value = trailer.decode("latin-1").partition(":")
                    answer.fields.append((f"trailer {name}", value.strip()))
                return True
            data = self._take(size)
            answer.body += data
            if len(data) < size or self._take(2) != b"\r\n":
                return False

    def final(self, **how: bool) -> Answer:
        """The next response that is not informational."""
        while True:
            answer = self.answer(**how)
            if not 100 <= answer.status < 200:
                return answer

    def at_end(self) -> bool:
        """Whether the connection ends here, with nothing more on it."""
        return not self.pending and not self._more()


Sender = Callable[[Client, bytes], None]
SENDERS: dict[str, Sender] = {"whole": Client.send, "bytewise": Client.send_bytewise}
