"""What the admin address answers, to whom, and what its documents say."""

import csv
import io
import json
import mmap
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.admin import Admin
from proxy.admin.overrides import OverrideRecord
from proxy.admin.response import AdminRequest, AdminResponse
from proxy.form import form
from proxy.net.certificate_set import Lifetime
from proxy.observe import log_formats
from proxy.observe.log_formats import Entry
from proxy.observe.metrics import Board
from proxy.observe.numbers import Gauge, PeerSnapshot, PeerState
from proxy.observe.recent import CAUSES, FAILED, OF_CAUSE, SLOWEST, WINDOW, Recent, newest
from proxy.observe.reports import CAPACITY, Reports
from proxy.observe.shared_record import SharedRecord
from proxy.settings import Address, Peer, RouteSettings, Settings

ONE, TWO = "127.0.0.1:8081", "127.0.0.1:8082"
API = RouteSettings(
    "api",
    ("api.example.com",),
    "/v1/",
    False,
    Settings(upstream=(Peer(Address.parse(ONE)), Peer(Address.parse(TWO), 3)), workers=1),
)
SETTINGS = Settings(
    upstream=(Peer(Address("127.0.0.1", 8080)),),
    workers=1,
    routes=(API, RouteSettings("old", (), "/old", True, Settings(redirect="https://example.com/", workers=1))),
)
JSON = {b"content-type": b"application/json"}
TOKEN = b"0123456789abcdef0123456789abcdef"
MADE = b"that-the-gateway-has-made-itself"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def _never(*_: object) -> str:
    raise AssertionError("nothing is probed here")


class Desk:
    """An admin address, with the shared memory that it looks into."""

    def __init__(self, settings: Settings = SETTINGS, workers: int = 0) -> None:
        self.board, self.reports, self.book = Board(), Reports(), OverrideRecord()
        self.counters = [self.board.counters(self.board.take(range(slot))) for slot in range(workers)]
        for slot, counters in enumerate(self.counters):
            counters.begin()
            self.reports.look()
            self.reports.publish(slot, {})
        signal.signal(signal.SIGHUP, self._adopt)
        self.admin = Admin(self.board, self.reports, self.book, "1.2.3", lambda: settings, token=MADE, probe=_never)

    def _adopt(self, *_: object) -> None:
        """What each worker does when it is told of new orders; all of them are this process."""
        for counters in self.counters:
            counters.gauge(Gauge.OVERRIDES, self.book.get().version)

    def ask(
        self,
        target: bytes,
        host: bytes | None = b"127.0.0.1:9180",
        method: bytes = b"GET",
        fields: dict[bytes, bytes] | None = None,
        body: bytes = b"",
        *,
        proven: bool = False,
    ) -> AdminResponse:
        return self.admin.respond(AdminRequest(method, target, host, fields or {}, body, proven))

    def order(self, command: str, **given: Any) -> tuple[int, dict[str, Any]]:
        """A command, over the gateway's own socket."""
        body = json.dumps(given).encode()
        answer = self.ask(b"/" + command.encode(), method=b"POST", fields=JSON, body=body, proven=True)
        return answer.status, json.loads(answer.body)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.ask(b"/status.json", proven=True).body))


# Who may ask.


