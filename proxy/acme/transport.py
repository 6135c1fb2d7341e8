"""Connections on which a request ends at a deadline, however slowly the server answers.

The timeout of `requests` is for each read, and for each address of a name: a server that sends a byte now and then, or
a name with many silent addresses, keeps within it endlessly.
"""

import http.client
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection


class Deadline:
    """When the request under way has to be done. `total` seconds are for all requests together."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._spent = 0.0
        self._end = 0.0

    @contextmanager
    def request(self, seconds: float) -> Iterator[None]:
        """One request, for as long as the block takes. Raises `requests.Timeout` if no time is left for it."""
        began = monotonic()
        if self._spent >= self._total:
            raise requests.Timeout(f"its responses have taken more than {self._total:g} s together")
        self._end = began + min(seconds, self._total - self._spent)
        try:
            yield
        finally:
            self._spent += monotonic() - began

    def left(self) -> float:
        """Seconds, more than 0. Raises `TimeoutError`."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _Content(io.RawIOBase):
    """What a socket receives until the deadline."""

    def __init__(self, sock: socket.socket, received: io.RawIOBase, deadline: Deadline) -> None:
        self._sock = sock
        self._received = received
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


def _response(deadline: Deadline, sock: Any, *arguments: Any, **named: Any) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(sock, *arguments, **named)
    response.fp = io.BufferedReader(_Content(sock, response.fp.detach(), deadline))
    return response


class _Connection(HTTPConnection):
    def __init__(self, deadline: Deadline, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline = deadline
        # What `http.client` reads all responses with, also that of an HTTP proxy to CONNECT.
        self.response_class = partial(_response, deadline)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that answers; the resolver has deadlines of its own (resolv.conf)."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as problem:
            raise NameResolutionError(self.host, self, problem) from problem
        reason: Exception | None = None
        for *_, address in found:
            try:
                sock = create_connection(
                    (str(address[0]), self.port), self._deadline.left(), socket_options=self.socket_options
                )
            except OSError as problem:
                reason = problem
                continue
            try:
                sock.settimeout(self._deadline.left())  # of a TLS handshake, as a whole
            except TimeoutError:
                sock.close()
                raise
            return sock
        raise NewConnectionError(self, f"Failed to establish a new connection: {reason}") from reason

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._deadline.left())
        super().send(data)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


_TIMED: dict[object, type[_Connection]] = {HTTPConnection: _Connection, HTTPSConnection: _SecureConnection}


class TimedAdapter(HTTPAdapter):
    """Sends the requests of one session with connections that end at a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__()

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        kind = _TIMED.get(pool.ConnectionCls)
        if kind is not None:
            pool.ConnectionCls = partial(kind, self._deadline)
        return pool
