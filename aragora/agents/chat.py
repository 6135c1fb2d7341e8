"""An agent that is a language model behind an HTTP API.

What differs between the APIs is a `Dialect`: how a question is put, and what one piece of an answer means.
"""

import functools
import logging
import time
from collections.abc import Callable

import requests

from aragora.agents import catalogue
from aragora.agents.account import Account
from aragora.agents.agent import AgentFailed, Waiting, unwatched
from aragora.agents.complaints import Kind
from aragora.agents.endpoint import Endpoint
from aragora.agents.exchange import session
from aragora.agents.inquiry import Dialect, Inquiry
from aragora.debate.questions import Question, Reply

log = logging.getLogger(__name__)

_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class ChatAgent:
    """Asks one model of one account. Any number of threads may use it; `clock` is in unix seconds."""

    def __init__(
        self,
        account: Account,
        dialect: Dialect,
        endpoint: Endpoint,
        *,
        connections: requests.Session | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._dialect = dialect
        self._endpoint = endpoint
        self._connections = connections
        self._clock = clock
        self._sleep = sleep

    def ask(
        self,
        question: Question,
        on_token: Callable[[str], None],
        deadline: float,
        on_wait: Callable[[Waiting], None] = unwatched,
    ) -> Reply:
        """See `Agent`."""
        facts = self._endpoint.facts(self._account)
        text = question.system + question.opening + question.shown
        reckoned = facts.count(text) + self._account.lengths.of(question)
        in_line = functools.partial(self._in_line, on_token, on_wait, deadline)
        with self._endpoint.gate.entry(reckoned, in_line) as entry:
            connections = self._connections or session()
            catalogue.look_up_window(self._account, facts, connections, deadline, self._clock)
            inquiry = Inquiry(
                self._account,
                self._dialect,
                self._endpoint,
                connections,
                question,
                deadline,
                on_token,
                on_wait,
                self._clock,
                self._sleep,
            )
            try:
                return inquiry.reply()
            except AgentFailed as failed:
                log.warning("%s: %s", self._account.model, failed.message)
                failed.usage = inquiry.usage
                raise
            finally:
                entry.tokens = inquiry.usage.total if inquiry.usage is not None else entry.tokens

    def _in_line(
        self,
        on_token: Callable[[str], None],
        on_wait: Callable[[Waiting], None],
        deadline: float,
        place: int,
    ) -> None:
        """Say so; a debate that has ended meanwhile leaves the line: then `on_token` raises."""
        on_token("")
        if self._clock() >= deadline:
            message = f"the time of the debate was over before {self._account.title} could be asked"
            raise AgentFailed(Kind.TIMEOUT, message)
        on_wait(Waiting(place, f"{ordinal(place)} in line for {self._account.title}"))


def ordinal(place: int) -> str:
    """As in "third in line"."""
    if place <= len(_PLACES):
        return _PLACES[place - 1]
    suffix = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{suffix}"
