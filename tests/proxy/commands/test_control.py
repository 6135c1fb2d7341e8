"""Commands are for those who have proved that they may send them: the gateway's own socket, and how it is found."""

import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.commands.client import FAILED, SUCCESS, USAGE, Admin, Unanswered
from proxy.process import runtime_directory as runtime
from proxy.settings.values import Address
from tests.proxy.admin.applications import Application
from tests.proxy.admin.conftest import TOML, AdminGateway, command
from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]
Applications = Callable[[str], Application]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other accounts")
RESPOND = 'respond = "hello"\n'


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        monkeypatch.setenv("RUNTIME_DIRECTORY", name)
        monkeypatch.setattr(runtime, "_SYSTEM", Path(name))  # not that of gateways that run on this machine
        yield Path(name)


def post(gateway: AdminGateway, where: str, body: object) -> int:
    """What a request of the application that somebody else has chosen comes to."""
    asked = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-H", "Content-Type: application/json"]
    url = f"http://{gateway.admin_address}{where}"
    return int(subprocess.run([*asked, "-d", json.dumps(body), url], capture_output=True, check=True).stdout)


def test_admin_commands_need_the_token(face: Start, applications: Applications) -> None:
    one, evil = applications("one"), applications("evil")
    gateway = face(f'upstream = "{one.address}"\n')
    switch = {"route": "default", "upstream": evil.address}
    assert post(gateway, "/switch", switch) == 401
    assert post(gateway, "/maintenance", {"on": True}) == 401
    assert gateway.names() == {"one"}
    token = gateway.run("token").stdout.strip()
    allowed = gateway.directory / "token"
    allowed.write_text(token)
    over_tcp = ("--admin", gateway.admin_address, "--token-file", str(allowed))
    assert command("maintenance", "on", *over_tcp).returncode == SUCCESS
    assert gateway.get()[0] == 503
    allowed.write_text("x" * 32)
    refused = command("maintenance", "off", *over_tcp)
    assert refused.returncode == FAILED
    assert "commands must be authorised" in refused.stderr
    assert gateway.run("maintenance", "off").returncode == SUCCESS


def test_the_only_gateway_is_found_without_being_named(face: Start, directory: Path) -> None:
    gateway = face(RESPOND)
    assert [*directory.iterdir()] == [gateway.control]
    assert stat.S_IMODE(gateway.control.stat().st_mode) == 0o600
    assert json.loads(command("status", "--json").stdout)["private"] is True
    config = ("--config", str(gateway.config))
    gateway.config.write_text(
        gateway.config.read_text().replace("admin = ", "# ") + f'admin = "{gateway.admin_address}"\n'
    )
    for where in ((), config, ("--admin", gateway.admin_address), ("--admin", f"unix:{gateway.control}")):
        assert command("maintenance", "on", *where).returncode == SUCCESS
        assert command("maintenance", "off", *where).returncode == SUCCESS
    assert gateway.end() == 0
    assert [*directory.iterdir()] == []
    gone = command("status")
    assert (gone.returncode, "no gateway responds at 127.0.0.1:9180" in gone.stderr) == (FAILED, True)


def test_of_several_the_choices_are_named(face: Start, directory: Path, tmp_path: Path) -> None:
    one = face(RESPOND)
    front = tmp_path / "front.sock"
    (tmp_path / "two").mkdir()
    two = AdminGateway(
        tmp_path / "two", f'bind = ["unix:{front}"]\nadmin = "off"\nworkers = 1\naccess_log = "off"\n' + RESPOND
    )
    try:
        other = directory / runtime.file_name(Address(path=str(front)))
        until(other.exists, "the other's socket")
        until(lambda: "Booting" in two.log, "its worker")
        asked = command("status")
        assert asked.returncode == USAGE
        assert (
            f"several gateways run here; choose one: --admin {one.admin_address}, --admin unix:{other}" in asked.stderr
        )
        for choice in (one.admin_address, f"unix:{other}"):
            assert command("reload", "--admin", choice).returncode == SUCCESS
        assert command("reload", "--config", str(two.config)).returncode == SUCCESS
        os.kill(two.process.pid, signal.SIGKILL)
        two.process.wait(PATIENCE)
        until(lambda: command("status").returncode == SUCCESS, "the dead one's workers are gone, and it is no choice")
        assert other.exists()
    finally:
        two.close()


def test_one_that_was_killed_leaves_nothing_in_the_way(face: Start, directory: Path) -> None:
    gateway = face(RESPOND)
    config = gateway.config.read_text().replace('admin = "127.0.0.1:0"', f'admin = "{gateway.admin_address}"')
    socket_file = gateway.control
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait(PATIENCE)
    until(lambda: command("status").returncode == FAILED, "its workers have noticed")
    assert [*directory.iterdir()] == [socket_file]
    again = face("", toml=config)
    assert again.run("maintenance", "on").returncode == SUCCESS
    assert again.control == socket_file


