"""Unix sockets and the pid file: made where they should be, whatever stands there, with no more rights than needed."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gunicorn.config import Config

from proxy.process import listeners
from proxy.process import unix_sockets as unixsockets
from proxy.process.listeners import Listeners, Role
from proxy.process.pid_file import PidFile
from proxy.process.unix_sockets import Permissions, UnixSocket
from proxy.settings import Address, Settings, SettingsError
from tests.proxy.gateway import alive
from tests.proxy.process.conftest import OTHER, TOML
from tests.proxy.process.running import TinyGateway
from tests.proxy.process.test_life import run_to_its_end
from tests.proxy.process.test_reload import hup
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other accounts")
WORKERS = Permissions(0o660, OTHER, OTHER, (OTHER, OTHER))


@pytest.fixture
def ground(ground: Path) -> Path:
    """With third/, which a third account has."""
    (ground / "third").mkdir()
    os.chown(ground / "third", 12345, 12345)
    return ground


class Log:
    def info(self, *_: object) -> None: ...


def facts(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def made(path: Path, permissions: Permissions = WORKERS) -> UnixSocket:
    return UnixSocket(str(path), Config(), Log(), permissions)


# How a socket's file is made.


@AS_ROOT
@pytest.mark.parametrize("directory", ["ours", "theirs", "both"])
def test_a_socket_belongs_to_the_workers(ground: Path, directory: str) -> None:
    path = ground / directory / "sock"
    listener = made(path)
    assert facts(path) == (OTHER, OTHER, 0o660)
    unixsockets.adjust(listener, Permissions(0o606, OTHER, OTHER, WORKERS.account))
    assert facts(path) == (OTHER, OTHER, 0o606)
    unixsockets.remove(listener, WORKERS.account)
    assert not path.exists()
    listener.close()
    again = made(path)  # what a process that was killed has left behind
    again.close()
    made(path).close()


@AS_ROOT
@pytest.mark.parametrize("what", ["link", "dangling link", "file", "directory"])
def test_what_is_no_socket_stays_as_it_is(ground: Path, what: str) -> None:
    for directory in ("ours", "theirs"):
        path = ground / directory / "sock"
        if what == "link":
            path.symlink_to(ground / "secret")
        elif what == "dangling link":
            path.symlink_to(ground / "ours" / "created")
        elif what == "file":
            path.touch()
        else:
            path.mkdir()
        if (directory, what) != ("ours", "dangling link"):  # that leads to where a socket could be
            with pytest.raises(SettingsError, match=r"cannot listen on unix:\S+: (not a socket|sock is a link)"):
                listeners.check([Address(path=str(path))], Settings(workers=1, user="nobody", group="nogroup"))
        with pytest.raises(OSError):  # noqa: PT011 - of several kinds
            made(path)
        assert path.is_symlink() or not path.is_socket()
    assert (ground / "secret").stat().st_uid == 0
    assert not (ground / "ours" / "created").exists()


@AS_ROOT
def test_root_gives_away_nothing_that_takes_the_sockets_place(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ground / "theirs" / "sock"
    real = socket.socket.bind

    def swapped(sock: socket.socket, address: str) -> None:
        """Between the moment when it is made and the next step another file gets its name."""
        real(sock, address)
        assert os.geteuid() == OTHER
        os.seteuid(0)
        path.unlink()
        path.hardlink_to(ground / "secret")
        os.seteuid(OTHER)

    class Swapping(socket.socket):
        bind = swapped  # type: ignore[assignment]

    monkeypatch.setattr("gunicorn.sock.socket.socket", Swapping)
    listener = made(path)
    unixsockets.is_lost(listener)
    with pytest.raises(OSError, match="not permitted"):
        unixsockets.adjust(listener, Permissions(0o666, OTHER, OTHER, WORKERS.account))
    secret = (ground / "secret").stat()
    assert (secret.st_uid, stat.S_IMODE(secret.st_mode)) == (0, 0o600)
    listener.close()


@AS_ROOT
def test_a_directory_of_a_third_account_is_refused(ground: Path) -> None:
    with pytest.raises(SettingsError, match="a unix socket needs a directory that"):
        listeners.check(
            [Address(path=str(ground / "third" / "sock"))], Settings(workers=1, user="nobody", group="nogroup")
        )


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    here = Permissions(0o660, os.geteuid(), os.getegid(), (os.geteuid(), os.getegid()))
    first = made(path, here)
    path.unlink()
    second = made(path, here)
    assert (unixsockets.is_lost(first), unixsockets.is_lost(second)) == (True, False)
    unixsockets.remove(first, here.account)
    assert path.is_socket()
    unixsockets.remove(second, here.account)
    assert not path.exists()
    first.close()
    second.close()


# In a gateway that runs.


def with_front(path: Path, more: str = "") -> str:
    return TOML.replace('bind = "127.0.0.1:0"', f'bind = ["127.0.0.1:0", "unix:{path}"]') + more


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        client.sendall(b"who\n")
        with client.makefile() as lines:
            return bool(lines.read())


def test_a_file_that_a_cleaner_removed_is_made_anew_by_a_reload(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    gateway = start(toml=with_front(path)).ready()
    worker = gateway.who()["pid"]
    hup(gateway, with_front(path))
    assert gateway.who()["pid"] == worker, "while it is there nothing is replaced"
    path.unlink()
    assert not connects(path)
    with gateway.waiting() as finish:
        hup(gateway, with_front(path), "Listening at: unix:")
        until(lambda: connects(path), "the socket")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert finish() == "done\n"
    until(lambda: not alive(worker), "the old worker")
    gateway.who()
    path.unlink()
    assert gateway.end() == 0, "nothing is left to remove"
    assert "Traceback" not in gateway.log


def test_reload_leaves_a_path_taken_by_another_program(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    gateway = start(toml=with_front(path)).ready()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        hup(gateway, with_front(path), f"cannot listen on unix:{path}: in use by another program")
        assert gateway.end() == 0
        assert path.is_socket(), "it is the other program's"


def test_permissions_follow_a_reload_and_nothing_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    gateway = start(toml=with_front(path)).ready()
    worker = gateway.who()["pid"]
    before = path.stat().st_ino
    hup(gateway, with_front(path, 'socket_mode = "606"\n'))
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_ino) == (0o606, before)
    assert gateway.who()["pid"] == worker
    old = gateway.masters[0]
    gateway.upgrade()
    os.kill(old, signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.wait_for("Master has been promoted")
    hup(gateway, with_front(path, 'socket_mode = "660"\n'))
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_ino) == (0o660, before)
    gateway.signal(signal.SIGTERM)
    until(lambda: not path.exists(), "the successor removes what it has inherited")


@AS_ROOT
def test_a_reload_hands_sockets_to_a_new_user(start: Start, ground: Path) -> None:
    path = ground / "ours" / "front.sock"
    gateway = start(toml=with_front(path, 'user = "nobody"\ngroup = "nogroup"\n')).ready()
    assert facts(path)[:2] == (OTHER, OTHER)
    hup(gateway, with_front(path, 'user = "daemon"\n'), "Booting worker")
    assert facts(path)[0] == 1


# [::] takes IPv4.


@pytest.mark.component("machine")
@AS_ROOT
@pytest.mark.parametrize("only", ["0", "1"])
def test_all_interfaces_means_both_address_families(tmp_path: Path, only: str) -> None:
    script = f"""
