"""Orders: pure transitions, one record for all processes, whatever dies while it changes."""

import fcntl
import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin import overrides
from proxy.admin.overrides import EVERY, MOST, OverrideRecord, Overrides, OverridesBusy
from proxy.admin.services import Service
from tests.waiting import PATIENCE

NAMES = st.sampled_from(["api", "web", EVERY])
PEERS = st.sampled_from(["127.0.0.1:1", "127.0.0.1:2", "unix:/run/a.sock"])
RELOADS: dict[str, Any] = {"version": 0, "reload_requests": 0, "reloads_done": 0, "mistakes": ()}
TRANSITIONS = st.one_of(
    st.builds(lambda peer, route: lambda now: now.drain(peer, route), PEERS, NAMES),
    st.builds(lambda peer, route: lambda now: now.undrain(peer, route), PEERS, NAMES),
    st.builds(lambda on, route: lambda now: now.maintain(on=on, route=route), st.booleans(), NAMES),
    st.builds(lambda peer: lambda now: now.switch("api", ("127.0.0.1:1",), (peer,)), PEERS),
    st.builds(
        lambda peer, name: lambda now: now.deploy(Service(name, (peer,))), PEERS, st.sampled_from(["api", "shop"])
    ),
    st.builds(lambda name: lambda now: now.remove(name), st.sampled_from(["api", "shop"])),
    st.builds(lambda name, wait: lambda now: now.hold(name, wait), NAMES, st.sampled_from([1.0, 30.0])),
    st.builds(lambda name: lambda now: now.resume(name), NAMES),
    st.just(Overrides.request_reload),
    st.builds(lambda mistakes: lambda now: now.reloaded(mistakes), st.lists(st.text(max_size=20), max_size=3)),
)


@given(st.lists(TRANSITIONS, max_size=20))
def test_records_survive_storage_and_versions_only_grow(transitions: list) -> None:  # type: ignore[type-arg]
    now = Overrides()
    for transition in transitions:
        after = transition(now)
        assert Overrides.decoded(after.encoded()) == after
        assert after.version >= now.version
        acted_on = replace(after, **RELOADS) != replace(now, **RELOADS)
        assert not acted_on or after.version > now.version
        now = after


def test_a_peer_is_drained_on_one_route_or_on_all() -> None:
    one = Overrides().drain("a:1", "api")
    assert one.is_drained("api", "a:1")
    assert not one.is_drained("web", "a:1")
    everywhere = one.drain("a:1")
    assert everywhere.is_drained("web", "a:1")
    assert not everywhere.undrain("a:1").is_drained("api", "a:1")
    but_one = everywhere.undrain("a:1", "api", ["web"])
    assert (but_one.is_drained("api", "a:1"), but_one.is_drained("web", "a:1")) == (False, True)


def test_maintenance_of_all_routes_ends_for_all() -> None:
    now = Overrides().maintain(on=True, route="api").maintain(on=True)
    assert now.in_maintenance("web")
    assert not now.maintain(on=False).in_maintenance("api")


def test_switch_holds_until_settings_change_or_switched_back() -> None:
    old, new = ("a:1",), ("b:1 weight=2",)
    now = Overrides().switch("api", old, new)
    assert now.upstreams("api", old) == new
    assert now.upstreams("web", old) == old
    assert now.upstreams("api", ("c:1",)) == ("c:1",)
    assert now.switch("api", old, old).switches == ()


def test_what_a_route_is_switched_to_is_drained_no_longer() -> None:
    now = Overrides().drain("b:1", "api").drain("b:1", "web").switch("api", ("a:1",), ("b:1 weight=2",))
    assert not now.is_drained("api", "b:1")
    assert now.is_drained("web", "b:1")


def test_an_order_that_changes_nothing_needs_no_new_version() -> None:
    now = Overrides().drain("a:1")
    assert now.drain("a:1") is now
    assert now.undrain("b:1") is now


def test_orders_are_bounded() -> None:
    now = Overrides()
    for number in range(MOST):
        now = now.drain(f"a:{number}").switch(f"route-{number}", ("a:1",), ("b:1",))
    with pytest.raises(ValueError, match="undrain"):
        now.drain("one:1")
    with pytest.raises(ValueError, match="into the file"):
        now.switch("one", ("a:1",), ("b:1",))
    book = OverrideRecord()
    assert book.change(lambda _: now) == now


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries(dict.fromkeys(json.loads(Overrides().encoded()), JSON)))
def test_no_record_of_a_worker_breaks_its_master(raw: dict[str, object]) -> None:
    with suppress(ValueError):
        Overrides.decoded(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"version":1}', '{"version":"x","drained":3}'])
def test_what_was_not_written_here_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Overrides.decoded(text)
    assert OverrideRecord(text).get() == Overrides()
    with pytest.raises(ValueError, match="not a record"):
        Overrides.decoded("[" * 100_000)


def test_upgrade_keeps_overrides_and_drops_a_pending_reload() -> None:
    book = OverrideRecord()
    book.change(lambda now: now.drain("a:1").request_reload())
    carried = OverrideRecord(book.get().encoded()).get()
    assert carried.is_drained("api", "a:1")
    assert carried.reload_requests == carried.reloads_done == 0


def test_changes_by_dying_processes_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "_PATIENCE", PATIENCE)
    book = OverrideRecord()
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            try:
                for turn in range(20):
                    book.change(lambda now, name=f"{number}:{turn}": now.drain(name))  # type: ignore[misc]
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert len(book.get().drained) == 160
    assert book.get().version == 160


def test_who_dies_while_it_changes_the_record_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    book = OverrideRecord()
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        fcntl.lockf(book._lock, fcntl.LOCK_EX)
        os.write(tell, b"x")
        signal.pause()
    os.read(ready, 1)
    monkeypatch.setattr(overrides, "_PATIENCE", 0.01)
    with pytest.raises(OverridesBusy, match="try again"):
        book.change(lambda now: now.drain("a:1"))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert book.change(lambda now: now.drain("a:1")).version == 1


def test_refusing_transition_keeps_record_and_lock() -> None:
    book = OverrideRecord()

    def refuse(_: Overrides) -> Overrides:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        book.change(refuse)
    assert book.change(lambda now: now.drain("a:1")).version == 1


def test_frozen_record_takes_results_of_reloads_alone() -> None:
    book = OverrideRecord()
    book.change(lambda now: now.drain("a:1"))
    book.freeze(frozen=True)
    with pytest.raises(OverridesBusy, match="nothing changed: the gateway is being upgraded"):
        book.change(lambda now: now.drain("a:2"))
    assert book.change(Overrides.request_reload).reload_requests == 1
    assert book.change(Overrides.reloaded).reloads_done == 1
    book.freeze(frozen=False)
    assert book.change(lambda now: now.drain("a:2")).is_drained("web", "a:2")
