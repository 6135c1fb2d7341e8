"""Units of systemd for a gateway, made of its settings."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.settings import Address, Settings
from proxy.settings.values.logged import datagrams_to

MARK: Final = "# Written by aragora-proxy install-service"
READ: Final = (
    *("bind", "bind_plain", "socket_mode", "user", "group", "graceful"),
    *("state_dir", "shared_certificates", "cache_dir", "spool_dir", "access_log", "error_log", "pidfile"),
)
"""The settings that units depend on."""
_BACKLOG: Final = 2048
_STOP_MARGIN: Final = 10
"""Seconds that systemd waits beyond `graceful` before it kills what still drains."""

_SERVICE: Final = """\
{mark} for {config}: `systemctl edit {name}` adds to it.

[Unit]
Description=Gateway ({config})
Requires={sockets}
Wants=network-online.target
After=network-online.target {sockets}

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=30
User={user}
Sockets={sockets}
ExecStart={program} --config {config}
# A file with a mistake fails the reload, and systemctl shows the mistake; the gateway goes on as it was.
ExecReload={program} check {config}
ExecReload=/bin/kill -HUP $MAINPID
# systemd does not wait by itself for a main process that another one has named, as after an upgrade.
ExecStop=-/bin/sh -c 'kill -TERM $$MAINPID && exec tail --pid=$$MAINPID -f /dev/null'
KillMode=mixed
TimeoutStopSec={stop_seconds}
Restart=on-failure
RestartSec=1
LimitNOFILE=65536
SyslogIdentifier={name}

RuntimeDirectory={name}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
StateDirectory={name}
StateDirectoryMode=0700
LogsDirectory={name}
{written}
UMask=0027
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=true
PrivateDevices=true
PrivateUsers=true
ProtectProc=invisible
ProcSubset=pid
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
NoNewPrivileges=true
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
RemoveIPC=true
LockPersonality=true
MemoryDenyWriteExecute=true
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# gunicorn gives its unix socket to the user that it has anyway
SystemCallFilter=@chown

[Install]
WantedBy=multi-user.target
"""
_SOCKET: Final = """\
{mark} for {config}. systemd holds the address: a restart of the
# gateway refuses no connection, and ports below 1024 need no privilege.

[Unit]
Description=Gateway ({config}): {what}

[Socket]
{streams}
SocketMode={mode:04o}
FileDescriptorName={role}
Service={name}.service
NoDelay=true
Backlog={backlog}

[Install]
WantedBy=sockets.target
"""
_SYSUSERS: Final = """\
{mark} for {config}.
u {user} - "Gateway" /var/lib/{name}
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A gateway as a service: its name, the account it runs as, the program and the settings file.

    `settings` are the values of those settings in `READ` that the file has.
    """

    name: str
    user: str
    program: Path
    config: Path
    settings: dict[str, Any]

    @property
    def sockets(self) -> dict[str, str]:
        """The units of its listeners, by name."""
        listeners = {"front": self._value("bind"), "plain": self._value("bind_plain")}
        units = {}
        for role, addresses in listeners.items():
            if addresses:
                suffix = "" if role == "front" else f"-{role}"
                units[f"{self.name}{suffix}.socket"] = _SOCKET.format(
                    mark=MARK,
                    config=self.config,
                    what="for clients" if role == "front" else "plain HTTP beside TLS",
                    streams="\n".join(_stream(address) for address in addresses),
                    mode=self._value("socket_mode"),
                    role=role,
                    name=self.name,
                    backlog=_BACKLOG,
                )
        return units

    @property
    def service(self) -> str:
        """The unit of the gateway itself."""
        written = sorted(set(self._written()))
        return _SERVICE.format(
            mark=MARK,
            name=self.name,
            user=self.user,
            program=self.program,
            config=self.config,
            sockets=" ".join(self.sockets),
            stop_seconds=int(self._value("graceful")) + _STOP_MARGIN,
            home="read-only" if self._in_home() else "true",
            written=f"ReadWritePaths={' '.join(map(str, written))}\n" if written else "",
        )

    @property
    def sysusers(self) -> str:
        """What makes its account: sysusers.d(5)."""
        return _SYSUSERS.format(mark=MARK, config=self.config, user=self.user, name=self.name)

    def _value(self, name: str) -> Any:
        return self.settings.get(name, getattr(_DEFAULTS, name))

    def _written(self) -> Iterator[Path]:
        """Directories that it writes to, but for those that systemd makes for it."""
        places = [self._value(name) for name in ("state_dir", "shared_certificates", "cache_dir", "spool_dir")]
        files = [self._value(name) for name in ("access_log", "error_log", "pidfile")]
        places += [
            Path(file).parent for file in files if file and file not in ("-", "off") and datagrams_to(str(file)) is None
        ]
        own = [Path(f"/{place}/{self.name}") for place in ("run", "var/lib", "var/log")]
        for place in places:
            if place and not any(place == one or one in place.parents for one in own):
                yield place

    def _in_home(self) -> bool:
        """Whether it is installed, or configured, where other services of the machine need not look."""
        homes = [Path("/home"), Path("/root"), Path("/run/user")]
        return any(home in path.parents for home in homes for path in (self.program, self.config))


_DEFAULTS: Final = Settings(workers=1)


def _stream(address: Address) -> str:
    """A number alone is IPv6 and IPv4, or IPv4 alone where there is no other."""
    if address.path:
        return f"ListenStream={address.path}"
    return f"ListenStream={address.port if address.host == '::' else address}"


def first_settings(name: str, upstream: str, email: str, domains: Iterable[str]) -> str:
    """A settings file to begin with: HTTPS by ACME if there are domains, else plain HTTP."""
    names = ", ".join(f'"{domain}"' for domain in domains)
    listeners = 'bind       = "[::]:443"\nbind_plain = "[::]:80"\n' if names else 'bind       = "[::]:80"\n'
    certificates = f'acme       = "{email}"\ndomain     = [{names}]\n' if names else ""
    return (
        "# docs: aragora-proxy man aragora-proxy.toml\n"
        f'upstream   = "{upstream}"\n{listeners}{certificates}'
        f'state_dir  = "/var/lib/{name}"\naccess_log = "/var/log/{name}/access.log"\n'
    )
