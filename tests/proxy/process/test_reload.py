"""HUP: the settings change, processes and connections do not."""

import json
import signal
import socket
from collections.abc import Callable

import pytest

from tests.ports import ports
from tests.proxy.gateway import alive
from tests.proxy.process.conftest import TOML
from tests.proxy.process.running import TinyGateway
from tests.waiting import until

Start = Callable[..., TinyGateway]


def hup(gateway: TinyGateway, toml: str, done: str = "settings reloaded") -> None:
    """Reload with another file and wait until the master says so."""
    count = gateway.log.count(done)
    gateway.configure(toml)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(done, count + 1)


def test_new_settings_reach_running_workers(start: Start) -> None:
    two = TOML.replace("workers = 1", "workers = 2")
    gateway = start(toml=two).ready(2)
    until(lambda: len(gateway.workers()) == 2, "two workers")
    before = gateway.workers()
    with gateway.waiting() as finish:
        for retry_wait in range(2, 6):
            hup(gateway, two.replace("retry_wait = 1", f"retry_wait = {retry_wait}"))
            gateway.wait_for(f"worker runs with retry_wait {retry_wait}", 2)
        assert finish() == "done\n"
    assert {gateway.who()["retry_wait"] for _ in range(6)} == {5.0}
    assert gateway.workers() == before


def test_a_worker_started_later_has_the_newest_settings(start: Start) -> None:
    gateway = start().ready()
    hup(gateway, TOML.replace("retry_wait = 1", "retry_wait = 2"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(gateway.ask("die"))
    gateway.wait_for("Booting worker", 2)
    assert gateway.who()["retry_wait"] == 2.0


def test_a_bad_file_changes_nothing_and_says_why_in_one_line(start: Start) -> None:
    gateway = start().ready()
    worker = gateway.who()["pid"]
    hup(gateway, TOML + 'read_timeout = "soon"\nbnd = 1\n', "reload failed")
    [line] = [line for line in gateway.log.splitlines() if "reload failed" in line]
    assert "keeping the current settings" in line
    assert 'proxy.toml:8: read_timeout = "soon"' in line
    assert "did you mean bind?" in line
    facts = gateway.who()
    assert (facts["pid"], facts["retry_wait"]) == (worker, 1.0)
    hup(gateway, TOML.replace("retry_wait = 1", "retry_wait = 3"))
    gateway.wait_for("worker runs with retry_wait 3")


def test_flags_still_win_after_a_reload(start: Start) -> None:
    gateway = start(arguments=["--retry-wait", "9"]).ready()
    hup(gateway, TOML.replace("retry_wait = 1", "retry_wait = 2"))
    gateway.wait_for("worker runs with retry_wait 9")


def test_more_and_fewer_workers_leave_the_others_alone(start: Start) -> None:
    gateway = start().ready()
    first = gateway.who()["pid"]
    hup(gateway, TOML.replace("workers = 1", "workers = 3"))
    until(lambda: len(gateway.workers()) == 3, "three workers")
    assert first in gateway.workers()
    hup(gateway, TOML.replace("workers = 1", "workers = 2"))
    until(lambda: len(gateway.workers()) == 2, "two workers")


def test_a_count_changed_by_signal_survives_a_reload(start: Start) -> None:
    gateway = start().ready()
    gateway.signal(signal.SIGTTIN)
    until(lambda: len(gateway.workers()) == 2, "two workers")
    hup(gateway, TOML.replace("retry_wait = 1", "retry_wait = 2"))
    gateway.wait_for("worker runs with retry_wait 2", 2)
    assert len(gateway.workers()) == 2


def test_an_added_listener_leaves_the_others_open(start: Start) -> None:
    gateway = start().ready()
    old = gateway.who()["pid"]
    (port,) = ports(1)
    with gateway.waiting() as finish:
        hup(
            gateway,
            TOML.replace('"127.0.0.1:0"\nadmin', f'["127.0.0.1:0", "127.0.0.1:{port}"]\nadmin'),
            "Booting worker",
        )
        assert finish() == "done\n"
    until(lambda: not alive(old), "the old worker is gone")
    for address in (gateway.address, ("127.0.0.1", port)):
        facts = gateway.who(address)
        assert (facts["pid"] != old, facts["admin"]) == (True, False)
    assert gateway.who(gateway.admin)["admin"] is True
    hup(gateway, TOML, "No longer listening at")
    until(lambda: refuses(("127.0.0.1", port)), "the removed listener is closed")
    assert gateway.who()["admin"] is False


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_admin_address_can_be_switched_off_and_on(start: Start) -> None:
    gateway = start().ready()
    hup(gateway, TOML.replace('admin = "127.0.0.1:0"', 'admin = "off"'), "No longer listening at")
    until(lambda: refuses(gateway.admin), "no admin address")
    hup(gateway, TOML, "Listening at: http")
    until(lambda: len(gateway.listening()) == 4, "a new admin address")
    assert gateway.who(gateway.listening()[-1])["admin"] is True


def test_unbindable_listener_refuses_the_whole_reload(start: Start) -> None:
    gateway = start().ready()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        hup(
            gateway,
            TOML.replace('bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{port}"').replace(
                "retry_wait = 1", "retry_wait = 2"
            ),
            "reload failed",
        )
    assert f"cannot listen on 127.0.0.1:{port}" in gateway.log
    assert gateway.who()["retry_wait"] == 1.0


def test_a_log_that_cannot_be_written_refuses_the_reload(start: Start) -> None:
    gateway = start().ready()
    hup(gateway, TOML.replace('access_log = "off"', 'access_log = "/proc/nothing"'), "reload failed")
    assert "--access-log /proc/nothing: cannot be written" in gateway.log


def test_the_pid_file_moves(start: Start, tmp_path: object) -> None:
    gateway = start(f'pidfile = "{tmp_path}/one"\n').ready()
    hup(gateway, TOML + f'pidfile = "{tmp_path}/two"\n')
    until(lambda: sorted(path.name for path in gateway.directory.parent.glob("[ot][nw][eo]")) == ["two"], "moved")
    assert int((gateway.directory.parent / "two").read_text()) == gateway.process.pid


def test_the_log_level_changes_in_the_master_and_its_workers(start: Start) -> None:
    gateway = start().ready()
    hup(gateway, TOML + 'log_level = "warning"\n', "Handling signal: hup")
    before = gateway.log
    hup(gateway, TOML + 'log_level = "info"\n')
    assert "worker runs" in gateway.log.removeprefix(before) or gateway.wait_for("worker runs") is None


def test_many_reloads_in_a_row_settle_on_the_last(start: Start) -> None:
    gateway = start().ready()
    worker = gateway.who()["pid"]
    with gateway.waiting() as finish:
        for retry_wait in range(2, 60):
            gateway.configure(TOML.replace("retry_wait = 1", f"retry_wait = {retry_wait}"))
            gateway.signal(signal.SIGHUP)
        gateway.signal(signal.SIGHUP)
        gateway.wait_for("worker runs with retry_wait 59")
        assert finish() == "done\n"
    facts = gateway.who()
    assert (facts["pid"], facts["retry_wait"]) == (worker, 59.0)


def test_workers_ended_early_do_not_end_the_master(start: Start) -> None:
    gateway = start().ready()
    for port in ports(8):
        hup(
            gateway,
            TOML.replace('"127.0.0.1:0"\nadmin', f'["127.0.0.1:0", "127.0.0.1:{port}"]\nadmin'),
            "Booting worker",
        )
    until(lambda: gateway.who()["pid"], "a worker")
    assert "workers die" not in gateway.log
