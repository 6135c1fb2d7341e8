"""What is counted by route and peer: exact sums, bounded names, nothing of routes that are left out."""

from proxy.observe import metrics
from proxy.observe.exchange_counters import Sum, uncounted
from proxy.observe.metrics import Board
from tests.proxy.observe.test_metrics import samples


def test_exchanges_are_counted_by_route_and_peer() -> None:
    board = Board()
    for slot in range(2):
        counters = board.counters(board.take(range(slot)))
        counters.begin()
        api = counters.route("api")
        api["a:1"].exchange(b"GET", 200, 0.004, 10, 100)
        api["a:2"].exchange(b"POST", 502, 2.0, 20, 200)
        api["a:2"].retry()
        counters.route("files")[""].exchange(b"GET", 404, 0.001, 1, 2)
    found = samples(board)
    assert {key[1]: value for key, value in found.items() if key[0] == "route_requests_total"} == {
        ("2xx", "a:1", "api"): 2,
        ("5xx", "a:2", "api"): 2,
        ("4xx", "", "files"): 2,
    }
    assert found["route_request_duration_seconds_bucket", ("0.005", "a:1", "api")] == 2
    assert found["route_request_duration_seconds_bucket", ("1.0", "a:2", "api")] == 0
    assert found["route_request_duration_seconds_sum", ("a:2", "api")] == 4
    assert found["route_received_bytes_total", ("a:2", "api")] == 40
    assert found["route_sent_bytes_total", ("a:1", "api")] == 200
    assert (found["route_retries_total", ("a:2", "api")], found["retries_total", ()]) == (2, 2)


def test_routes_built_again_count_on_in_the_same_cells() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    for _ in range(3):  # as after reloads; requests of the tables before still end
        counters.route("api")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    first, second = counters.route("api")["a:1"], counters.route("api")["a:1"]
    first.exchange(b"GET", 200, 0.1, 1, 1)
    second.exchange(b"GET", 200, 0.1, 1, 1)
    assert board.traffic()["api", "a:1"].requests == 5


def test_routes_and_peers_beyond_the_bound_share_a_cell() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    for number in range(metrics.EXCHANGES + 10):
        counters.route(f"route-{number}")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    found = board.traffic()
    assert len(found) == metrics.EXCHANGES
    assert found["other", ""].requests == 11
    assert board.slots()[0].traffic().requests == metrics.EXCHANGES + 10


def test_long_names_of_route_and_peer_keep_apart() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    path = "unix:/" + "é" * 100
    for peer in ("a:1", "a:2", path):
        counters.route("r" * 500)[peer].exchange(b"GET", 200, 0.1, 1, 1)
    found = board.traffic()
    assert {route for route, _ in found} == {"r" * 120}
    assert {peer[:5] for _, peer in found} == {"a:1", "a:2", "unix:"}


def test_counters_of_a_route_that_is_left_out_are_no_ones() -> None:
    board = Board()
    board.counters(board.take([]))
    uncounted()["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    assert board.slots()[0].traffic().of(Sum.SENT) == 0
