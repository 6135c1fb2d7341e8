"""Servers of the standard library that serve in the test's own process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from typing import TypeVar

Server = TypeVar("Server", bound=BaseServer)
POLL = 0.02
"""Seconds within which a server notices that it is to end."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """It serves, in a thread, until the block ends; then it is closed."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
