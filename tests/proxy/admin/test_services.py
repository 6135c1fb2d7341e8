"""Services: deployed by command beside the settings' routes, kept over every kind of restart."""

import os
import re
import signal
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.admin.override_file import OverrideFile
from proxy.admin.overrides import Overrides
from proxy.admin.services import Rollout, Service, obstacle, with_services
from proxy.settings import RouteSettings, Settings
from proxy.settings.values import kinds
from proxy.upstream.rollout import Share
from proxy.wire.request import RequestFields
from tests.proxy.admin.applications import Application, unused_address
from tests.proxy.admin.conftest import AdminGateway, answered
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]
Applications = Callable[[str], Application]
SHOP = Service(
    "shop", ("127.0.0.1:1",), ("shop.example.com",), "/buy", "/up", Rollout(("127.0.0.1:3",), 5, "beta=on,early")
)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "default"}, "name"),
        ({"name": 5}, "name"),
        ({"target": []}, "target"),
        ({"target": "127.0.0.1"}, "target"),
        ({"target": ["127.0.0.1:1", "127.0.0.1:1"]}, "target"),
        ({"target": "127.0.0.1:0"}, "target"),
        ({"host": "a_b/c"}, "host"),
        ({"path": "buy"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/a?b"}, "path"),
        ({"path": "/a/{b"}, "path"),
        ({"path": "/{b}/{b}"}, "path"),
        ({"health_path": "up"}, "health_path"),
        ({"rollout": {"percent": 5}}, "target"),
        ({"rollout": {"target": "127.0.0.1:2"}}, "percent or allow"),
        ({"rollout": {"target": "127.0.0.1:2", "percent": 101}}, "percent"),
        ({"rollout": {"target": "127.0.0.1:2", "allow": "beta"}}, "allow"),
        ({"rollout": {"target": "127.0.0.1:2", "allow": "beta=a b"}}, "allow"),
    ],
)
def test_a_wrong_service_is_refused_by_its_key(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}"):
        Service.read({"name": "shop", "target": "127.0.0.1:1", **wrong})


def test_a_service_is_read_as_it_was_written() -> None:
    assert Service.read(SHOP.document()) == SHOP


def test_a_service_has_the_top_levels_settings_but_its_ways() -> None:
    settings = Settings(respond="hello", read_timeout=7.0)
    route = with_services(settings, [SHOP]).all_routes[0]
    assert (route.name, route.hosts, route.path) == ("shop", ("shop.example.com",), "/buy")
    assert (route.settings.read_timeout, route.settings.respond, route.settings.health_path) == (7.0, "", "/up")
    assert list(map(str, route.settings.upstream)) == ["127.0.0.1:1"]


@pytest.mark.parametrize(
    ("name", "hosts", "path", "exact", "taken"),
    [
        ("shop", (), "/other", False, True),
        ("web", ("shop.example.com", "b.example.com"), "/buy", False, True),
        ("web", ("shop.example.com",), "/buy", True, False),
        ("web", (), "/buy", False, False),
        ("web", ("shop.example.com",), "/", False, False),
    ],
)
def test_the_settings_routes_have_precedence(
    name: str, hosts: tuple[str, ...], path: str, exact: bool, taken: bool
) -> None:
    route = RouteSettings(name, hosts, path, exact, Settings(upstream=kinds.PEERS.read("127.0.0.1:2")))
    settings = Settings(routes=(route,))
    assert bool(obstacle(SHOP, settings.all_routes)) == taken
    assert len(with_services(settings, [SHOP]).all_routes) == (1 if taken else 2)


def test_a_deploy_ends_what_was_ordered_of_the_former_target() -> None:
    now = Overrides().deploy(SHOP).switch("shop", SHOP.target, ("127.0.0.1:2",)).drain("127.0.0.1:1", "shop")
    again = now.deploy(SHOP)
    assert again.upstreams("shop", SHOP.target) == SHOP.target
    assert not again.is_drained("shop", "127.0.0.1:1")
    gone = now.maintain(on=True, route="shop").remove("shop")
    assert (gone.services, gone.switches, gone.drained, gone.maintained) == ((), (), frozenset(), frozenset())


