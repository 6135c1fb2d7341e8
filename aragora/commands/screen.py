"""A debate on the screen: live on a terminal, plain lines elsewhere, JSON when asked for.

What agents and people wrote is shown as text: no markup of theirs is obeyed and no control character passes.
"""

import json
import sys
import textwrap
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from aragora.debate import wording
from aragora.debate.narration import described
from aragora.service import rendering
from aragora.text import printable

Row = dict[str, Any]
PROSE = ("propose", "revise")
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


class Screen(Protocol):
    """Shows one debate as it goes on; a context manager."""

    def __enter__(self) -> "Screen": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, debate: Row) -> None:
        """The debate as it stands."""

    def show(self, message: Row) -> None:
        """An event or a piece of streamed text."""

    def finish(self, debate: Row) -> None:
        """The debate at its end."""


def screen(*, as_json: bool) -> Screen:
    """The screen that fits where standard output goes."""
    if as_json:
        return JsonLines()
    return Terminal() if sys.stdout.isatty() else Plain()


class JsonLines:
    """One JSON object per line: each event as the server sent it, at last the debate with type `debate`."""

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def begin(self, debate: Row) -> None:
        """Nothing: the events say it all."""

    def show(self, message: Row) -> None:
        """Live tokens are left out: they have no seq."""
        if "seq" in message:
            self._print(message)

    def finish(self, debate: Row) -> None:
        """The last line."""
        self._print({"type": "debate"} | debate)

    def _print(self, row: Row) -> None:
        print(json.dumps(row, ensure_ascii=False), flush=True)


class Plain:
    """Lines for a file or a pipe."""

    def __enter__(self) -> "Plain":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def begin(self, debate: Row) -> None:
        """Question, id, agents and budget."""
        begun = f"{debate['id']}: {', '.join(debate['agents'])}; {debate['rounds']} rounds"
        self._print(f"{debate['task']}\n{begun}{_budget(debate)}")

    def show(self, message: Row) -> None:
        """One event."""
        heading, body = described(message)
        if heading:
            self._print(heading)
        if body:
            self._print(textwrap.indent(body, "    "))

    def finish(self, debate: Row) -> None:
        """The result."""
        self._print(f"\n{verdict(debate)}")
        if debate.get("final_answer"):
            self._print(textwrap.indent(str(debate["final_answer"]), "    "))
        for label, text in _details(debate):
            self._print(f"{label}\n{textwrap.indent(text, '    ')}")

    def _print(self, text: str) -> None:
        print(printable(text), flush=True)


class Terminal:
    """What was said scrolls by; below it stand the round and what each agent is doing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._agents: dict[str, str] = {}
        self._rounds, self._round = 1, 0
        self._state = "begins"
        # last: it renders what stands below as soon as it is made
        self._live = Live(console=self._console, transient=True, refresh_per_second=8, get_renderable=self._below)

    def __enter__(self) -> "Terminal":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, debate: Row) -> None:
        """Question, id, rules and budget."""
        self._agents = dict.fromkeys(debate["agents"], "")
        self._rounds = debate["rounds"]
        self._print(Text(printable(debate["task"]), style="bold"))
        self._print(Text(f"{debate['id']}: consensus by {debate['consensus']}{_budget(debate)}", style="dim"))

    def show(self, message: Row) -> None:
        """One event above, or a piece of an answer below."""
        agent = message.get("agent") or ""
        if message["type"] == "token_delta":
            data = message.get("data", message)
            if data.get("purpose") in PROSE:
                self._agents[agent] = (self._agents.get(agent, "") + str(data.get("text", "")))[-400:]
            else:
                self._agents[agent] = f"({data.get('purpose')})"  # its text is JSON, for the service to read
            return
        if agent in self._agents:
            self._agents[agent] = ""
        if message["type"] == "round_start":
            self._round = message["round"]
        self._state = message["type"].replace("_", " ")
        heading, body = described(message)
        if not heading:
            return
        style = self._colour(agent)
        if body:
            self._print(
                Panel(Prose(body), title=Text(printable(heading), style=style), title_align="left", border_style=style)
            )
        else:
            self._print(Text(printable(heading), style=style))

    def finish(self, debate: Row) -> None:
        """The result."""
        colour = "green" if debate["consensus_reached"] else "yellow"
        answer = Prose(str(debate.get("final_answer") or "no answer"))
        self._print(Panel(answer, title=Text(printable(verdict(debate))), title_align="left", border_style=colour))
        for label, text in _details(debate):
            self._print(Panel(Prose(text), title=label, title_align="left", border_style="dim"))

    def _print(self, what: RenderableType) -> None:
        self._console.print(what)

    def _colour(self, agent: str) -> str:
        names = list(self._agents)
        return COLOURS[names.index(agent) % len(COLOURS)] if agent in names else "white"

    def _below(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        for agent, said in self._agents.items():
            words = " ".join(printable(said).split())[-60:]
            rows.add_row(Text(printable(agent), style=self._colour(agent)), Text(words or "…", style="dim"))
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Spinner("dots"),
            Text(f"round {self._round} of {self._rounds}"),
            ProgressBar(total=self._rounds, completed=min(self._round, self._rounds), width=20),
            Text(self._state, style="dim"),
        )
        return Group(rows, bar)


class Prose(Markdown):
    """What agents and people wrote, laid out; addresses are shown beside the words that link to them."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text), hyperlinks=False)
        self.parsed = rendering.reader().parse(self.markup)  # rich's own reader drops whatever looks like HTML


def _budget(debate: Row) -> str:
    """What it may take, where it asks language models and the server says so."""
    costs = any(agent["type"] != "demo" for agent in debate.get("participants") or [])
    bounds = wording.budget(debate.get("budget") or {}) if costs else ""
    return f"; {bounds}" if bounds else ""


def _details(debate: Row) -> list[tuple[str, str]]:
    """What is to be known of the verdict; nothing of a server that does not say it."""
    found = debate.get("verdict")
    return wording.details(found) if found else []


def verdict(debate: Row) -> str:
    """The result in one line, and what it cost where it cost something."""
    result = "consensus" if debate["consensus_reached"] else "no consensus"
    seconds = debate.get("duration_seconds") or 0
    usage = debate.get("usage") or {}
    cost = f", {usage['input'] + usage['output']:,} tokens, {usage['cost']:.4f} $" if usage.get("questions") else ""
    reason = f" ({debate['reason']})" if debate.get("reason") else ""
    whose = f", {debate['verdict']['summary']}" if debate.get("verdict") else ""
    return (
        f"{debate['status']}: {result}{whose}, confidence {debate['confidence']:.0%}, "
        f"{debate['rounds_used']} of {debate['rounds']} rounds, {seconds:.1f} s{cost}{reason}"
    )
