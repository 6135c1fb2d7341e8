"""The master process: gunicorn's arbiter with a reload that replaces no process unless it must.

Signals to the master
    HUP           read the settings again; a mistake is logged and nothing changes
    USR1          reopen the log files
    USR2          start a new master on the same sockets (binary upgrade); if it looks good, TERM the old one
    TTIN, TTOU    one worker more, one less
    WINCH         stop all workers, keep the master (ignored when started from a terminal: it means a resized window)
    TERM          take nothing new, finish within `graceful`, exit; INT or QUIT, first or second, ends at once

A worker is handed `Shared` and its `Seat`. SIGHUP tells it that settings or runtime overrides are new, SIGUSR1 that log
files were reopened, SIGTERM to drain, SIGQUIT and SIGINT to end at once. Signals are blocked from the fork until `run`
is about to be called: none is lost, and none kills a worker that starts.

The master waits one second longer than `graceful` before it kills, so a worker may use all of it.
"""

import os
import pkgutil
import signal
import sys
from collections.abc import Mapping
from typing import Any

from gunicorn.arbiter import Arbiter

from proxy.observe.errorlog import ErrorLog
from proxy.process import fd_limits, gunicorn_contract, listeners
from proxy.process.gateway import WORKER_SIGNALS, Gateway
from proxy.process.listeners import Listeners, Role
from proxy.process.log_files import LogFiles
from proxy.process.pid_file import MasterPidFile
from proxy.process.reload import ReloadRequests, adopt_new_settings, needs_new_workers
from proxy.process.state_directory import prepare_state
from proxy.settings import Settings, SettingsError
from proxy.settings.values.kinds import MAX_WORKERS

WORKER = "proxy.process.worker:Worker"


def run(settings: Settings, flags: Mapping[str, str | list[str]], worker: str = WORKER) -> int:
    """Serve until told to stop. Returns the exit code.

    `flags` are those `settings` were read from: a reload reads them again, over the file.
    """
    fd_limits.fill_standard()
    try:
        worker_class = pkgutil.resolve_name(worker)
    except (ImportError, AttributeError) as problem:
        print(f"aragora-proxy: cannot load the worker: {problem}; reinstall the gateway", file=sys.stderr)
        return 1
    try:
        gunicorn_contract.check()
        if not listeners.inherited():
            listeners.check(listeners.added(settings, Listeners()), settings)
        gateway = Gateway(settings, flags, worker_class, LogFiles.open(settings))
        prepare_state(settings)
        gateway.shared.certificates.fill(gateway.certified(settings))
        Supervisor(gateway).run()
    except (SettingsError, RuntimeError, OSError) as problem:
        print(f"aragora-proxy: {problem}", file=sys.stderr)
        return 1
    return 0  # not reached: the arbiter ends by SystemExit, a worker process too


