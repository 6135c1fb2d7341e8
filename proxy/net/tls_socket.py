"""A TLS connection that looks like a non-blocking socket.

Theory of operation. OpenSSL reads and writes two buffers in memory; this object moves bytes between them and the
socket, so that one call costs at most one system call and nothing ever blocks:

    recv    socket ──ciphertext──► incoming ──► OpenSSL ──► plaintext
    send    plaintext ──► OpenSSL ──► outgoing ──ciphertext──► socket

Two things differ from a socket. Plaintext may wait inside although the descriptor is not readable: `readable` says so.
And what was encrypted cannot be taken back: when the kernel does not take all of it, `send` keeps the ciphertext,
remembers how many bytes of plaintext it stands for and raises `BlockingIOError`; the caller offers the same bytes
again, as it would to a full socket, and gets that count as soon as the ciphertext is gone.

All errors are `OSError`: those of the socket, `ssl.SSLError` for a broken protocol, `BlockingIOError` for not now.
"""

import errno
import socket
import ssl
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TypeAlias

from proxy.net.sockets import END_FOLLOWS, RECEIVE_SIZE, Socket

Data: TypeAlias = bytes | bytearray | memoryview

RECORD = 16384
"""Most plaintext of one record (RFC 8446 section 5.1): OpenSSL reads and writes one at a time."""

_MOST_ENCRYPTED = 4 * RECORD
_MOST_UNSENT = 1 << 17
"""Ciphertext kept for a peer that asks for answers (key updates) and does not read them; then it is given up."""


