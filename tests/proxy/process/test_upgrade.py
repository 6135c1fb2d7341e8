"""USR2 and socket activation: a new master on the same sockets, with no connection refused."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from proxy.admin.overrides import OverrideRecord
from proxy.settings.environment import OVERRIDES
from tests.ports import ports
from tests.proxy.gateway import ROOT, alive
from tests.proxy.process.conftest import TOML
from tests.proxy.process.running import TinyGateway, customers
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]
# Puts the descriptors it is given at 3, 4 ... and becomes the program, as systemd's own launcher does.
LAUNCHER = """
import fcntl, os, sys
files = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for number, file in enumerate(files, 3):
    os.dup2(file, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(files)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_an_upgrade_refuses_no_connection(start: Start, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    gateway = start(f'pidfile = "{pidfile}"\n').ready()
    old = gateway.masters[0]
    with gateway.waiting() as finish, customers(gateway.who) as seen:
        new = gateway.upgrade()
        assert int(Path(f"{pidfile}.2").read_text()) == new
        os.kill(old, signal.SIGTERM)
        assert finish() == "done\n"
        assert gateway.process.wait(PATIENCE) == 0
        gateway.wait_for("Master has been promoted")
        until(lambda: pidfile.exists() and int(pidfile.read_text()) == new, "pid file of the new master")
        for _ in range(20):
            assert gateway.who()["master"] == new
    assert seen.wrong == []
    assert gateway.who(gateway.admin)["admin"] is True


def test_a_new_master_upgrades_again(start: Start) -> None:
    gateway = start().ready()
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("worker runs with")
    for _ in range(2):
        old = gateway.masters[-1]
        gateway.upgrade()
        marks = json.loads(gateway.admin_text("/history.json"))["marks"]
        assert "settings reloaded" in [mark["text"] for mark in marks], "the last hour is remembered"
        os.kill(old, signal.SIGTERM)
        gateway.wait_for("Master has been promoted", len(gateway.masters) - 1)
    gateway.configure(TOML.replace("retry_wait = 1", "retry_wait = 4"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("worker runs with retry_wait 4")
    assert gateway.who(gateway.admin)["admin"] is True


def test_upgrade_that_fails_leaves_the_old_master_working(start: Start) -> None:
    gateway = start().ready()
    gateway.configure(TOML + "nonsense = 1\n")
    gateway.signal(signal.SIGUSR2)
    gateway.wait_for("nonsense: unknown setting")
    gateway.who()
    gateway.configure(TOML)
    until(lambda: not children_but(gateway, gateway.workers()), "the failed master is gone")
    gateway.upgrade()


def children_but(gateway: TinyGateway, known: list[int]) -> set[int]:
    listed = Path(f"/proc/{gateway.masters[0]}/task/{gateway.masters[0]}/children").read_text()
    return {int(pid) for pid in listed.split()} - set(known)


def test_an_upgrade_can_be_backed_out(start: Start) -> None:
    gateway = start().ready()
    new = gateway.upgrade()
    os.kill(new, signal.SIGTERM)
    until(lambda: not alive(new), "the new master is gone")
    gateway.masters.pop()
    for _ in range(5):
        assert gateway.who()["master"] == gateway.masters[0]


def test_an_upgrade_takes_up_listeners_added_to_the_file(start: Start) -> None:
    gateway = start().ready()
    (port,) = ports(1)
    gateway.configure(TOML.replace('"127.0.0.1:0"\nadmin', f'["127.0.0.1:0", "127.0.0.1:{port}"]\nadmin'))
    new = gateway.upgrade()
    assert gateway.who(("127.0.0.1", port))["master"] == new


def activated(start: Start, *listeners: socket.socket, **options: object) -> TinyGateway:
    """Start with the listeners as descriptors 3, 4 and so on."""
    numbers = [listener.fileno() for listener in listeners]
    return start(before=(sys.executable, "-c", LAUNCHER, ",".join(map(str, numbers))), pass_fds=numbers, **options)


def test_systemd_s_sockets_are_served_whatever_bind_says(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        front = listener.getsockname()
        gateway = activated(start, listener).ready()
    assert gateway.address == front
    assert gateway.who()["admin"] is False
    assert gateway.who(gateway.admin)["admin"] is True
    gateway.configure(TOML.replace("retry_wait = 1", "retry_wait = 2"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("worker runs with retry_wait 2")
    assert gateway.end() == 0


def test_systemd_socket_at_the_admin_address_serves_admin(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as front, socket.create_server(("127.0.0.1", 0)) as back:
        toml = TOML.replace('admin = "127.0.0.1:0"', f'admin = "127.0.0.1:{back.getsockname()[1]}"')
        gateway = activated(start, front, back, toml=toml).ready()
        gateway.address, gateway.admin = front.getsockname(), back.getsockname()
    assert [gateway.who(address)["admin"] for address in (gateway.address, gateway.admin)] == [False, True]


def test_a_socket_that_systemd_names_admin_is_the_admin_s(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as front, socket.create_server(("127.0.0.1", 0)) as back:
        gateway = activated(start, back, front, environ={"LISTEN_FDNAMES": "admin:web"}).ready()
        gateway.address, gateway.admin = front.getsockname(), back.getsockname()
    assert [gateway.who(address)["admin"] for address in (gateway.address, gateway.admin)] == [False, True]
    assert len(gateway.listening()) == 2


def test_an_activated_gateway_is_upgraded_too(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway = activated(start, listener).ready()
    for _ in range(2):
        old = gateway.masters[-1]
        with customers(gateway.who) as seen:
            gateway.upgrade()
            os.kill(old, signal.SIGTERM)
            gateway.wait_for("Master has been promoted", len(gateway.masters) - 1)
        assert seen.wrong == []
    assert gateway.who()["admin"] is False
    assert gateway.who(gateway.admin)["admin"] is True


def test_a_stopped_gateway_leaves_systemd_s_socket_open(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway = activated(start, listener).ready()
        assert gateway.end() == 0
        with socket.create_connection(listener.getsockname(), timeout=5):
            pass  # it waits in the backlog for the next start


def test_the_module_is_found_again_when_run_from_a_clone(start: Start) -> None:
    """The command line of the new master is the old one's, `-m` included."""
    gateway = start().ready()
    new = gateway.upgrade()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (gateway.masters[0], new)]
    assert commands[0] == commands[1]
    assert b"\0-m\0" in commands[1]
    assert Path(f"/proc/{new}/cwd").resolve() == ROOT


def test_failed_successor_changes_nothing(start: Start, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    front = tmp_path / "front.sock"
    gateway = start(
        toml=TOML.replace('bind = "127.0.0.1:0"', f'bind = ["127.0.0.1:0", "unix:{front}"]'),
        before=("/bin/sh", "-c", 'shift; exec "$0" "$@"', str(python)),
        environ={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ).ready()
    worker = gateway.who()["pid"]
    python.unlink()  # the release that this one was started from was removed
    with customers(gateway.who) as seen:
        gateway.signal(signal.SIGUSR2)
        gateway.wait_for("upgrade failed: [Errno 2]")
        master = gateway.process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        until(lambda: children.read_text().split() == [str(worker)], "the failed successor is gone")
        python.symlink_to(sys.executable)
        gateway.upgrade()
    assert seen.wrong == []
    assert front.exists()


def test_orders_of_any_size_pass_to_a_successor() -> None:
    book = OverrideRecord()
    with suppress(ValueError):
        for number in range(100_000):
            book.change(lambda now, name=f"a-long-name-of-a-peer.example.com:{number}": now.drain(name))  # type: ignore[misc]
    text = book.get().lasting().encoded()
    assert len(text) > 30_000
    for content in (text, "x" * (120 << 10)):
        subprocess.run([sys.executable, "-c", ""], env={OVERRIDES: content}, check=True)