import pathlib, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
pathlib.Path("/proc/sys/net/ipv6/bindv6only").write_text("{only}")
from gunicorn.config import Config
from proxy.process import listeners
from proxy.settings import Address, Settings
chosen = Settings(workers=1, bind=(Address("::", 8000),), admin=None)
listeners.check(chosen.bind, chosen)
listener = listeners.bound(chosen.bind[0], listeners.permissions(chosen), Config(), None)
for host in ("127.0.0.1", "::1"):
    socket.create_connection((host, 8000), 5).close()
for taken in (socket.AF_INET, socket.AF_INET6):
    with socket.socket(taken) as other:
        try:
            other.bind(("127.0.0.1" if taken == socket.AF_INET else "::1", 8000))
        except OSError:
            continue
        sys.exit("could be bound twice")
"""
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


# The pid file.


def test_it_holds_the_process_and_is_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    umask = os.umask(0o077)
    try:
        written = PidFile(path)
    finally:
        os.umask(umask)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (f"{os.getpid()}\n", 0o644)
    assert [*tmp_path.iterdir()] == [path]
    path.write_text("1\n")
    written.remove()
    assert path.exists(), "another process' is left alone"
    with pytest.raises(RuntimeError, match="process 1 is running"):
        PidFile(path)
    for stale in ("", "x", "-1", "99999999999999999999", "4194304"):
        path.write_text(stale)
        PidFile(path)
        assert path.read_text() == f"{os.getpid()}\n"
    PidFile(path).remove()
    assert not path.exists()


@AS_ROOT
def test_no_link_followed_and_nothing_existing_changed(ground: Path) -> None:
    path = ground / "theirs" / "pid"
    path.symlink_to(ground / "secret")
    with pytest.raises(OSError, match="another account could have set"):
        PidFile(path)
    path.unlink()
    path.hardlink_to(ground / "secret")
    written = PidFile(path)  # it takes the name away from the other file, and nothing more
    assert ((ground / "secret").read_text(), (ground / "secret").stat().st_mode & 0o777) == ("root's", 0o600)
    path.unlink()
    path.symlink_to(ground / "secret")
    written.remove()
    assert (ground / "secret").exists()
    os.mkfifo(ground / "theirs" / "pipe")
    with pytest.raises(OSError, match="is no file"):
        PidFile(ground / "theirs" / "pipe")


def test_one_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    ended = run_to_its_end(TOML + f'pidfile = "{tmp_path}/none/pid"\n', tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)


def test_listeners_are_told_apart_by_name_and_by_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        chosen = Settings(workers=1, admin=Address(*two.getsockname()))
        for names, admin, plain in ((["front", "plain"], None, two), (["x", "admin"], two, None), ([], two, None)):
            found = listeners.adopt([one, two], names, chosen)
            assert found.one(Role.FRONT) is one
            assert (found.one(Role.ADMIN), found.one(Role.PLAIN)) == (admin, plain)
            assert found.names.split(":")[0] == "front"
    assert Listeners().all == []
