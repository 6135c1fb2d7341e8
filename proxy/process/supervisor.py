"""The master process: gunicorn's arbiter, told what to do by `Settings`.

Signals to the master
    HUP           read the settings again; a mistake is logged and nothing changes
    USR1          reopen the log files
    USR2          start a new master on the same sockets (binary upgrade); TERM the old one when content
    TTIN, TTOU    one worker more, one less
    WINCH         stop all workers, keep the master (ignored when started from a terminal: it means a resized window)
    TERM          take nothing new, finish within `graceful`, exit; INT or QUIT, first or second, ends at once

What a worker (`proxy.process.worker.Worker`, a `gunicorn.workers.base.Worker`) finds in `self.app`, a `Gateway`
    settings      what to run with, as of the fork
    vault         its certificates, and `certificate_store.tls_contexts`, which all TLS connections begin with
    board, slot   shared counters and the worker's place in them: `app.board.counters(self.slot)`
    orders        what commands ordered; a worker shows the version it acts on as its `Gauge.OVERRIDES`
    reports       where a worker writes what it alone knows, while somebody looks
    logs          the open log files; USR1 and SIGHUP say that others may be had from the worker's `channel`
    limits        shared rates and connection counts: `app.limits.worker(self.slot)`
    version       of this program
    is_admin(s)   whether a listener of `self.sockets` is the admin address
    is_plain(s)   whether it is one for plain HTTP beside TLS
    reloaded()    the settings to swap to. SIGHUP says that settings or orders are new; gunicorn leaves
                  that signal at its deadly default in workers, so `init_signals` must set a handler for it.
Signals are blocked from the fork until `run` is about to be called: none is lost, none kills a worker that starts.
`Gateway.settings` is replaced in the master too, so a worker forked later begins with the newest.

The master waits one second longer than `graceful` before it kills, so a worker may use all of it. USR1 reaches workers
as `handle_usr1`, TERM as `handle_exit`, QUIT and INT as `handle_quit`.
"""

import os
import pkgutil
import signal
import sys
from collections.abc import Mapping
from typing import Any

from gunicorn.arbiter import Arbiter

from proxy.admin.overrides import OverridesBusy
from proxy.observe.errorlog import ErrorLog
from proxy.process import fd_limits as descriptors
from proxy.process import listeners
from proxy.process.gateway import WORKER_SIGNALS, Gateway
from proxy.process.listeners import Kind, Listeners
from proxy.process.log_files import LogFiles
from proxy.process.pid_file import PidFile
from proxy.process.state_directory import prepare_state
from proxy.settings import Reload, Settings, SettingsError, table
from proxy.settings.values.kinds import MAX_WORKERS

WORKER = "proxy.process.worker:Worker"


def run(settings: Settings, flags: Mapping[str, str | list[str]], worker: str = WORKER) -> int:
    """Serve until told to stop; give back the exit code.

    `flags` are those `settings` were read from: a reload reads them again, over the file.
    """
    descriptors.fill_standard()
    try:
        worker_class = pkgutil.resolve_name(worker)
    except (ImportError, AttributeError) as problem:
        print(f"proxy: the worker cannot be loaded, is the installation whole? {problem}", file=sys.stderr)
        return 1
    try:
        if not listeners.inherited():
            listeners.check(listeners.added(settings, Listeners()), settings)
        gateway = Gateway(settings, flags, worker_class, LogFiles.open(settings))
        prepare_state(settings)
        gateway.certificate_store.fill(settings)
        Supervisor(gateway).run()
    except (SettingsError, RuntimeError, OSError) as problem:
        print(f"proxy: {problem}", file=sys.stderr)
        return 1
    return 0  # not reached: the arbiter ends by SystemExit, a worker process too


