"""`doctor`: is everything that the service needs in order, and what to do where it is not."""

import argparse
import dataclasses
import json
import os
import resource
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from aragora.agents import available
from aragora.agents.prices import Prices
from aragora.commands import answering, exposure
from aragora.commands.exit_codes import FAILED, FINE, Parser
from aragora.commands.findings import Finding
from aragora.errors import AragoraError, SettingsError
from aragora.settings import Settings, load, unknown
from aragora.storage import last_backup, migrations
from aragora.storage.engine import Database, first_line, open_database

TOKEN = 16  # characters that a token needs at least to be no invitation
DESCRIPTORS = 65_535  # open files that the deployment guide grants a production process
SPARE = 256  # descriptors beside the connections: files, database, agents
GATEWAY_FILE = Path("/etc/aragora/proxy.toml")  # where the installer puts it
DISK = 1 << 30  # free bytes below which a warning is due
BACKUP = 900  # seconds after which a copy shows too old a moment
WAIT = 2.0  # seconds for one connection

Check = Callable[[Settings, bool], Iterator[Finding]]


def add_doctor(doctor: Parser) -> None:
    """The arguments of `doctor`."""
    doctor.add_argument("--production", action="store_true", help="demand what a production service needs")
    doctor.add_argument(
        "--gateway",
        type=Path,
        metavar="FILE",
        default=GATEWAY_FILE if GATEWAY_FILE.exists() else None,
        help=f"our gateway's settings, examined with --production [{GATEWAY_FILE}, where it exists]",
    )
    doctor.add_argument("--ask", action="store_true", help="ask the model of each available agent one word")
    doctor.add_argument("--json", action="store_true", help="JSON instead of words")


