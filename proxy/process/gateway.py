"""What master and workers of one gateway share, and what gunicorn is told of its settings."""

import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from math import ceil
from time import monotonic
from typing import Any

from gunicorn import systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from proxy.admin.overrides import ENVIRONMENT, OverrideRecord
from proxy.limits import Limits
from proxy.observe.metrics import SLOTS, Board
from proxy.observe.reports import Reports
from proxy.process import fd_limits as descriptors
from proxy.process import listeners
from proxy.process.certificate_store import CertificateStore, warnings
from proxy.process.config_segment import ConfigSegment
from proxy.process.listeners import Kind, Listeners
from proxy.process.log_files import Channel, LogFiles
from proxy.process.privileges import owner
from proxy.process.unix_sockets import Permissions
from proxy.settings import Address, Settings, SettingsError, load

WORKER_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1}
"""Those that are blocked in a worker until it has handlers for them."""

_EARLY = 2.0  # seconds: a worker that ends sooner never worked
_EARLY_DEATHS = 6  # of workers in a row, none of them alive: there is no point in going on
_HEARTBEAT = 30  # seconds without a sign of life until the master kills a worker


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
        self.overrides = OverrideRecord(os.environ.pop(ENVIRONMENT, ""))
        self.limits = Limits(settings.rate_keys, SLOTS)
        self.token = secrets.token_urlsafe(32).encode()
        """What proves that one may command where no token was given: `python -m proxy token` prints it."""
        self.log: Any = None
        self._flags = flags
        self._worker = worker
        self._config_segment = ConfigSegment(Settings)
        self.certificate_store = CertificateStore()
        self.listeners = Listeners()
        self._inherited = listeners.inherited()
        self._names = listeners.inherited_names()
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
            "errorlog": settings.error_log,
            "loglevel": settings.log_level,
            "accesslog": None,
            "proc_name": "aragora-proxy",
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
            "on_starting": self._on_starting,
            "when_ready": self._when_ready,
            "pre_exec": self._pre_exec,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        """gunicorn asks for a WSGI callable; there is none behind a gateway."""
        return None

    def is_admin(self, listener: Any) -> bool:
        """Whether this listener is for the admin address, or for commands."""
        return self.listeners.kind(listener) in (Kind.ADMIN, Kind.CONTROL)

    def is_private(self, listener: Any) -> bool:
        """Whether those who can connect to it have proved thereby that they may command."""
        if self.listeners.kind(listener) is Kind.CONTROL:
            return True
        settings = self.settings
        closed = settings.admin_token_file is None and not settings.socket_mode & 0o006
        return closed and bool(listener.FAMILY == socket.AF_UNIX)

    def is_plain(self, listener: Any) -> bool:
        """Whether this is a listener for plain HTTP beside TLS."""
        return self.settings.secure and self.listeners.kind(listener) is Kind.PLAIN

    def read_again(self) -> Settings:
        """The settings a reload would run with. Raises SettingsError."""
        return load(self._flags, self.settings.config, self.certificate_store.files)

    def adopt(self, settings: Settings) -> None:
        """Run with other settings from now on; in the master, workers are handed them too when told."""
        self.settings = settings
        self.do_load_config()

    def publish(self) -> None:
        """Lay the current settings where running workers find them."""
        self._config_segment.put(self.settings)

    def reloaded(self) -> Settings:
        """In a worker, on SIGHUP: the settings the master checked. The level of its messages follows them here."""
        settings = self._config_segment.get()
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
        for warning in warnings(self.certificate_store.get(), self.settings):
            self.log.warning(warning)

    def place(self, arbiter: Any) -> None:
        """Make the arbiter's listeners those of the settings, keeping open every one that stays."""
        before = self.listeners
        self.listeners = listeners.place(self.settings, before, self._bound, self._adjust, activated=arbiter.systemd)
        control = self._control(before.one(Kind.CONTROL))
        if control is not None:
            self.listeners = replace(self.listeners, of={**self.listeners.of, Kind.CONTROL: [control]})
        for listener in before.all:
            if listener not in self.listeners.all:
                self.log.info("No longer listening at: %s", listener)
                self._close(listener, before.kind(listener))
        arbiter.LISTENERS = self.listeners.all

    def _control(self, before: Any) -> Any:
        try:
            return listeners.control(self.settings, self.listeners, before, self._bound, self._adjust)
        except OSError as problem:
            self.log.warning(
                "commands are taken with the token only (--admin-socket %s): %s: %s",
                self.settings.admin_socket,
                problem.filename or "its socket",
                problem.strerror,
            )
            return None

    def _bound(self, address: Address, allowed: Permissions) -> Any:
        try:
            listener = listeners.bound(address, allowed, self.cfg, self.log)
        except OSError as problem:
            self.log.error(listeners.mistake(address, problem))  # noqa: TRY400 - one line
            return None
        self.log.info("Listening at: %s", listener)
        return listener

    def _adjust(self, listener: Any, allowed: Permissions) -> None:
        try:
            listeners.adjust(listener, allowed)
        except OSError as problem:
            self.log.warning("permissions of %s stay as they are: %s", listener, problem.strerror)

    def close(self, kinds: Sequence[Kind]) -> list[Any]:
        """At the end of the service: listen no longer on unix sockets of these kinds; the listeners that are left."""
        left = self.listeners.all
        for listener in self.listeners.all:
            if self.listeners.kind(listener) in kinds and isinstance(listener.getsockname(), str):
                self._close(listener, self.listeners.kind(listener))
                left.remove(listener)
        return left

    def _close(self, listener: Any, kind: Kind) -> None:
        try:
            listeners.close(listener, None if kind is Kind.CONTROL else owner(self.settings))
        except OSError as problem:
            self.log.warning("%s is left behind: %s", listener, problem.strerror)

    def _on_starting(self, arbiter: Any) -> None:
        """gunicorn would write its own pid file and bind the front itself, whatever is in their place."""
        arbiter.write_pidfile()
        if not self._inherited:
            allowed = listeners.permissions(self.settings)
            for address in self.settings.bind:
                try:
                    arbiter.LISTENERS = [*arbiter.LISTENERS, listeners.bound(address, allowed, self.cfg, self.log)]
                except OSError as problem:
                    raise SettingsError([listeners.mistake(address, problem)]) from None

    def _when_ready(self, arbiter: Any) -> None:
        if self._inherited:
            self.listeners = listeners.adopt(arbiter.LISTENERS, self._names, self.settings)
        else:
            self.listeners = Listeners({Kind.FRONT: arbiter.LISTENERS})
        self.place(arbiter)
        if not arbiter.systemd and listeners.added(self.settings, self.listeners):
            raise HaltServer("not all addresses could be had", 1)
        descriptors.raise_limit(self.settings, arbiter.log)
        if os.geteuid() == 0 and not self.settings.user:
            arbiter.log.warning("workers run as root: name an unprivileged account with --user")
        self.warn_of_certificates()

    def _pre_fork(self, arbiter: Any, worker: Any) -> None:
        worker.born = monotonic()
        worker.told = False  # to end
        worker.channel = Channel()
        worker.slot = self.board.take(other.slot for other in arbiter.WORKERS.values())
        self.limits.begin(worker.slot)

    def _post_fork(self, arbiter: Any, worker: Any) -> None:
        self._config_segment.read_only()
        self.certificate_store.read_only()
        worker.channel.in_worker()
        for other in arbiter.WORKERS.values():
            other.channel.close()
        sys.stderr = self.log.stream()
        if os.geteuid() == 0 and owner(self.settings)[0] != 0:
            os.setsid()  # or it could type into the terminal that root has started the master from

    def _worker_starts(self, worker: Any) -> None:
        self.board.counters(worker.slot).begin()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def _child_exit(self, arbiter: Any, worker: Any) -> None:
        worker.channel.close()
        self.board.leave(worker.slot)
        self.reports.clear(worker.slot)
        self.limits.end(worker.slot)
        if worker.told:
            return
        now = monotonic()
        if now - worker.born > _EARLY or any(now - other.born > _EARLY for other in arbiter.WORKERS.values()):
            self._early_deaths = 0
            return
        self._early_deaths += 1
        if self._early_deaths >= _EARLY_DEATHS and arbiter.LISTENERS:
            raise HaltServer("workers die as soon as they have started", Arbiter.WORKER_BOOT_ERROR)

    def _pre_exec(self, arbiter: Any) -> None:
        arbiter.cfg.env_orig["LISTEN_FDNAMES"] = self.listeners.names
        arbiter.cfg.env_orig[ENVIRONMENT] = self.overrides.get().lasting().encoded()
        if arbiter.systemd:
            listeners.renumber(arbiter.LISTENERS, systemd.SD_LISTEN_FDS_START)
