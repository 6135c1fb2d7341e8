"""The names on demand that the status tells: those refused last, and those that expire first."""

import os
import time
from pathlib import Path

import pytest

from proxy.acme.demanded_names import DemandedNames
from proxy.acme.issuer import Issuer
from proxy.acme.permission import Permission
from proxy.acme.refused_names import RefusedNames
from proxy.acme.state import Failures
from proxy.admin.names_on_demand import next_to_expire, refused
from proxy.log import log
from proxy.net.certificate_set import Lifetime
from proxy.net.certificates import self_signed
from proxy.settings import AcmeServer, Settings

pytestmark = pytest.mark.measured
NAME = "a.test"


@pytest.fixture
def issuers(tmp_path: Path) -> list[Issuer]:
    settings = Settings(workers=1, state_dir=tmp_path)
    made = [Issuer(AcmeServer(f"https://{ca}.test/dir"), settings, "test", log) for ca in ("one", "two")]
    for one in made:
        one.state.make()
    return made


def keep(issuer: Issuer, name: str, days: int, age: float = 0.0) -> None:
    pair = self_signed((name,), days)
    file = issuer.state.certificate(name)
    file.write_bytes(pair.key + pair.chain)
    os.utime(file, (time.time() - age, time.time() - age))


def test_strangers_push_out_no_name_of_another_cause() -> None:
    now = iter(range(1000))
    names: RefusedNames[str] = RefusedNames(lambda: float(next(now)))
    names.note("failing.test", "failed")
    for number in range(100):
        names.note(f"{number}.test", "denied")
    names.note("x" * 300, "name")
    assert [one.name for one in names if one.outcome == "denied"] == [f"{number}.test" for number in range(92, 100)]
    assert [one.name for one in names if one.outcome == "failed"] == ["failing.test"]
    assert [len(one.name) for one in names if one.outcome == "name"] == [253]


def test_a_name_is_told_once_and_no_more_when_it_is_served() -> None:
    names: RefusedNames[str] = RefusedNames()
    names.note(NAME, "unknown", "status 503")
    names.note(NAME, "failed")
    assert [(one.outcome, one.reason) for one in names] == [("failed", "")]
    names.forget(NAME)
    assert list(names) == []


def test_why_a_renewal_fails_is_told_until_it_succeeds_anywhere(issuers: list[Issuer]) -> None:
    names = DemandedNames(issuers, Permission("http://127.0.0.1:9/", "test"))
    one, two = issuers
    assert names.fault(NAME) == ""
    one.state.note_failures(NAME, Failures(1, 0.0, time.time() - 50, "first"))
    two.state.note_failures(NAME, Failures(1, 0.0, time.time() - 10, "last"))
    assert names.fault(NAME) == "last"
    keep(one, NAME, 90, age=30)
    assert names.fault(NAME) == "last"
    keep(two, NAME, 90)
    assert names.fault(NAME) == "", "another authority has issued one since"


def test_reasons_outlive_the_process_and_may_be_missing(issuers: list[Issuer]) -> None:
    state = issuers[0].state
    state.note_failures(NAME, Failures(2, 5.0, 1.0, "no such zone"))
    assert state.failures(NAME) == Failures(2, 5.0, 1.0, "no such zone")
    [file] = state.root.glob("*.failures")
    file.write_text('{"count": 2, "until": 5.0}')
    assert state.failures(NAME) == Failures(2, 5.0)


def test_those_that_expire_first_are_told(issuers: list[Issuer]) -> None:
    names = DemandedNames(issuers, Permission("http://127.0.0.1:9/", "test"))
    for days in range(1, 31):
        keep(issuers[0], f"{days}.test", days)
        issuers[0].state.demand(f"{days}.test").touch()
    keep(issuers[1], "1.test", 60)
    names.all()
    assert [name for name, _ in names.next_to_expire()] == [f"{days}.test" for days in range(2, 22)]
    names.use("2.test", Lifetime(int(time.time()) + 90 * 86400, int(time.time())))
    assert names.next_to_expire()[0][0] == "3.test", "renewed since"


def test_a_worker_that_has_seen_the_later_certificate_is_right() -> None:
    now = time.time()
    rows = [
        {"name": "a.test", "expires": now + 100, "begins": now, "fault": ""},
        {"name": "b.test", "expires": now + 86500, "begins": now, "fault": "late"},
        {"name": "a.test", "expires": now + 9e6, "begins": now, "fault": ""},
        *(
            {"name": f"{number}.test", "expires": now + 1e7 + number, "begins": now, "fault": ""}
            for number in range(50)
        ),
    ]
    told = next_to_expire(rows)
    assert len(told) == 20
    assert [(row["name"], row["days"]) for row in told[:2]] == [("b.test", 1), ("a.test", 104)]


def test_refusals_of_all_workers_are_told_once_each_newest_first() -> None:
    rows = [
        {"name": "a.test", "when": 1.0, "outcome": "denied", "reason": ""},
        {"name": "a.test", "when": 3.0, "outcome": "failed", "reason": "x"},
        *({"name": f"{number}.test", "when": 10.0 + number, "outcome": "denied", "reason": ""} for number in range(20)),
    ]
    told = refused(rows)
    assert [row["name"] for row in told] == [*(f"{number}.test" for number in range(19, 11, -1)), "a.test"]
    assert told[-1]["outcome"] == "failed"
