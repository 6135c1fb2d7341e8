"""One claimed debate on its way from its stored history to its end."""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aragora.agents import Agent, AgentFailed, Waiting
from aragora.agents.metering import Bill, Meter
from aragora.debate import engine
from aragora.debate.engine import Failure, Plan, Question, Reply
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.debate.status import Status
from aragora.errors import AragoraError, DebateEnded, LeaseLost, NotFound, SeqConflict, Unavailable
from aragora.runner.purse import Purse
from aragora.runner.tokens import Abandoned, Tokens
from aragora.runner.waits import Waits
from aragora.storage import ChangeFeed, DebateRecord, Lease, Limits, Settlement, Store

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts while the database does not answer


class Observer(Protocol):
    """Counts what happens; must not block or raise."""

    def asked(self, agent_type: str, purpose: str, seconds: float, failure: str | None) -> None:
        """An agent answered, or failed in the way named."""

    def billed(self, agent_type: str, bill: Bill) -> None:
        """What an answer, or a vain attempt, took."""

    def ended(self, status: str, seconds: float) -> None:
        """A debate of this process reached its final status, `seconds` after its creation."""


class RunnerContext(Protocol):
    """What a run needs of the runner it belongs to."""

    store: Store
    feed: ChangeFeed
    agents_environ: Mapping[str, str]
    observer: Observer
    turn: threading.Semaphore
    meter: Meter
    daily: Limits

    def build(self, spec: AgentSpec, environ: Mapping[str, str], /) -> Agent:
        """Make an agent."""

    def finished(self, run: "Run") -> None:
        """Called by a run at its end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one question; `step` tells a late one from those that are waited for."""

    step: int
    question: Question
    result: Reply | Failure


@dataclass(frozen=True, slots=True)
class Notice:
    """That a question is not being answered yet, and why."""

    step: int
    question: Question
    waiting: Waiting


