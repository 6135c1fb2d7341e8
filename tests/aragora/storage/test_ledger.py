"""What is spent: never more than the limits allow, whoever asks at once, and counted with the answer or not at all."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aragora.debate.usage import Usage
from aragora.errors import LeaseLost, SeqConflict, TooManyRequests
from aragora.settings import Settings
from aragora.storage import Granted, Hold, Lease, Limits, Scope, Settlement, Shortage, Spending, Store
from aragora.storage.ledger import day_of
from aragora.storage.records import UNBOUNDED, DebateRecord
from tests.aragora.storage.debates import END, START, message, spec

NOW = 1_800_000_000.0
TODAY = day_of(NOW)
HOLD = Hold(tokens=1000, cost=500)
USAGE = Usage(input=200, output=100, cached=50, thought=30)


def claimed(store: Store, owner: str = "") -> tuple[DebateRecord, Lease]:
    record = store.create(spec(), owner=owner)
    (lease,) = store.leases.claim("here", 60.0)
    assert lease.debate_id == record.id
    return record, lease


def hold(store: Store, lease: Lease, count: int = 1, budget: Limits = UNBOUNDED, daily: Limits = UNBOUNDED) -> Granted:
    return store.ledger.hold(lease, [HOLD] * count, budget, daily, NOW)


def settle(store: Store, lease: Lease, *settlements: Settlement, expected: int = 0) -> None:
    drafts = [message("said")] * len(settlements)
    store.append(lease.debate_id, expected, drafts, lease=lease, at=NOW, settlements=settlements)


def test_a_hold_counts_at_once_and_an_answer_replaces_it(store: Store) -> None:
    record, lease = claimed(store, "@admin")
    assert hold(store, lease, 2) == Granted(2, TODAY, None)
    assert store.get(record.id).spending == Spending(2, Usage(), 0, 2000, 1000)

    settle(store, lease, Settlement(TODAY, HOLD, USAGE, 77))
    expected = Spending(2, USAGE, 77, 1000, 500)
    assert store.get(record.id).spending == expected
    (day,) = store.ledger.days("@admin", TODAY)
    assert (day.owner, day.day, day.spending) == ("@admin", TODAY, expected)


@pytest.mark.parametrize(
    ("limits", "granted", "what"),
    [
        (Limits(questions=3), 3, "questions"),
        (Limits(tokens=2999), 2, "tokens"),
        (Limits(cost=2000), 4, "cost"),
        (Limits(questions=4, tokens=5000, cost=1), 0, "cost"),
        (Limits(questions=5, tokens=5000, cost=2500), 5, None),
    ],
)
@pytest.mark.parametrize("whose", ["debate", "token"])
def test_only_as_many_are_granted_as_fit(
    store: Store, limits: Limits, granted: int, what: str | None, whose: str
) -> None:
    _, lease = claimed(store)
    given = {"budget": limits} if whose == "debate" else {"daily": limits}
    found = hold(store, lease, 5, **given)
    assert found.count == granted
    assert (found.shortage and (found.shortage.whose, found.shortage.what)) == (what and (whose, what))
    assert hold(store, lease, 5 - granted or 1, **given).count == 0


def test_what_an_answer_did_not_take_may_be_spent_again(store: Store) -> None:
    _, lease = claimed(store)
    budget = Limits(tokens=1500)
    assert hold(store, lease, 1, budget).count == 1
    assert hold(store, lease, 1, budget).count == 0
    settle(store, lease, Settlement(TODAY, HOLD, USAGE, 0))
    assert hold(store, lease, 1, budget).count == 1


def test_an_answer_that_is_not_stored_is_not_settled(store: Store) -> None:
    record, lease = claimed(store)
    hold(store, lease)
    with pytest.raises(SeqConflict):
        settle(store, lease, Settlement(TODAY, HOLD, USAGE, 77), expected=9)
    assert store.get(record.id).spending == Spending(1, Usage(), 0, 1000, 500)


def test_only_who_holds_the_debate_holds_money_for_it(store: Store) -> None:
    record, lease = claimed(store)
    with pytest.raises(LeaseLost):
        hold(store, Lease(record.id, "elsewhere", lease.token))
    store.append(record.id, None, [START, END], lease=None, at=NOW)
    with pytest.raises(LeaseLost):
        hold(store, lease)
    assert store.ledger.days(None, TODAY) == []


def test_unanswered_question_keeps_its_estimated_tokens(store: Store) -> None:
    record, lease = claimed(store, "@admin")
    hold(store, lease, 2)
    store.append(record.id, None, [START, END], lease=None, at=NOW)
    store.ledger.release(record.id, "@admin", [Settlement(TODAY, HOLD, Usage(200, 10), 40)])
    expected = Spending(2, Usage(), 0, 1210, 540)
    assert store.get(record.id).spending == expected
    store.delete(record.id)
    store.ledger.release(record.id, "@admin", [Settlement(TODAY, HOLD, Usage(), 0)])
    (day,) = store.ledger.days("@admin", TODAY)
    assert day.spending == Spending(2, Usage(), 0, 210, 40)


def test_a_token_s_own_limits_hold_over_all_its_debates_of_a_day(store: Store) -> None:
    store.tokens.add("guest", [Scope.CREATE], Limits(questions=3))
    _, first = claimed(store, "guest")
    _, second = claimed(store, "guest")
    assert hold(store, first, 2).count == 2
    found = hold(store, second, 2)
    assert found == Granted(1, TODAY, Shortage("token", "questions", 3))
    assert "3 questions a day" in str(found.shortage)
    tomorrow = store.ledger.hold(second, [HOLD], UNBOUNDED, UNBOUNDED, NOW + 86_400)
    assert tomorrow.count == 1


def test_a_removed_token_asks_nothing_more(store: Store) -> None:
    store.tokens.add("guest", [Scope.CREATE], UNBOUNDED)
    _, lease = claimed(store, "guest")
    assert hold(store, lease).count == 1
    store.tokens.remove("guest")
    found = hold(store, lease)
    assert (found.count, str(found.shortage)) == (0, "the API token was removed")


def test_a_token_begins_no_more_debates_at_once_than_it_may(store: Store) -> None:
    limits = Limits(debates=2)
    records = [store.create(spec(), owner="guest", limits=limits) for _ in range(2)]
    with pytest.raises(TooManyRequests, match="2 debates at once") as refused:
        store.create(spec(), owner="guest", limits=limits)
    assert refused.value.retry_after
    store.create(spec(), owner="other", limits=limits)
    store.append(records[0].id, None, [START, END], lease=None, at=time.time())
    store.create(spec(), owner="guest", limits=limits)


def test_existing_debate_is_returned_beyond_every_limit(store: Store) -> None:
    limits = Limits(debates=1)
    made = store.create(spec(), owner="guest", limits=limits, idempotency_key="k", request_hash="h")
    assert store.create(spec(), owner="guest", limits=limits, idempotency_key="k", request_hash="h").id == made.id


def test_a_token_that_has_spent_its_day_begins_no_paid_debate(store: Store) -> None:
    _, lease = claimed(store, "@admin")
    at = time.time()
    store.ledger.hold(lease, [HOLD], UNBOUNDED, UNBOUNDED, at)
    limits = Limits(cost=500)
    with pytest.raises(TooManyRequests, match=r"0\.00 \$ a day") as refused:
        store.create(spec(), owner="@admin", limits=limits, least=Hold(1, 1))
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 86_400
    store.create(spec(), owner="@admin", limits=limits, least=None)
    store.create(spec(), owner="@other", limits=limits, least=Hold(1, 1))


def test_many_at_once_hold_no_more_than_the_limit(store: Store, settings: Settings) -> None:
    daily = Limits(questions=10)
    leases = [claimed(store, "@admin")[1] for _ in range(4)]
    stores = [Store.open(settings) for _ in leases]

    def spend(number: int) -> int:
        return sum(stores[number].ledger.hold(leases[number], [HOLD], UNBOUNDED, daily, NOW).count for _ in range(6))

    with ThreadPoolExecutor(len(leases)) as pool:
        granted = list(pool.map(spend, range(len(leases))))
    for opened in stores:
        opened.close()
    assert sum(granted) == 10
    (day,) = store.ledger.days("@admin", TODAY)
    assert day.spending.questions == 10


def test_many_at_once_begin_no_more_debates_than_the_limit(store: Store, settings: Settings) -> None:
    stores = [Store.open(settings) for _ in range(4)]

    def begin(opened: Store) -> int:
        made = 0
        for _ in range(3):
            try:
                opened.create(spec(), owner="guest", limits=Limits(debates=5))
                made += 1
            except TooManyRequests:
                pass
        return made

    with ThreadPoolExecutor(len(stores)) as pool:
        made = list(pool.map(begin, stores))
    for opened in stores:
        opened.close()
    assert sum(made) == 5


def test_what_a_killed_process_held_stays_held(store: Store, environ: dict[str, str]) -> None:
    record, lease = claimed(store, "@admin")
    code = (
        "import os, signal, sys; from aragora.settings import load; from aragora.storage import *;"
        f"store = Store.open(load()); lease = Lease({lease.debate_id!r}, {lease.owner!r}, {lease.token});"
        f"store.ledger.hold(lease, [Hold(1000, 500)], Limits(), Limits(), {NOW});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process_environ = environ | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=process_environ, timeout=60, check=False)
    assert ended.returncode == -9
    assert store.get(record.id).spending == Spending(1, Usage(), 0, 1000, 500)
    assert hold(store, lease, 1, Limits(questions=1)).count == 0
