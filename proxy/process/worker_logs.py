"""The worker's side of log rotation: going on in the files that the master has opened last."""

from typing import Any

from proxy.observe.accesslog import AccessLog
from proxy.observe.log_formats import LineFormat, line_format
from proxy.process.log_files import Channel, LogFiles
from proxy.settings import Settings


def format_of(settings: Settings) -> LineFormat:
    """The format of access log lines under these settings."""
    return line_format(settings.log_format, settings.log_fields, masks=settings.log_clients == "masked")


class WorkerLogs:
    """Both logs of one worker. `logs` are those open at the fork, `error_log` is gunicorn's logger."""

    def __init__(self, logs: LogFiles, channel: Channel, access_log: AccessLog, error_log: Any) -> None:
        self._logs = logs
        self._channel = channel
        self._access_log = access_log
        self._error_log = error_log

    def take(self, settings: Settings) -> None:
        """Write to the newest files, in the format of these settings; a fault is logged."""
        try:
            logs = self._channel.receive()
            if logs is not None:
                before, self._logs = self._logs, logs
                self._error_log.write_to(logs.error)
                before.close()
            self._access_log.change(self._logs.access, format_of(settings))
        except OSError as error:
            self._error_log.warning("log files not changed: %s; still writing to the old ones", error.strerror)
