"""Leases on both databases: one holder at a time, taken over when it falls silent, handed over at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from aragora.storage import Store
from tests.aragora.storage.debates import END, START, append, spec


def later(store: Store, seconds: float) -> None:
    """As if so much time had passed for whoever holds a lease."""
    with store.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE debates SET lease_expires = lease_expires - {seconds}")


def test_each_debate_goes_to_one_owner_oldest_first(store: Store) -> None:
    ids = [store.create(spec()).id for _ in range(3)]

    assert [lease.debate_id for lease in store.leases.claim("a", 60, 2)] == ids[:2]
    assert [lease.debate_id for lease in store.leases.claim("b", 60, 2)] == ids[2:]
    assert store.leases.claim("c", 60, 2) == []


def test_many_owners_at_once_share_out_every_debate_once(store: Store) -> None:
    ids = {store.create(spec()).id for _ in range(24)}
    together = threading.Barrier(6)

    def claim(owner: int) -> list[str]:
        together.wait()
        taken: list[str] = []
        while leases := store.leases.claim(str(owner), 60, 2):
            taken += [lease.debate_id for lease in leases]
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [debate_id for part in pool.map(claim, range(6)) for debate_id in part]
    # An owner may find nothing while others' claims are under way; nobody finds anything twice.
    taken += [lease.debate_id for lease in store.leases.claim("last", 60, 24)]
    assert sorted(taken) == sorted(ids)


def test_a_silent_owner_loses_its_debate_after_the_ttl(store: Store) -> None:
    store.create(spec())
    (lost,) = store.leases.claim("silent", 60)
    later(store, 20)
    assert store.leases.claim("next", 60) == []

    later(store, 40)
    (taken,) = store.leases.claim("next", 60)
    assert taken.token == lost.token + 1
    assert store.leases.holds(taken)
    assert not store.leases.holds(lost)


def test_renewing_keeps_it_and_names_what_is_held(store: Store) -> None:
    store.create(spec())
    leases = set(store.leases.claim("a", 60))
    for _ in range(4):
        later(store, 25)
        assert store.leases.renew("a", 60) == leases
        assert store.leases.claim("b", 60) == []
    assert store.leases.renew("b", 60) == set()


def test_releasing_hands_over_at_once(store: Store) -> None:
    for _ in range(3):
        store.create(spec())
    assert len(store.leases.claim("a", 60, 2)) == 2
    assert len(store.leases.claim("b", 60, 3)) == 1
    assert store.leases.release_all("a") == 2
    assert store.leases.renew("b", 60)
    assert len(store.leases.claim("b", 60, 3)) == 2


def test_an_ended_debate_is_nobodys(store: Store) -> None:
    record = store.create(spec())
    (lease,) = store.leases.claim("a", 0.0)
    append(store, record, START, END, lease=lease)

    assert not store.leases.holds(lease)
    assert store.leases.claim("b", 60) == []
    assert store.leases.renew("a", 60) == set()


def test_backlog_reports_waiting_and_longest_silence(store: Store) -> None:
    assert store.leases.backlog() == (0, 0, 0.0)
    quiet, busy, over = (store.create(spec()) for _ in range(3))
    store.leases.claim("a", 60, 1)
    with store.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE debates SET updated_at = updated_at - 900 WHERE id = '{quiet.id}'")
    append(store, busy, START)
    append(store, over, START, END)
    backlog = store.leases.backlog()
    assert (backlog.unfinished, backlog.waiting) == (2, 1)
    assert 900 <= backlog.silence < 960