@pytest.mark.parametrize(
    "host", [b"localhost", b"localhost:9180", b"127.0.0.1:9180", b"[::1]:9180", b"10.0.0.7", b"proxy:9180", None]
)
def test_hosts_that_a_scraper_uses_are_served(host: bytes | None) -> None:
    assert Desk().ask(b"/metrics", host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:9180",
        b"127.0.0.1.evil.example",
        b"localhost.evil",
        b"",
        b"a@127.0.0.1",
        b"127.0.0.1:9180\n",
    ],
)
@pytest.mark.parametrize("target", [b"/metrics", b"/", b"/status.json", b"/healthz"])
def test_names_that_a_stranger_can_own_are_refused(host: bytes, target: bytes) -> None:
    assert Desk().ask(target, host).status == 403


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 415),
        ({b"content-type": b"text/plain"}, 415),
        ({b"content-type": b"application/x-www-form-urlencoded"}, 415),
        (JSON | {b"origin": b"http://evil.example"}, 403),
        (JSON | {b"origin": b"null"}, 403),
        (JSON | {b"sec-fetch-site": b"cross-site"}, 403),
        (JSON | {b"sec-fetch-site": b"same-site"}, 403),
        (JSON | {b"origin": b"http://127.0.0.1:9180", b"sec-fetch-site": b"same-origin"}, 200),
        ({b"content-type": b"Application/JSON; charset=utf-8", b"sec-fetch-site": b"none"}, 200),
    ],
)
def test_commands_that_another_sites_page_may_send_are_refused(fields: dict[bytes, bytes], status: int) -> None:
    desk = Desk()
    asked = {"method": b"POST", "body": b'{"on": true}'}
    assert desk.ask(b"/maintenance", fields=fields, proven=True, **asked).status == status  # type: ignore[arg-type]
    fields = fields | {b"authorization": b"Bearer " + MADE}  # of a page that is open beside it
    assert desk.ask(b"/maintenance", fields=fields, **asked).status == status  # type: ignore[arg-type]
    assert desk.book.get().in_maintenance("api") == (status == 200)


COMMANDS = (b"/drain", b"/undrain", b"/maintenance", b"/probe", b"/switch", b"/reload")


@pytest.mark.parametrize("target", [*COMMANDS, b"/switch?x=1", b"/token"])
@pytest.mark.parametrize("proof", [b"", b"Bearer ", b"Bearer x", b"Basic " + MADE, MADE, b"Bearer " + MADE + b"x"])
def test_commands_need_proof_though_they_come_from_this_machine(target: bytes, proof: bytes) -> None:
    desk = Desk(workers=1)
    body = b'{"route": "default", "upstream": "127.0.0.1:28666", "on": true, "peer": "127.0.0.1:8080"}'
    method = b"GET" if target == b"/token" else b"POST"
    fields = JSON | ({b"authorization": proof} if proof else {})
    answer = desk.ask(target, method=method, fields=fields, body=body)
    assert (answer.status, b"WWW-Authenticate: Bearer" in answer.fields) == (401, True)
    assert b"aragora-proxy" in answer.body
    assert MADE not in answer.body
    assert desk.book.get().version == 0


def test_generated_token_is_given_over_the_command_socket_only() -> None:
    desk = Desk(workers=1)
    told = json.loads(desk.ask(b"/token", host=None, proven=True).body)["token"]
    right = JSON | {b"authorization": b"Bearer " + told.encode()}
    assert desk.ask(b"/maintenance", method=b"POST", fields=right, body=b'{"on": true}').status == 200
    chosen = Desk(Settings(admin_token_file=Path("/etc/token"), admin_token=TOKEN, workers=1), workers=1)
    answer = chosen.ask(b"/token", proven=True)
    assert (answer.status, b"/etc/token" in answer.body, TOKEN in answer.body) == (404, True, False)
    assert chosen.ask(b"/maintenance", method=b"POST", fields=right, body=b'{"on": true}').status == 401


def test_what_everybody_may_read_names_no_client_and_no_query() -> None:
    desk = Desk(workers=1)
    row = {"client": "192.0.2.7", "target": "/a?token=secret&x", "since": 1, "seconds": 1, "when": 1, "upstream": "a:1"}
    desk.reports.publish(0, {kind: [row] for kind in ("tunnels", "slowest", "failing")})
    for fields in ({}, {b"authorization": b"Bearer wrong"}):
        answer = desk.ask(b"/status.json", fields=fields)
        assert answer.status == 200
        assert b"192.0.2.7" not in answer.body
        assert b"secret" not in answer.body
        page = json.loads(answer.body)
        for kind in ("tunnels", "slowest", "failing"):
            assert page[kind] == [row | {"client": None, "target": "/a"}]
        assert page["private"] is False
    whole = json.loads(desk.ask(b"/status.json", fields={b"authorization": b"Bearer " + MADE}).body)
    assert (whole["private"], whole["slowest"]) == (True, [row])
    assert desk.status()["tunnels"] == [row]
    assert {name for name in whole if name not in page} == set()