def test_it_lives_through_reloads_upgrades_and_cleaners(face: Start, directory: Path) -> None:
    gateway = face(RESPOND)
    before = gateway.control.stat().st_ino
    old = gateway.masters[0]
    gateway.signal(signal.SIGUSR2)
    new = until(lambda: (master := gateway.status()["master"])["replaces"] and master["pid"], "a successor")
    gateway.masters.append(new)
    os.kill(old, signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.wait_for("Master has been promoted")
    assert (gateway.control.stat().st_ino, gateway.run("reload").returncode) == (before, SUCCESS)
    gateway.control.unlink()
    gateway.signal(signal.SIGHUP)
    until(gateway.control.exists, "a new one")
    until(lambda: gateway.run("reload").returncode == SUCCESS, "it is served")
    gateway.configure(gateway.config.read_text() + 'admin_socket = "off"\n')
    gateway.signal(signal.SIGHUP)
    until(lambda: not gateway.control.exists(), "none")
    refused = gateway.run("maintenance", "on")
    assert (refused.returncode, "commands must be authorised" in refused.stderr) == (FAILED, True)
    path = directory / "elsewhere"
    gateway.configure(
        gateway.config.read_text().replace('"off"', f'"{path}"', 1).replace('socket = "off"', f'socket = "{path}"')
    )
    gateway.signal(signal.SIGHUP)
    until(path.is_socket, "where the settings have it")
    until(lambda: command("reload", "--admin", f"unix:{path}").returncode == SUCCESS, "it is served")
    os.kill(new, signal.SIGTERM)
    until(lambda: [*directory.iterdir()] == [], "nothing is left")


@AS_ROOT
def test_another_account_is_kept_out_and_a_group_let_in(face: Start, directory: Path) -> None:
    gateway = face(RESPOND)
    directory.chmod(0o755)

    def as_nobody(*groups: int) -> int:
        """Whether another account of the machine may command: curl's exit code, 7 for a refused connection."""
        words = ["curl", "-s", "-f", "-o", os.devnull, "--unix-socket", str(gateway.control), "http://localhost/token"]
        return subprocess.run(words, user=65534, group=65534, extra_groups=groups, check=False).returncode

    staff = grp.getgrnam("staff").gr_gid
    assert as_nobody() == as_nobody(staff) == 7
    gateway.configure(gateway.config.read_text() + 'admin_group = "staff"\n')
    gateway.signal(signal.SIGHUP)
    until(lambda: as_nobody(staff) == 0, "members may")
    facts = gateway.control.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (0, staff, 0o660)
    assert as_nobody() == 7
    gateway.configure(gateway.config.read_text().replace('admin_group = "staff"\n', ""))
    gateway.signal(signal.SIGHUP)
    until(lambda: as_nobody(staff) == 7, "no more")


@AS_ROOT
def test_workers_account_may_not_command_the_gateway(face: Start) -> None:
    gateway = face(RESPOND + 'user = "nobody"\ngroup = "nogroup"\n', toml=TOML.replace('"access.log"', '"off"'))
    facts = gateway.control.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (0, 0, 0o600)
    assert gateway.run("maintenance", "on").returncode == SUCCESS
    assert gateway.get()[0] == 503


@AS_ROOT
@pytest.mark.parametrize("whose", ["another account's", "writable by others"])
def test_a_directory_that_others_could_have_prepared_is_not_used(face: Start, directory: Path, whose: str) -> None:
    if whose == "another account's":
        os.chown(directory, 65534, 65534)
    else:
        directory.chmod(0o777)
    gateway = face(RESPOND, control=False)
    assert [*directory.iterdir()] == []
    assert "no socket for commands (--admin-socket" in gateway.log
    assert gateway.get() == (200, "hello")
    assert runtime.sockets() == [path for path in runtime.sockets() if path.parent != directory]


def test_where_sockets_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/other")
    assert [*map(str, runtime.directories())] == [
        str(tmp_path),
        "/run/user/1000/aragora-proxy",
        "/tmp/aragora-proxy-1000",
    ]
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert [*map(str, runtime.directories())] == ["/tmp/aragora-proxy-1000"]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.access", lambda *_: True)
    monkeypatch.setattr(runtime, "_SYSTEM", Path("/run/aragora-proxy"))
    assert next(runtime.directories()) == Path("/run/aragora-proxy")
    assert runtime.file_name(Address("::1", 9180)) == "[::1]:9180.sock"


@AS_ROOT
def test_without_a_directory_of_the_system_it_is_private(tmp_path: Path) -> None:
    """The whole way as an ordinary account: /tmp/aragora-proxy-UID, which nobody else may enter."""
    uid = 50_000 + os.getpid() % 10_000
    place = Path(f"/tmp/aragora-proxy-{uid}")
    clean = {name: value for name, value in os.environ.items() if name not in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR")}
    with tempfile.TemporaryDirectory() as name:
        config = Path(name, "proxy.toml")
        config.write_text('bind = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nworkers = 1\naccess_log = "off"\n' + RESPOND)
        Path(name).chmod(0o755)
        words = [sys.executable, "-m", "proxy", "--config", str(config)]
        with subprocess.Popen(
            words, cwd=ROOT, env=clean, user=uid, group=uid, extra_groups=(), stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    if "Booting worker" in line:
                        break
                facts = place.stat()
                assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (uid, 0o700)
                asked = [sys.executable, "-m", "proxy", "status", "--json"]
                found = subprocess.run(
                    asked, cwd=ROOT, env=clean, user=uid, group=uid, extra_groups=(), capture_output=True, check=True
                )
                assert json.loads(found.stdout)["private"] is True
            finally:
                process.terminate()
                process.communicate(timeout=PATIENCE)
    place.rmdir()


def test_what_a_dying_worker_was_asked_is_asked_once_more(tmp_path: Path) -> None:
    path, asked = str(tmp_path / "socket"), list[bytes]()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def work() -> None:
            for response in (b"", b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"done": "ok"}', b"", b""):
                connection, _ = listener.accept()
                with connection:
                    content = b""
                    while not content.endswith(b"}"):
                        content += connection.recv(65536)
                    asked.append(content)
                    connection.sendall(response)

        worker = threading.Thread(target=work)
        worker.start()
        admin = Admin(Address(path=path))
        assert admin.command("maintenance", on=True) == {"done": "ok"}
        assert asked[0] == asked[1]
        with pytest.raises(Unanswered, match="no gateway responds"):
            admin.command("maintenance", on=True)
        worker.join(PATIENCE)
    assert len(asked) == 4
