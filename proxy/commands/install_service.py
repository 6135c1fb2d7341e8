"""`aragora-proxy install-service`: the gateway as a service of systemd, in front of any application."""

import argparse
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.commands.catalogue import INSTALL_SERVICE as NAME
from proxy.commands.client import FAILED, SUCCESS, USAGE, CommandError
from proxy.commands.parser import Parser
from proxy.commands.service_units import MARK, READ, Service, first_settings
from proxy.settings import SettingsError, load_some
from proxy.settings.environment import PREFIX
from proxy.settings.values import kinds, web

_UNITS: Final = Path("/etc/systemd/system")
_SYSUSERS: Final = Path("/etc/sysusers.d")
_SERVICE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SECONDS: Final = 120.0  # that a step of systemd's may take


def add_arguments(made: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    made.add_argument("file", metavar="FILE", nargs="?", help="the settings file [/etc/NAME.toml]")
    made.add_argument("--name", metavar="NAME", default="aragora-proxy", help="of the service [aragora-proxy]")
    made.add_argument("--user", metavar="ACCOUNT", help="existing account to run as [NAME, which is made]")
    made.add_argument("--upstream", metavar="ADDRESS", help="the application, for a settings file that is written")
    made.add_argument("--acme", metavar="EMAIL", help="obtain certificates, in that file")
    made.add_argument("--domain", metavar="NAME", action="append", help="a host to obtain one for; repeatable")
    made.add_argument("--root", metavar="DIRECTORY", type=Path, help="write below this directory, as for an image [/]")
    made.add_argument("--now", action="store_true", help="make the account, enable and start the service as well")


def run(arguments: Sequence[str]) -> int:
    """Write the units, and start them with `--now`. Returns the exit code."""
    parser = Parser(NAME)
    add_arguments(parser)
    try:
        _install(parser.parse_args(arguments))
    except CommandError as problem:
        print(f"aragora-proxy: {problem}", file=sys.stderr)
        return problem.code
    except SettingsError as problem:
        for mistake in problem.mistakes:
            print(f"aragora-proxy: {mistake}", file=sys.stderr)
        return USAGE
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    return SUCCESS


def _install(given: argparse.Namespace) -> None:
    if not _SERVICE_NAME.fullmatch(given.name):
        raise CommandError(f"--name {given.name}: expected up to 31 lower-case letters, digits and -", USAGE)
    if given.now and given.root:
        raise CommandError("--now starts a service of this machine, --root writes for another: remove one", USAGE)
    if given.user and not given.root and not _is_account(given.user):
        raise CommandError(f"--user {given.user}: no such account; leave it out, and one is made", USAGE)
    root = given.root or Path("/")
    config = Path(given.file or f"/etc/{given.name}.toml").absolute()
    there = _below(root, config)
    if not there.exists():
        _write(there, _first(given, config))
        print(there)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    settings = load_some(READ, there, variables)
    if settings.get("user") or settings.get("group"):
        raise CommandError(f"{config}: user and group: the unit has the account; remove both, or use --user", USAGE)
    service = Service(given.name, given.user or given.name, _program(), config, settings)
    files = {_UNITS / f"{given.name}.service": service.service}
    files |= {_UNITS / name: text for name, text in service.sockets.items()}
    if not given.user:
        files[_SYSUSERS / f"{given.name}.conf"] = service.sysusers
    for path in files:
        _refuse_foreign(_below(root, path))
    for path, text in files.items():
        _write(_below(root, path), text)
        print(_below(root, path))
    _start(service, now=given.now)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _first(given: argparse.Namespace, config: Path) -> str:
    """The settings file to begin with. Raises CommandError."""
    if not given.upstream:
        raise CommandError(f"{config}: no such file; write it, or name the application with --upstream", USAGE)
    if bool(given.acme) != bool(given.domain):
        raise CommandError("--acme and --domain go together: add the other one", USAGE)
    for flag, kind, raw in (
        ("--upstream", kinds.PEERS, [given.upstream]),
        ("--acme", web.EMAIL, given.acme or ""),
        ("--domain", web.DOMAINS, given.domain or []),
    ):
        try:
            kind.read(raw)
        except ValueError as problem:
            raise CommandError(f"{flag} {raw}: {problem}", USAGE) from None
    return first_settings(given.name, given.upstream, given.acme or "", given.domain or ())


def _program() -> Path:
    """The command that this one is, which the unit starts. Raises CommandError if only this account may run it."""
    program = Path(sys.prefix) / "bin" / "aragora-proxy"
    if not program.exists():
        raise CommandError(f"{program}: no such program; install aragora-gateway with pip in this environment", FAILED)
    closed = next((path for path in program.parents if not path.stat().st_mode & stat.S_IXOTH), None)
    if closed is not None:
        raise CommandError(
            f"{program}: other accounts cannot enter {closed}; install it elsewhere: python3 -m venv /opt/gateway && "
            "/opt/gateway/bin/pip install aragora-gateway",
            FAILED,
        )
    return program


def _is_account(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _refuse_foreign(path: Path) -> None:
    """Raises CommandError for a unit that this command has not written."""
    try:
        foreign = path.exists() and not path.read_text().startswith(MARK)
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(f"{path}: cannot be read: {problem}", FAILED) from None
    if foreign:
        raise CommandError(f"{path}: was not written by this command; choose another --name, or remove it", FAILED)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise CommandError(
            f"{path}: cannot be written: {problem.strerror}; run this as root, or with --root", FAILED
        ) from None


def _start(service: Service, *, now: bool) -> None:
    """Start the service, or print how. Raises CommandError."""
    units = [*service.sockets, f"{service.name}.service"]
    steps = [["systemd-sysusers"], ["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", *units]]
    if not now:
        print("to start it:")
        for step in steps:
            print("  " + " ".join(step))
        return
    for step in steps:
        try:
            subprocess.run(step, check=True, timeout=_SECONDS)  # noqa: S603 - systemd's own commands
        except (OSError, subprocess.SubprocessError) as problem:
            raise CommandError(f"{problem}; journalctl --unit {service.name} has the gateway's messages") from None
