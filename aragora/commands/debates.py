"""`watch`, `list`, `export` and `cancel`: debates on a server."""

import argparse
import json
import sys
from pathlib import Path

from aragora.commands.client import Client
from aragora.commands.exit_codes import FAILED, FINE, UNDECIDED, Parser, UsageError
from aragora.commands.screen import screen, verdict
from aragora.debate import limits
from aragora.debate.downloads import Format, Table
from aragora.debate.status import Status
from aragora.settings import Settings
from aragora.text import printable


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
    export.add_argument("--table", choices=[table.value for table in Table], default="argument")
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


def run_watch(given: argparse.Namespace, settings: Settings) -> int:
    """Show a debate until its end; 3 when it was not completed."""
    if given.since < 0:
        raise UsageError("--since: 0 or more")
    return follow(Client(settings, given.url), given.id, given.since, as_json=given.json)


def follow(client: Client, debate_id: str, since: int, *, as_json: bool) -> int:
    """Show a debate behind an event until its end; the exit code."""
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