class Run:
    """One claimed debate."""

    def __init__(self, runner: RunnerContext, lease: Lease) -> None:
        self.lease = lease
        self._runner = runner
        self._store = runner.store
        self._stopped = threading.Event()
        self._answers: queue.Queue[Answer | Notice | None] = queue.Queue()
        self._agents: dict[str, Agent] = {}
        self._history: list[Event] = []
        self._step = 0
        self._spent: str | None = None
        self._purse = Purse(runner.store, lease, runner.meter, runner.daily, runner.observer.billed)
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
                except (Unavailable, OSError) as error:  # the machine's trouble passes, and is no end of a debate
                    log.warning("%s waits: %s", self.lease.debate_id, error)
                    self._stopped.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except (LeaseLost, DebateEnded, NotFound):
            pass  # taken over, cancelled or deleted: the cause has been logged there
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
                    # Without drafts it had ended before we began: claimed, and cancelled at the same moment.
                    if plan.drafts:
                        status = self._store.get(record.id).status
                        self._runner.observer.ended(status, time.time() - record.created_at)
                    return
                if plan.questions:
                    self._carry_out(record, plan.questions)

    def _plan(self, spec: DebateSpec) -> Plan | None:
        """The next step, its drafts stored; None when the log moved meanwhile or the debate is not ours any more."""
        plan = engine.plan(spec, self._history, time.time(), self._spent)
        try:
            if plan.drafts:
                self._append(plan.drafts)
            elif not plan.finished and not self._store.leases.holds(self.lease):
                self._stopped.set()
                return None
        except SeqConflict:  # a person's vote or suggestion came in between: it belongs to the plan
            self._read_on()
            return None
        return plan

    def _carry_out(self, record: DebateRecord, questions: Sequence[Question]) -> None:
        """Ask all at once and store each answer as it comes; ends early when time is up or the debate is not ours.

        Questions that may not be spent on yet wait for the answers of others, which may take less than is held.
        """
        self._step += 1
        deadline = engine.deadline(record.spec, self._history) or 0.0
        waiting = 0
        line = deque(questions)
        while not self._stopped.is_set():
            if line:
                count, shortage = self._purse.hold(record, tuple(line), time.time())
                for _ in range(count):
                    arguments = (line.popleft(), self._step, deadline)
                    threading.Thread(target=self._ask, args=arguments, daemon=True).start()
                waiting += count
                self._spent = str(shortage) if not waiting else None
            answers = self._wait(deadline) if waiting else []
            if not answers:
                break  # the next plan goes on, or ends the debate
            waiting -= len(answers)
            self._record(answers)
        self._step += 1

    def _wait(self, deadline: float) -> list[Answer]:
        """The next answers: all that are there, so that under load they are stored together; none when time is up."""
        answers: list[Answer] = []
        notices: list[Notice] = []
        while not self._stopped.is_set():
            try:
                left = max(0.0, deadline - time.time())
                wait = 0.0 if answers or notices else left
                found = self._answers.get(timeout=wait) if wait else self._answers.get_nowait()
            except queue.Empty:
                self._note(notices)
                notices.clear()
                if answers or left <= 0:
                    break
                continue
            if found is None:
                self._look()
            elif isinstance(found, Notice):
                notices += [found] if found.step == self._step else []
            elif found.step == self._step:
                answers.append(found)
            else:
                self._purse.release(found.question, found.result)
        return answers

    def _note(self, notices: Sequence[Notice]) -> None:
        """Store what questions wait for, if that can be done now: later it is no news."""
        drafts = [engine.waiting(item.question, item.waiting.place, item.waiting.message) for item in notices]
        if not drafts:
            return
        try:
            with self._runner.turn:
                self._append(drafts)
        except SeqConflict:
            self._read_on()
        except Unavailable as error:
            log.info("%s does not say what it waits for: %s", self.lease.debate_id, error)

    def _record(self, answers: Sequence[Answer]) -> None:
        """Store answers, which have been paid for, however long the database is away."""
        said = [(item.question, item.result, engine.record(item.question, item.result)) for item in answers]
        drafts, settlements = self._purse.settle(said)
        if not drafts:
            return
        pause, doubtful = FIRST_PAUSE, False
        while True:
            try:
                with self._runner.turn:
                    self._append(drafts, settlements)
                break
            except SeqConflict:
                known = len(self._history)
                self._read_on()
                # A commit whose confirmation got lost has stored them.
                if self._stopped.is_set() or (doubtful and _stored(drafts, self._history[known:])):
                    break
            except Unavailable as error:
                if self._stopped.is_set():
                    raise
                log.warning("%s waits with its answers: %s", self.lease.debate_id, error)
                doubtful = True
                self._stopped.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _append(self, drafts: Sequence[Draft], settlements: Sequence[Settlement] = ()) -> None:
        end = len(self._history)
        added = self._store.append(
            self.lease.debate_id, end, drafts, lease=self.lease, at=time.time(), settlements=settlements
        )
        self._history += added
        self._runner.feed.publish(self.lease.debate_id, added[-1].seq, added)

    def _look(self) -> None:
        """Something changed: stop if the debate is gone or over."""
        if self._watch.deleted:
            self._stopped.set()
        elif self._watch.last_seq > len(self._history):
            self._read_on()

    def _read_on(self) -> None:
        """Read what others appended; stop if that was the end."""
        self._history += self._store.history(self.lease.debate_id, len(self._history))
        if self._history[-1].type is EventType.DEBATE_END:
            self._stopped.set()

    def _changed(self) -> None:
        """An event was appended; called from any thread. Our own appends are no news."""
        if self._watch.deleted or self._watch.last_seq > len(self._history):
            self._answers.put(None)

    def _ask(self, question: Question, step: int, deadline: float) -> None:
        """Carry out one question; in a thread of its own."""
        name = question.agent.name
        if self._over(step):
            self._purse.release(question, None)
            return
        began = time.monotonic()
        result: Reply | Failure
        try:
            agent = self._agents.get(name) or self._agents.setdefault(
                name, self._runner.build(question.agent, self._runner.agents_environ)
            )
            waits = Waits(lambda waiting: self._answers.put(Notice(step, question, waiting)))
            with Tokens(self._runner.feed, self.lease.debate_id, question, lambda: self._over(step)) as tokens:
                result = agent.ask(question, tokens, deadline, waits)
        except Abandoned:
            return
        except AgentFailed as error:
            result = Failure(error.kind, error.message, error.usage, error.final)
        except Exception:
            log.exception("agent %s of %s failed in an unknown way", name, self.lease.debate_id)
            result = Failure("internal", "the agent failed in an unknown way")
        failure = result.kind if isinstance(result, Failure) else None
        self._runner.observer.asked(question.agent.type, question.purpose.value, time.monotonic() - began, failure)
        self._answers.put(Answer(step, question, result))

    def _over(self, step: int) -> bool:
        """Whether answers of `step` are not waited for any more."""
        return self._stopped.is_set() or self._step != step

    def _fail(self) -> None:
        """Our own mistake must not be repeated by every process in turn."""
        data = {"status": Status.FAILED.value, "reason": "internal error", "rounds": 0, "duration": 0.0}
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


def _stored(drafts: Sequence[Draft], events: Sequence[Event]) -> bool:
    """Whether `drafts` stand among `events`; they are appended together."""
    found = [(event.type, event.round, event.agent, event.data) for event in events]
    wanted = [(draft.type, draft.round, draft.agent, draft.data) for draft in drafts]
    return any(found[start : start + len(wanted)] == wanted for start in range(len(found)))
