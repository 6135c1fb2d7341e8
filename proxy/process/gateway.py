"""The application as gunicorn knows it: its settings translated, and what happens at a start, a fork and an exit."""

import json
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from math import ceil
from time import monotonic
from typing import Any

from gunicorn import systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from proxy.admin.override_file import OverrideFile
from proxy.admin.overrides import OverrideRecord, Overrides
from proxy.admin.services import with_domains, with_services
from proxy.limits import Limits
from proxy.observe.marks import MarkKind
from proxy.observe.metrics import SLOTS, Board
from proxy.observe.reports import Reports
from proxy.process import fd_limits, listeners
from proxy.process.banner import banner
from proxy.process.certificate_store import CertificateStore, warnings
from proxy.process.config_segment import ConfigSegment
from proxy.process.listeners import Listeners, Role
from proxy.process.log_files import Channel, LogFiles
from proxy.process.open_listeners import OpenListeners
from proxy.process.privileges import acting_as, become_worker, owner, unreadable_modules
from proxy.process.service_manager import ServiceManager
from proxy.process.shared import Seat, Shared
from proxy.settings import Settings, SettingsError, load
from proxy.settings.environment import CONNECTED, FORMER_OVERRIDES, OVERRIDES, PAST

WORKER_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1}
"""Blocked in a worker until it has handlers for them."""

_EARLY = 2.0  # seconds: a worker that ends sooner never worked
_EARLY_DEATHS = 6  # of workers in a row, none of them alive: there is no point in going on
_HEARTBEAT = 30  # seconds without a sign of life until the master kills a worker


def version() -> str:
    """The installed version, or "source" when run from a clone that was never installed."""
    try:
        return metadata.version("aragora-gateway")
    except metadata.PackageNotFoundError:
        return "source"


def _kept(settings: Settings) -> tuple[Overrides, list[str]]:
    """What was deployed before this start, read with the rights of the workers, whose file it is."""
    if settings.state_dir is None:
        return Overrides(), []
    with acting_as(*owner(settings)):
        return OverrideFile(settings.state_dir).read()


