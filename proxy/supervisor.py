"""The master process: gunicorn's arbiter, told what to do by `Settings`.

Signals to the master
    HUP           read the settings again; a mistake is logged and nothing changes
    USR1          reopen the log files
    USR2          start a new master on the same sockets (binary upgrade); TERM the old one when content
    TTIN, TTOU    one worker more, one less
    WINCH         stop all workers, keep the master (ignored when started from a terminal: it means a resized window)
    TERM          take nothing new, finish within `graceful`, exit; INT or QUIT, first or second, ends at once

What a worker (`proxy.worker.Worker`, a `gunicorn.workers.base.Worker`) finds in `self.app`, a `Gateway`
    settings      what to run with, as of the fork
    vault         its certificates, and `vault.door`, which all TLS connections begin with
    board, slot   shared counters and the worker's place in them: `app.board.counters(self.slot)`
    orders        what commands ordered; a worker shows the version it acts on as its `Gauge.ORDERS`
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
from importlib import metadata
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

from gunicorn import systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.pidfile import Pidfile

from proxy import descriptors, listeners
from proxy.account import owner
from proxy.handover import Handover
from proxy.limits import Limits
from proxy.logfiles import Channel, LogFiles
from proxy.observe.errorlog import ErrorLog
from proxy.observe.metrics import SLOTS, Board
from proxy.observe.reports import Reports
from proxy.orders import ENVIRONMENT, OrderBook, OrdersBusy
from proxy.settings import Settings, SettingsError, load
from proxy.statedir import prepare_state
from proxy.values.kinds import MAX_WORKERS
from proxy.vault import Vault, warnings

WORKER = "proxy.worker:Worker"
_WORKER_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1}
_EARLY = 2.0  # seconds: a worker that ends sooner never worked
_EARLY_DEATHS = 6  # of workers in a row, none of them alive: there is no point in going on
_HEARTBEAT = 30  # seconds without a sign of life until the master kills a worker


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
            listeners.check(settings.bind + settings.bind_plain + ((settings.admin,) if settings.admin else ()))
        gateway = Gateway(settings, flags, worker_class, LogFiles.open(settings))
        prepare_state(settings)
        gateway.vault.fill(settings)
        Supervisor(gateway).run()
    except (SettingsError, RuntimeError, OSError) as problem:
        print(f"proxy: {problem}", file=sys.stderr)
        return 1
    return 0  # not reached: the arbiter ends by SystemExit, a worker process too


def version() -> str:
    """The installed version, or "source" when run from a clone that was never installed."""
    try:
        return metadata.version("aragora")
    except metadata.PackageNotFoundError:
        return "source"


class Gateway(BaseApplication):  # type: ignore[misc]
    """What gunicorn calls the application: here the settings and what master and workers share."""

    def __init__(self, settings: Settings, flags: Mapping[str, str | list[str]], worker: type, logs: LogFiles) -> None:
        self.settings = settings
        self.logs = logs
        self.version = version()
        self.board = Board()
        self.reports = Reports()
        self.orders = OrderBook(os.environ.pop(ENVIRONMENT, ""))
        self.limits = Limits(settings.rate_keys, SLOTS)
        self.log: Any = None
        self._flags = flags
        self._worker = worker
        self._handover = Handover(Settings)
        self.vault = Vault()
        self.admin: Any = None
        self._plain: list[Any] = []
        self._named_plain: list[Any] = []
        self._names = listeners.names()
        self._early_deaths = 0
        super().__init__(prog="proxy")

    def load_config(self) -> None:
        """Translate `settings` for gunicorn; called by it."""
        settings = self.settings
        identity = owner(settings)
        options = {
            "bind": [str(address) for address in settings.bind],
            "worker_class": self._worker,
            "workers": settings.workers,
            "timeout": _HEARTBEAT,
            "graceful_timeout": ceil(settings.graceful) + 1,
            "pidfile": str(settings.pidfile) if settings.pidfile else None,
            "errorlog": settings.error_log,
            "loglevel": settings.log_level,
            "accesslog": None,
            "proc_name": "aragora-proxy",
            "umask": 0o777 & ~settings.socket_mode,
            "user": identity[0],
            "group": identity[1],
            "initgroups": bool(settings.user),
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108 - memory, not disk
            "max_requests": 0,
            "preload_app": False,
            "pre_fork": self._pre_fork,
            "post_fork": self._post_fork,
            "post_worker_init": self._worker_starts,
            "child_exit": self._child_exit,
            "when_ready": self._when_ready,
            "pre_exec": self._pre_exec,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        """gunicorn asks for a WSGI callable; there is none behind a gateway."""
        return None

    def is_admin(self, listener: Any) -> bool:
        """Whether this is the listener of the admin address."""
        return listener is self.admin

    def is_plain(self, listener: Any) -> bool:
        """Whether this is a listener for plain HTTP beside TLS."""
        return self.settings.secure and listener in self._plain

    def read_again(self) -> Settings:
        """The settings a reload would run with. Raises SettingsError."""
        return load(self._flags, self.settings.config, self.vault.files)

    def adopt(self, settings: Settings) -> None:
        """Run with other settings from now on; in the master, workers are handed them too when told."""
        self.settings = settings
        self.do_load_config()

    def publish(self) -> None:
        """Lay the current settings where running workers find them."""
        self._handover.put(self.settings)

    def reloaded(self) -> Settings:
        """In a worker, on SIGHUP: the settings the master checked. The level of its messages follows them here."""
        settings = self._handover.get()
        if settings is not None:
            self.adopt(settings)
            self.log.setup(self.cfg)
        return self.settings

    def write_to(self, logs: LogFiles) -> None:
        """Log into other files from now on; a worker's access log sees to itself."""
        before, self.logs = self.logs, logs
        self.log.write_to(logs.error)
        before.close()

    def warn_of_certificates(self) -> None:
        """Log what is wrong with them, or soon will be."""
        for warning in warnings(self.vault.get(), self.settings):
            self.log.warning(warning)

    def place(self, arbiter: Any) -> None:
        """Make the arbiter's listeners those of the settings, keeping open every one that stays."""
        arbiter.LISTENERS, self.admin = listeners.place(
            self.settings, arbiter.LISTENERS, self.admin, self.cfg, arbiter.log, activated=arbiter.systemd
        )
        self._plain = listeners.plain(
            self.settings, arbiter.LISTENERS, self.admin, self._named_plain, activated=arbiter.systemd
        )

    def _when_ready(self, arbiter: Any) -> None:
        if len(self._names) == len(arbiter.LISTENERS):
            named = list(zip(self._names, arbiter.LISTENERS, strict=True))
            self.admin = next((listener for name, listener in named if name == listeners.ADMIN), self.admin)
            self._named_plain = [listener for name, listener in named if name == listeners.PLAIN]
        self.place(arbiter)
        descriptors.raise_limit(self.settings, arbiter.log)
        if os.geteuid() == 0 and not self.settings.user:
            arbiter.log.warning("workers run as root: name an unprivileged account with --user")
        self.warn_of_certificates()

    def _pre_fork(self, arbiter: Any, worker: Any) -> None:
        worker.born = monotonic()
        worker.channel = Channel()
        worker.slot = self.board.take(other.slot for other in arbiter.WORKERS.values())
        self.limits.begin(worker.slot)

    def _post_fork(self, arbiter: Any, worker: Any) -> None:
        self._handover.read_only()
        self.vault.read_only()
        worker.channel.in_worker()
        for other in arbiter.WORKERS.values():
            other.channel.close()
        sys.stderr = self.log.stream()

    def _worker_starts(self, worker: Any) -> None:
        self.board.counters(worker.slot).begin()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORKER_SIGNALS)

    def _child_exit(self, arbiter: Any, worker: Any) -> None:
        worker.channel.close()
        self.board.leave(worker.slot)
        self.reports.clear(worker.slot)
        self.limits.end(worker.slot)
        now = monotonic()
        if now - worker.born > _EARLY or any(now - other.born > _EARLY for other in arbiter.WORKERS.values()):
            self._early_deaths = 0
            return
        self._early_deaths += 1
        if self._early_deaths >= _EARLY_DEATHS and arbiter.LISTENERS:
            raise HaltServer("workers die as soon as they have started", Arbiter.WORKER_BOOT_ERROR)

    def _pre_exec(self, arbiter: Any) -> None:
        kinds = [
            listeners.ADMIN if listener is self.admin else listeners.PLAIN if listener in self._plain else "front"
            for listener in arbiter.LISTENERS
        ]
        arbiter.cfg.env_orig["LISTEN_FDNAMES"] = ":".join(kinds)
        arbiter.cfg.env_orig[ENVIRONMENT] = self.orders.get().lasting().encoded()
        if arbiter.systemd:
            listeners.renumber(arbiter.LISTENERS, systemd.SD_LISTEN_FDS_START)


