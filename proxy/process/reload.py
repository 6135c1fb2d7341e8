"""The master's side of a reload: read, check and adopt new settings; changes that need a restart are logged."""

from typing import Any

from proxy.admin.overrides import OverrideRecord, OverridesBusy
from proxy.observe.marks import MarkKind
from proxy.process import fd_limits, listeners
from proxy.process.gateway import Gateway
from proxy.process.log_files import LogFiles
from proxy.process.pid_file import MasterPidFile
from proxy.process.state_directory import prepare_state
from proxy.settings import Reload, Settings, SettingsError, table


class ReloadRequests:
    """Reloads requested by commands through the runtime overrides, since workers may lack the right to send SIGHUP."""

    def __init__(self, overrides: OverrideRecord) -> None:
        self._overrides = overrides
        self._noticed = 0

    def arrived(self) -> bool:
        """Whether a new one has arrived."""
        state = self._overrides.get()
        if state.reload_requests == state.reloads_done or state.reload_requests == self._noticed:
            return False
        self._noticed = state.reload_requests  # once, even if its result cannot be recorded
        return True

    def answer(self, mistakes: list[str], log: Any) -> None:
        """Record the result for the command that waits for it."""
        try:
            self._overrides.change(lambda overrides: overrides.reloaded(mistakes))
        except (OverridesBusy, ValueError) as problem:
            log.warning("could not record the reload result: %s", problem)


def adopt_new_settings(gateway: Gateway, requests: ReloadRequests, pid_file: MasterPidFile, *, activated: bool) -> bool:
    """Check the new settings and have the gateway run with them; False, with nothing changed, if they are invalid.

    With socket activation (`activated`) systemd opens the addresses.
    """
    old = gateway.settings
    checked = _checked(gateway, requests, activated=activated)
    if checked is None:
        return False
    new, logs = checked
    gateway.adopt(new)
    gateway.write_to(logs)
    gateway.warn_of_certificates()
    requests.answer([], gateway.log)
    gateway.shared.board.note(MarkKind.RELOAD, "settings reloaded")
    for name in _out_of_reach(old, new):
        gateway.log.warning("%s: a reload does not apply this change; restart, or upgrade with USR2", name)
    if new.max_connections != old.max_connections:
        fd_limits.raise_limit(new, gateway.log)
    if new.pidfile != old.pidfile:
        pid_file.move(new, gateway.log)
    return True


def needs_new_workers(old: Settings, new: Settings) -> bool:
    """Whether a setting has changed that a running worker cannot apply."""
    return _fixed(old) != _fixed(new)


def _checked(gateway: Gateway, requests: ReloadRequests, *, activated: bool) -> tuple[Settings, LogFiles] | None:
    mistakes = []
    logs = None
    try:
        new = gateway.read_again()
        if not activated:
            listeners.check(listeners.added(new, gateway.listeners), new)
        logs = LogFiles.open(new)
        prepare_state(new)
        gateway.shared.certificates.fill(gateway.certified(new))
        return new, logs
    except SettingsError as problem:
        mistakes = problem.mistakes
    if logs is not None:
        logs.close()
    gateway.log.error("reload failed: %s; keeping the current settings", "; ".join(mistakes))
    requests.answer(mistakes, gateway.log)
    gateway.shared.board.note(MarkKind.FAULT, "reload refused, the former settings stay: the error log says why")
    return None


def _fixed(settings: Settings) -> tuple[object, ...]:
    rows = [getattr(settings, row.name) for row in table() if row.reload is Reload.NEW_WORKERS]
    return (*rows, settings.secure, bool(settings.acme), [server.directory for server in settings.acme_servers])


def _out_of_reach(old: Settings, new: Settings) -> list[str]:
    """Names of settings that have changed and need a new master."""
    return [
        row.name for row in table() if row.reload is Reload.RESTART and getattr(old, row.name) != getattr(new, row.name)
    ]
