"""`presets`: councils that a server keeps under a name."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aragora.commands.client import Client
from aragora.commands.debates import add_server
from aragora.commands.exit_codes import FINE, Parser, UsageError
from aragora.settings import Settings
from aragora.text import printable

MAX_FILE = 1 << 20


def add_presets(command: Parser) -> None:
    """The arguments of `presets list`, `show`, `save` and `remove`."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="names and agents")
    show = actions.add_parser("show", help="one of them, as JSON that `save` takes")
    save = actions.add_parser("save", help="keep one, in place of your own of this name")
    remove = actions.add_parser("remove", help="forget your own of this name")
    for action in (show, save, remove):
        action.add_argument("name")
    save.add_argument("file", help="JSON: agents, rounds, consensus ... as in POST /api/debates; - is standard input")
    for action in (listing, show, save, remove):
        add_server(action)
    command.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Do one of them."""
    actions: dict[str, Callable[[argparse.Namespace, Client], None]] = {
        "list": _list,
        "show": _show,
        "save": _save,
        "remove": _remove,
    }
    actions[given.action](given, Client(settings, given.url))
    return FINE


def _list(given: argparse.Namespace, client: Client) -> None:
    found = client.presets()
    if given.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for preset in found["presets"]:
        agents = ", ".join(_name(agent) for agent in preset["body"]["agents"])
        told = f"  {preset['description']}" if preset["description"] else ""
        print(printable(f"{preset['name']:<20} {agents}{told}"))


def _name(agent: str | dict[str, Any]) -> str:
    return agent if isinstance(agent, str) else str(agent.get("name") or agent.get("role") or agent["type"])


def _show(given: argparse.Namespace, client: Client) -> None:
    found = client.preset(given.name)
    body = {"description": found["description"], **found["body"]}
    print(json.dumps(found if given.json else body, indent=None if given.json else 2, ensure_ascii=False))


def _save(given: argparse.Namespace, client: Client) -> None:
    saved = client.save_preset(given.name, _body(given.file))
    print(json.dumps(saved, ensure_ascii=False) if given.json else f"{saved['name']} is kept")


def _body(file: str) -> dict[str, Any]:
    try:
        if file == "-":
            text = sys.stdin.read(MAX_FILE)
        else:
            with Path(file).open(encoding="utf-8") as stream:
                text = stream.read(MAX_FILE)
        body = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"presets: cannot read {file}: {getattr(error, 'strerror', 'not UTF-8')}") from None
    except ValueError as error:
        raise UsageError(f"presets: {file} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise UsageError(f"presets: {file}: write a JSON object")
    return body


def _remove(given: argparse.Namespace, client: Client) -> None:
    client.remove_preset(given.name)
    print(json.dumps({"removed": given.name}) if given.json else f"{given.name} is forgotten")