class Supervisor(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter with a reload that replaces no process unless it must."""

    app: Gateway
    log: Any
    num_workers: int
    pidfile: Pidfile | None

    def __init__(self, app: Gateway) -> None:
        super().__init__(app)
        # sys.argv names __main__.py; run as a script that could not import its package from a clone.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]

    def setup(self, app: Gateway) -> None:
        self.log = self.log or ErrorLog(app.cfg, app.logs.error)
        super().setup(app)
        app.log = self.log

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
        if _fixed(new) != _fixed(old):
            self.app.place(self)
            self.cfg.set("bind", self.app.cfg.settings["bind"].get())  # so that gunicorn does not bind again
            super().reload()
            return
        self._stats["reloads"] += 1
        self.setup(self.app)
        self.num_workers = workers
        if new.pidfile != old.pidfile:
            self._move_pidfile(new.pidfile)
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
                listeners.check(listeners.added(new, self.LISTENERS, self.app.admin))
            logs = LogFiles.open(new)
            prepare_state(new)
            self.app.vault.fill(new)
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
            self.app.orders.change(lambda orders: orders.reloaded(mistakes))
        except (OrdersBusy, ValueError) as problem:
            self.log.warning("what came of the reload could not be noted: %s", problem)

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """The signals that came. A reload that a command asked for is one of them: workers may not be allowed to send
        it."""
        signals: list[int] = super().wait_for_signals(timeout)
        orders = self.app.orders.get()
        if orders.reloads_asked > orders.reloads_done and signal.SIGHUP not in signals:
            signals.append(signal.SIGHUP)
        return signals

    def murder_workers(self) -> None:
        """Called once a second: beside looking after the workers, see whether the certificates' files have changed."""
        super().murder_workers()
        try:
            if self.app.vault.refill(self.app.settings) is not None:
                self.log.info("certificates read again")
                self.app.warn_of_certificates()
        except SettingsError as problem:
            self.log.warning("certificates have changed but those before stay: %s", problem)

    def spawn_worker(self) -> Any:
        """Fork with signals blocked until the worker has its own handlers, or those of the master would eat them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WORKER_SIGNALS)
        try:
            pid = super().spawn_worker()
            self.WORKERS[pid].channel.in_master()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORKER_SIGNALS)

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
        super().stop(graceful)

    def handle_winch(self) -> None:
        """Stop the workers and keep the master, unless the signal is a terminal's."""
        if any(os.isatty(number) for number in (0, 1, 2)):
            self.log.info("WINCH ignored: started from a terminal")
            return
        self.num_workers = 0
        self.kill_workers(signal.SIGTERM)

    def _move_pidfile(self, path: Path | None) -> None:
        if self.pidfile is not None:
            self.pidfile.unlink()
        self.pidfile = None
        if path is not None:
            try:
                pidfile = Pidfile(str(path))
                pidfile.create(self.pid)
            except (OSError, RuntimeError) as problem:
                self.log.warning("pid file %s not written: %s", path, problem)
            else:
                self.pidfile = pidfile


def _fixed(settings: Settings) -> tuple[object, ...]:
    """What a worker cannot change while it runs."""
    return (
        settings.bind,
        settings.bind_plain,
        settings.admin,
        settings.user,
        settings.group,
        settings.secure,
        bool(settings.acme),
        settings.acme_directory,
        settings.state_dir,
    )
