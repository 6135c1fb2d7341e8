"""Connections of clients, counted by descriptor."""

from proxy.downstream.connection_limit import Guests
from proxy.limits import Limits


def test_connections_over_the_limit_are_kept_to_be_refused_and_few() -> None:
    limits = Limits(64, 2)
    limits.begin(0)
    guests = Guests(limits.worker(0))
    assert guests.enter(1, "192.0.2.1", 1)
    assert not guests.refused(1)
    assert all(guests.enter(descriptor, "192.0.2.1", 1) for descriptor in range(2, 66))
    assert guests.refused(2)
    assert not guests.enter(66, "192.0.2.1", 1), "closed at once"
    assert guests.enter(67, "192.0.2.2", 1), "another client's is served"
    guests.leave(2)
    assert not guests.refused(2)
    assert guests.enter(66, "192.0.2.1", 1)
    assert guests.refused(66), "what was refused never counted, so its end makes no room"
    guests.leave(1)
    guests.leave(99)
    assert guests.enter(1, "192.0.2.1", 1)
    assert not guests.refused(1)
