"""The exchange against a small reference: whatever order its client and its upstream act in, it ends as expected.

The reference knows a request's fate from a few sentences: a complete response reaches its client whole; one that is cut
off never looks complete; an upstream that closes in silence is asked once more if the method allows it, else 502; a
deadline is 408 or 504; a client that leaves takes its request with it. Both drivers are held to it: the event loop's
callbacks, and the greenlet.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.proxy.exchange.harness import ClientEnd, Harness, UpstreamEnd

IDEMPOTENT = (b"GET", b"HEAD", b"PUT")
BODY = b"a body of some bytes"


class Fate(Enum):
    """Where a request stands, as the reference sees it."""

    SENDING = auto()  # its client has not sent all of it
    ASKED = auto()  # the upstream has it, and has said nothing
    PARTLY = auto()  # the upstream has begun its response
    ANSWERED = auto()
    CUT = auto()  # the response ended too early


class Framing(Enum):
    """What ends a response's body."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()
    NONE = auto()  # it has none


OPEN = (Fate.SENDING, Fate.ASKED, Fate.PARTLY)


@dataclass(eq=False)
class AdminRequest:
    """One request of a client."""

    method: bytes
    target: bytes
    rest: bytes = b""
    """What its client has still to send."""
    fate: Fate = Fate.ASKED
    status: int = 0
    body: bytes | None = b""
    """None: the gateway's own text."""
    attempts: int = 1
    unsent: bytes = b""
    """What the upstream has still to send of its response."""
    until_close: bool = False

    @property
    def read_as(self) -> bytes:
        """The method that decides how its response is read: a request whose head did not come whole has none."""
        return b"GET" if self.status == 408 else self.method


@dataclass(eq=False)
class Caller:
    """A client and what it asked, in order."""

    end: ClientEnd
    asked: list[AdminRequest] = field(default_factory=list)

    @property
    def current(self) -> AdminRequest | None:
        return self.asked[-1] if self.asked and self.asked[-1].fate in OPEN else None


NUMBER = st.integers(0, 11)
CUT = st.one_of(st.just(0), st.integers(1, 120))