def run(given: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print each finding; 1 when one is a failure."""
    findings = list(examine(environ, production=given.production))
    if given.production:
        findings += exposure.gateway(given.gateway)
    if given.ask:
        findings += answering.models(environ)
    if given.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.state:<8} {finding.name}: {finding.detail}")
            if finding.mend:
                print(f"{'':<8} → {finding.mend}")
    return FAILED if any(finding.state == "failure" for finding in findings) else FINE


def examine(environ: Mapping[str, str], *, production: bool) -> Iterator[Finding]:
    """Every check in turn; one that itself fails is a finding."""
    try:
        settings = load(environ)
    except SettingsError as error:
        yield Finding("settings", "failure", str(error), "correct the variable; docs/reference/settings.md lists all")
        return
    warnings = list(unknown(environ))
    for warning in warnings:
        yield Finding("settings", "warning", warning, "correct or remove the variable")
    if not warnings:
        yield Finding("settings", "ok", f"ARAGORA_ENV is {settings.env}")
    for check in CHECKS:
        try:
            yield from check(settings, production)
        except (AragoraError, OSError, sqlite3.Error) as error:
            yield Finding(check.__name__.strip("_"), "failure", first_line(error), "see the message")


def _access(settings: Settings, production: bool) -> Iterator[Finding]:
    if production and not settings.production:
        yield Finding("environment", "failure", f"ARAGORA_ENV is {settings.env}", "set ARAGORA_ENV=production")
    short = [token for token in settings.api_tokens if len(token) < TOKEN]
    if not settings.api_tokens:
        state: Literal["failure", "warning"] = "failure" if production else "warning"
        mend = "set ARAGORA_API_TOKEN, as from: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        yield Finding("token", state, "none: every client that reaches the server may use it", mend)
    elif short:
        yield Finding(
            "token",
            "failure" if production else "warning",
            f"{len(short)} of {len(settings.api_tokens)} shorter than {TOKEN} characters",
            "take a longer one",
        )
    else:
        yield Finding("token", "ok", f"{len(settings.api_tokens)} set")


def _spending(settings: Settings, production: bool) -> Iterator[Finding]:
    prices = Prices.load(settings.prices if settings.prices != Path() else None)
    ready = [info.name for info in available(settings.agents_environ) if info.available]
    paid = [name for name in ready if prices.of(name, "").output]
    if paid and not (settings.daily_money or settings.daily_tokens or settings.daily_questions):
        state: Literal["warning", "ok"] = "warning" if production else "ok"
        mend = "set ARAGORA_DAILY_MONEY, and give others tokens of their own: aragora tokens add NAME"
        yield Finding("spending", state, f"unbounded for administrators: {', '.join(paid)}", mend if production else "")
    else:
        yield Finding("spending", "ok", "bounded, or free")


def _data_directory(settings: Settings, production: bool) -> Iterator[Finding]:
    path = settings.data_dir
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        mend = f"chown it to the service's user, or name another in ARAGORA_DATA_DIR ({path})"
        yield Finding("data directory", "failure", f"cannot write {existing}", mend)
        return
    free = shutil.disk_usage(existing).free
    if free < DISK:
        yield Finding("data directory", "warning", f"{path}: {free >> 20} MiB free", "make room on that disk")
    elif production and path.exists() and path.stat().st_mode & (stat.S_IRWXO):
        yield Finding("data directory", "warning", f"{path} is open to every user", f"chmod 750 {path}")
    else:
        yield Finding("data directory", "ok", f"{path}, {free >> 30} GiB free")


def _database(settings: Settings, _production: bool) -> Iterator[Finding]:
    database = open_database(settings)
    try:
        where = str(database.path) if database.path is not None else "PostgreSQL"
        if database.path is not None and not database.path.exists():
            yield Finding("database", "ok", f"{where}: none yet, the first start makes it")
            return
        began = time.perf_counter()
        found = migrations.revision(database)
        took = (time.perf_counter() - began) * 1000
        yield Finding("database", "ok", f"{where} answers in {took:.1f} ms")
        if found == migrations.HEAD:
            yield Finding("migrations", "ok", f"revision {found}")
        elif found is not None and found > migrations.HEAD:
            detail = f"revision {found} was made by a newer version; this one knows {migrations.HEAD}"
            yield Finding("migrations", "failure", detail, "install the newer version")
        else:
            state: Literal["warning", "failure"] = "warning" if settings.migrate else "failure"
            yield Finding("migrations", state, f"revision {found}, wanted {migrations.HEAD}", "run aragora migrate")
        yield from _sqlite(database) if database.path is not None else _clock(database)
    except AragoraError as error:
        mend = "is it running, and are host, user and password in DATABASE_URL right?"
        yield Finding("database", "failure", error.message, mend if database.path is None else "see the message")
    finally:
        database.close()


def _sqlite(database: Database) -> Iterator[Finding]:
    with database.reading() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if problem != "ok":
        yield Finding("database file", "failure", str(problem)[:200], "restore a backup: aragora restore FILE --force")
    elif mode != "wal":
        mend = "keep it on a local disk: network file systems cannot do WAL"
        yield Finding("database file", "failure", f"journal mode {mode} instead of wal", mend)
    else:
        yield Finding("database file", "ok", "sound, journal mode wal")


def _clock(database: Database) -> Iterator[Finding]:
    with database.reading() as connection:
        away = abs(
            float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()) - time.time()
        )
    if away > 2:
        yield Finding(
            "clock", "warning", f"{away:.1f} s away from the database's", "let both follow NTP: event times show it"
        )
    else:
        yield Finding("clock", "ok", "agrees with the database's")


def _redis(settings: Settings, production: bool) -> Iterator[Finding]:
    if not settings.redis_url:
        if production and settings.database_url.startswith("postgres"):
            mend = "several machines see changes sooner with ARAGORA_REDIS_URL"
            yield Finding("redis", "warning", "not configured: changes are found by polling", mend)
        return
    try:
        import redis
    except ImportError:
        yield Finding(
            "redis", "failure", "ARAGORA_REDIS_URL is set, its client is missing", "install aragora-gateway[redis]"
        )
        return
    try:
        with redis.Redis.from_url(settings.redis_url, socket_timeout=WAIT, socket_connect_timeout=WAIT) as client:
            client.ping()
        yield Finding("redis", "ok", "answers")
    except (redis.RedisError, ValueError) as error:
        yield Finding("redis", "failure", first_line(error), "is it running, and is ARAGORA_REDIS_URL right?")


def _audit_log(settings: Settings, production: bool) -> Iterator[Finding]:
    path = settings.audit_log
    if not path:
        if production:
            yield Finding("audit log", "failure", "off", "set ARAGORA_AUDIT_LOG to a file, or to -")
        return
    file = Path(path).absolute()
    if path != "-" and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
        mend = "name a file that the service's user may write in ARAGORA_AUDIT_LOG"
        yield Finding("audit log", "failure", f"cannot write {file}", mend)
    else:
        yield Finding("audit log", "ok", "standard output" if path == "-" else str(file))


def _backups(settings: Settings, production: bool) -> Iterator[Finding]:
    last = last_backup(settings)
    if last is not None and time.time() - last.at < BACKUP:
        yield Finding("backup", "ok", f"{(time.time() - last.at) / 60:.0f} min old, {last.path}")
    elif production:
        detail = "none was made here" if last is None else f"the last one is {(time.time() - last.at) / 3600:.1f} h old"
        yield Finding("backup", "warning", detail, "systemctl enable --now aragora-backup.timer, or aragora backup")


def _descriptors(settings: Settings, production: bool) -> Iterator[Finding]:
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A watcher is one connection; a debate holds one to each agent that answers.
    needed = max(settings.worker_connections + SPARE, DESCRIPTORS if production else 0)
    if limit == resource.RLIM_INFINITY or limit >= needed:
        yield Finding("open files", "ok", f"{limit} allowed")
    else:
        state: Literal["warning", "failure"] = "failure" if limit < settings.worker_connections + SPARE else "warning"
        mend = f"ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit (hard limit {hard})"
        yield Finding("open files", state, f"{limit} allowed, {needed} wanted", mend)


def _agents(settings: Settings, _production: bool) -> Iterator[Finding]:
    infos = list(available(settings.agents_environ))
    ready = [info.name for info in infos if info.available]
    missing = {info.missing for info in infos if info.missing}
    if not [name for name in ready if name != "demo"]:
        mend = f"set one of {', '.join(sorted(missing))}" if missing else ""
        yield Finding("agents", "warning", "only the offline demo agents can run", mend)
    else:
        yield Finding("agents", "ok", ", ".join(ready))


CHECKS: tuple[Check, ...] = (
    _access,
    _spending,
    exposure.way_in,
    exposure.ports,
    _audit_log,
    _data_directory,
    _database,
    _backups,
    _redis,
    _descriptors,
    _agents,
)
