"""`ask`, `watch`, `list`, `export` and `cancel`: debates on a server."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from aragora.commands.client import Client
from aragora.commands.exit_codes import FAILED, FINE, UNDECIDED, Parser, UsageError
from aragora.commands.screen import screen, verdict
from aragora.debate import limits
from aragora.debate.downloads import Format, Table
from aragora.debate.spec import ConsensusMode
from aragora.debate.status import Status
from aragora.settings import Settings
from aragora.text import printable


def add_ask(ask: Parser) -> None:
    """The arguments of `ask`."""
    add_server(ask)
    ask.add_argument("question", help=f"{limits.SHORTEST_QUESTION} to {limits.LONGEST_QUESTION} characters")
    ask.add_argument(
        "--agents",
        metavar="A,B,...",
        help=f"names of {limits.FEWEST_AGENTS} to {limits.MOST_AGENTS} agents, as demo,demo,demo",
    )
    ask.add_argument(
        "--rounds", type=int, metavar="N", help=f"1 to {limits.MOST_ROUNDS} (default {limits.ROUNDS_DEFAULT})"
    )
    ask.add_argument("--consensus", metavar="MODE", help=", ".join(ConsensusMode))
    ask.add_argument(
        "--threshold", type=float, metavar="SHARE", help="share of the votes that decides, above 0 up to 1"
    )
    ask.add_argument("--context", metavar="TEXT|@FILE", help="what the agents should know")
    ask.add_argument("--criteria", metavar="TEXT|@FILE", help="what answers are to be judged by")
    ask.add_argument("--synthesis", action="store_true", help="let a chairman sum the debate up")
    ask.add_argument("--timeout", type=float, metavar="SECONDS", help=f"up to {limits.LONGEST_TIMEOUT}")
    ask.add_argument("--title", help="name in lists")
    ask.add_argument("--budget", type=float, metavar="DOLLARS", help="the most that the debate may cost")
    ask.add_argument("--budget-tokens", type=int, metavar="N", help="the most tokens that it may take")
    ask.add_argument("--budget-questions", type=int, metavar="N", help="the most questions that it may ask")
    ask.add_argument("--estimate", action="store_true", help="only say what it would take")
    ask.add_argument("--no-early-stop", action="store_true", help="go through every round")
    ask.add_argument("--detach", action="store_true", help="print the id and do not watch")
    ask.set_defaults(run=run_ask)


def add_watch(watch: Parser) -> None:
    """The arguments of `watch`."""
    add_server(watch)
    watch.add_argument("id")
    watch.add_argument("--since", type=int, default=0, metavar="SEQ", help="begin behind this event")
    watch.set_defaults(run=run_watch)


def add_list(listing: Parser) -> None:
    """The arguments of `list`."""
    add_server(listing)
    listing.add_argument(
        "--limit",
        type=int,
        default=limits.DEBATES_PAGE_DEFAULT,
        metavar="N",
        help=f"1 to {limits.DEBATES_PAGE} (default {limits.DEBATES_PAGE_DEFAULT})",
    )
    listing.add_argument("--status", choices=[status.value for status in Status])
    listing.add_argument("-q", "--search", metavar="WORDS", help="words of the question or title")
    listing.add_argument("--cursor", help="the next page, as the page before named it")
    listing.set_defaults(run=run_list)


def add_export(export: Parser) -> None:
    """The arguments of `export`."""
    add_server(export)
    export.add_argument("id")
    export.add_argument("--format", choices=[form.value for form in Format], default="md", dest="form")
    export.add_argument("--table", choices=[table.value for table in Table], default="messages")
    export.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    export.set_defaults(run=run_export)


def add_cancel(cancel: Parser) -> None:
    """The arguments of `cancel`."""
    add_server(cancel)
    cancel.add_argument("id")
    cancel.set_defaults(run=run_cancel)


def add_server(command: Parser) -> None:
    """The arguments of every command that talks to a server."""
    command.add_argument("--url", help="server (default: ARAGORA_URL, else http://127.0.0.1:8000)")
    command.add_argument("--json", action="store_true", help="JSON instead of words")


def run_ask(given: argparse.Namespace, settings: Settings) -> int:
    """Begin a debate; 3 when it ends without being completed."""
    body: dict[str, Any] = {"question": given.question}
    if given.agents is not None:
        body["agents"] = [name.strip() for name in given.agents.split(",") if name.strip()]
    for name in ("rounds", "consensus", "threshold", "timeout", "title"):
        if getattr(given, name) is not None:
            body[name] = getattr(given, name)
    for name, longest in (("context", limits.LONGEST_CONTEXT), ("criteria", limits.LONGEST_CRITERIA)):
        if getattr(given, name) is not None:
            body[name] = _text(name, getattr(given, name), longest)
    if given.synthesis:
        body["synthesis"] = True
    if given.no_early_stop:
        body["early_stop"] = False
    budget = {"money": given.budget, "tokens": given.budget_tokens, "questions": given.budget_questions}
    if any(bound is not None for bound in budget.values()):
        body["budget"] = {name: bound for name, bound in budget.items() if bound is not None}
    client = Client(settings, given.url)
    estimate = client.estimate(body)
    if given.estimate:
        print(json.dumps(estimate) if given.json else _told(estimate))
        return FINE
    if estimate["tokens"] and not given.json:
        print(_told(estimate), file=sys.stderr)
    created = client.create(body)
    if given.detach:
        print(json.dumps(created) if given.json else created["debate_id"])
        return FINE
    return _follow(client, created["debate_id"], 0, as_json=given.json)


def _told(estimate: dict[str, Any]) -> str:
    assumed = ", ".join(estimate["assumed"])
    return f"{estimate['summary']}{f' (price assumed: {assumed})' if assumed else ''}"


def run_watch(given: argparse.Namespace, settings: Settings) -> int:
    """Show a debate until its end; 3 when it was not completed."""
    if given.since < 0:
        raise UsageError("--since: 0 or more")
    return _follow(Client(settings, given.url), given.id, given.since, as_json=given.json)


def _follow(client: Client, debate_id: str, since: int, *, as_json: bool) -> int:
    with screen(as_json=as_json) as shown:
        debate = client.debate(debate_id)
        shown.begin(debate)
        try:
            for message in (
                client.watch(debate_id, since) if debate["last_seq"] > since or debate["in_progress"] else ()
            ):
                shown.show(message)
        except KeyboardInterrupt:
            print(f"\nit goes on: aragora watch {debate_id}", file=sys.stderr)
            raise
        debate = client.debate(debate_id)
        shown.finish(debate)
    return FINE if debate["status"] == Status.COMPLETED else UNDECIDED


def run_list(given: argparse.Namespace, settings: Settings) -> int:
    """Print one page."""
    client = Client(settings, given.url)
    page = client.page(limit=given.limit, status=given.status, q=given.search, cursor=given.cursor)
    if given.json:
        print(json.dumps(page, ensure_ascii=False))
        return FINE
    for debate in page["debates"]:
        title = printable(" ".join(debate["title"].split()))
        print(f"{debate['id']}  {debate['created_at'][:19]}  {debate['status']:<9}  {title[:80]}")
    if page.get("next_cursor"):
        print(f"more: --cursor {page['next_cursor']}", file=sys.stderr)
    return FINE


def run_export(given: argparse.Namespace, settings: Settings) -> int:
    """Download; the file appears only when it is complete."""
    form = "json" if given.json else given.form
    body = Client(settings, given.url).export(given.id, form, given.table)
    if given.output is None or given.output == "-":
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return FINE
    target = Path(given.output)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(body)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        print(f"aragora export: cannot write {target}: {error.strerror}", file=sys.stderr)
        return FAILED
    return FINE


def run_cancel(given: argparse.Namespace, settings: Settings) -> int:
    """End a debate and show how it stands."""
    client = Client(settings, given.url)
    client.cancel(given.id)
    debate = client.debate(given.id)
    print(json.dumps(debate, ensure_ascii=False) if given.json else verdict(debate))
    return FINE


def _text(option: str, text: str, longest: int) -> str:
    """What stands in the file that `text` names, or `text` itself."""
    if not text.startswith("@"):
        return text
    try:
        with Path(text[1:]).open(encoding="utf-8") as file:
            return file.read(longest + 1)  # one more, for the server to refuse
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--{option}: cannot read {text[1:]}: {getattr(error, 'strerror', 'not UTF-8')}") from None
