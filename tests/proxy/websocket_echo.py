"""A WebSocket server that sends back what it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.sync.server import ServerConnection, serve


@contextmanager
def websocket_echo() -> Iterator[str]:
    """Its address."""
    with serve(_echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)