def test_what_was_deployed_is_kept_and_bad_parts_are_left_out(tmp_path: Path) -> None:
    file = OverrideFile(tmp_path)
    assert file.read() == (Overrides(), [])
    deployed = Overrides().deploy(SHOP).switch("web", ("127.0.0.1:1",), ("127.0.0.1:2 weight=2",)).drain("a:1")
    file.write(deployed)
    assert file.read() == (deployed.kept(), [])
    content = file.path.read_text()
    file.path.write_text(content.replace('"services": [', '"services": [{"name": "a b"}, null, '))
    found, faults = file.read()
    assert found == deployed.kept()
    assert [fault.partition(": ")[2][:9] for fault in faults] == ["service 1", "service 2", "the file "]
    assert '"a b"' in (tmp_path / "deployed.unusable.json").read_text()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[" * 100_000, '{"services": 1, "switches": "x"}', "\0\xff", "x" * 2_000_000]
)
def test_a_broken_file_deploys_nothing(content: str, tmp_path: Path) -> None:
    file = OverrideFile(tmp_path)
    file.path.write_text(content)
    assert file.read()[0] == Overrides()


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    file = OverrideFile(tmp_path)
    file.path.mkdir()
    found, faults = file.read()
    assert (found, len(faults)) == (Overrides(), 1)


def test_a_service_is_made_replaced_listed_and_removed(face: Start, applications: Applications) -> None:
    file, one, two, broken = (applications(name) for name in ("file", "one", "two", "broken"))
    broken.ready = False
    gateway = face(f'upstream = "{file.address}"\n')
    made = gateway.run("deploy", "shop", "--target", one.address, "--host", "shop.test", "--health-path", "/ready")
    assert made.returncode == 0, made
    assert gateway.get(host="shop.test") == (200, "one")
    assert gateway.get() == (200, "file")
    replaced = gateway.run("deploy", "shop", "--target", two.address)
    assert (replaced.returncode, gateway.get(host="shop.test")) == (0, (200, "two"))
    refused = gateway.run("deploy", "shop", "--target", broken.address, "--timeout", "0.5")
    assert refused.returncode == 1
    assert f"nothing changed: {broken.address} was not ready within 0.5 s: GET /ready returned 503" in refused.stderr
    nobody = gateway.run("deploy", "shop", "--target", unused_address(), "--timeout", "0.5")
    assert (nobody.returncode, "Connection refused" in nobody.stderr) == (1, True)
    for taken, reason in (
        (["web", "--target", one.address], "route default takes the same requests (any host, /)"),
        (["web", "--target", one.address, "--host", "shop.test"], "route shop takes the same requests"),
    ):
        answer = gateway.run("deploy", *taken)
        assert (answer.returncode, reason in answer.stderr) == (1, True), answer
    assert gateway.run("list").stdout == f"shop: shop.test / -> {two.address}\n  probed at /ready\n"
    assert gateway.get(host="shop.test") == (200, "two")
    assert gateway.run("remove", "shop").returncode == 0
    assert (gateway.get(host="shop.test"), gateway.run("list").stdout) == ((200, "file"), "nothing is deployed\n")
    assert "nothing is deployed" in gateway.run("remove", "shop").stderr


def test_services_and_switches_outlive_every_restart(face: Start, applications: Applications, tmp_path: Path) -> None:
    file, one, two = (applications(name) for name in ("file", "one", "two"))
    state = f'state_dir = "{tmp_path}/state"\n'
    gateway = face(f'upstream = "{file.address}"\n{state}')
    assert gateway.run("deploy", "shop", "--target", one.address, "--path", "/shop").returncode == 0
    assert gateway.run("switch", "default", two.address).returncode == 0

    def serves(where: AdminGateway) -> tuple[str, str]:
        return where.get("/shop")[1], where.get()[1]

    assert serves(gateway) == ("one", "two")
    assert gateway.run("reload").returncode == 0
    assert serves(gateway) == ("one", "two")
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    until(lambda: not gateway.control.exists() or gateway.run("status").returncode == 1, "its workers have ended")
    again = face(f'upstream = "{file.address}"\n{state}')
    assert serves(again) == ("one", "two")
    route = f'[[route]]\nname = "mine"\npath = "/shop"\nupstream = "{file.address}"\n'
    again.configure(again.config.read_text() + route)
    assert again.run("reload").returncode == 0
    assert again.get("/shop") == (200, "file")
    assert "not served: route mine takes the same requests" in again.run("list").stdout
    again.configure(again.config.read_text().replace(route, ""))
    assert again.run("reload").returncode == 0
    assert serves(again) == ("one", "two")


