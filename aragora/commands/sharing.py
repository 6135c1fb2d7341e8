"""`share` and `usage`: what others may read of a debate, and what debates cost."""

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aragora.commands.client import Client
from aragora.commands.debates import add_server
from aragora.commands.exit_codes import FINE, Parser
from aragora.debate.limits import DAYS_DEFAULT, MOST_DAYS
from aragora.settings import Settings
from aragora.text import printable


def add_share(share: Parser) -> None:
    """The arguments of `share`."""
    add_server(share)
    share.add_argument("id")
    share.add_argument("--revoke", action="store_true", help="withdraw the address; the next one is another")
    share.set_defaults(run=run_share)


def add_usage(usage: Parser) -> None:
    """The arguments of `usage`."""
    add_server(usage)
    usage.add_argument("id", nargs="?", help="a debate; without it, what was spent day by day")
    usage.add_argument(
        "--days", type=int, default=DAYS_DEFAULT, metavar="N", help=f"1 to {MOST_DAYS} (default {DAYS_DEFAULT})"
    )
    usage.set_defaults(run=run_usage)


def run_share(given: argparse.Namespace, settings: Settings) -> int:
    """Print the address of the share link, or withdraw it."""
    client = Client(settings, given.url)
    if given.revoke:
        client.unshare(given.id)
        print(json.dumps({"share": None}) if given.json else "no link shows it any more")
        return FINE
    address = client.share(given.id)
    print(json.dumps({"share": address}) if given.json else address)
    return FINE


def run_usage(given: argparse.Namespace, settings: Settings) -> int:
    """Print what was spent, by agent or by day and owner."""
    client = Client(settings, given.url)
    found = client.spending(given.days) if given.id is None else client.usage(given.id)
    if given.json:
        print(json.dumps(found, ensure_ascii=False))
    elif given.id is None:
        _print(("day", "owner", "questions"), found["days"])
    else:
        _print(("agent", "answers"), found["agents"])
    return FINE


def _print(names: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    columns = (*names, "input", "output", "cached", "thought", "cost")
    print("  ".join(f"{name:>12}" for name in columns))
    for row in rows:
        cells = [f"{row[name]:.4f} $" if name == "cost" else printable(str(row[name])) or "-" for name in columns]
        print("  ".join(f"{cell:>12}" for cell in cells))