def test_admin_token_guards_all_but_health_and_bare_page() -> None:
    closed = Settings(admin_token_file=Path("/etc/token"), admin_token=TOKEN, upstream=SETTINGS.upstream, workers=1)
    assert "0123" not in repr(closed)
    desk = Desk(closed)
    for target in (b"/", b"/page/page.js", b"/healthz"):
        assert desk.ask(target, b"admin.example.com").status in (200, 503)
    for wrong in (
        {},
        {b"authorization": b"Bearer x"},
        {b"authorization": b"Basic " + TOKEN},
        {b"authorization": b"Bearer " + TOKEN + b"x"},
    ):
        for target in (b"/metrics", b"/status.json"):
            answer = desk.ask(target, fields=wrong)
            assert (answer.status, b"WWW-Authenticate: Bearer" in answer.fields) == (401, True)
        assert desk.ask(b"/maintenance", method=b"POST", fields=JSON | wrong, body=b'{"on": true}').status == 401
    right = {b"authorization": b"bearer " + TOKEN}
    assert desk.ask(b"/metrics", b"admin.example.com", fields=right).status == 200
    assert desk.ask(b"/maintenance", method=b"POST", fields=JSON | right, body=b'{"on": true}').status == 200
    for empty in (b"Bearer ", b"Bearer"):
        assert Desk(replace(closed, admin_token=b"")).ask(b"/metrics", fields={b"authorization": empty}).status == 401


def test_methods_paths_and_fields() -> None:
    desk = Desk()
    assert desk.ask(b"/metrics", method=b"POST").status == 405
    assert desk.ask(b"/metrics", method=b"HEAD").status == 200
    assert desk.ask(b"/drain", proven=True).status == 405
    assert desk.ask(b"/metrics/").status == 404
    assert desk.ask(b"/page/../admin.py").status == 404
    assert desk.ask(b"/metrics?name[]=x").status == 200
    page = desk.ask(b"/")
    assert page.content_type.startswith("text/html")
    assert b"default-src 'none'" in page.fields
    assert b"unsafe" not in page.fields
    assert b"nosniff" in page.fields


def test_the_page_names_only_files_that_are_served() -> None:
    desk = Desk()
    for target in (
        b"/",
        b"/page/page.js",
        b"/page/tables.js",
        b"/page/charts.js",
        b"/page/statistics.js",
        b"/page/history.js",
        b"/page/routes.js",
        b"/page/sparkline.js",
    ):
        text = desk.ask(target).body.decode()
        names = [piece.partition('"')[0] for piece in text.split('from "./')[1:]]
        names += [piece.partition('"')[0].removeprefix("page/") for piece in text.split('"/page/')[1:]]
        for name in names:
            assert desk.ask(b"/page/" + name.encode()).status == 200, name
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "<style" not in text
        assert " style=" not in text


def test_the_pages_files_are_installed_with_the_program() -> None:
    """Setuptools takes data files of packages only: their directory has to be one."""
    assert (Path(__file__).parents[3] / "proxy" / "admin" / "page" / "__init__.py").exists()


def test_health_is_503_without_a_worker_that_takes_requests() -> None:
    assert Desk().ask(b"/healthz").status == 503
    desk = Desk(workers=1)
    assert desk.ask(b"/healthz")[:3] == (200, "text/plain; charset=utf-8", b"ok\n")
    desk.counters[0].gauge(Gauge.DRAINING, 1)
    assert desk.ask(b"/healthz").status == 503


# Commands.


