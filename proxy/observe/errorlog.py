"""The gateway's own messages. Writing one raises nothing and waits for nothing, so no request fails by it.

gunicorn's logger opens files by name, in the privileged master and in unprivileged workers, and raises in its caller
if it cannot. Here the log is a descriptor that the master has opened; see `proxy.process.log_files`.
"""

import io
import logging
import os
from typing import Any

from gunicorn.glogging import Logger

from proxy.observe.destination import Destination

GUNICORNS_OWN = ("Starting gunicorn %s", "Listening at: %s (%s)", "Using worker: %s")
"""What gunicorn logs of its own start, left out: the gateway's first line says it in an operator's terms."""


class ErrorLog(Logger):  # type: ignore[misc]
    """gunicorn's logger, writing to an open file."""

    def __init__(self, cfg: Any, file: int) -> None:
        self._lines = _Lines(file)
        super().__init__(cfg)

    def _set_handler(self, log: logging.Logger, _output: Any, fmt: logging.Formatter, **_: Any) -> None:
        """gunicorn's hook, called at each set-up."""
        self._lines.setFormatter(fmt)
        if self._lines not in log.handlers:
            log.addHandler(self._lines)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if msg not in GUNICORNS_OWN:
            super().info(msg, *args, **kwargs)

    def reopen_files(self) -> None:
        """gunicorn's hook; here files are replaced by `write_to`."""

    def write_to(self, file: int) -> None:
        """Go on in another open file; the descriptor is copied."""
        self._lines.write_to(file)

    def stream(self) -> io.TextIOBase:
        """A replacement for standard error: tracebacks of the event loop, warnings of the interpreter."""
        return _Stream(self._lines)


class _Lines(logging.Handler):
    """Records as lines. Lost lines are reported as soon as one can be written."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._destination = Destination(os.dup(file), waits=False)
        self._lost = 0

    def write_to(self, file: int) -> None:
        before, self._destination = self._destination, Destination(os.dup(file), waits=False)
        before.close()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as problem:  # noqa: BLE001 - whatever an argument does when it is shown
            text = f"{record.name}: {record.msg!r} could not be formatted: {problem!r}"
        self.write(text + "\n")

    def write(self, text: str) -> None:
        if self._lost and not self._destination.write(b"%d earlier lines were lost\n" % self._lost):
            self._lost = 0
        self._lost += self._destination.write(text.encode("utf-8", "backslashreplace"))


class _Stream(io.TextIOBase):
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._lines.write(text)
        return len(text)