class Exchanges(RuleBasedStateMachine):
    """Clients, one gateway, and the connections that it opens to its upstream."""

    @initialize(at_once=st.booleans())
    def begin(self, at_once: bool) -> None:
        self.harness = Harness(at_once=at_once)
        self.harness.check_connections()
        self.callers: list[Caller] = []
        self.gone = 0
        self.count = 0
        self.calm_until = 3
        """The number of requests before which no client leaves and no time passes, or nothing would ever happen."""

    # What rules choose from.

    def idle(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.current is None and not caller.end.ended]

    def sending(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.current and caller.current.fate is Fate.SENDING]

    def waiting(self, *fates: Fate) -> list[tuple[UpstreamEnd, AdminRequest]]:
        """The upstream's connections with a request on them, and that request."""
        found = []
        by_target = {asked.target: asked for caller in self.callers for asked in caller.asked}
        for end in self.harness.upstreams:
            asked = by_target.get(end.requests[0][1]) if end.requests and not end.closed else None
            if asked is not None and asked.fate in fates:
                found.append((end, asked))
        return found

    def on_readable(self) -> list[UpstreamEnd]:
        return [end for end in self.harness.upstreams if not end.closed and not end.ended and not end.requests]

    # Clients.

    @precondition(lambda self: sum(not caller.end.ended for caller in self.callers) < 4)
    @rule()
    def connect(self) -> None:
        self.callers.append(Caller(self.harness.connect()))

    @precondition(lambda self: self.idle())
    @rule(number=NUMBER, method=st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST"]), cut=CUT)
    def ask(self, number: int, method: bytes, cut: int) -> None:
        """A request, whole or cut at some byte."""
        caller = self.idle()[number % len(self.idle())]
        self.count += 1
        target = b"/%d" % self.count
        body = BODY if method in (b"PUT", b"POST") else b""
        head = b"%s %s HTTP/1.1\r\nHost: a\r\n" % (method, target)
        data = head + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body
        cut = len(data) - cut if cut < len(data) else len(data)
        asked = AdminRequest(method, target, data[cut:])
        asked.fate = Fate.SENDING if asked.rest else Fate.ASKED
        caller.asked.append(asked)
        caller.end.sock.sendall(data[:cut])
        self.harness.settle()

    @precondition(lambda self: self.sending())
    @rule(number=NUMBER, count=st.integers(1, 120))
    def send_more(self, number: int, count: int) -> None:
        caller = self.sending()[number % len(self.sending())]
        asked = caller.asked[-1]
        piece, asked.rest = asked.rest[:count], asked.rest[count:]
        if not asked.rest:
            asked.fate = Fate.ASKED
        caller.end.sock.sendall(piece)
        self.harness.settle()

    @precondition(lambda self: self.count >= self.calm_until and self.callers)
    @rule(number=NUMBER)
    def leave(self, number: int) -> None:
        """A client closes its connection: what it asked ends with it."""
        caller = self.callers.pop(number % len(self.callers))
        self.gone += len(caller.asked)
        self.calm_until = self.count + 2
        self.harness.leave(caller.end)

    # The upstream.

    @precondition(lambda self: self.waiting(Fate.ASKED))
    @rule(number=NUMBER, framing=st.sampled_from(Framing), cut=CUT, informed=st.booleans())
    def respond(self, number: int, framing: Framing, cut: int, informed: bool) -> None:
        """A response, whole or cut at some byte."""
        end, asked = self.waiting(Fate.ASKED)[number % len(self.waiting(Fate.ASKED))]
        body = b"the response to " + asked.target if asked.method != b"HEAD" else b""
        asked.status = 200
        if framing is Framing.NONE:
            asked.status, body, data = 204, b"", b"HTTP/1.1 204 No Content\r\n\r\n"
        elif framing is Framing.LENGTH or not body:
            data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        elif framing is Framing.CHUNKED:
            data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            data = b"HTTP/1.1 200 OK\r\n\r\n" + body
            asked.until_close = True
        if informed:
            data = b"HTTP/1.1 102 Processing\r\n\r\n" + data
        asked.body = body
        cut = len(data) - cut if cut < len(data) else len(data)
        asked.unsent = data[cut:]
        self._send(end, asked, data[:cut])

    @precondition(lambda self: any(asked.unsent for _, asked in self.waiting(Fate.PARTLY)))
    @rule(number=NUMBER, count=st.integers(1, 120))
    def respond_more(self, number: int, count: int) -> None:
        partly = [(end, asked) for end, asked in self.waiting(Fate.PARTLY) if asked.unsent]
        end, asked = partly[number % len(partly)]
        piece, asked.unsent = asked.unsent[:count], asked.unsent[count:]
        self._send(end, asked, piece)

    def _send(self, end: UpstreamEnd, asked: AdminRequest, data: bytes) -> None:
        end.sock.sendall(data)
        asked.fate = Fate.PARTLY
        if not asked.unsent and not asked.until_close:
            asked.fate = Fate.ANSWERED
            end.answered()
        self.harness.settle()

    @precondition(lambda self: self.waiting(Fate.ASKED, Fate.PARTLY))
    @rule(number=NUMBER)
    def give_up(self, number: int) -> None:
        """The upstream closes a connection with a request on it."""
        waiting = self.waiting(Fate.ASKED, Fate.PARTLY)
        end, asked = waiting[number % len(waiting)]
        if asked.fate is Fate.PARTLY:
            self._end_early(asked, 502)
            if asked.fate is Fate.CUT and asked.until_close:  # nobody can tell that this was not all
                asked.fate, asked.body = Fate.ANSWERED, (asked.body or b"").removesuffix(asked.unsent)
        elif asked.method in IDEMPOTENT and asked.attempts == 1:
            asked.attempts = 2
        else:
            self._end_early(asked, 502)
        end.close()
        self.harness.repeats(asked.target) if asked.fate is Fate.ASKED else self.harness.settle()

    def _end_early(self, asked: AdminRequest, status: int) -> None:
        """No more will come of the response: whether its client has the final head decides what it can be told."""
        caller = next(caller for caller in self.callers if asked in caller.asked)
        if caller.end.responses([asked.read_as for asked in caller.asked])[1]:
            asked.fate = Fate.CUT
        else:
            asked.fate, asked.status, asked.body = Fate.ANSWERED, status, None

    @precondition(lambda self: self.on_readable())
    @rule(number=NUMBER, speaks=st.booleans())
    def end_idle(self, number: int, speaks: bool) -> None:
        """The upstream closes a connection without a request, or sends on it what nobody may ever see."""
        end = self.on_readable()[number % len(self.on_readable())]
        if speaks:
            end.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")
        else:
            end.close()
        self.harness.settle()

    # Time.

    @precondition(lambda self: self.count >= self.calm_until)
    @rule()
    def late(self) -> None:
        """Every deadline passes; a connection without a request may be closed."""
        for caller in self.callers:
            asked = caller.current
            if asked is not None:
                self._end_early(asked, 408 if asked.fate is Fate.SENDING else 504)
        self.calm_until = self.count + 4
        self.harness.late()

    # What holds at every moment.

    @invariant()
    def clients_have_what_is_due(self) -> None:
        if not hasattr(self, "harness"):
            return
        for caller in self.callers:
            complete, begun = caller.end.responses([asked.read_as for asked in caller.asked])
            due = [asked for asked in caller.asked if asked.fate is Fate.ANSWERED]
            assert [status for status, _ in complete] == [asked.status for asked in due]
            for (_, body), asked in zip(complete, due, strict=True):
                assert asked.body is None or body == asked.body
            cut = any(asked.fate is Fate.CUT for asked in caller.asked)
            assert not cut or caller.end.ended, caller
            assert not begun or cut or (caller.current is not None and caller.current.fate is Fate.PARTLY)

    @invariant()
    def everything_is_counted(self) -> None:
        if not hasattr(self, "harness"):
            return
        assert not self.harness.violations, self.harness.violations
        asked = [asked for caller in self.callers for asked in caller.asked]
        waiting = sum(a.fate in (Fate.ASKED, Fate.PARTLY) for a in asked)
        assert self.harness.busy == waiting
        assert self.harness.finished == self.count - sum(a.fate in OPEN for a in asked)

    def teardown(self) -> None:
        if hasattr(self, "harness"):
            self.harness.close()
            assert self.harness.busy == 0
            assert not self.harness.front.connections


Exchanges.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestExchanges = Exchanges.TestCase
