"""`tokens`: the tokens of the API, kept in its database, on the machine that can reach it."""

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
from aragora.storage.records import UNBOUNDED

DEBATES, QUESTIONS, TOKENS, MONEY = 10, 2000, 5_000_000, 10.0  # what a new token may have at once, and spend on a day


def add_tokens(command: Parser) -> None:
    """The arguments of `tokens add`, `change`, `list`, `rotate` and `remove`."""
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
    _add_limits(add, new=True)
    change = actions.add_parser("change", help="give a token other limits or models; the rest stays")
    _add_limits(change, new=False)
    listing = actions.add_parser("list", help="names, scopes and limits, and what was spent today")
    rotate = actions.add_parser("rotate", help="give a token a new secret; the old one is refused at once")
    remove = actions.add_parser("remove", help="refuse a token from now on; its debates stay, for administrators")
    for action in (change, rotate, remove):
        action.add_argument("name")
    for action in (add, change, listing, rotate, remove):
        action.add_argument("--json", action="store_true", help="JSON instead of words")
    command.set_defaults(run=run)


def _add_limits(action: Parser, *, new: bool) -> None:
    """What a token may; one that is changed keeps what is left out."""
    asked: tuple[tuple[str, type, float, str], ...] = (
        ("debates", int, DEBATES, "at once"),
        ("questions", int, QUESTIONS, "a day"),
        ("tokens", int, TOKENS, "of models, a day"),
        ("money", float, MONEY, "dollars a day"),
    )
    for name, kind, default, unit in asked:
        told = f" (default {default:,g})" if new else ""
        action.add_argument(
            f"--{name}", type=kind, default=default if new else None, metavar="N", help=f"{unit}{told}; 0: no limit"
        )
    action.add_argument(
        "--models", default="" if new else None, metavar="A,B,...", help="as openai/gpt-5.6, anthropic/*; empty: all"
    )


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Do one of them."""
    actions: dict[str, Callable[[argparse.Namespace, Store], None]] = {
        "add": _add,
        "change": _change,
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
    limits = _limits(given, UNBOUNDED)
    secret = store.tokens.add(given.name, _scopes(given.scopes), limits, _words(given.models), given.debates_of)
    _tell_secret(given, secret)


def _change(given: argparse.Namespace, store: Store) -> None:
    token = store.tokens.get(given.name)
    models = token.models if given.models is None else _words(given.models)
    store.tokens.change(given.name, _limits(given, token.limits), models)
    row = _row(store.tokens.get(given.name))
    print(json.dumps(row) if given.json else f"{given.name} may: {_told(row)}")


def _told(row: dict[str, Any]) -> str:
    limits = ", ".join(f"{name} {_most(limit)}" for name, limit in row["limits"].items())
    return f"{limits}; models {', '.join(row['models']) or 'all'}"


def _limits(given: argparse.Namespace, before: Limits) -> Limits:
    """The limits that are given, and those of before where none is."""
    for name in ("debates", "questions", "tokens", "money"):
        if getattr(given, name) is not None and not getattr(given, name) >= 0:
            raise UsageError(f"--{name}: 0 or more")
    return Limits(
        questions=before.questions if given.questions is None else given.questions or None,
        tokens=before.tokens if given.tokens is None else given.tokens or None,
        cost=before.cost if given.money is None else round(given.money * MICRODOLLARS) or None,
        debates=before.debates if given.debates is None else given.debates or None,
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
