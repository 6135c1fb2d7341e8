"""An upstream that answers while it still reads: every piece of a body goes back as soon as it has come."""

import contextlib
import socket
import threading

import h11

_PIECE = 65536


class Echo:
    """Listens on a port of the kernel's choice. `answer` is how the next answers are framed: sized, chunked, closed."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer = "chunked"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = h11.Connection(h11.SERVER)
        with sock, contextlib.suppress(OSError, h11.RemoteProtocolError):
            while self._echo(sock, connection):
                connection.start_next_cycle()

    def _echo(self, sock: socket.socket, connection: h11.Connection) -> bool:
        """Answer one request; whether another may follow."""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(sock.recv(_PIECE))
            elif isinstance(event, h11.Request):
                sock.sendall(connection.send(h11.Response(status_code=200, headers=self._framing(event))))
            elif isinstance(event, h11.Data):
                sock.sendall(connection.send(h11.Data(data=event.data)))
            elif isinstance(event, h11.EndOfMessage):
                sock.sendall(connection.send(h11.EndOfMessage()))
                return connection.our_state is h11.DONE
            else:
                return False

    def _framing(self, request: h11.Request) -> list[tuple[str, str]]:
        fields = {name.decode(): value.decode() for name, value in request.headers}
        if self.answer == "sized":
            return [("Content-Length", fields["content-length"])]
        return [("Connection", "close")] if self.answer == "closed" else [("Transfer-Encoding", "chunked")]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
