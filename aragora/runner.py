"""Advances debates: claims a lease, asks the agents, stores what they say, until nothing is left to do.

    claim ──► history ──► plan ──► append its drafts ──► ask the agents, all at once ──► record, append each answer ─┐
                           ▲                                                                                        │
                           └────────────────────────────────────────────────────────────────────────────────────────┘

Nothing but the stored history decides the next step, so any process may continue any debate; what is lost with a
process are its unanswered questions, and they are asked again. Each round of this loop begins with a fenced append or
a look at the lease: a debate that was cancelled, deleted or taken over calls no agent any more, and an answer that
streams in is broken off as soon as the news arrives.

One thread per debate and one per question: greenlets under gunicorn's gevent worker, where a thousand debates cost a
few kilobytes each; under uvicorn or the development server real threads, where a smaller ARAGORA_MAX_DEBATES is wise.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aragora.agents import Agent, AgentFailed, build
from aragora.debate import engine
from aragora.debate.engine import Ask, Failure, Plan, Reply
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.errors import AragoraError, DebateEnded, LeaseLost, NotFound, SeqConflict, Unavailable
from aragora.storage import ChangeFeed, Lease, Store

log = logging.getLogger(__name__)

SCAN = 0.5  # seconds between looks for debates that other processes left
CLAIM = 32  # debates claimed in one transaction
RENEWALS = 3  # per lease_ttl
STEPS = 4  # debates of one process that plan, store or begin to ask at the same moment
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts while the database does not answer
TOKENS = 0.05  # seconds that streamed text is gathered before watchers get it


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """For metrics and /ready."""

    running: int
    capacity: int
    draining: bool


class Observer(Protocol):
    """Counts what happens; must not block or raise."""

    def asked(self, agent_type: str, purpose: str, seconds: float, failure: str | None) -> None:
        """An agent answered, or failed in the way named."""

    def ended(self, status: str, seconds: float) -> None:
        """A debate of this process reached its final status, ``seconds`` after its creation."""


class Unobserved:
    """Counts nothing."""

    def asked(self, agent_type: str, purpose: str, seconds: float, failure: str | None) -> None:
        """Nothing."""

    def ended(self, status: str, seconds: float) -> None:
        """Nothing."""


class Abandoned(Exception):  # noqa: N818  not a failure: it ends an answer that nobody waits for
    """Raised into an agent's stream when its debate was cancelled, handed over, or ran out of time."""