class Supervisor(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter with a reload that replaces no process unless it must."""

    app: Gateway
    log: Any
    LISTENERS: list[Any]
    num_workers: int

    def __init__(self, app: Gateway) -> None:
        self._pidfile: PidFile | None = None
        self._reload_asked = 0
        super().__init__(app)
        # sys.argv names __main__.py; run as a script that could not import its package from a clone.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]

    def setup(self, app: Gateway) -> None:
        self.log = self.log or ErrorLog(app.cfg, app.logs.error)
        super().setup(app)
        app.log = self.log

    def run(self) -> None:
        try:
            super().run()
        finally:
            if self._pidfile is not None and os.getpid() == self.pid:  # workers come by here too
                self._pidfile.remove()

    def write_pidfile(self) -> None:
        """At the start; beside that of a master that goes on until this one serves. Raises SettingsError."""
        path = self.app.settings.pidfile
        if path is None:
            return
        try:
            self._pidfile = PidFile(path.with_name(f"{path.name}.2") if self.master_pid else path)
        except OSError as problem:
            raise SettingsError([f"--pidfile {path}: cannot be written: {problem.strerror}"]) from None

    def maybe_promote_master(self) -> None:
        before = self.master_pid
        super().maybe_promote_master()
        if before and not self.master_pid:
            self._move_pidfile()

    def reload(self) -> None:
        """Check the new settings, then swap them in place; see the module's text."""
        old = self.app.settings
        checked = self._checked()
        if checked is None:
            return
        new, logs = checked
        workers = self.num_workers if new.workers == old.workers and self.num_workers else new.workers
        self.app.adopt(new)
        self.app.publish()
        self.app.write_to(logs)
        self.app.warn_of_certificates()
        self._note_reload([])
        for name in _out_of_reach(old, new):
            self.log.warning("%s has changed, which a reload does not reach: restart, or upgrade with USR2", name)
        if new.max_connections != old.max_connections:
            descriptors.raise_limit(new, self.log)
        if new.pidfile != old.pidfile:
            self._move_pidfile()
        listening = self.LISTENERS
        self.app.place(self)
        if listening != self.LISTENERS or _fixed(new) != _fixed(old):
            self.cfg.set("bind", self.app.cfg.settings["bind"].get())  # so that gunicorn does not bind again
            super().reload()
            return
        self._stats["reloads"] += 1
        self.setup(self.app)
        self.num_workers = workers
        self._send_logs()
        self.kill_workers(signal.SIGHUP)
        self.manage_workers()
        self.log.info("settings reloaded")

    def _checked(self) -> tuple[Settings, LogFiles] | None:
        mistakes = []
        logs = None
        try:
            new = self.app.read_again()
            if not self.systemd:
                listeners.check(listeners.added(new, self.app.listeners), new)
            logs = LogFiles.open(new)
            prepare_state(new)
            self.app.certificate_store.fill(new)
            return new, logs
        except SettingsError as problem:
            mistakes = problem.mistakes
        if logs is not None:
            logs.close()
        self.log.error("reload refused, the running settings stay: %s", "; ".join(mistakes))
        self._note_reload(mistakes)
        return None

    def _note_reload(self, mistakes: list[str]) -> None:
        """Tell the command that asked for a reload what came of it."""
        try:
            self.app.overrides.change(lambda overrides: overrides.reloaded(mistakes))
        except (OverridesBusy, ValueError) as problem:
            self.log.warning("what came of the reload could not be noted: %s", problem)

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """The signals that came. A reload that a command asked for is one of them: workers may not be allowed to send
        it."""
        signals: list[int] = super().wait_for_signals(timeout)
        overrides = self.app.overrides.get()
        if overrides.reloads_asked > overrides.reloads_done and overrides.reloads_asked != self._reload_asked:
            self._reload_asked = overrides.reloads_asked  # once, though what came of it cannot be noted
            if signal.SIGHUP not in signals:
                signals.append(signal.SIGHUP)
        return signals

    def murder_workers(self) -> None:
        """Called once a second: beside looking after the workers, see whether the certificates' files have changed."""
        super().murder_workers()
        try:
            if self.app.certificate_store.refill(self.app.settings) is not None:
                self.log.info("certificates read again")
                self.app.warn_of_certificates()
        except SettingsError as problem:
            self.log.warning("certificates have changed but those before stay: %s", problem)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Note who is told to end: one that does so early has not failed."""
        if pid in self.WORKERS and sig in (signal.SIGTERM, signal.SIGQUIT):
            self.WORKERS[pid].told = True
        super().kill_worker(pid, sig)

    def spawn_worker(self) -> Any:
        """Fork with signals blocked until the worker has its own handlers, or those of the master would eat them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            pid = super().spawn_worker()
            self.WORKERS[pid].channel.in_master()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def reexec(self) -> None:
        """Start a successor; one that cannot be started leaves everything as it is.

        gunicorn takes a failed exec for a failure of the master, and ends the workers from the process it has forked.
        """
        try:
            super().reexec()
        except OSError as problem:
            self.log.error("no successor was started, this master goes on: %s", problem)  # noqa: TRY400 - one line
            if os.getpid() != self.pid:
                os._exit(1)

    def handle_ttin(self) -> None:
        """One worker more, up to the number a setting may ask for."""
        if self.num_workers < MAX_WORKERS:
            super().handle_ttin()

    def handle_usr1(self) -> None:
        """Reopen logs, here, where the rights are; workers are sent what was opened."""
        logs, problems = self.app.logs.reopened(self.app.settings)
        self.app.write_to(logs)
        for problem in problems:
            self.log.warning("log not reopened, the file before is written to: %s", problem)
        self._send_logs()
        super().handle_usr1()

    def _send_logs(self) -> None:
        for pid, worker in self.WORKERS.items():
            try:
                worker.channel.send(self.app.logs)
            except OSError as problem:
                self.log.warning("worker %d writes to its log files from before, it takes no others: %s", pid, problem)

    def stop(self, graceful: bool = True) -> None:
        """End the workers; they tell their WebSockets whether a successor of this master serves on."""
        if not self.reexec_pid:
            self.app.board.stop()
        if self.LISTENERS and self.reexec_pid == self.master_pid == 0:
            self.LISTENERS = self.app.close([Kind.CONTROL] if self.systemd else list(Kind))
        super().stop(graceful)

    def handle_winch(self) -> None:
        """Stop the workers and keep the master, unless the signal is a terminal's."""
        if any(os.isatty(number) for number in (0, 1, 2)):
            self.log.info("WINCH ignored: started from a terminal")
            return
        self.num_workers = 0
        self.kill_workers(signal.SIGTERM)

    def _move_pidfile(self) -> None:
        """To where these settings have it."""
        if self._pidfile is not None:
            self._pidfile.remove()
        self._pidfile = None
        path = self.app.settings.pidfile
        if path is not None:
            try:
                self._pidfile = PidFile(path)
            except (OSError, RuntimeError) as problem:
                self.log.warning("pid file %s not written: %s", path, problem)


def _fixed(settings: Settings) -> tuple[object, ...]:
    """What a worker cannot change while it runs."""
    rows = [getattr(settings, row.name) for row in table() if row.reload is Reload.NEW_WORKERS]
    return (*rows, settings.secure, bool(settings.acme))


def _out_of_reach(old: Settings, new: Settings) -> list[str]:
    """What has changed and needs a new master, as it stands in the file."""
    return [
        row.name for row in table() if row.reload is Reload.RESTART and getattr(old, row.name) != getattr(new, row.name)
    ]
