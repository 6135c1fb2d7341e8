"""Connections of clients, counted by descriptor."""

from proxy.downstream.connection_limit import ConnectionLimit
from proxy.limits import Limits


def test_few_connections_over_the_limit_wait_for_refusal() -> None:
    limits = Limits(64, 2)
    limits.begin(0)
    connection_limit = ConnectionLimit(limits.worker(0))
    assert connection_limit.acquire(1, "192.0.2.1", 1)
    assert not connection_limit.refused(1)
    assert all(connection_limit.acquire(descriptor, "192.0.2.1", 1) for descriptor in range(2, 66))
    assert connection_limit.refused(2)
    assert not connection_limit.acquire(66, "192.0.2.1", 1), "closed at once"
    assert connection_limit.acquire(67, "192.0.2.2", 1), "another client's is served"
    connection_limit.release(2)
    assert not connection_limit.refused(2)
    assert connection_limit.acquire(66, "192.0.2.1", 1)
    assert connection_limit.refused(66), "what was refused never counted, so its end makes no room"
    connection_limit.release(1)
    connection_limit.release(99)
    assert connection_limit.acquire(1, "192.0.2.1", 1)
    assert not connection_limit.refused(1)