@pytest.mark.parametrize(
    ("command", "given", "status", "text"),
    [
        ("drain", {}, 400, "peer: missing"),
        ("drain", {"peer": 7}, 400, "expected text"),
        ("drain", {"peer": "a:1"}, 404, "peers are 127.0.0.1:8080"),
        ("drain", {"peer": ONE, "route": "shop"}, 404, "routes are api, old, default"),
        ("drain", {"peer": ONE, "route": "default"}, 404, "on route default"),
        ("drain", {"peer": "127.0.0.1:8080"}, 409, "no peer left"),
        ("drain", {"peer": ONE, "color": "red"}, 400, "'color' is unknown"),
        ("undrain", {"peer": "a:1"}, 404, "no peer"),
        ("maintenance", {"on": "yes"}, 400, "true or false"),
        ("maintenance", {"on": True, "route": "shop"}, 404, "no route"),
        ("rollout", {"name": "a", "percent": True}, 400, "whole number"),
        ("pause", {"route": "api", "wait": True}, 400, "expected seconds"),
        ("purge", {"tag": "\ud800"}, 400, "not JSON"),
        ("pause", {"route": "api", "wait": float("nan")}, 400, "not JSON"),
        ("switch", {"upstream": ONE}, 400, "either 'route'"),
        ("switch", {"upstream": ONE, "route": "api", "peer": ONE}, 400, "either 'route'"),
        ("switch", {"upstream": ONE, "peer": "a:1"}, 404, "no peer"),
        ("switch", {"route": "api"}, 400, "upstream: missing"),
        ("switch", {"route": "old", "upstream": ONE}, 409, "no upstream to switch"),
        ("switch", {"route": "*", "upstream": ONE}, 404, "expected one route"),
        ("switch", {"route": "api", "upstream": []}, 400, "at least one"),
        ("switch", {"route": "api", "upstream": ["nowhere"]}, 400, "HOST:PORT"),
        ("switch", {"route": "api", "upstream": ["b:1", "b:1 weight=2"]}, 400, "duplicate address b:1; remove one"),
        ("switch", {"route": "api", "upstream": "localhost:8000"}, 409, "127.0.0.1:8000 is the gateway's own address"),
        ("reload", {"now": True}, 400, "takes nothing"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(command: str, given: dict[str, Any], status: int, text: str) -> None:
    desk = Desk()
    found, said = desk.order(command, **given)
    assert (found, text in said["error"]) == (status, True), said
    assert desk.book.get().version == 0


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 9999, b"null", b"[]", b'{"peer":{}}', b'"x"', b"\xff"]))
def test_no_body_breaks_a_command(body: bytes) -> None:
    desk = Desk()
    for command in (b"/drain", b"/switch", b"/maintenance"):
        assert desk.ask(command, method=b"POST", fields=JSON, body=body, proven=True).status in (400, 404, 409)


def test_a_command_names_the_workers_that_do_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.commands.ADOPTION", 0.05)
    monkeypatch.setattr("os.kill", lambda *_: None)
    desk = Desk(workers=2)
    desk.counters[0].gauge(Gauge.OVERRIDES, 1)
    status, said = desk.order("maintenance", on=True)
    assert (status, said["behind"], said["workers"]) == (202, [os.getpid()], 2)
    desk.counters[1].gauge(Gauge.DRAINING, 1)
    assert desk.order("maintenance", on=True)[0] == 200


def test_maintenance_of_one_route_cannot_end_while_all_are_in_it() -> None:
    desk = Desk()
    assert desk.order("maintenance", on=True)[0] == 200
    assert desk.order("maintenance", on=False, route="api")[0] == 409
    assert desk.order("maintenance", on=False)[0] == 200


# The status.


