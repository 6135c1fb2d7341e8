"""`tokens`: who may call the service, kept in its database, on the machine that can reach it."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aragora.agents.prices import MICRODOLLARS
from aragora.commands.exit_codes import FINE, Parser, UsageError
from aragora.settings import Settings
from aragora.storage import ApiToken, Limits, Scope, Store
from aragora.storage.ledger import day_of

DEBATES, QUESTIONS, TOKENS, MONEY = 10, 2000, 5_000_000, 10.0  # what a new token may have at once, and spend on a day


def add_tokens(command: Parser) -> None:
    """The arguments of `tokens add`, `list`, `rotate` and `remove`."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a token and print its secret, which is shown only once")
    add.add_argument("name", help="letters, digits and . _ -; also names what the token owns")
    add.add_argument(
        "--scopes",
        default="create",
        metavar="A,B,...",
        help="read: its own debates; create: begin and change them too; admin: everything (default create)",
    )
    add.add_argument("--debates-of", metavar="NAME", help="with --scopes read: whose debates it reads")
    add.add_argument("--models", default="", metavar="A,B,...", help="as openai/gpt-5.6, anthropic/*; default: all")
    add.add_argument(
        "--debates", type=int, default=DEBATES, metavar="N", help="at once (default %(default)s; 0: no limit)"
    )
    add.add_argument("--questions", type=int, default=QUESTIONS, metavar="N", help="a day (default %(default)s)")
    add.add_argument("--tokens", type=int, default=TOKENS, metavar="N", help="of models, a day (default %(default)s)")
    add.add_argument("--money", type=float, default=MONEY, metavar="DOLLARS", help="a day (default %(default)g)")
    listing = actions.add_parser("list", help="names, scopes and limits, and what was spent today")
    rotate = actions.add_parser("rotate", help="give a token a new secret; the old one is refused at once")
    remove = actions.add_parser("remove", help="refuse a token from now on; its debates stay, for administrators")
    for action in (rotate, remove):
        action.add_argument("name")
    for action in (add, listing, rotate, remove):
        action.add_argument("--json", action="store_true", help="JSON instead of words")
    command.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Do one of them."""
    actions: dict[str, Callable[[argparse.Namespace, Store], None]] = {
        "add": _add,
        "list": _list,
        "rotate": _rotate,
        "remove": _remove,
    }
    store = Store.open(settings)
    try:
        actions[given.action](given, store)
    finally:
        store.close()
    return FINE


def _add(given: argparse.Namespace, store: Store) -> None:
    limits = _limits(given)
    secret = store.tokens.add(given.name, _scopes(given.scopes), limits, _words(given.models), given.debates_of)
    _tell_secret(given, secret)


def _limits(given: argparse.Namespace) -> Limits:
    for name in ("debates", "questions", "tokens", "money"):
        if not getattr(given, name) >= 0:
            raise UsageError(f"--{name}: 0 or more")
    return Limits(
        questions=given.questions or None,
        tokens=given.tokens or None,
        cost=round(given.money * MICRODOLLARS) or None,
        debates=given.debates or None,
    )


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(word) for word in _words(text)]
    except ValueError:
        raise UsageError(f"--scopes: some of {', '.join(Scope)}") from None


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _rotate(given: argparse.Namespace, store: Store) -> None:
    _tell_secret(given, store.tokens.rotate(given.name))


def _tell_secret(given: argparse.Namespace, secret: str) -> None:
    if given.json:
        print(json.dumps({"name": given.name, "secret": secret}))
        return
    print(secret)
    print(f"the secret of {given.name}: keep it now, it is not stored and cannot be shown again", file=sys.stderr)


def _remove(given: argparse.Namespace, store: Store) -> None:
    store.tokens.remove(given.name)
    print(json.dumps({"removed": given.name}) if given.json else f"{given.name} is refused from now on")


def _list(given: argparse.Namespace, store: Store) -> None:
    today = day_of(datetime.now(UTC).timestamp())
    spent = {day.owner: day.spending for day in store.ledger.days(None, today)}
    rows = [_row(token) for token in store.tokens.all()]
    for row in rows:
        found = spent.get(row["name"])
        row["today"] = {
            "questions": found.questions if found else 0,
            "tokens": found.usage.total + found.held_tokens if found else 0,
            "money": (found.cost + found.held_cost) / MICRODOLLARS if found else 0.0,
        }
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{'name':<20} {'scopes':<12} {'debates':>8} {'questions':>16} {'tokens':>24} {'money':>16}  models")
    for row in rows:
        limits, used = row["limits"], row["today"]
        cells = (
            f"{row['name']:<20} {','.join(row['scopes']):<12} {_most(limits['debates']):>8}",
            f"{used['questions']:>7} of {_most(limits['questions']):>5}",
            f"{used['tokens']:>12} of {_most(limits['tokens']):>8}",
            f"{used['money']:>7.2f} of {_most(limits['money']):>5}  {', '.join(row['models']) or 'all'}",
        )
        print(" ".join(cells))


def _row(token: ApiToken) -> dict[str, Any]:
    limits = token.limits
    return {
        "name": token.name,
        "debates_of": token.owner,
        "scopes": [scope.value for scope in Scope if scope in token.scopes],
        "models": list(token.models),
        "limits": {
            "debates": limits.debates,
            "questions": limits.questions,
            "tokens": limits.tokens,
            "money": None if limits.cost is None else limits.cost / MICRODOLLARS,
        },
        "created_at": datetime.fromtimestamp(token.created_at, UTC).isoformat(timespec="seconds"),
    }


def _most(limit: float | None) -> str:
    return "any" if limit is None else f"{limit:g}" if isinstance(limit, float) else str(limit)
