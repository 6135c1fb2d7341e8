"""`ask`, `follow-up`, `fork` and `ask-again`: debates that begin on a server."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from aragora.commands.client import Client
from aragora.commands.debates import add_server, follow
from aragora.commands.exit_codes import FINE, Parser, UsageError
from aragora.debate import limits, wording
from aragora.debate.spec import ConsensusMode
from aragora.settings import Settings

Body = dict[str, Any]
_KINDS = {".md": "text/markdown", ".markdown": "text/markdown", ".html": "text/html", ".htm": "text/html"}
_KINDS |= {".pdf": "application/pdf"}


def add_ask(ask: Parser) -> None:
    """The arguments of `ask`."""
    _add_question(ask)
    _add_rules(ask)
    ask.add_argument("--estimate", action="store_true", help="only say what it would take")
    ask.set_defaults(run=run_ask)


def add_follow_up(command: Parser) -> None:
    """The arguments of `follow-up`."""
    command.add_argument("id", help="the debate whose outcome the new one knows")
    _add_question(command)
    _add_rules(command)
    command.set_defaults(run=run_follow_up)


def add_fork(command: Parser) -> None:
    """The arguments of `fork`."""
    command.add_argument("id", help="the debate that is held again, with changes")
    command.add_argument("--question", help="another one than the old debate's")
    _add_rules(command)
    command.set_defaults(run=run_fork)


def add_ask_again(command: Parser) -> None:
    """The arguments of `ask-again`."""
    command.add_argument("id", help="the debate whose failed parts are asked again")
    command.add_argument("--timeout", type=float, metavar="SECONDS", help=f"up to {limits.LONGEST_TIMEOUT}")
    _add_end(command)
    command.set_defaults(run=run_ask_again)


def _add_question(command: Parser) -> None:
    command.add_argument("question", help=f"{limits.SHORTEST_QUESTION} to {limits.LONGEST_QUESTION} characters")


def _add_rules(command: Parser) -> None:
    command.add_argument(
        "--agents",
        metavar="A,B,...",
        help=f"names of {limits.FEWEST_AGENTS} to {limits.MOST_AGENTS} agents, as demo,demo,demo",
    )
    command.add_argument("--preset", metavar="NAME", help="a council that the server keeps; see aragora presets")
    command.add_argument(
        "--rounds", type=int, metavar="N", help=f"1 to {limits.MOST_ROUNDS} (default {limits.ROUNDS_DEFAULT})"
    )
    command.add_argument("--consensus", metavar="MODE", help=", ".join(ConsensusMode))
    command.add_argument(
        "--threshold", type=float, metavar="SHARE", help="share of the votes that decides, above 0 up to 1"
    )
    command.add_argument("--context", metavar="TEXT|@FILE", help="what the agents should know")
    command.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="FILE|URL",
        help=f"text, Markdown, HTML or PDF for the context; up to {limits.MOST_SOURCES} times",
    )
    command.add_argument("--criteria", metavar="TEXT|@FILE", help="what answers are to be judged by")
    command.add_argument("--synthesis", action="store_true", help="let a chairman sum the debate up")
    command.add_argument("--timeout", type=float, metavar="SECONDS", help=f"up to {limits.LONGEST_TIMEOUT}")
    command.add_argument("--title", help="name in lists")
    command.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="[slack:]URL",
        help="tell this address of the end: a webhook, signed by the server's secret, or a text for Slack",
    )
    command.add_argument("--no-early-stop", action="store_true", help="go through every round")
    _add_end(command)


def _add_end(command: Parser) -> None:
    command.add_argument("--budget", type=float, metavar="DOLLARS", help="the most that the debate may cost")
    command.add_argument("--budget-tokens", type=int, metavar="N", help="the most tokens that it may take")
    command.add_argument("--budget-questions", type=int, metavar="N", help="the most questions that it may ask")
    command.add_argument("--detach", action="store_true", help="print the id and do not watch")
    add_server(command)


def run_ask(given: argparse.Namespace, settings: Settings) -> int:
    """Begin a debate; 3 when it ends without being completed."""
    client = Client(settings, given.url)
    body = _rules(given, client) | {"question": given.question}
    estimate = client.estimate(body)
    if given.estimate:
        print(json.dumps(estimate) if given.json else _told(estimate))
        return FINE
    if estimate["tokens"] and not given.json:
        print(_told(estimate), file=sys.stderr)
    return _begun(given, client, client.create(body))


def run_follow_up(given: argparse.Namespace, settings: Settings) -> int:
    """Begin a debate about a further question."""
    client = Client(settings, given.url)
    return _begun(
        given, client, client.descend(given.id, "follow-up", _rules(given, client) | {"question": given.question})
    )


def run_fork(given: argparse.Namespace, settings: Settings) -> int:
    """Begin the same debate with changes."""
    client = Client(settings, given.url)
    question = {} if given.question is None else {"question": given.question}
    return _begun(given, client, client.descend(given.id, "fork", _rules(given, client) | question))


def run_ask_again(given: argparse.Namespace, settings: Settings) -> int:
    """Begin a debate that goes on where the old one first failed."""
    client = Client(settings, given.url)
    body = _budget(given) | ({} if given.timeout is None else {"timeout": given.timeout})
    return _begun(given, client, client.descend(given.id, "ask-again", body))


def _begun(given: argparse.Namespace, client: Client, created: Body) -> int:
    if given.detach:
        print(json.dumps(created) if given.json else created["debate_id"])
        return FINE
    return follow(client, created["debate_id"], 0, as_json=given.json)


def _rules(given: argparse.Namespace, client: Client) -> Body:
    """The members of a request that were given; files are read by the server, which knows how."""
    body = _budget(given)
    if given.notify:
        body["notify"] = [_recipient(address) for address in given.notify]
    if given.agents is not None:
        body["agents"] = [name.strip() for name in given.agents.split(",") if name.strip()]
    for name in ("preset", "rounds", "consensus", "threshold", "timeout", "title"):
        if getattr(given, name) is not None:
            body[name] = getattr(given, name)
    for name, longest in (("context", limits.LONGEST_CONTEXT), ("criteria", limits.LONGEST_CRITERIA)):
        if getattr(given, name) is not None:
            body[name] = _text(name, getattr(given, name), longest)
    if files := [source for source in given.source if not _is_url(source)]:
        texts = [body.get("context", ""), *(_source(client, Path(file)) for file in files)]
        body["context"] = "\n\n".join(text for text in texts if text)
    if urls := [source for source in given.source if _is_url(source)]:
        body["sources"] = urls
    if given.synthesis:
        body["synthesis"] = True
    if given.no_early_stop:
        body["early_stop"] = False
    return body


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _source(client: Client, file: Path) -> str:
    """The text of a file, under its name."""
    kind = _KINDS.get(file.suffix.lower(), "text/plain")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"--source: cannot read {file}: {error.strerror}") from None
    return f"Source: {file.name}\n\n{client.read_source(file.name, kind, data)['text']}"


def _recipient(address: str) -> Body:
    url = address.removeprefix("slack:")
    return {"url": url} | ({"kind": "slack"} if url != address else {})


def _budget(given: argparse.Namespace) -> Body:
    budget = {"money": given.budget, "tokens": given.budget_tokens, "questions": given.budget_questions}
    asked = {name: bound for name, bound in budget.items() if bound is not None}
    return {"budget": asked} if asked else {}


def _told(estimate: Body) -> str:
    assumed = ", ".join(estimate["assumed"])
    bounds = wording.budget(estimate["budget"]) if estimate["tokens"] else ""
    told = f"{estimate['summary']}{f' (price assumed: {assumed})' if assumed else ''}"
    return f"{told}; the budget is {bounds}" if bounds else told


def _text(option: str, text: str, longest: int) -> str:
    """The content of the file that `text` names, or `text` itself."""
    if not text.startswith("@"):
        return text
    try:
        with Path(text[1:]).open(encoding="utf-8") as file:
            return file.read(longest + 1)  # one more, for the server to refuse
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--{option}: cannot read {text[1:]}: {getattr(error, 'strerror', 'not UTF-8')}") from None
