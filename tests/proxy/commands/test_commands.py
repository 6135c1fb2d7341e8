"""Commands against a gateway that runs: every worker follows before the answer, and nothing else may forget."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.commands.client import FAILED, PARTLY, SUCCESS, USAGE
from tests.proxy.admin.applications import Application, application, unused_address
from tests.proxy.admin.conftest import TOML, AdminGateway, command
from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]
Applications = Callable[[str], Application]


def upstream(*applications: Application) -> str:
    return f"upstream = {json.dumps([one.address for one in applications])}\n"


def test_a_drained_peer_gets_nothing_new_until_it_is_undrained(face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(upstream(one, two))
    assert gateway.names() == {"one", "two"}
    done = gateway.run("drain", one.address, "--wait", "10")
    assert (done.returncode, done.stderr) == (SUCCESS, "")
    assert "has no connections left" in done.stdout
    assert gateway.names() == {"two"}
    states = {peer["peer"]: peer["state"] for peer in gateway.status()["routes"][0]["peers"]}
    assert states == {one.address: "draining", two.address: "up"}
    last = gateway.run("drain", two.address)
    assert last.returncode == FAILED
    assert "no peer left" in last.stderr
    assert gateway.run("drain", two.address, "--force").returncode == SUCCESS
    assert gateway.get()[0] == 503
    assert gateway.run("undrain", one.address).returncode == SUCCESS
    assert gateway.names() == {"one"}


def test_peer_drained_on_one_route_is_up_on_the_others(face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(upstream(one, two) + '[[route]]\nname = "api"\npath = "/api"\n')

    def states() -> dict[str, str]:
        return {route["name"]: route["peers"][0]["state"] for route in gateway.status()["routes"]}

    def up() -> bool:
        return f'peer_up{{peer="{one.address}"}} 1' in gateway.metrics()

    assert gateway.run("drain", one.address).returncode == SUCCESS
    until(lambda: not up(), "the workers have told")
    assert states() == {"api": "draining", "default": "draining"}
    assert gateway.run("undrain", one.address, "--route", "api").returncode == SUCCESS
    until(up, "the workers have told")
    assert states() == {"api": "up", "default": "draining"}
    assert gateway.names() == {"two"}
    assert {gateway.get("/api")[1] for _ in range(12)} == {"one", "two"}


def test_switch_waits_for_new_instance_and_old_requests(
    face: Start, applications: Applications, held: Callable[..., object]
) -> None:
    old, new = applications("old"), applications("new")
    gateway = face(upstream(old))
    new.ready = False
    refused = gateway.run("switch", "default", new.address, "--wait-ready", "/ready", "--timeout", "0.5")
    assert refused.returncode == FAILED
    assert "nothing changed" in refused.stderr
    assert "503" in refused.stderr
    assert gateway.names() == {"old"}
    new.ready = True
    held(gateway, old)
    partly = gateway.run("switch", "default", new.address, "--wait-ready", "/ready", "--drain-timeout", "0.5")
    assert partly.returncode == PARTLY, partly
    assert "still has 1" in partly.stdout
    assert gateway.names() == {"new"}
    assert [peer["peer"] for peer in gateway.status()["leaving"]] == [old.address]
    old.released.set()
    until(lambda: not gateway.status()["leaving"], "the old one has no connections left")
    back = gateway.run("switch", "default", old.address, "--json")
    assert back.returncode == SUCCESS, back
    assert json.loads(back.stdout)["left"] == [new.address]
    assert gateway.names() == {"old"}
    assert gateway.status()["routes"][0]["switched_from"] == []


def test_maintenance_of_one_route_or_all_until_it_ends(face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(upstream(one) + '\n[[route]]\nname = "shop"\nhost = "shop.example"\n')
    assert gateway.run("maintenance", "on", "--route", "shop").returncode == SUCCESS
    assert {gateway.get(host="shop.example")[0] for _ in range(8)} == {503}
    assert gateway.get() == (200, "one")
    assert gateway.run("maintenance", "on").stdout == "maintenance is on, on all routes\n"
    assert {gateway.get()[0] for _ in range(8)} == {503}
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("settings reloaded")
    assert gateway.get()[0] == 503
    assert "maintenance: all routes" in gateway.run("status").stdout
    assert gateway.run("maintenance", "off").returncode == SUCCESS
    assert gateway.get(host="shop.example") == (200, "one")


def test_a_switch_to_nobody_changes_nothing(face: Start, applications: Applications) -> None:
    gateway = face(upstream(applications("old")))
    before = gateway.status()["overrides"]
    refused = gateway.run("switch", "default", unused_address(), "--timeout", "0.3")
    assert refused.returncode == FAILED
    assert "refused" in refused.stderr
    unknown = gateway.run("switch", "shop", unused_address())
    assert (unknown.returncode, "routes are default" in unknown.stderr) == (FAILED, True)
    assert gateway.status()["overrides"] == before
    assert gateway.names(2) == {"old"}


def test_orders_outlive_workers_reloads_and_an_upgrade(face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(upstream(one, two))
    assert gateway.run("drain", one.address).returncode == SUCCESS
    before = gateway.workers()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(set(gateway.workers()) - set(before)) == 2, "new workers")
    assert gateway.names() == {"two"}
    assert gateway.run("reload").returncode == SUCCESS
    assert gateway.names() == {"two"}
    gateway.signal(signal.SIGUSR2)
    gateway.wait_for("] aragora-proxy ", 2)
    new = int(re.findall(r"\[(\d+)\] \[INFO\] aragora-proxy ", gateway.log)[-1])
    gateway.masters.append(new)
    gateway.wait_for("Booting worker", 6)
    until(lambda: gateway.status()["master"]["replaces"] == gateway.process.pid, "both masters are shown")
    os.kill(gateway.process.pid, signal.SIGTERM)
    gateway.process.wait(30)
    until(lambda: gateway.status()["master"] == {"pid": new, "replaces": None}, "the new master is alone")
    assert gateway.names() == {"two"}


def test_reload_reports_completion_or_the_mistake(face: Start, applications: Applications) -> None:
    one, two = applications("one"), applications("two")
    gateway = face(upstream(one))
    toml = gateway.config.read_text()
    gateway.configure(toml.replace(one.address, two.address))
    assert gateway.run("reload").stdout == "settings reloaded\n"
    assert gateway.names() == {"two"}
    gateway.configure(toml + "nonsense = 1\n")
    refused = gateway.run("reload")
    assert refused.returncode == FAILED
    assert "nonsense: unknown setting" in refused.stderr
    assert gateway.names() == {"two"}
    assert all(worker["current"] for worker in gateway.status()["workers"])


def test_waiting_requests_are_served_after_a_switch(face: Start, applications: Applications) -> None:
    with application("old") as old:
        patient = TOML.replace('retry_wait = "1s"', 'retry_wait = "30s"')
        gateway = face(upstream(old) + "upstream_keepalive = 0\n", toml=patient)
        assert gateway.get() == (200, "old")
    found: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: found.append(gateway.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: gateway.status()["requests_retry_waiting"] == 4, "requests wait")
    assert gateway.run("switch", old.address, applications("new").address).returncode == SUCCESS
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [(200, "new")] * 4


def test_client_at_its_limit_can_still_reach_admin(face: Start, applications: Applications) -> None:
    gateway = face(upstream(applications("one")) + "max_client_connections = 1\n")
    with socket.create_connection(gateway.address, timeout=10) as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert held.recv(4096).startswith(b"HTTP/1.1 200")
        assert gateway.get()[0] == 429
        assert gateway.run("maintenance", "on").returncode == SUCCESS


def test_an_edit_of_the_upstream_ends_a_switch(face: Start, applications: Applications) -> None:
    one, two, three = applications("one"), applications("two"), applications("three")
    gateway = face(upstream(one))
    assert gateway.run("switch", "default", two.address).returncode == SUCCESS
    assert gateway.run("reload").returncode == SUCCESS
    assert gateway.names() == {"two"}
    gateway.configure(gateway.config.read_text().replace(one.address, three.address))
    assert gateway.run("reload").returncode == SUCCESS
    assert gateway.names() == {"three"}


def test_commands_over_a_unix_socket_with_a_token(face: Start, applications: Applications, tmp_path: Path) -> None:
    one = applications("one")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    toml = f'bind = "127.0.0.1:0"\nadmin = "unix:{tmp_path}/admin.sock"\nadmin_socket = "off"\nworkers = 1\n'
    gateway = AdminGateway(tmp_path, toml + f'admin_token_file = "{token}"\naccess_log = "off"\n' + upstream(one))
    try:
        gateway.wait_for("Booting worker")
        ask = ("status", "--json", "--config", str(gateway.config))
        until(lambda: command(*ask).returncode == SUCCESS, "an answer")
        assert json.loads(command(*ask).stdout)["routes"][0]["name"] == "default"
        without = command("status", "--admin", f"unix:{tmp_path}/admin.sock")
        assert without.returncode == FAILED
        assert "requires a token" in without.stderr
        assert "--token-file" in without.stderr
        drain = ("drain", "x", "--config", str(gateway.config))
        assert command(*drain).stderr.startswith("aragora-proxy: no peer 'x'")
        token.write_text("another token, which is long enough\n")
        assert "requires a token" in command(*drain).stderr
        gateway.signal(signal.SIGHUP)
        until(lambda: "no peer" in command(*drain).stderr, "the new token")
        token.write_text("short\n")
        short = command("status", "--config", str(gateway.config))
        assert (short.returncode, "no token found" in short.stderr) == (USAGE, True)
    finally:
        gateway.close()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["status"], FAILED, "no gateway responds at"),
        (["drain"], USAGE, "PEER"),
        (["maintenance", "maybe"], USAGE, "maybe"),
        (["switch", "default", "nowhere"], USAGE, "HOST:PORT"),
        (["switch", "default", "a:1", "--timeout", "never"], USAGE, "seconds"),
        (["switch", "default", "a:1", "--wait-ready", "ready"], USAGE, "ready: expected a path that begins with /"),
        (["maintenance"], USAGE, "on|off"),
        (["status", "--admin", "nonsense"], USAGE, "--admin nonsense"),
        (["status", "--config", "/nowhere.toml"], USAGE, "cannot be read"),
        (["top", "--help"], SUCCESS, ""),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(arguments: list[str], code: int, text: str) -> None:
    where = [] if {"--admin", "--config"} & set(arguments) else ["--admin", unused_address()]
    done = command(*arguments, *where)
    assert done.returncode == code
    assert text in done.stderr
    assert done.stderr.count("\n") == (0 if code == SUCCESS else 1)


def test_status_and_top_show_what_happened(face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(upstream(one))
    for path in ("/fail?a=1", "/page"):
        gateway.get(path)
    until(lambda: len(gateway.status()["slowest"]) == 2, "the log's batch, perhaps of two workers")
    shown = gateway.run("status").stdout
    for text in (one.address, "up", "GET /fail?a=1", "GET /page", "application", "500"):
        assert text in shown
    top = command("top", "--count", "2", "--interval", "0.1", "--admin", gateway.admin_address)
    assert top.returncode == SUCCESS
    assert "GET /page" in top.stdout
    assert f" {one.address}  up " in top.stdout, "folded"
    assert top.stdout.endswith("\n")


def typed(columns: int, rows: int, *arguments: str) -> list[str]:
    """The lines that a command shows on a terminal of this size, without colours."""
    terminal, side = os.openpty()
    termios.tcsetwinsize(side, (rows, columns))
    environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    program = [sys.executable, "-m", "proxy", *arguments]
    with subprocess.Popen(program, cwd=ROOT, env=environ, stdin=side, stdout=side, stderr=side) as run:
        os.close(side)
        shown = b""
        with suppress(OSError):  # Linux's end of a terminal
            while some := os.read(terminal, 65536):
                shown += some
        os.close(terminal)
    assert run.returncode == SUCCESS
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown.decode()).splitlines()


def test_status_and_top_fit_a_terminal_of_80_columns(face: Start, applications: Applications) -> None:
    one = applications("one")
    socket_path = "unix:/run/shop/behind/a/long/path/of/directories/application.sock"
    route = f'[[route]]\nname = "shop.example.com"\npath = "/shop/"\nupstream = "{socket_path}"\nhold = 0\n'
    gateway = face(f'{upstream(one)}[[route]]\npath = "/moved"\nredirect = "/"\n{route}')
    for path in ("/page", "/shop/a/path/that/is/longer/than/a/terminal/has/columns/for?query=also", "/fail"):
        gateway.get(path)
    until(lambda: len(gateway.status()["slowest"]) == 3, "the log's batches")
    lines = typed(80, 24, "status", "--admin", gateway.admin_address)
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert ["200", "GET", "/page", one.address] in [row[4:8] for row in rows], lines
    assert {row[0] for row in rows if row[2:3] == ["up"]} >= {"shop.example.com", "default"}
    top = typed(80, 24, "top", "--count", "1", "--admin", gateway.admin_address)
    assert len(top) <= 24
    assert max(map(len, top)) <= 80
    titles = ["routes", "failures by reason", "failing recent requests", "slowest recent requests"]
    assert [title for title in titles if any(line.startswith(title) for line in top)] == titles


def test_an_answer_types_nothing_into_the_terminal() -> None:
    """A worker in somebody else's hand may write the answer that root reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                body = json.dumps({"done": "fine\x1b]0;owned\x07\x9b31m \u202e", "behind": []}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        done = command("maintenance", "on", "--admin", "{}:{}".format(*server.getsockname()))
        thread.join(PATIENCE)
    assert done.returncode == SUCCESS
    assert done.stdout.strip().isprintable()
    assert done.stdout.startswith("fine")
