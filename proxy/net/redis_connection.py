"""Connections to a Redis server on which greenlets wait.

The library's own would block the process: nothing is patched here, so it is handed gevent's sockets.
"""

import ssl
from typing import Any

import gevent.socket
import gevent.ssl
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from proxy.settings.upstream_tls import UpstreamTls
from proxy.settings.values.redis import RedisAddress


class RedisConnection:
    """One connection, for one command at a time; opened by the first.

    It has no deadlines: callers set one around what they do. Whatever ends a command early closes it.
    """

    def __init__(self, address: RedisAddress, password: str, tls: gevent.ssl.SSLContext | None) -> None:
        connecting: Any = _Connecting  # the library's methods have no types
        self._connection = connecting(
            tls,
            host=address.host,
            port=address.port,
            db=address.database,
            username=address.user or None,
            password=password or None,
            protocol=2,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )

    def open(self) -> None:
        """Connect and log in, if that has not been done. Raises `RedisError` or `OSError`."""
        self._connection.connect()

    def ask(self, *command: str | bytes | float) -> bytes:
        """The answer to a command. Raises `RedisError` or `OSError`."""
        self._connection.send_command(*command)
        answer: bytes = self._connection.read_response()
        return answer

    def close(self) -> None:
        self._connection.disconnect()


class _Connecting(Connection):
    def __init__(self, tls: gevent.ssl.SSLContext | None, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._tls = tls

    def _connect(self) -> Any:
        sock = gevent.socket.create_connection((self.host, self.port))
        try:
            sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise


def redis_tls(tls: UpstreamTls) -> gevent.ssl.SSLContext:
    """What TLS to a Redis server begins with. Raises `OSError` if OpenSSL refuses the authorities."""
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.authorities:
        context.load_verify_locations(cadata=tls.authorities)
    else:
        context.load_default_certs()
    return context
