"""What the master says to systemd, if it is what started it: sd_notify(3) and, once a second, the watchdog.

Only the main process of a unit is listened to. So a successor of a binary upgrade is silent until its predecessor,
when it is stopped, names it as the main process.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from time import CLOCK_MONOTONIC, clock_gettime_ns

_LONGEST_STATUS = 1000  # characters


class ServiceManager:
    """The service manager's socket, taken out of the environment, or nothing without one.

    A message that it does not take at once is dropped: nothing here waits.
    """

    def __init__(self, environ: MutableMapping[str, str], clock: Callable[[], int] | None = None) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._silent = "GUNICORN_PID" in environ
        own = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        interval = environ.pop("WATCHDOG_USEC", "")
        self._patience = int(interval) * 1000 // 2 if own and interval.isdecimal() else 0
        self._clock = clock or (lambda: clock_gettime_ns(CLOCK_MONOTONIC))
        self._reset = 0

    def promote(self) -> None:
        """The predecessor has ended: this is the main process."""
        self._silent = False

    def ready(self, status: str) -> None:
        """The gateway serves, or a reload has ended."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send(_status(text))

    def reloading(self) -> None:
        """A reload begins; systemd waits for `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock() // 1000}")

    def stopping(self) -> None:
        """No new connections are accepted."""
        self._send("STOPPING=1", _status("stopping: requests in flight are finished"))

    def succeeded_by(self, pid: int) -> None:
        """Another master is the main process from now on."""
        self._send(f"MAINPID={pid}")

    def alive(self) -> None:
        """Reset the watchdog, if it is due. Call it about once a second."""
        now = self._clock()
        if self._patience and now - self._reset >= self._patience:
            self._reset = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or self._silent:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # systemd restarts, or its queue is full


def _status(text: str) -> str:
    return "STATUS=" + text.replace("\n", "; ")[:_LONGEST_STATUS]