class TlsSocket:
    """One end of a TLS connection over `sock`, a connected non-blocking socket that it then owns.

    The server's, and `received` is what was already read from the socket; or, with the `server_name` that is asked for
    and has to be proven, the client's, which may go on with a `session`.
    """

    __slots__ = (
        "_ahead",
        "_ended",
        "_failure",
        "_incoming",
        "_left",
        "_notified",
        "_outgoing",
        "_owed",
        "_silent",
        "_sock",
        "_tls",
        "_unsent",
        "on_end",
    )

    def __init__(
        self,
        sock: Socket,
        context: ssl.SSLContext,
        received: bytes = b"",
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_name is None, server_name, session)
        self._ahead = b""  # plaintext that was taken out of OpenSSL before anybody received it
        # OpenSSL may have something to give without another byte from the socket: plaintext, or a client's first word
        self._left = bool(received) or server_name is not None
        self._ended = False
        self._notified = False
        self._failure: Callable[[], OSError] | None = None
        """Makes the error with which every later receive fails too."""
        self._unsent = b""
        self._owed = 0  # plaintext bytes in `_unsent` that no caller of `send` was told of
        self.on_end: Callable[[], None] | None = None
        """Called when an end came behind data that is being received: the descriptor will not tell of it."""
        self._silent = True  # nothing is said at closing: before the handshake, and after a failure
        if received:
            self._incoming.write(received)

    # What OpenSSL knows.

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on, if anything."""
        return self._tls.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> bytes | None:
        """What the peer has presented and OpenSSL has verified, in DER; also that of a session that was resumed."""
        return self._tls.getpeercert(True)

    @property
    def resumed(self) -> bool:
        """Whether the handshake went on with a session of before."""
        return bool(self._tls.session_reused)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What another connection to the same server can go on with; over TLS 1.3 only once something was received."""
        session = self._tls.session
        return session if session is not None and (session.has_ticket or session.id) else None

    @property
    def notified(self) -> bool:
        """Whether the end that was received is one that the peer has announced (close_notify)."""
        return self._notified

    # The handshake.

    def send_clear(self, data: bytes) -> None:
        """Send what comes before TLS: it leaves with the handshake's first bytes."""
        self._unsent += data

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done. If not, call again when the socket is ready, for writing if
        `sending` says so, else for reading. Raises `OSError`: it failed."""
        try:
            return self._advance()
        except BlockingIOError:
            return False

    def _advance(self) -> bool:
        if self._unsent:
            self._flush()
        if not self._left:
            received = self._sock.recv(RECEIVE_SIZE)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "closed during the TLS handshake")
            self._incoming.write(received)
        self._left = False
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._send_alert()
            raise
        self._silent = False
        self._left = self._incoming.pending > 0
        # Session tickets go with the first answer only if its request is here already: without NODELAY a client holds
        # its request back until something acknowledges the end of its handshake, and that alone takes 40 ms.
        if not self._left:
            try:
                self._flush()
            except OSError:
                pass  # the next receive tells of a client that is gone
        return True

    @property
    def sending(self) -> bool:
        """Whether ciphertext waits for the socket."""
        return bool(self._unsent)

    # Receiving.

    @property
    def readable(self) -> bool:
        """Whether `recv` has something to give, be it the end, whatever the descriptor says."""
        if self._ahead or self._ended:
            return True
        if not self._left:
            return False
        try:
            self._ahead = self._decrypt(RECORD)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to `size` bytes, b"" at the end; `flags` may be MSG_PEEK. Raises `OSError`.

        A connection that ends without a close_notify ends all the same: HTTP and WebSocket messages say themselves
        whether they are complete (RFC 9112 section 9.8).
        """
        if self._ahead or flags:
            return self._recv_ahead(size, flags)
        if self._left:
            try:
                return self._decrypt(size)
            except BlockingIOError:
                pass
        elif self._ended:
            if self._failure is not None:
                raise self._failure()
            return b""
        try:
            received = self._sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            raise
        except OSError:
            self._silent = True
            raise
        if not received:  # OpenSSL is not told: it would refuse to write after it
            self._ended = True
            return b""
        self._incoming.write(received)
        return self._decrypt(size)

    def _recv_ahead(self, size: int, flags: int) -> bytes:
        if not self._ahead:
            self._ahead = self.recv(RECORD)
        ahead = self._ahead
        if not flags & socket.MSG_PEEK:
            self._ahead = ahead[size:]
        return ahead[:size]

    def recv_into(self, buffer: memoryview, size: int = 0) -> int:
        """As `recv`, into a buffer; returns the count."""
        data = self.recv(size or len(buffer))
        count = len(data)
        buffer[:count] = data
        return count

    def _decrypt(self, size: int) -> bytes:
        """Plaintext of the records that are complete; b"" at the end. Raises `BlockingIOError` if none is."""
        try:
            data = self._tls.read(size)
        except ssl.SSLError as error:
            data = self._without_data(error)
        if self._outgoing.pending:
            self._answer()
        incoming = self._incoming
        if not data:
            self._notified = self._ended = True
            self._left = False
        elif not incoming.pending:
            self._left = len(data) == size
        elif len(data) == size:
            self._left = True
        else:
            return self._gather(data, size)
        return data

    def _gather(self, data: bytes, size: int) -> bytes:
        """The first record's data with that of those behind it."""
        incoming = self._incoming
        pieces = [data]
        missing = size - len(data)
        try:
            while missing and incoming.pending:
                data = self._tls.read(missing)
                if not data:
                    break
                pieces.append(data)
                missing -= len(data)
        except ssl.SSLError as error:
            try:
                self._without_data(error)
            except OSError:
                pass  # not now, or told by the next call
            else:
                data = b""
        if data:
            self._left = not self._ended and (not missing or incoming.pending > 0)
        else:
            self._notified = self._ended = True
            self._left = False
            if self.on_end is not None:
                self.on_end()
        return b"".join(pieces)

    def _without_data(self, error: ssl.SSLError) -> bytes:
        """What it means that OpenSSL gave nothing: b"" for the end. Raises `BlockingIOError` or the error."""
        if isinstance(error, ssl.SSLWantReadError):
            self._left = False
            if self._outgoing.pending:
                self._answer()
            raise BlockingIOError(errno.EAGAIN, "no complete record") from None
        if isinstance(error, ssl.SSLZeroReturnError):
            self._notified = True
            return b""
        self._send_alert()
        raise self._fail(partial(copy, copy(error))) from None  # with its reason, without its frames

    def _fail(self, failure: Callable[[], OSError]) -> OSError:
        """End with this error. Each raise needs a new one: one that was raised knows its frames, and they know it."""
        self._failure = failure
        self._ended = True
        self._left = False
        return failure()

    def _answer(self) -> None:
        """Send what OpenSSL answers by itself, such as a key update, or keep it for the next `send`."""
        try:
            self._flush()
        except OSError:  # a socket that takes nothing more may still have something to read
            if len(self._unsent) > _MOST_UNSENT:
                reason = "the peer does not read what it asks for"
                raise self._fail(partial(ConnectionAbortedError, errno.ECONNABORTED, reason)) from None

    # Sending.

    def send(self, data: Data, flags: int = 0) -> int:
        """How much of `data` is on its way; see the module's text for what a full socket means. `flags` are those of a
        socket's `send`. Raises `OSError`."""
        if self._unsent:
            self._flush()
            if self._owed:
                count, self._owed = self._owed, 0
                return count
        count = self._tls.write(data) if len(data) <= RECORD else self._encrypt(memoryview(data))
        ciphertext = self._outgoing.read()
        sent = 0
        try:
            sent = self._sock.send(ciphertext, flags)
        finally:
            if sent != len(ciphertext):
                self._unsent = ciphertext[sent:]
                self._owed = count
        if self._unsent:
            raise BlockingIOError(errno.EAGAIN, "the socket is full")
        return count

    def _encrypt(self, data: memoryview) -> int:
        count = 0
        size = min(len(data), _MOST_ENCRYPTED)
        while count < size:
            count += self._tls.write(data[count : min(size, count + RECORD)])
        return count

    def _flush(self, flags: int = 0) -> None:
        """Send the ciphertext that waits. Raises `BlockingIOError` when the kernel does not take all."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._sock.send(self._unsent, flags)
            self._unsent = self._unsent[sent:]

    # Ending.

    def shutdown(self, how: int) -> None:
        """SHUT_WR: say that nothing follows (close_notify, then FIN); receiving goes on. Raises `OSError`."""
        if how == socket.SHUT_WR:
            self._notify_close()
        self._sock.shutdown(how)

    def silence(self) -> None:
        """Send no close_notify any more."""
        self._silent = True

    def _notify_close(self) -> None:
        if self._silent:
            return
        # OpenSSL would look for the peer's own close_notify and drop the data it finds instead.
        while self._left and not self._ended:
            try:
                self._ahead += self._decrypt(_MOST_ENCRYPTED)
            except BlockingIOError:
                break
        self._silent = True
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # SSLWantReadError: the peer has not sent its own yet, which is not waited for
        self._flush(END_FOLLOWS)

    def _send_alert(self) -> None:
        """Send the alert that OpenSSL left; after it, closing is silent."""
        self._silent = True
        try:
            self._flush()
        except OSError:
            pass

    def close(self) -> None:
        """Close at once, after a close_notify if the peer can take one."""
        if not (self._silent or self._ended or self._unsent):
            try:
                self._notify_close()
            except OSError:
                pass
        self._sock.close()

    # What a socket is asked besides.

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As a socket's. Setting SO_LINGER announces a reset: a close_notify would deny that something is missing."""
        if option == socket.SO_LINGER and level == socket.SOL_SOCKET:
            self._silent = True
        self._sock.setsockopt(level, option, value)

    def fileno(self) -> int:
        return self._sock.fileno()

    def getsockname(self) -> object:
        return self._sock.getsockname()

    def getpeername(self) -> object:
        return self._sock.getpeername()
