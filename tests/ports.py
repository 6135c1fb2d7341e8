"""Ports that are this test's own until the run ends, for servers that cannot be handed a socket."""

import socket


def ports(count: int) -> list[int]:
    """Ports on 127.0.0.1, chosen by the kernel, all different.

    Each stays bound here without listening: the kernel gives it to nobody else who asks for any port, while a server
    that sets SO_REUSEADDR, as all do, may bind and listen on it, and a client meanwhile is refused.
    """
    return [_reserved() for _ in range(count)]


def _reserved() -> int:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    held.detach()  # open until the process ends
    return port