class Supervisor(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter with the gateway's parts at its joints; see `gunicorn_contract` for the names it uses."""

    app: Gateway
    log: Any
    LISTENERS: list[Any]
    num_workers: int

    def __init__(self, app: Gateway) -> None:
        self._pid_file = MasterPidFile()
        self._reloads = ReloadRequests(app.shared.overrides)
        super().__init__(app)
        # sys.argv has the path of __main__.py, which as a script could not import its package from a clone.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]

    def setup(self, app: Gateway) -> None:
        self.log = self.log or ErrorLog(app.cfg, app.shared.logs.error)
        super().setup(app)
        app.log_to(self.log)

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._pid_file.remove()  # also called in workers, which the file does not name

    def write_pidfile(self) -> None:
        """At the start. Raises SettingsError."""
        self._pid_file.write(self.app.settings, upgrading=bool(self.master_pid))

    def maybe_promote_master(self) -> None:
        before = self.master_pid
        super().maybe_promote_master()
        if before and not self.master_pid:
            self._pid_file.move(self.app.settings, self.log)
            self._freeze_overrides()
            self.app.service_manager.promote()
            self.app.service_manager.ready(self.app.banner)

    def reload(self) -> None:
        """Check the new settings, then swap them in place; new workers are started only if they must be."""
        manager = self.app.service_manager
        manager.reloading()
        unchanged = f"reload failed, see the log; unchanged: {self.app.banner}"
        try:
            adopted = self._reload()
        except Exception:  # not SystemExit: a new worker ends within this call, and has nothing to report
            manager.ready(unchanged)
            raise
        manager.ready(self.app.banner if adopted else unchanged)

    def _reload(self) -> bool:
        """Whether the new settings are in force now."""
        old = self.app.settings
        if not adopt_new_settings(self.app, self._reloads, self._pid_file, activated=self.systemd):
            return False
        new = self.app.settings
        workers = self.num_workers if new.workers == old.workers and self.num_workers else new.workers
        listening, self.LISTENERS = self.LISTENERS, self.app.place(activated=self.systemd)
        if listening != self.LISTENERS or needs_new_workers(old, new):
            self.cfg.set("bind", self.app.cfg.settings["bind"].get())  # so that gunicorn does not bind again
            super().reload()
            return True
        self._stats["reloads"] += 1
        self.setup(self.app)
        self.num_workers = workers
        self._send_logs()
        self.kill_workers(signal.SIGHUP)
        self.manage_workers()
        self.log.info("settings reloaded")
        return True

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """The signals that came; a reload that a command asked for counts as one."""
        signals: list[int] = super().wait_for_signals(timeout)
        if self._reloads.arrived() and signal.SIGHUP not in signals:
            signals.append(signal.SIGHUP)
        return signals

    def murder_workers(self) -> None:
        """Called by gunicorn once a second: also resets the watchdog, and checks the certificate files for changes."""
        super().murder_workers()
        self._freeze_overrides()
        self.app.service_manager.alive()
        self.app.refresh_certificates()

    def _freeze_overrides(self) -> None:
        """Accept no changes while two masters serve: they would reach the workers of one."""
        self.app.shared.overrides.freeze(frozen=bool(self.master_pid or self.reexec_pid))

    def kill_worker(self, pid: int, sig: int) -> None:
        if pid in self.WORKERS and sig in (signal.SIGTERM, signal.SIGQUIT):
            self.WORKERS[pid].seat.terminating = True
        super().kill_worker(pid, sig)

    def spawn_worker(self) -> Any:
        """Fork with signals blocked until the worker has its own handlers, or those of the master would take them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            pid = super().spawn_worker()
            self.WORKERS[pid].seat.channel.in_master()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def reexec(self) -> None:
        """Start a successor; if that fails nothing changes.

        gunicorn treats a failed exec as a failure of the master, and ends the workers from the forked process.
        """
        self.app.shared.overrides.freeze(frozen=True)  # before they are copied; `_freeze_overrides` ends it
        try:
            super().reexec()
        except OSError as problem:
            self.log.error("upgrade failed: %s; this master goes on", problem)  # noqa: TRY400 - one line
            if os.getpid() != self.pid:
                os._exit(1)

    def handle_ttin(self) -> None:
        """One worker more, up to the largest number that can be configured."""
        if self.num_workers < MAX_WORKERS:
            super().handle_ttin()

    def handle_usr1(self) -> None:
        """Reopen the logs here, where the rights are, and send them to the workers."""
        logs, problems = self.app.shared.logs.reopened(self.app.settings)
        self.app.write_to(logs)
        for problem in problems:
            self.log.warning("log not reopened: %s; still writing to the old file", problem)
        self._send_logs()
        super().handle_usr1()

    def _send_logs(self) -> None:
        for pid, worker in self.WORKERS.items():
            try:
                worker.seat.channel.send(self.app.shared.logs)
            except OSError as problem:
                self.log.warning("worker %d takes no new log files: %s; it writes to its old ones", pid, problem)

    def stop(self, graceful: bool = True) -> None:
        """End the workers; their WebSockets' close code depends on whether a successor of this master serves."""
        if self.reexec_pid:
            self.app.service_manager.succeeded_by(self.reexec_pid)
        else:
            self.app.service_manager.stopping()
            self.app.shared.board.stop()
        if self.LISTENERS and self.reexec_pid == self.master_pid == 0:
            self.LISTENERS = self.app.close_unix_sockets(*([Role.CONTROL] if self.systemd else Role))
        super().stop(graceful)

    def handle_winch(self) -> None:
        """Stop the workers and keep the master, unless the signal is a terminal's."""
        if any(os.isatty(number) for number in (0, 1, 2)):
            self.log.info("WINCH ignored: started from a terminal")
            return
        self.num_workers = 0
        self.kill_workers(signal.SIGTERM)
