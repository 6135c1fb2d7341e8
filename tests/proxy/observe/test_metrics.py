"""The board: exact totals whatever happens to workers, bounded names, valid Prometheus text."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.form import form
from proxy.net.certificate_set import Lifetime
from proxy.observe import metrics
from proxy.observe.exchange_counters import BUCKETS
from proxy.observe.metrics import SLOTS, Board, Cells
from proxy.observe.numbers import Gauge, PeerSnapshot, PeerState, StoreState, Total
from proxy.observe.prometheus import peer_views, render

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "run-the-gateway.md"


def samples(board: Board) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of the rendered board by name and label values."""
    return {
        (sample.name.removeprefix("aragora_proxy_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(render(board, "1.2.3").decode())
        for sample in family.samples
    }


def in_child(work: Callable[[], None], end: int | None = None) -> None:
    """Do something in a forked process, which then exits or dies of a signal."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            if end is not None:
                os.kill(os.getpid(), end)
            os._exit(0)
    os.waitpid(pid, 0)


def test_a_request_is_counted_by_method_class_duration_and_bytes() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    counters.begin()
    one, other = counters.route("one")["a:1"], counters.route("other")[""]
    one.exchange(b"GET", 200, 0.0005, 100, 1000)
    one.exchange(b"GET", 499, 0.3, 10, 0)
    other.exchange(b"BREW", 502, 400.0, 1, 2)
    other.exchange(b"POST", 0, BUCKETS[0], 0, 0)
    found = samples(board)
    assert {key[1]: value for key, value in found.items() if key[0] == "requests_total"} == {
        ("2xx", "GET"): 1,
        ("4xx", "GET"): 1,
        ("5xx", "other"): 1,
        ("0xx", "POST"): 1,
    }
    buckets = {key[1][0]: value for key, value in found.items() if key[0] == "request_duration_seconds_bucket"}
    assert [buckets[bound] for bound in ("0.001", "0.25", "0.5", "300.0", "+Inf")] == [2, 2, 3, 3, 4]
    assert found["request_duration_seconds_count", ()] == 4
    assert found["request_duration_seconds_sum", ()] == pytest.approx(400.3015)
    assert (found["received_bytes_total", ()], found["sent_bytes_total", ()]) == (111, 1002)


def test_everything_else_that_is_counted_is_rendered() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    counters.begin()
    for count in (counters.accepted, counters.retry_waited, counters.tunnel, counters.reloaded):
        count()
    counters.route("r")["a:1"].retry()
    counters.log_lost(3)
    counters.tunnel_bytes(5, 6)
    counters.rejected("host")
    counters.rejected("host")
    counters.rejected("field_line")
    peer = counters.peer('unix:/run/a"b\\c.sock')
    peer.connect()
    peer.reuse()
    peer.reuse()
    peer.failure()
    gauges = (Gauge.PARKED, Gauge.ACTIVE, Gauge.TUNNELS, Gauge.RETRY_WAITING, Gauge.UPSTREAM_IDLE)
    for number, which in enumerate(gauges, 10):
        counters.gauge(which, number)
    counters.sample()
    found = samples(board)
    peer_name = ('unix:/run/a"b\\c.sock',)
    expected = {
        ("connections_accepted_total", ()): 1,
        ("retries_total", ()): 1,
        ("retry_waits_total", ()): 1,
        ("holds_total", ()): 1,  # the former name
        ("tunnels_opened_total", ()): 1,
        ("access_log_lost_lines_total", ()): 3,
        ("tunnel_received_bytes_total", ()): 5,
        ("tunnel_sent_bytes_total", ()): 6,
        ("requests_rejected_total", ("host",)): 2,
        ("requests_rejected_total", ("field_line",)): 1,
        ("upstream_connects_total", peer_name): 1,
        ("upstream_reuses_total", peer_name): 2,
        ("upstream_failures_total", peer_name): 1,
        ("connections", ("idle",)): 10,
        ("connections", ("active",)): 11,
        ("connections", ("tunnel",)): 12,
        ("retry_waiting", ()): 13,
        ("requests_held", ()): 13,  # the former name
        ("upstream_connections", ("idle",)): 14,
        ("workers", ()): 1,
        ("build_info", (form(), "1.2.3")): 1,
        ("worker_draining", ("0",)): 0,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["worker_cpu_seconds_total", ("0",)] >= 0
    assert 0 <= found["worker_utilisation_ratio", ("0",)] <= 1


def test_every_metric_is_documented() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    counters.begin()
    counters.route("r")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    counters.rejected("host")
    counters.peer("127.0.0.1:8080").connect()
    counters.see_peers({"127.0.0.1:8080": PeerSnapshot(PeerState.UP)})
    counters.see_certificates({"example.com": Lifetime(2_000_000_000, 1)})
    counters.request_field_dropped("x_a")
    counters.gauge(Gauge.SHARED_LIMITS, StoreState.LINKED)
    documented = HOWTO.read_text()
    for family in text_string_to_metric_families(render(board, "1").decode()):
        name = family.name + "_total" if family.type == "counter" else family.name
        assert f"`{name}`" in documented, name


def test_failures_are_counted_by_cause() -> None:
    board = Board()
    for slot in range(2):
        counters = board.counters(board.take(range(slot)))
        counters.begin()
        counters.rejected("host")
        counters.failed("connect_refused")
        counters.failed("rate")
    found = samples(board)
    assert {key[1]: value for key, value in found.items() if key[0] == "failures_total"} == {
        ("host",): 2,
        ("connect_refused",): 2,
        ("rate",): 2,
    }
    assert [key[1] for key in found if key[0] == "requests_rejected_total"] == [("host",)]
    assert found["rate_limited_total", ()] == 2


def test_peer_is_up_while_every_living_worker_says_so() -> None:
    board = Board()
    first, second = board.counters(board.take([])), board.counters(board.take([0]))
    for counters in (first, second):
        counters.begin()
    first.see_peers({"a": PeerSnapshot(PeerState.UP, 1, 2), "b": PeerSnapshot(PeerState.UP)})
    second.see_peers({"a": PeerSnapshot(PeerState.EJECTED, 3, 4), "b": PeerSnapshot(PeerState.UP)})
    found = samples(board)
    assert (found["peer_up", ("a",)], found["peer_up", ("b",)]) == (0, 1)
    snapshot = peer_views(board.slots())["a"].snapshot
    assert (snapshot.state, snapshot.idle, snapshot.busy) == (PeerState.EJECTED, 4, 6)
    first.see_peers({"a": PeerSnapshot(PeerState.UP)})
    board.leave(1)
    found = samples(board)
    assert found["peer_up", ("a",)] == 1
    assert ("peer_up", ("b",)) not in found


def test_earliest_expiry_of_a_certificate_is_reported() -> None:
    board = Board()
    first, second = board.counters(board.take([])), board.counters(board.take([0]))
    for counters in (first, second):
        counters.begin()
    first.see_certificates({"example.com": Lifetime(2_000_000_000, 9), "old.example.com": Lifetime(5, 4)})
    first.see_certificates({"example.com": Lifetime(2_000_000_000, 9)})
    second.see_certificates({"example.com": Lifetime(1_900_000_000, 7)})
    found = samples(board)
    assert {key[1]: value for key, value in found.items() if key[0] == "certificate_expiry_seconds"} == {
        ("example.com",): 1_900_000_000
    }
    assert found["certificate_begin_seconds", ("example.com",)] == 7


def test_the_earliest_expiry_is_shown_however_many_there_are() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    counters.begin()
    many = {f"{number}.example": Lifetime(2_000_000_000 - number, 1) for number in range(metrics.CERTIFICATES * 2)}
    counters.see_certificates(many)
    found = dict(board.slots()[0].certificates())
    assert found[f"{len(many) - 1}.example"] == min(found.values()) == min(many.values())
    counters.see_certificates({**many, "new.example": Lifetime(7, 6)})
    assert min(dict(board.slots()[0].certificates()).values()) == (7, 6)


def test_certificates_that_are_gone_leave_room_for_new_ones() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    kept = Lifetime(1_900_000_000, 1)
    for number in range(metrics.CERTIFICATES * 3):
        seen = {f"{number}.example": Lifetime(2_000_000_000, number + 1), "kept.example": kept}
        counters.see_certificates(seen)
    assert dict(board.slots()[0].certificates()) == seen


def test_an_unused_board_renders() -> None:
    assert samples(Board())["request_duration_seconds_count", ()] == 0


@pytest.mark.parametrize("death", [None, signal.SIGKILL])
def test_totals_outlive_workers_and_any_worker_tells_them_all(death: int | None) -> None:
    board = Board()
    first, second = board.take([]), board.take([0])

    def serve(slot: int, requests: int) -> Callable[[], None]:
        def work() -> None:
            counters = board.counters(slot)
            counters.begin()
            counters.gauge(Gauge.ACTIVE, 7)
            peer = counters.peer(f"127.0.0.1:{8080 + slot}")
            exchanges = counters.route("r")["a:1"]
            for _ in range(requests):
                exchanges.exchange(b"GET", 200, 0.002, 10, 20)
                peer.connect()

        return work

    in_child(serve(first, 100), death)
    in_child(serve(second, 10), death)
    assert samples(board)["connections", ("active",)] == 14  # the master has not noticed their deaths yet
    board.leave(first)
    board.leave(second)
    successor = board.take([])
    assert successor == first
    in_child(serve(successor, 1), death)
    found = samples(board)
    assert found["requests_total", ("2xx", "GET")] == 111
    assert found["request_duration_seconds_count", ()] == 111
    assert found["upstream_connects_total", ("127.0.0.1:8080",)] == 101
    assert found["upstream_connects_total", ("127.0.0.1:8081",)] == 10
    assert found["connections", ("active",)] == 7
    assert (found["workers", ()], found["worker_starts_total", ()]) == (1, 3)


def test_slots_are_enough_for_a_reload_that_doubles_the_workers() -> None:
    board = Board()
    used: list[int] = []
    for _ in range(SLOTS):
        used.append(board.take(used))
    assert used == list(range(SLOTS))
    with pytest.raises(RuntimeError, match=str(SLOTS)):
        board.take(used)
    assert board.take(set(used) - {17}) == 17


def test_slots_do_not_touch_each_other() -> None:
    board = Board()
    for slot in range(3):
        counters = board.counters(board.take(range(slot)))
        counters.begin()
        for number in range(metrics.REASONS + 5):
            counters.rejected(f"reason-{number}")
        for number in range(metrics.PEERS + 5):
            counters.peer(f"peer-{number}").failure()
    assert [sum(count for _, count, _ in slot.reasons()) for slot in board.slots()] == [metrics.REASONS + 5] * 3
    assert [slot.total(Total.STARTS) for slot in board.slots()] == [1, 1, 1]


@given(st.lists(st.text(min_size=1, max_size=200).filter(lambda name: "\0" not in name), max_size=120))
def test_names_are_bounded_and_no_count_is_lost(names: list[str]) -> None:
    board = Board()
    counters = board.counters(board.take([]))
    counters.begin()
    for name in names:
        counters.rejected(name)
    [slot] = board.slots()
    cells = list(slot.reasons())
    assert len(cells) <= metrics.REASONS
    assert sum(count for _, count, _ in cells) == len(names)
    render(board, "1")


def test_name_too_long_for_its_cell_is_cut_at_a_character() -> None:
    board = Board()
    words = memoryview(bytearray(8 * 64)).cast("q")
    cells = Cells(words, 0, 2, 1)
    assert cells.find("é" * 100) == cells.find("é" * 100)
    [(name, _)] = cells.items()
    assert name == "é" * 60
    del board


@pytest.mark.parametrize("pattern", [b"\xff", b"\x7f", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"A"])
def test_worker_counts_on_from_its_predecessors_slot(pattern: bytes) -> None:
    board = Board()
    board.take([])
    words = board._words.cast("B")
    words[:] = (pattern * (len(words) // len(pattern) + 1))[: len(words)]
    counters = board.counters(board.take([]))
    counters.begin()
    counters.route("r")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    counters.rejected("x")
    counters.peer("a:1").connect()
    counters.see_peers({"a:1": PeerSnapshot(PeerState.UP, 1, 2, 1, 99)})
    [slot] = board.slots()
    assert slot.traffic().requests == 1
