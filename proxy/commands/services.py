"""The commands for services: deploy, rollout, remove, list."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from proxy.commands.client import PARTLY, SUCCESS, USAGE, Admin, CommandError
from proxy.commands.deployment import Deployment, drained, peers_of

Seconds = Callable[[str], float]


def add_arguments(name: str, parser: argparse.ArgumentParser, seconds: Seconds) -> None:
    """The arguments of one of these commands; `seconds` reads a duration."""
    if name != "list":
        parser.add_argument("service", metavar="NAME", help="the service's name")
    if name == "deploy":
        parser.add_argument(
            "--target",
            metavar="ADDRESS",
            action="append",
            required=True,
            help="the application: HOST:PORT or unix:PATH; repeatable",
        )
        parser.add_argument(
            "--host", metavar="HOST", action="append", help="serve this host; repeatable; '*': any host [any host]"
        )
        parser.add_argument("--path", metavar="PATH", help="serve what begins with this path [/]")
        parser.add_argument(
            "--health-path",
            metavar="PATH",
            help="path that must respond with 200-399 before the target serves, and that is probed from then on; "
            "without one, any response but 5xx is enough",
        )
        parser.add_argument(
            "--tls",
            action=argparse.BooleanOptionalAction,
            help="obtain certificates for the hosts by ACME; the gateway has to have the setting acme",
        )
    if name == "rollout":
        parser.add_argument("--target", metavar="ADDRESS", action="append", help="the new instance; repeatable")
        parser.add_argument("--percent", metavar="N", type=int, help="so many of a hundred clients, by their address")
        parser.add_argument(
            "--allow", metavar="COOKIE=VALUE,...", help="clients with one of these values of the cookie"
        )
        parser.add_argument("--end", action="store_true", default=None, help="end it: all go to the service's target")
    if name in ("deploy", "rollout"):
        parser.add_argument(
            "--timeout",
            metavar="SECONDS",
            type=seconds,
            default=60.0,
            help="longest wait for readiness; after it nothing is changed [60]",
        )
    if name in ("deploy", "rollout", "remove"):
        parser.add_argument(
            "--drain-timeout",
            metavar="SECONDS",
            type=seconds,
            default=60.0,
            help="longest wait for the old target's connections to end [60]",
        )


def run(name: str, admin: Admin, given: argparse.Namespace) -> int:
    """Carry out one of these commands. Returns the exit code. Raises CommandError."""
    if name == "list":
        return _list(admin, given)

    def say(text: str) -> None:
        print(text, file=sys.stderr if given.json else sys.stdout, flush=True)

    code, done = _remove(admin, given, say) if name == "remove" else _deploy(name, admin, given, say)
    if given.json:
        print(json.dumps(done, indent=2))
    return code


def _deploy(
    name: str, admin: Admin, given: argparse.Namespace, say: Callable[[str], None]
) -> tuple[int, dict[str, Any]]:
    wanted = {"name": given.service, "target": given.target}
    if name == "rollout":
        wanted |= {"percent": given.percent, "allow": given.allow, "end": given.end}
    else:
        if given.host and "*" in given.host and len(given.host) > 1:
            raise CommandError("--host '*' means any host: give it alone, or name the hosts", USAGE)
        host = given.host and [one for one in given.host if one != "*"]
        wanted |= {"host": host, "path": given.path, "health_path": given.health_path, "tls": given.tls}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    deployment = Deployment(admin, name, wanted, given.timeout, given.drain_timeout, say)
    return deployment.run(), deployment.done


def _remove(admin: Admin, given: argparse.Namespace, say: Callable[[str], None]) -> tuple[int, dict[str, Any]]:
    before = peers_of(admin.status())
    done = admin.command("remove", name=given.service)
    say(done["done"])
    if done["behind"]:
        say(f"workers {', '.join(map(str, done['behind']))} have not applied it yet")
        return PARTLY, done
    busy = drained(admin, before, given.drain_timeout)
    for peer, count in busy.items():
        say(f"{peer} still has {count} connections after {given.drain_timeout:g} s")
    return PARTLY if busy else SUCCESS, {**done, "busy": busy}


def _list(admin: Admin, given: argparse.Namespace) -> int:
    status = admin.status()
    services = status["services"]
    if given.json:
        print(json.dumps(services, indent=2))
        return SUCCESS
    routes = {route["name"]: route for route in status["routes"]}
    for service in services:
        print("\n".join([*_lines(service), *_held_up(routes.get(service["name"]))]))
    if not services:
        print("nothing is deployed")
    return SUCCESS


def _held_up(route: dict[str, Any] | None) -> list[str]:
    """What keeps requests from a service's target at the moment."""
    return [f"  {what}" for what in ("maintenance", "paused") if route is not None and route[what]]


def _lines(service: dict[str, Any]) -> list[str]:
    where = f"{', '.join(service['host']) or 'any host'} {service['path']}"
    lines = [f"{service['name']}: {where} -> {', '.join(service['target'])}"]
    if service["labelled"]:
        lines.append("  found by labels of containers")
    if service["tls"]:
        lines.append("  certificates by ACME")
    if service["health_path"]:
        lines.append(f"  probed at {service['health_path']}")
    if service["rollout"]:
        rollout = service["rollout"]
        share = " and ".join(
            [*([f"{rollout['percent']} % of clients"] if rollout["percent"] else []), rollout["allow"]]
        )
        lines.append(f"  {share.removesuffix(' and ')} -> {', '.join(rollout['target'])}")
    if service["set_aside"]:
        lines.append(f"  not served: {service['set_aside']}")
    return lines