def test_without_a_state_directory_it_is_said(face: Start, applications: Applications) -> None:
    gateway = face('respond = "hello"\n')
    done = gateway.run("deploy", "shop", "--target", applications("one").address, "--path", "/shop")
    assert (done.returncode, "a stop of the gateway forgets it" in done.stdout) == (0, True)


def test_what_cannot_be_kept_is_not_deployed(face: Start, applications: Applications, tmp_path: Path) -> None:
    gateway = face(f'respond = "hello"\nstate_dir = "{tmp_path}/state"\n')
    (tmp_path / "state/deployed.json").mkdir()
    refused = gateway.run("deploy", "shop", "--target", applications("one").address, "--path", "/shop")
    assert refused.returncode == 1
    assert "nothing changed:" in refused.stderr
    assert "deployed.json cannot be written: Is a directory" in refused.stderr
    assert gateway.get("/shop") == (200, "hello")


def test_a_pause_holds_requests_until_the_new_target_serves(face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face('respond = "hello"\n')
    assert gateway.run("deploy", "shop", "--target", one.address, "--path", "/shop").returncode == 0
    assert gateway.run("pause", "shop", "--wait", "60").returncode == 0
    with ThreadPoolExecutor(9) as clients:
        asked = [clients.submit(gateway.get, "/shop") for _ in range(8)]
        until(lambda: gateway.status()["requests_queued"] == 8, "all of them wait")
        assert gateway.get() == (200, "hello")
        assert gateway.run("reload").returncode == 0
        assert gateway.run("deploy", "shop", "--target", two.address).returncode == 0
        assert [route["paused"] for route in gateway.status()["routes"]] == [True, False]
        assert "\n  paused\n" in gateway.run("list").stdout
        assert "shop (paused)" in gateway.run("status").stdout
        assert not any(one.done() for one in asked)
        resumed = gateway.run("resume", "shop")
        assert (resumed.returncode, resumed.stdout) == (0, "route shop goes on\n")
        assert [one.result(PATIENCE) for one in asked] == [(200, "two")] * 8
        assert gateway.run("pause", "shop", "--wait", "0.3").returncode == 0
        late = gateway.get("/shop")
        assert (late[0], "The application is paused" in late[1]) == (503, True)
        assert gateway.run("pause", "shop").returncode == 0
        removed = clients.submit(gateway.get, "/shop")
        until(lambda: gateway.status()["requests_queued"] == 1, "it waits")
        assert gateway.run("remove", "shop").returncode == 0
        assert removed.result(PATIENCE)[0] == 503
    assert "no route 'shop'" in gateway.run("resume", "shop").stderr
    assert "is not paused" in gateway.run("resume", "default").stderr
    assert "no upstream to pause" in gateway.run("pause", "default").stderr
    for wait in (0, -1, 601, True, "soon"):
        assert gateway.post("pause", {"route": "default", "wait": wait})[0] in (400, 409), wait


def test_a_gateway_starts_with_nothing_and_says_so(face: Start, applications: Applications) -> None:
    gateway = face("")
    status, body = gateway.get()
    assert (status, "Nothing is deployed here yet" in body) == (503, True)
    assert "-> nothing yet: deploy a service" in gateway.log
    for command in (["pause", "shop"], ["switch", "shop", "127.0.0.1:9"]):
        assert re.search(r"no route 'shop'.*(there is none yet|routes are none)", gateway.run(*command).stderr)
    assert gateway.run("deploy", "shop", "--target", applications("one").address, "--path", "/shop").returncode == 0
    assert (gateway.get("/shop"), gateway.get()[0]) == ((200, "one"), 404)
    gateway.configure("")
    emptied = gateway.run("reload")
    assert (emptied.returncode, "is empty; add upstream" in emptied.stderr) == (1, True)
    assert gateway.get("/shop") == (200, "one")
    assert gateway.run("remove", "shop").returncode == 0
    assert gateway.get()[0] == 503


class Asked(NamedTuple):
    """A request, as far as its share depends on it."""

    client: str
    cookie: bytes = b""

    @property
    def fields(self) -> RequestFields:
        found = RequestFields()
        found.lines = [b"Cookie: " + self.cookie]
        return found


def test_a_share_is_always_the_same_clients() -> None:
    clients = [f"192.0.2.{number}" for number in range(256)]
    few, more = Share("shop", 20, "", ()), Share("shop", 60, "", ())
    first = [client for client in clients if few.has(Asked(client))]
    second = [client for client in clients if more.has(Asked(client))]
    assert 20 < len(first) < 90 < len(second) < 200
    assert set(first) < set(second), "a larger share has the clients of the smaller one"
    assert not any(Share("shop", 0, "", ()).has(Asked(client)) for client in clients)
    assert all(Share("shop", 100, "", ()).has(Asked(client)) for client in clients)
    allowed = Share("shop", 0, "beta", ("on", "early"))
    assert [allowed.has(Asked("a", cookie)) for cookie in (b"beta=on", b"x=1; beta=early", b"beta=off", b"")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_rollout_serves_a_part_of_the_clients(face: Start, applications: Applications) -> None:
    one, two, three = (applications(name) for name in ("one", "two", "three"))
    gateway = face('respond = "hello"\nhealth_interval = "100ms"\n')

    def names(cookie: str = "") -> set[str]:
        request = urllib.request.Request(gateway.url + "/shop", headers={"Cookie": cookie} if cookie else {})
        return {answered(request)[1] for _ in range(6)}

    assert "nothing is deployed" in gateway.run("rollout", "shop", "--target", two.address, "--percent", "5").stderr
    made = ("deploy", "shop", "--path", "/shop", "--health-path", "/ready", "--target")
    assert gateway.run(*made, one.address).returncode == 0
    refused = gateway.run("rollout", "shop", "--target", unused_address(), "--percent", "100", "--timeout", "0.3")
    assert (refused.returncode, names()) == (1, {"one"})
    begun = gateway.run("rollout", "shop", "--target", two.address, "--allow", "beta=on,early")
    assert begun.returncode == 0, begun
    assert (names(), names("beta=early"), names("beta=off")) == ({"one"}, {"two"}, {"one"})
    assert f"  beta=on,early -> {two.address}" in gateway.run("list").stdout
    assert gateway.run("rollout", "shop", "--percent", "100").returncode == 0
    assert names() == {"two"}
    peers = {peer["peer"]: peer["rollout"] for peer in gateway.status()["routes"][0]["peers"]}
    assert peers == {one.address: False, two.address: True}
    two.ready = False
    until(lambda: names() == {"one"}, "the service's own target stands in")
    ended = gateway.run("rollout", "shop", "--end")
    assert (ended.returncode, "the rollout has ended" in ended.stdout) == (0, True)
    assert gateway.run("rollout", "shop", "--target", three.address, "--percent", "100").returncode == 0
    assert gateway.run("deploy", "shop", "--target", three.address).returncode == 0
    assert gateway.status()["services"][0]["rollout"] is None
    assert names() == {"three"}


def test_stored_pages_are_of_the_version_that_a_client_sees(
    face: Start, applications: Applications, tmp_path: Path
) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(f'respond = "hello"\ncache = true\ncache_ttl = "1h"\ncache_dir = "{tmp_path}/stored"\n')

    def seen(cookie: str = "", path: str = "/shop/page") -> set[tuple[str, bool]]:
        """Names, and whether all that came in the end was stored."""
        request = urllib.request.Request(gateway.url + path, headers={"Cookie": cookie} if cookie else {})
        for _ in range(6):
            answered(request)
        found = set()
        for _ in range(6):
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                found.add((response.read().decode(), "; hit" in response.headers["Cache-Status"]))
        return found

    assert gateway.run("deploy", "shop", "--path", "/shop", "--target", one.address).returncode == 0
    assert seen() == {("one", True)}
    assert gateway.run("rollout", "shop", "--target", two.address, "--allow", "beta=on").returncode == 0
    assert (seen("beta=on"), seen(), seen("beta=off")) == ({("two", True)}, {("one", True)}, {("one", True)})
    assert seen("beta=on", "/shop/new") == {("two", True)}
    assert seen("", "/shop/new") == {("one", True)}
    assert gateway.run("rollout", "shop", "--percent", "100").returncode == 0
    assert seen() == {("two", True)}
    assert gateway.run("rollout", "shop", "--end").returncode == 0
    assert (seen(), seen("beta=on")) == ({("one", True)}, {("one", True)})
