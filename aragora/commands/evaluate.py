"""`evaluate`: whether a debate is worth its price, on questions with known answers. It asks without a server."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from aragora.agents import AgentFailed, available, build
from aragora.agents.metering import Meter
from aragora.agents.prices import MICRODOLLARS, Prices
from aragora.commands.exit_codes import FAILED, FINE, Parser, UsageError
from aragora.debate.limits import FEWEST_AGENTS, LONGEST_TIMEOUT, MOST_AGENTS, MOST_ROUNDS
from aragora.debate.spec import AgentSpec, ConsensusMode, DebateSpec
from aragora.evaluation import Case, CasesError, Comparison, Evaluator, Method, Report, load
from aragora.service.estimates import estimate
from aragora.settings import Settings

MODES = tuple(mode.value for mode in ConsensusMode if mode is not ConsensusMode.NONE)
MOST_AT_ONCE = 16
BUDGET = 5.0  # dollars


def add_evaluate(evaluate: Parser) -> None:
    """The arguments of `evaluate`."""
    evaluate.add_argument("file", type=Path, help='JSON lines: {"question": "…", "answer": "…"}')
    evaluate.add_argument(
        "--agents",
        metavar="A,B,...",
        help="the debating agents, as TYPE or TYPE/MODEL; default: one type, three times",
    )
    evaluate.add_argument(
        "--alone", metavar="TYPE[/MODEL]", help="the agent that is asked alone; default: the first of the debating ones"
    )
    evaluate.add_argument("--rounds", type=int, default=2, metavar="N", help=f"1 to {MOST_ROUNDS} (default 2)")
    evaluate.add_argument("--consensus", choices=MODES, default=ConsensusMode.MAJORITY.value)
    evaluate.add_argument(
        "--samples", type=int, metavar="N", help="how often to ask the one; default: as much as a debate takes"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="the first N questions only")
    evaluate.add_argument(
        "--at-once", type=int, default=1, metavar="N", help=f"questions at a time, 1 to {MOST_AT_ONCE}"
    )
    evaluate.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="of one debate, and of one answer"
    )
    evaluate.add_argument("--budget", type=float, default=BUDGET, metavar="DOLLARS", help="stop there (default 5)")
    evaluate.add_argument("--json", action="store_true", help="every figure and answer as JSON")
    evaluate.set_defaults(run=run_evaluate)


def run_evaluate(given: argparse.Namespace, settings: Settings) -> int:
    """Print the table; 1 when no agent could be asked."""
    _check(given)
    try:
        cases = load(given.file)[: given.limit]
    except CasesError as error:
        raise UsageError(str(error)) from None
    environ = settings.agents_environ
    rules, alone = _rules(given, [info.name for info in available(environ) if info.available])
    meter = Meter(Prices.load(settings.prices if settings.prices != Path() else None), environ)
    takes = estimate(rules, meter).summary
    print(f"{len(cases)} questions; a debate takes {takes}, the one model as much again", file=sys.stderr)
    done: list[Comparison] = []
    try:
        evaluator = Evaluator(lambda spec: build(spec, environ), meter, rules, alone, given.samples)
        for comparison in _compared(evaluator, cases, given):
            done.append(comparison)
            print(_progress(done, len(cases)), file=sys.stderr, flush=True)
    except AgentFailed as failed:
        print(f"aragora evaluate: {failed.message}", file=sys.stderr)
        if not done:
            return FAILED
    if len(done) < len(cases):
        print(f"stopped after {len(done)} of {len(cases)} questions", file=sys.stderr)
    report = Report(done)
    print(json.dumps(report.to_json(), ensure_ascii=False, indent=2) if given.json else "\n".join(report.lines()))
    return FINE


def _check(given: argparse.Namespace) -> None:
    for option, value, least, most in (
        ("--rounds", given.rounds, 1, MOST_ROUNDS),
        ("--at-once", given.at_once, 1, MOST_AT_ONCE),
        ("--timeout", given.timeout, 1, LONGEST_TIMEOUT),
        ("--samples", given.samples, 1, 1000),
        ("--limit", given.limit, 1, sys.maxsize),
    ):
        if value is not None and not least <= value <= most:
            raise UsageError(f"{option}: {least} to {most}")
    if not given.budget > 0:
        raise UsageError("--budget: more than 0 dollars")


def _rules(given: argparse.Namespace, ready: Sequence[str]) -> tuple[DebateSpec, AgentSpec]:
    """How it is debated, and which agent is asked alone."""
    wanted = [name.strip() for name in given.agents.split(",")] if given.agents else [ready[0]] * 3
    if not FEWEST_AGENTS <= len(wanted) <= MOST_AGENTS:
        raise UsageError(f"--agents: {FEWEST_AGENTS} to {MOST_AGENTS} of them")
    agents = tuple(_agent(name, f"agent-{number}", ready, "--agents") for number, name in enumerate(wanted, 1))
    alone = _agent(given.alone or wanted[0], "alone", ready, "--alone")
    rules = DebateSpec(
        question="…",
        agents=agents,
        rounds=given.rounds,
        consensus=ConsensusMode(given.consensus),
        timeout=given.timeout,
    )
    return rules, alone


def _agent(wanted: str, name: str, ready: Sequence[str], option: str) -> AgentSpec:
    kind, _, model = wanted.partition("/")
    if kind not in ready:
        raise UsageError(
            f"{option}: {kind!r} cannot be asked here; take one of {', '.join(ready)}, or see aragora doctor"
        )
    return AgentSpec(name, kind, model or None)


def _compared(evaluator: Evaluator, cases: Sequence[Case], given: argparse.Namespace) -> Iterator[Comparison]:
    """The comparisons in the order of the cases, until the budget is spent."""
    left = iter(cases)
    spent = 0
    with ThreadPoolExecutor(given.at_once) as threads:
        while group := list(islice(left, given.at_once)):
            for comparison in threads.map(evaluator.compare, group):
                outcomes = comparison.outcomes
                spent += outcomes[Method.DEBATE].spent.cost + outcomes[Method.MAJORITY].spent.cost
                yield comparison
            if spent >= given.budget * MICRODOLLARS:
                return


def _progress(done: Sequence[Comparison], total: int) -> str:
    outcomes = done[-1].outcomes
    marks = ", ".join(f"{method.value} {'right' if outcomes[method].right else 'wrong'}" for method in Method)
    return f"{len(done)}/{total}: {marks}"
