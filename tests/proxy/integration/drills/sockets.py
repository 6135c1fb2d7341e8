"""WebSockets held open through a fault."""

import socket
import ssl

from tests.proxy.integration.drills.load import PATIENCE

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: drill.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class WebSocket:
    """One open WebSocket."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, name: str = "") -> None:
        """Over TLS if there is a context, which expects a server of this name."""
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock = tls.wrap_socket(plain, server_hostname=name) if tls else plain
        self.sock.sendall(HANDSHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.sock.recv(4096)
            assert data, "the handshake was not answered"
            head += data
        assert head.startswith(b"HTTP/1.1 101"), head

    def echoes(self, text: bytes) -> bool:
        """Whether a short message comes back as it was sent."""
        self.sock.sendall(b"\x82" + bytes((0x80 | len(text),)) + bytes(4) + text)
        expected = b"\x82" + bytes((len(text),)) + text
        data = b""
        while len(data) < len(expected):
            more = self.sock.recv(len(expected) - len(data))
            if not more:
                return False
            data += more
        return data == expected

    def read(self) -> bytes:
        """What is there, empty at the end."""
        return self.sock.recv(4096)

    def close(self) -> None:
        self.sock.close()
