"""Log lines as datagrams, for a syslog server or the journal of systemd: a datagram a line."""

import os
import re
import socket
import time
from collections.abc import Callable
from typing import Final

PROGRAM: Final = b"aragora-proxy"
_JOURNAL: Final = re.compile(r"/run/systemd/journal(?:\.[^/]+)?/socket")
_PRIORITY: Final = 3 * 8 + 6  # facility daemon, severity informational


Envelope = Callable[[bytes, float], bytes]
"""What a line is sent as; the time is the second since 1970 in which it is sent."""


class Datagrams:
    """A connected datagram socket. What the server does not take is lost and counted, never raised.

    A write waits for a local server with a full queue. One that was restarted is connected to once more.
    """

    def __init__(self, file: int) -> None:
        """The descriptor is the destination's own from now on."""
        self._socket = socket.socket(fileno=file)
        self._peer = self._socket.getpeername()
        self._envelope = envelope_for(self._socket.family, self._peer)

    def write(self, text: bytes) -> int:
        """Send whole lines. Returns the number of lost ones; raises nothing."""
        now = time.time()
        lines = text.split(b"\n")[:-1]
        connected = True
        lost = 0
        for line in lines:
            message = self._envelope(line, now)
            sent = connected and self._sent(message)
            if not sent and connected:
                connected = self._reconnected()
                sent = connected and self._sent(message)
            lost += not sent
        return lost

    def _sent(self, message: bytes) -> bool:
        try:
            self._socket.send(message)
        except OSError:
            return False
        return True

    def _reconnected(self) -> bool:
        try:
            self._socket.connect(self._peer)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def envelope_for(family: int, peer: object) -> Envelope:
    """That of the server at this address: the journal, a local syslog, or one of another machine."""
    if family != socket.AF_UNIX:
        return _syslog
    return _journal if isinstance(peer, str) and _JOURNAL.fullmatch(peer) else _local_syslog


def _journal(line: bytes, _now: float) -> bytes:
    """systemd's native journal protocol: a field a line; our lines are printable ASCII."""
    return b"PRIORITY=6\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n" % (PROGRAM, line)


def _local_syslog(line: bytes, now: float) -> bytes:
    """What syslog(3) sends: RFC 3164 section 4.1 without the name of the host."""
    stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now)).encode("ascii", "replace")
    return b"<%d>%s %s[%d]: %s" % (_PRIORITY, stamp, PROGRAM, os.getpid(), line)


def _syslog(line: bytes, now: float) -> bytes:
    """RFC 5424 section 6, in a datagram of UDP (RFC 5426)."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)).encode("ascii")
    host = socket.gethostname().encode("ascii", "replace")[:255] or b"-"
    return b"<%d>1 %s %s %s %d access - %s" % (_PRIORITY, stamp, host, PROGRAM, os.getpid(), line)