class Runner:
    """One per process, made after the fork. Any number of processes may run on one store."""

    def __init__(
        self,
        store: Store,
        feed: ChangeFeed,
        agents_environ: Mapping[str, str],
        *,
        capacity: int = 1000,
        lease_ttl: float = 9.0,
        observer: Observer | None = None,
        build: Callable[[AgentSpec, Mapping[str, str]], Agent] = build,
    ) -> None:
        self.store = store
        self.feed = feed
        self.agents_environ = agents_environ
        self.observer = observer or Unobserved()
        self.build = build
        self.owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._capacity = capacity
        self._ttl = lease_ttl
        self._runs: dict[Lease, Run] = {}
        # A thousand answers may come within one turn of the hub. Whoever works on them takes turns here, so that what
        # else the process serves waits for a few steps and not for a thousand.
        self.turn = threading.Semaphore(STEPS)
        self._work = threading.Event()
        self._draining = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to claim debates, in background threads (greenlets)."""
        self.feed.on_work(self.wake)
        for target in (self._claim, self._renew):
            thread = threading.Thread(target=target, name=f"aragora-runner{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look for a debate to claim now."""
        self._work.set()

    def drain(self, grace: float) -> None:
        """Claim no more and hand every lease over at once; returns within ``grace`` seconds or a little more.

        Agents that are still answering are broken off; the process that takes over asks them again.
        """
        deadline = time.monotonic() + grace
        self._draining.set()
        self._work.set()
        runs = tuple(self._runs.values())
        for run in runs:
            run.stop()
        for thread in self._threads:
            thread.join(timeout=max(0.1, deadline - time.monotonic()))
        try:
            if self.store.leases.release_all(self.owner):
                self.feed.publish_work()
        except AragoraError as error:
            log.warning("leases not handed over, they expire in %g s: %s", self._ttl, error)
        for run in runs:
            run.join(max(0.0, deadline - time.monotonic()))

    def status(self) -> RunnerStatus:
        """What it does now."""
        return RunnerStatus(len(self._runs), self._capacity, self._draining.is_set())

    def _claim(self) -> None:
        while not self._draining.is_set():
            self._work.wait(SCAN)
            self._work.clear()
            try:
                while not self._draining.is_set() and self._claim_some():
                    pass
            except AragoraError as error:
                log.warning("cannot claim debates: %s", error)
                self._draining.wait(SCAN)

    def _claim_some(self) -> bool:
        """Whether more debates may wait."""
        free = min(CLAIM, self._capacity - len(self._runs))
        if free <= 0:
            return False
        leases = self.store.leases.claim(self.owner, self._ttl, free)
        for lease in leases:
            run = self._runs[lease] = Run(self, lease)
            run.start()
        return len(leases) == free

    def finished(self, run: Run) -> None:
        """Called by a run at its end."""
        self._runs.pop(run.lease, None)
        self.wake()

    def _renew(self) -> None:
        while not self._draining.wait(self._ttl / RENEWALS):
            runs = tuple(self._runs.values())
            if not runs:
                continue
            try:
                held = self.store.leases.renew(self.owner, self._ttl)
            except AragoraError as error:
                log.warning("cannot renew leases: %s", error)
                continue
            for run in runs:
                if run.lease not in held:
                    run.stop()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one question; ``step`` tells a late one from those that are waited for."""

    step: int
    ask: Ask
    result: Reply | Failure


class Run:
    """One claimed debate."""

    def __init__(self, runner: Runner, lease: Lease) -> None:
        self.lease = lease
        self._runner = runner
        self._store = runner.store
        self._stopped = threading.Event()
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        self._agents: dict[str, Agent] = {}
        self._history: list[Event] = []
        self._step = 0
        self._pauses: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name=lease.debate_id, daemon=True)

    def start(self) -> None:
        """Advance it in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Call no agent any more and store nothing; the lease is the runner's to release."""
        self._stopped.set()
        self._answers.put(None)

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while not self._stopped.is_set():
                try:
                    self._advance()
                    return
                except Unavailable as error:
                    log.warning("%s waits: %s", self.lease.debate_id, error)
                    self._stopped.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except (LeaseLost, DebateEnded, NotFound):
            pass  # taken over, cancelled or deleted: whoever did it has said so
        except Exception:
            log.exception("%s cannot go on", self.lease.debate_id)
            self._fail()
        finally:
            self._stopped.set()
            self._runner.finished(self)

    def _advance(self) -> None:
        record = self._store.get(self.lease.debate_id)
        self._history = self._store.history(record.id)
        with self._runner.feed.subscribe(record.id, wake=self._changed) as self._watch:
            while not self._stopped.is_set():
                with self._runner.turn:
                    plan = self._plan(record.spec)
                if plan is None:
                    continue
                if plan.finished:
                    self._runner.observer.ended(self._store.get(record.id).status, time.time() - record.created_at)
                    return
                if plan.asks:
                    self._carry_out(record.spec, plan.asks)

    def _plan(self, spec: DebateSpec) -> Plan | None:
        """The next step, its drafts stored; None when the log moved meanwhile or the debate is not ours any more."""
        plan = engine.plan(spec, self._history, time.time())
        try:
            if plan.drafts:
                self._append(plan.drafts)
            elif not plan.finished and not self._store.leases.holds(self.lease):
                self._stopped.set()
                return None
        except SeqConflict:  # a person's vote or suggestion came in between: it belongs to the plan
            self._catch_up()
            return None
        return plan

    def _carry_out(self, spec: DebateSpec, asks: Sequence[Ask]) -> None:
        """Ask all at once and store each answer as it comes; ends early when time is up or the debate is not ours."""
        self._step += 1
        deadline = engine.deadline(spec, self._history) or 0.0
        for ask in asks:
            threading.Thread(target=self._ask, args=(ask, self._step, deadline), daemon=True).start()
        waiting = len(asks)
        while waiting and not self._stopped.is_set():
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.time()))
            except queue.Empty:
                break  # the next plan ends the debate
            if answer is None:
                self._catch_up()
            elif answer.step == self._step:
                waiting -= 1
                with self._runner.turn:
                    self._record(spec, answer)
        self._step += 1

    def _record(self, spec: DebateSpec, answer: Answer) -> None:
        drafts = engine.record(spec, answer.ask, answer.result)
        while drafts:
            try:
                self._append(drafts)
                return
            except SeqConflict:
                self._catch_up()

    def _append(self, drafts: Sequence[Draft]) -> None:
        end = len(self._history)
        added = self._store.append(self.lease.debate_id, end, drafts, lease=self.lease, at=time.time())
        self._history += added
        self._runner.feed.publish(self.lease.debate_id, added[-1].seq, added)

    def _catch_up(self) -> None:
        """Read what others appended; stop if that was the end."""
        if self._watch.deleted:
            self._stopped.set()
        elif self._watch.last_seq > len(self._history):
            self._history += self._store.history(self.lease.debate_id, len(self._history))
            if self._history[-1].type is EventType.DEBATE_END:
                self._stopped.set()

    def _changed(self) -> None:
        """Somebody appended; called from any thread. Our own appends are no news."""
        if self._watch.deleted or self._watch.last_seq > len(self._history):
            self._answers.put(None)

    def _ask(self, ask: Ask, step: int, deadline: float) -> None:
        """Carry out one question; in a thread of its own."""
        name = ask.agent.name
        self._stopped.wait(min(self._pauses.get(name, 0.0), deadline) - time.time())
        if self._over(step):
            return
        began = time.monotonic()
        result: Reply | Failure
        try:
            agent = self._agents.get(name) or self._agents.setdefault(
                name, self._runner.build(ask.agent, self._runner.agents_environ)
            )
            tokens = Tokens(self._runner.feed, self.lease.debate_id, ask, lambda: self._over(step))
            result = agent.ask(ask, tokens, deadline)
            tokens.flush()
        except Abandoned:
            return
        except AgentFailed as error:
            if error.retry_after:
                self._pauses[name] = time.time() + error.retry_after
            result = Failure(error.kind, error.message)
        except Exception:
            log.exception("agent %s of %s failed in an unknown way", name, self.lease.debate_id)
            result = Failure("internal", "the agent failed in an unknown way")
        failure = result.kind if isinstance(result, Failure) else None
        self._runner.observer.asked(ask.agent.type, ask.purpose.value, time.monotonic() - began, failure)
        self._answers.put(Answer(step, ask, result))

    def _over(self, step: int) -> bool:
        """Whether nobody waits any more for answers of ``step``."""
        return self._stopped.is_set() or self._step != step

    def _fail(self) -> None:
        """Our own mistake must not be repeated by every process in turn."""
        data = {"status": "failed", "reason": "internal error", "rounds": 0, "duration": 0.0}
        try:
            ended = self._store.append(
                self.lease.debate_id,
                None,
                [Draft(EventType.DEBATE_END, 0, None, data)],
                lease=self.lease,
                at=time.time(),
            )
            self._runner.feed.publish(self.lease.debate_id, ended[-1].seq, ended)
        except AragoraError as error:
            log.warning("%s: %s", self.lease.debate_id, error)


class Tokens:
    """Receives an answer's text as it streams in and passes it on in a few pieces a second."""

    def __init__(self, feed: ChangeFeed, debate_id: str, ask: Ask, over: Callable[[], bool]) -> None:
        self._feed = feed
        self._debate_id = debate_id
        self._ask = ask
        self._over = over
        self._text: list[str] = []
        self._sent = 0.0

    def __call__(self, text: str) -> None:
        """Raises :class:`Abandoned` when nobody waits for the answer any more."""
        if self._over():
            raise Abandoned
        self._text.append(text)
        if time.monotonic() - self._sent >= TOKENS:
            self.flush()

    def flush(self) -> None:
        """Pass on what is left."""
        if not self._text:
            return
        text = "".join(self._text)
        self._text.clear()
        self._sent = time.monotonic()
        self._feed.publish_live(
            self._debate_id,
            {
                "agent": self._ask.agent.name,
                "round": self._ask.round,
                "purpose": self._ask.purpose.value,
                "text": text,
            },
        )
