"""An application that reads HTTP/1 with `h11`, which knows nothing of the gateway, and says what it was asked."""

import contextlib
import socket
import threading

import h11

from tests.proxy.integration.fuzz.ledger import Ledger, Read

_RECEIVED = 65536
_SILENCE = 120.0


class Reader:
    """Listens on a port of the kernel's choice; one thread for each connection; ended by close().

    The first segment of a target says how it is answered: `early` before the body was read, `chunked`, `close`, any
    other plainly. Each answer names the identity of its request in `x-seen` and in its body.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(_SILENCE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            _Conversation(sock, self._ledger).run()
        self._open.discard(sock)


class _Conversation:
    """The requests of one connection, in their order."""

    def __init__(self, sock: socket.socket, ledger: Ledger) -> None:
        self._sock = sock
        self._ledger = ledger
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 18)
        self._ended = False

    def run(self) -> None:
        try:
            while self._read_request():
                self._parser.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if not self._ended:  # a request that was cut off is no fault: it is not complete
                stray = bytes(self._parser.trailing_data[0])[:200]
                self._ledger.fault(f"the application cannot read what it was sent: {error}: {stray!r}")

    def _read_request(self) -> bool:
        """Whether another one may follow."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                if self._parser.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                data = self._sock.recv(_RECEIVED)
                self._ended = self._ended or not data
                self._parser.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
                if event.target.startswith(b"/early/"):
                    self._answer(event)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                self._ledger.read(
                    Read(request.method.decode(), request.target.decode(), list(request.headers), bytes(body))
                )
                if not request.target.startswith(b"/early/"):
                    self._answer(request)
                return self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE
            else:
                return False

    def _answer(self, request: h11.Request) -> None:
        identity = request.target.partition(b"?")[0].rpartition(b"/")[2]
        body = b"seen " + identity
        framing = (b"content-length", b"%d" % len(body))
        if request.target.startswith(b"/chunked/"):
            framing = (b"transfer-encoding", b"chunked")
        fields = [(b"x-seen", identity), framing]
        if request.target.startswith(b"/close/"):
            fields.append((b"connection", b"close"))
        events: list[h11.Event] = [h11.Response(status_code=200, headers=fields), h11.EndOfMessage()]
        if request.method != b"HEAD":
            events.insert(1, h11.Data(data=body))
        self._send(*events)

    def _send(self, *events: h11.Event) -> None:
        self._sock.sendall(b"".join(self._parser.send(event) or b"" for event in events))
