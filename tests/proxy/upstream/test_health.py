"""A peer's record: left out after failures, taken back, probed, started slowly. Time is a number here."""

from proxy.observe.numbers import PeerState
from proxy.upstream.health import Health, HealthLimits


def test_ejection_of_a_failing_peer_gets_longer() -> None:
    health = Health(HealthLimits(eject_after=3, eject_time=10))
    health.failed(0)
    health.failed(0)
    assert health.usable(0)
    health.failed(0)
    assert (health.usable(9.9), health.state(9.9)) == (False, PeerState.EJECTED)
    assert (health.usable(10), health.state(10)) == (True, PeerState.UP)
    health.failed(10)
    assert not health.usable(29.9)
    assert health.usable(30)
    for _ in range(10):
        health.failed(health.ejected_until)
    assert health.ejected_until - 160 <= 1000 + 160 * 10
    health.succeeded(5000)
    assert (health.failures, health.usable(0)) == (0, True)
    health.failed(5001)
    health.failed(5001)
    assert health.usable(5001)


def test_failures_that_come_together_count_as_one_ejection() -> None:
    health = Health(HealthLimits(eject_after=1, eject_time=10))
    for _ in range(100):
        health.failed(0)
    assert health.ejected_until == 10


def test_probes_take_a_peer_down_and_bring_it_up() -> None:
    health = Health(HealthLimits(rise=2, fall=3))
    assert [health.probed(0, good=False) for _ in range(4)] == [False, False, True, False]
    assert (health.usable(0), health.state(0)) == (False, PeerState.DOWN)
    rounds = [health.probed(1, good=good) for good in (True, False, True, True, True)]
    assert rounds == [False, False, False, True, False]
    assert health.usable(1)


def test_a_peer_that_came_up_gets_its_share_bit_by_bit() -> None:
    health = Health(HealthLimits(rise=1, fall=1, slow_start=10))
    assert health.share(0) == 1.0
    health.probed(0, good=False)
    health.probed(100, good=True)
    assert [health.share(100 + after) for after in (0, 5, 10, 99)] == [0.1, 0.5, 1.0, 1.0]


def test_nothing_is_left_out_where_that_is_switched_off() -> None:
    health = Health(HealthLimits(eject_after=0))
    for _ in range(50):
        health.failed(0)
    assert health.usable(0)


def test_since_when_and_why_a_peer_does_not_work_is_known() -> None:
    health = Health(HealthLimits(eject_after=2, eject_time=10))
    assert (health.since, health.fault, health.outages) == (0, "", 0)
    health.failed(100, "connection refused")
    health.failed(103, "timed out")
    assert (health.since, health.fault, health.outages) == (100, "timed out", 1)
    health.failed(120, "timed out")  # tried again after its ejection
    assert (health.since, health.outages, health.downtime) == (100, 1, 0)
    health.succeeded(142)
    assert (health.since, health.fault, health.outages, health.downtime) == (0, "", 1, 42)
    health.failed(200, "reset")
    health.succeeded(201)  # a single failure is no outage
    assert (health.since, health.outages, health.downtime) == (0, 1, 42)


def test_probes_tell_since_when_and_why_as_well() -> None:
    health = Health(HealthLimits(rise=2, fall=2))
    health.probed(10, good=False, fault="/up answered 503")
    assert (health.since, health.outages) == (10, 0)
    health.probed(11, good=True)
    assert (health.since, health.fault) == (0, "")
    for now in (20, 21, 22):
        health.probed(now, good=False, fault="/up answered 503")
    health.succeeded(23)  # a request that was under way does not bring it up
    assert (health.down, health.since, health.fault, health.outages) == (True, 20, "/up answered 503", 1)
    health.probed(24, good=True)
    assert health.since == 20
    health.probed(25, good=True)
    assert (health.down, health.since, health.outages, health.downtime) == (False, 0, 1, 5)