def test_status_tells_who_serves_what() -> None:
    desk = Desk(workers=2)
    first, second = desk.counters
    first.route("api")[ONE].exchange(b"GET", 200, 0.1, 5, 6)
    second.route("api")[ONE].exchange(b"GET", 502, 0.1, 5, 6)
    second.route("api")[TWO].exchange(b"GET", 500, 0.1, 5, 6)
    first.route("admin")["admin"].exchange(b"GET", 200, 0.1, 5, 6)
    second.failed("connect_refused")
    first.rejected("body_too_large")
    first.see_peers(
        {ONE: PeerSnapshot(PeerState.UP, 1, 2, 1, 99, 0, 2, 30), "127.0.0.1:9": PeerSnapshot(PeerState.DRAINING, 0, 4)}
    )
    second.see_peers({ONE: PeerSnapshot(PeerState.EJECTED, 3, 4, 1, 98, 50, 1, 40), TWO: PeerSnapshot(PeerState.UP)})
    first.see_certificates({"example.com": Lifetime(int(time.time()) + 10 * 86400 + 60, 1)})
    desk.order("drain", peer=TWO, route="api")
    desk.reports.publish(1, {"faults": {ONE: "connection refused"}})
    page = desk.status()
    assert (page["version"], page["form"]) == ("1.2.3", form())
    assert (page["requests"], page["upstream"]) == (3, ["127.0.0.1:8080"])
    assert [worker["pid"] for worker in page["workers"]] == [os.getpid()] * 2
    assert page["statuses"] == {"2xx": 1, "5xx": 2}
    failures = {row["reason"]: (row["count"], row["side"], row["limit"]) for row in page["failures"]}
    assert failures == {
        "connect_refused": (1, "upstream", False),
        "application": (1, "upstream", False),
        "body_too_large": (1, "client", True),
    }
    routes = {route["name"]: route for route in page["routes"]}
    peers = {peer["peer"]: peer for peer in routes["api"]["peers"]}
    assert (peers[ONE]["state"], peers[ONE]["busy"], peers[ONE]["idle"], peers[ONE]["probed"]) == ("ejected", 6, 4, 99)
    told = [peers[ONE][key] for key in ("since", "fault", "outages", "downtime")]
    assert told == [50, "connection refused", 2, 40]
    assert (peers[TWO]["since"], peers[TWO]["fault"]) == (None, "")
    assert (peers[TWO]["state"], peers[TWO]["weight"]) == ("draining", 3)
    figures = {
        name: (of["traffic"]["requests"], of["traffic"]["statuses"]) for name, of in (*routes.items(), *peers.items())
    }
    assert figures == {
        "api": (3, {"2xx": 1, "5xx": 2}),
        ONE: (2, {"2xx": 1, "5xx": 1}),
        TWO: (1, {"5xx": 1}),
        "old": (0, {}),
        "default": (0, {}),
    }
    assert (routes["api"]["traffic"]["received"], routes["api"]["traffic"]["sent"]) == (15, 18)
    assert routes["old"]["answer"] == "redirect to https://example.com/"
    assert [(peer["peer"], peer["busy"]) for peer in page["leaving"]] == [("127.0.0.1:9", 4)]
    assert [(row["name"], row["begins"], row["days"]) for row in page["certificates"]] == [("example.com", 1, 10)]


def test_every_key_of_the_status_is_documented() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "reference" / "proxy-cli.md").read_text()
    page = Desk(workers=1).status()
    for name in (*page, *page["routes"][0], *page["routes"][0]["peers"][0]):
        assert f"`{name}`" in documented, name


