"""The commands for a running gateway: their arguments, and how each is carried out."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from proxy.commands import containers, services
from proxy.commands.catalogue import SERVICES
from proxy.commands.client import INTERRUPTED, PARTLY, SUCCESS, Admin, CommandError
from proxy.commands.parser import Parser
from proxy.commands.statistics import Reading
from proxy.commands.switch import await_drained, switch
from proxy.commands.view import view
from proxy.settings.values import web

_UNLIMITED = 10_000  # columns


def add_arguments(name: str, made: argparse.ArgumentParser) -> None:
    """The arguments of one command."""
    if name in SERVICES:
        services.add_arguments(name, made, _seconds)
    elif name == "switch":
        _add_switch_arguments(made)
    elif name in ("drain", "undrain"):
        made.add_argument("peer", metavar="PEER", help="an upstream's address, as shown by status")
    elif name in ("pause", "resume"):
        made.add_argument("route", metavar="ROUTE", help="a route or a service, as shown by status")
    elif name == "maintenance":
        made.add_argument("state", metavar="on|off", choices=("on", "off"))
    elif name == "containers":
        containers.add_arguments(made)
    elif name == "purge":
        _add_purge_arguments(made)
    if name in ("drain", "undrain", "maintenance"):
        made.add_argument("--route", metavar="ROUTE", help="only on this route; default: on all")
    if name == "pause":
        made.add_argument(
            "--wait", metavar="SECONDS", type=_seconds, help="longest time that a request waits; then 503 [30]"
        )
    if name == "drain":
        made.add_argument("--force", action="store_true", default=None, help="even if it is the last peer of a route")
        made.add_argument(
            "--wait", metavar="SECONDS", type=_seconds, help="wait up to this long for its connections to end"
        )
    if name == "top":
        made.add_argument("--interval", metavar="SECONDS", type=_seconds, default=1.0, help="time between readings [1]")
        made.add_argument("--count", metavar="N", type=int, default=0, help="stop after this many readings")
    elif name != "containers":
        made.add_argument("--json", action="store_true", help="print the gateway's response as JSON")
    where = made.add_argument_group("which gateway")
    where.add_argument(
        "--admin", metavar="ADDRESS", help="its admin address or command socket [the only gateway running]"
    )
    where.add_argument("--config", metavar="FILE", help="its settings file, which has the addresses and the token")
    where.add_argument("--token-file", metavar="FILE", help="file with the token of its admin address")


def _add_purge_arguments(made: argparse.ArgumentParser) -> None:
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--url", metavar="URL", help="of this address, query included; /path: on all hosts")
    which.add_argument("--prefix", metavar="URL", help="of all addresses that begin so")
    which.add_argument("--tag", metavar="TAG", help="with this tag in the application's Cache-Tag or Surrogate-Key")
    which.add_argument("--all", action="store_true", default=None, help="all of them")


def _add_switch_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "what",
        metavar="ROUTE|PEER",
        help="a route, or an upstream to replace on all its routes; both as shown by status",
    )
    made.add_argument("upstream", metavar="NEW-UPSTREAM", nargs="+", help="HOST:PORT or unix:PATH")
    made.add_argument(
        "--wait-ready",
        metavar="PATH",
        type=_path,
        help="path that must respond with 2xx; without it, accepting a connection is enough",
    )
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="longest wait for readiness; after it nothing is changed [60]",
    )
    made.add_argument(
        "--drain-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="longest wait for the old instance's connections to end [60]",
    )


def run(name: str, arguments: Sequence[str]) -> int:
    """Carry out one command. Returns the exit code."""
    try:
        parser = Parser(name)
        add_arguments(name, parser)
        given = parser.parse_args(arguments)
        if name == "containers":
            return containers.run(given, lambda: Admin.find(given.admin, given.config, given.token_file))
        admin = Admin.find(given.admin, given.config, given.token_file)
        if name == "top":
            return _top(admin, given)
        if name == "status":
            return _status(admin, given)
        if name == "token":
            return _token(admin, given)
        if name in SERVICES:
            return services.run(name, admin, given)
        return _order(name, admin, given)
    except CommandError as problem:
        print(f"aragora-proxy: {problem}", file=sys.stderr)
        return problem.code
    except KeyboardInterrupt:
        return SUCCESS if name == "top" else INTERRUPTED
    except SystemExit as ended:  # --help
        return int(ended.code or 0)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, more than 0 and at most 86400")
    return value


def _path(text: str) -> str:
    try:
        return str(web.PATH.read(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text}: {problem}") from None


def _console() -> Console:
    """For tables. A file or a pipe has no width, so lines that scripts search are not cut there."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED)


def _whole(console: Console, before: Reading | None, now: Reading) -> RenderableType:
    """As wide as the terminal, and as long as it has to be."""
    return view(before, now, console.width if console.is_terminal else None)


def _screenful(console: Console, before: Reading | None, now: Reading) -> RenderableType:
    """What fits the terminal."""
    return view(before, now, console.width, console.height) if console.is_terminal else _whole(console, before, now)


def _status(admin: Admin, given: argparse.Namespace) -> int:
    now = admin.status()
    if given.json:
        print(json.dumps(now, indent=2))
    else:
        console = _console()
        console.print(_whole(console, None, now))
    return SUCCESS


def _top(admin: Admin, given: argparse.Namespace) -> int:
    console = _console()
    before, now = None, admin.status()
    printed = 1
    # The terminal's alternate screen, so that its content comes back afterwards.
    with Live(_screenful(console, None, now), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while given.count == 0 or printed < given.count:
            time.sleep(given.interval)
            before, now = now, admin.status()
            live.update(_screenful(console, before, now), refresh=True)
            printed += 1
    if not console.is_terminal:
        console.line()  # the last reading has no line end
    return SUCCESS


def _token(admin: Admin, given: argparse.Namespace) -> int:
    token = admin.token()
    print(json.dumps({"token": token}) if given.json else token)
    return SUCCESS


def _order(name: str, admin: Admin, given: argparse.Namespace) -> int:
    def say(text: str) -> None:
        print(text, file=sys.stderr if given.json else sys.stdout, flush=True)

    code = SUCCESS
    if name == "switch":
        code, done = switch(
            admin, given.what, given.upstream, given.wait_ready, given.timeout, given.drain_timeout, say
        )
    else:
        done = admin.command(name, **_body(name, given))
        say(done["done"])
        if done["behind"]:
            say(f"workers {', '.join(map(str, done['behind']))} have not applied it yet")
            code = PARTLY
        elif name == "drain" and given.wait:
            busy = await_drained(admin, [given.peer], given.wait)
            say(
                f"{given.peer} still has {busy[given.peer]} connections"
                if busy
                else f"{given.peer} has no connections left"
            )
            code = PARTLY if busy else SUCCESS
    if given.json:
        print(json.dumps(done, indent=2))
    return code


def _body(name: str, given: argparse.Namespace) -> dict[str, Any]:
    if name == "drain":
        return {"peer": given.peer, "route": given.route, "force": given.force}
    if name == "undrain":
        return {"peer": given.peer, "route": given.route}
    if name == "pause":
        return {"route": given.route, "wait": given.wait}
    if name == "resume":
        return {"route": given.route}
    if name == "purge":
        return {"url": given.url, "prefix": given.prefix, "tag": given.tag, "all": given.all}
    if name == "maintenance":
        return {"on": given.state == "on", "route": given.route}
    return {}