class Gateway(BaseApplication):  # type: ignore[misc]
    """One gateway in its master process. `shared` is what the next worker is handed."""

    def __init__(self, settings: Settings, flags: Mapping[str, str | list[str]], worker: type, logs: LogFiles) -> None:
        carried = os.environ.pop(OVERRIDES, "") or os.environ.pop(FORMER_OVERRIDES, "")
        kept, self._unusable = (Overrides(), []) if carried else _kept(settings)
        self.shared = Shared(
            version=version(),
            admin_token=secrets.token_urlsafe(32).encode(),
            settings=settings,
            logs=logs,
            listeners=Listeners(),
            config=ConfigSegment(Settings),
            certificates=CertificateStore(),
            board=Board(json.loads(os.environ.pop(CONNECTED, "[]")), os.environ.pop(PAST, "")),
            reports=Reports(),
            overrides=OverrideRecord(carried or kept.encoded()),
            limits=Limits(settings.rate_keys, SLOTS),
        )
        self.log: Any = None
        self._flags = flags
        self._worker = worker
        self._listeners = OpenListeners()
        self._inherited = listeners.inherited()
        self._names = listeners.inherited_names()
        self._early_deaths = 0
        super().__init__(prog="proxy")
        # Now that gunicorn has a copy of the environment for a successor: workers have nothing to say to systemd.
        self.service_manager = ServiceManager(os.environ)

    @property
    def settings(self) -> Settings:
        return self.shared.settings

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

    # What the master does with it.

    def log_to(self, log: Any) -> None:
        """Write the gateway's own messages to this log."""
        self.log = log
        self._listeners.log_to(log, self.cfg)

    def read_again(self) -> Settings:
        """The settings a reload would run with. Raises SettingsError."""
        return load(self._flags, self.settings.config, self.shared.certificates.files)

    def adopt(self, settings: Settings) -> None:
        """Run with other settings from now on, and put them where running workers find them."""
        self.shared = replace(self.shared, settings=settings)
        self.do_load_config()
        self._listeners.log_to(self.log, self.cfg)
        self.shared.config.put(settings)

    def write_to(self, logs: LogFiles) -> None:
        """Log to other files from now on."""
        before = self.shared.logs
        self.shared = replace(self.shared, logs=logs)
        self.log.write_to(logs.error)
        before.close()

    def certified(self, settings: Settings) -> Settings:
        """These settings with the domains of deployed services, which need certificates too."""
        return with_domains(settings, self.shared.overrides.get().services)

    def warn_of_certificates(self) -> None:
        """Log what is wrong with the certificates, or soon will be."""
        for warning in warnings(self.shared.certificates.get(), self.certified(self.settings)):
            self.log.warning(warning)

    def refresh_certificates(self) -> None:
        """Read the certificates again if their files have changed."""
        try:
            if self.shared.certificates.refill(self.certified(self.settings)) is not None:
                self.log.info("certificates read again")
                self.warn_of_certificates()
        except SettingsError as problem:
            self.log.warning("certificate reload failed: %s; keeping the current certificates", problem)

    @property
    def listeners(self) -> Listeners:
        return self.shared.listeners

    @property
    def banner(self) -> str:
        """What listens and where requests go, in one line."""
        settings = with_services(self.settings, self.shared.overrides.get().services)
        return banner(self.shared.version, settings, self.listeners)

    def place(self, *, activated: bool, starting: bool = False) -> list[Any]:
        """Open the listeners of the settings, keeping every one that stays. Returns them all."""
        self._listeners.place(self.settings, activated=activated, starting=starting)
        self.shared = replace(self.shared, listeners=self._listeners.open)
        if not starting:
            self.service_manager.status(self.banner)
        return self.listeners.all

    def close_unix_sockets(self, *roles: Role) -> list[Any]:
        """At the end of the service: remove the unix sockets of these roles. Returns the listeners that are left."""
        return self._listeners.close_unix_sockets(roles, self.settings)

    # gunicorn's hooks.

    def _on_starting(self, arbiter: Any) -> None:
        """Without this gunicorn would write its own pid file and bind the front itself, whatever is in its place."""
        arbiter.write_pidfile()
        self.shared.overrides.freeze(frozen=bool(arbiter.master_pid))
        if not self._inherited:
            allowed = listeners.permissions(self.settings)
            for address in self.settings.bind:
                try:
                    arbiter.LISTENERS = [*arbiter.LISTENERS, listeners.bound(address, allowed, self.cfg, self.log)]
                except OSError as problem:
                    raise SettingsError([listeners.mistake(address, problem)]) from None

    def _when_ready(self, arbiter: Any) -> None:
        if self._inherited:
            self._listeners.open = listeners.adopt(arbiter.LISTENERS, self._names, self.settings)
        else:
            self._listeners.open = Listeners({Role.FRONT: arbiter.LISTENERS})
        arbiter.LISTENERS = self.place(activated=arbiter.systemd, starting=True)
        if not arbiter.systemd and listeners.added(self.settings, self.listeners):
            raise HaltServer("cannot listen on all addresses: see above", 1)
        arbiter.log.info("%s", self.banner)
        self.service_manager.ready(self.banner)
        fd_limits.raise_limit(self.settings, arbiter.log)
        if os.geteuid() == 0 and not self.settings.user:
            arbiter.log.warning("workers run as root: name an unprivileged account with --user")
        for folder in unreadable_modules(self.settings):
            arbiter.log.warning(
                "workers may not read %s: what they load when it is needed, as for certificates, will fail; install "
                "the gateway where their account can read it, or name another with --user",
                folder,
            )
        self.warn_of_certificates()
        for fault in self._unusable:
            arbiter.log.warning("what was deployed before cannot all be used: %s", fault)

    def _pre_fork(self, arbiter: Any, worker: Any) -> None:
        slot = self.shared.board.take(other.seat.slot for other in arbiter.WORKERS.values())
        worker.shared = self.shared
        worker.seat = Seat(slot, Channel(), monotonic())
        self.shared.limits.begin(slot)

    def _post_fork(self, arbiter: Any, worker: Any) -> None:
        self.shared.config.read_only()
        self.shared.certificates.read_only()
        worker.seat.channel.in_worker()
        for other in arbiter.WORKERS.values():
            other.seat.channel.close()
        sys.stderr = self.log.stream()
        if os.geteuid() == 0 and owner(self.settings)[0] != 0:
            os.setsid()  # or it could type into the terminal that root has started the master from
        become_worker(self.settings)

    def _worker_starts(self, worker: Any) -> None:
        self.shared.board.counters(worker.seat.slot).begin()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def _child_exit(self, arbiter: Any, worker: Any) -> None:
        seat: Seat = worker.seat
        seat.channel.close()
        self.shared.board.leave(seat.slot)
        self.shared.reports.clear(seat.slot)
        self.shared.limits.end(seat.slot)
        if seat.terminating:
            return
        self.shared.board.note(MarkKind.FAULT, f"worker {worker.pid} died and was replaced")
        now = monotonic()
        others = arbiter.WORKERS.values()
        if now - seat.born > _EARLY or any(now - other.seat.born > _EARLY for other in others):
            self._early_deaths = 0
            return
        self._early_deaths += 1
        if self._early_deaths >= _EARLY_DEATHS and arbiter.LISTENERS:
            raise HaltServer("workers die right after their start", Arbiter.WORKER_BOOT_ERROR)

    def _pre_exec(self, arbiter: Any) -> None:
        arbiter.cfg.env_orig["LISTEN_FDNAMES"] = self.listeners.names
        arbiter.cfg.env_orig[CONNECTED] = json.dumps(sorted(self.shared.board.connected()))
        arbiter.cfg.env_orig[PAST] = self.shared.board.past.hand_over()
        arbiter.cfg.env_orig[OVERRIDES] = self.shared.overrides.get().lasting().encoded()
        if "WATCHDOG_PID" in arbiter.cfg.env_orig:
            arbiter.cfg.env_orig["WATCHDOG_PID"] = str(os.getpid())
        if arbiter.systemd:
            listeners.renumber(arbiter.LISTENERS, systemd.SD_LISTEN_FDS_START)