def test_routes_and_peers_are_served_as_csv() -> None:
    desk = Desk(workers=2)
    desk.counters[0].route("api")[ONE].exchange(b"GET", 502, 0.25, 5, 6)
    for slot in range(2):
        desk.reports.publish(slot, {"faults": {ONE: 'refused, "at once"'}, "queued": {"api": 2}})
    answer = desk.ask(b"/status.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["route"], row["peer"]) for row in rows[:3]] == [("api", ONE), ("api", TWO), ("old", "")]
    first = rows[0]
    assert (first["requests"], first["5xx"], first["seconds"], first["queued"]) == ("1", "1", "0.25", "4")
    assert first["fault"] == 'refused, "at once"'
    assert desk.status()["routes"][0]["queued"] == 4


def test_settings_that_differ_are_told_to_those_with_the_right() -> None:
    route = replace(API, settings=replace(API.settings, set_request_fields=(("X-Key", "s3cret"),), read_timeout=5.0))
    desk = Desk(replace(SETTINGS, routes=(route,), max_body=1024), workers=1)
    told = {(row["route"], row["name"]): (row["value"], row["default"]) for row in desk.status()["settings"]}
    assert told["", "max_body"] == ("1k", "50m")
    assert told["api", "read_timeout"][0] == "5s"
    assert told["api", "set_request_fields"][0] == "(not shown)"
    assert "config" not in {name for _, name in told}
    public = desk.ask(b"/status.json").body
    assert (json.loads(public)["settings"], b"s3cret" in public) == (None, False)


def test_history_has_the_routes_and_peers_of_now() -> None:
    desk = Desk(workers=1)
    for name, peer in (("api", ONE), ("api", TWO), ("gone", "127.0.0.1:9")):
        desk.counters[0].route(name)[peer].exchange(b"GET", 502, 0.1, 5, 6)
    now = time.time()
    desk.board.history.write(desk.board.traffic(), now)
    assert desk.order("maintenance", on=True, route="api")[0] == 200
    found = json.loads(desk.ask(b"/history.json").body)
    assert found["whole"]["failed"] == [3]
    series = {(one["route"], one["peer"]): one["failed"] for one in found["series"]}
    assert series == {("api", ""): [2], ("api", ONE): [1], ("api", TWO): [1]}
    assert [(mark["kind"], mark["text"]) for mark in found["marks"]] == [("change", "maintenance is on, on route api")]
    for query in (str(now).encode(), b"1e999", b"nan"):
        assert json.loads(desk.ask(b"/history.json?since=" + query).body)["ends"] == []
    for query in (b"", b"since", b"since=x", b"since=-1", b"since=%ff"):
        assert len(json.loads(desk.ask(b"/history.json?" + query).body)["ends"]) == 1


def test_what_is_only_checked_leaves_no_mark() -> None:
    desk = Desk(workers=1)
    assert desk.order("deploy", name="new", target=["127.0.0.1:7000"], host=["new.example"], check=True)[0] == 200
    assert desk.order("drain", peer="127.0.0.1:1")[0] == 404
    assert json.loads(desk.ask(b"/history.json").body)["marks"] == []


def test_switched_route_shows_new_and_former_peers() -> None:
    desk = Desk()
    status, said = desk.order("switch", route="api", upstream=["127.0.0.1:7000 weight=2"])
    assert (status, said["left"]) == (200, [ONE, TWO])
    [api] = [route for route in desk.status()["routes"] if route["name"] == "api"]
    assert [(peer["peer"], peer["weight"]) for peer in api["peers"]] == [("127.0.0.1:7000", 2)]
    assert api["switched_from"] == [ONE, TWO]


def test_a_peer_is_replaced_wherever_it_serves() -> None:
    shared = Settings(upstream=API.settings.upstream, workers=1, routes=SETTINGS.routes)
    desk = Desk(shared)
    status, said = desk.order("switch", peer=TWO, upstream="127.0.0.1:7000")
    assert (status, said["routes"], said["left"]) == (200, ["api", "default"], [TWO])
    shown = {route["name"]: [peer["peer"] for peer in route["peers"]] for route in desk.status()["routes"]}
    assert shown == {"api": [ONE, "127.0.0.1:7000"], "default": [ONE, "127.0.0.1:7000"], "old": []}
    desk.order("switch", peer="127.0.0.1:7000", upstream=f"{TWO} weight=3")
    assert desk.book.get().switches == ()


def test_who_is_drained_on_all_routes_can_be_used_again_on_one() -> None:
    shared = Settings(upstream=API.settings.upstream, workers=1, routes=SETTINGS.routes)

    def drained(desk: Desk) -> dict[str, list[str]]:
        return {
            route["name"]: [peer["peer"] for peer in route["peers"] if peer["state"] == "draining"]
            for route in desk.status()["routes"]
        }

    desk = Desk(shared)
    desk.order("drain", peer=ONE)
    assert drained(desk) == {"api": [ONE], "default": [ONE], "old": []}
    assert desk.order("undrain", peer=ONE, route="api")[0] == 200
    assert drained(desk) == {"api": [], "default": [ONE], "old": []}
    desk = Desk(shared)
    desk.order("drain", peer=TWO)
    assert desk.order("switch", route="api", upstream=TWO)[0] == 200
    assert drained(desk) == {"api": [], "default": [TWO], "old": []}, "a switch to who is drained uses it"


def test_maintenance_of_a_route_that_is_gone_can_be_ended() -> None:
    desk = Desk()
    desk.book.change(lambda now: now.maintain(on=True, route="gone"))
    assert desk.order("maintenance", on=False, route="gone")[0] == 200
    assert desk.order("maintenance", on=False, route="gone")[0] == 404
    assert desk.order("maintenance", on=True, route="gone")[0] == 404


def test_one_list_is_made_of_what_the_workers_report() -> None:
    desk = Desk(workers=2)
    for slot in range(2):
        desk.reports.publish(
            slot, {"tunnels": [{"since": 10 - slot}], "slowest": [{"seconds": slot}], "failing": [{"when": slot}]}
        )
    page = desk.status()
    assert page["tunnels"] == [{"since": 9}, {"since": 10}]
    assert page["slowest"] == [{"seconds": 1}, {"seconds": 0}]
    assert page["failing"] == [{"when": 1}, {"when": 0}]
    desk.board.leave(1)
    assert desk.status()["tunnels"] == [{"since": 10}]


def test_long_report_is_cut_and_torn_report_ignored() -> None:
    reports = Reports()
    rows = [os.urandom(50).hex() for _ in range(2000)]
    reports.publish(3, {"tunnels": rows, "failing": ["y"]})
    found = reports.read(3)
    assert found is not None
    assert found["tunnels"] == rows[: len(found["tunnels"])]
    assert 100 < len(found["tunnels"]) < CAPACITY / 50
    assert found["failing"] == ["y"]
    assert reports.read(3, since=found["at"]) is None
    start = SharedRecord.size(CAPACITY) * 3 + mmap.PAGESIZE
    for half in (100, CAPACITY + 100):
        reports._memory[start + half : start + half + 4] = b"torn"
    assert reports.read(3) is None
    reports.publish(3, {})
    reports.clear(3)
    assert reports.read(3) is None


def test_workers_write_only_while_somebody_looks() -> None:
    reports = Reports()
    assert not reports.wanted
    reports.look()
    assert reports.wanted


# Requests of late.


def entry(seconds: float, status: int = 200, reason: str = "", when: float | None = None) -> Entry:
    return Entry(
        time.time() if when is None else when,
        "127.0.0.1",
        b"GET",
        b"/" + b"x" * 300,
        1,
        status,
        1,
        1,
        None,
        None,
        b"id",
        "a:1",
        0.0,
        0.0,
        0.0,
        seconds,
        "--",
        reason,
        b"",
        b"a.example",
        None,
        "",
    )


def test_places_in_an_entry_are_those_of_its_names() -> None:
    places = [getattr(log_formats, name.upper()) for name in Entry._fields]
    assert places == list(range(len(Entry._fields)))


def test_the_slowest_and_the_failed_are_kept_within_bounds() -> None:
    recent = Recent()
    for number in range(100):
        recent.take(entry(number / 1000))
    for one in (entry(9999, 101), entry(0, 502), entry(0, 200, "truncated"), entry(0, 499, "client_closed")):
        recent.take(one)
    assert [row["seconds"] for row in recent.slowest()] == [number / 1000 for number in range(99, 99 - SLOWEST, -1)]
    assert [row["status"] for row in recent.failed()] == [499, 200, 502]
    assert len(recent.failed()[0]["target"]) == 201
    for _ in range(100):
        recent.take(entry(0, 500))
    assert len(recent.failed()) == FAILED + 3  # of other causes


def test_the_newest_failures_of_each_cause_are_kept() -> None:
    recent = Recent()
    recent.take(entry(1, 502, "connect_refused", when=1))
    for number in range(100):
        recent.take(entry(0, 429, "rate", when=10 + number))
    rows = recent.failed()
    assert len(rows) == FAILED + 1
    assert [row["reason"] for row in rows[-2:]] == ["rate", "connect_refused"]
    for number in range(2 * CAUSES):
        recent.take(entry(0, 502, f"cause-{number}", when=1000 + number))
    assert len(recent.failed()) <= FAILED + CAUSES * OF_CAUSE
    other = [{**row, "when": row["when"] + 0.5} for row in rows]
    both = newest([*rows, *other])
    assert [row["when"] for row in both if row["reason"] == "connect_refused"] == [1.5, 1]
    assert len(both) == FAILED + 2


def test_slow_requests_of_long_ago_make_room() -> None:
    recent = Recent()
    for _ in range(SLOWEST):
        recent.take(entry(5, when=time.time() - WINDOW - 60))
    recent.take(entry(1))
    assert recent.slowest()[0]["seconds"] == 5
    recent.forget(time.time())
    recent.take(entry(1))
    assert [row["seconds"] for row in recent.slowest()] == [1]
