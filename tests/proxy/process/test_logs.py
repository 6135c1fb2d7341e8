"""Both logs through rotation, reload and worse: no request ends for their sake, and lines go where they should."""

import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import ports
from tests.proxy.gateway import children
from tests.proxy.process.running import TinyGateway
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as another user")
NOBODY = pwd.getpwnam("nobody")
TOML = """\
bind = "127.0.0.1:0"
admin = "off"
workers = 1
respond = "ok"
access_log = "{logs}/access.log"
error_log = "{logs}/error.log"
{more}
[[route]]
path = "/dead"
upstream = "127.0.0.1:1"
retry_wait = 0
"""
USER = 'user = "nobody"\ngroup = "nogroup"'


@pytest.fixture
def logs() -> Iterator[Path]:
    """A directory that other users can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


class Logged:
    """A gateway that writes both logs to one directory; the client's side of it."""

    def __init__(self, gateway: TinyGateway, logs: Path) -> None:
        self.gateway = gateway
        self.logs = logs
        self.access, self.error = logs / "access.log", logs / "error.log"

    def up(self) -> "Logged":
        until(lambda: self.error.exists() and self.addresses(), "the address in the error log")
        self.front = self.addresses()[0]
        until(lambda: self.status("/live") == 200, "a worker")
        return self

    def addresses(self) -> list[tuple[str, int]]:
        self.gateway.error_log = self.error
        return self.gateway.listening()

    def status(self, path: str) -> int:
        """Of the answer; 0 if the connection ended without one."""
        with socket.create_connection(self.front, timeout=PATIENCE) as connection:
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
            with connection.makefile("rb") as answer:
                words = answer.readline().split()
        return int(words[1]) if len(words) > 1 else 0

    def answered(self) -> None:
        """Those requests about which a worker has something to say are answered as the others are."""
        assert [self.status(path) for path in ("/live", "/dead", "/dead", "/live")] == [200, 502, 502, 200]

    def written_to(self, access: Path, error: Path) -> None:
        """New requests appear in these files, once every worker has them."""
        mark = f"/dead/{os.urandom(8).hex()}"
        said = error.read_text().count("127.0.0.1:1:")
        until(lambda: self.status(mark) == 502 and mark in access.read_text(), f"the request in {access}")
        until(lambda: error.read_text().count("127.0.0.1:1:") > said, f"the message in {error}")

    def rotate(self) -> None:
        for path in (self.access, self.error):
            path.rename(path.with_suffix(".log.1"))

    def usr1(self) -> None:
        """USR1, until the master has acted on it."""
        self.gateway.signal(signal.SIGUSR1)


@pytest.fixture
def begin(start: Start, logs: Path) -> Callable[..., Logged]:
    def made(more: str = "", directory: Path | None = None, **options: object) -> Logged:
        place = directory or logs
        toml = TOML.format(logs=place, more=more)
        return Logged(start(toml=toml, program=("-m", "proxy"), **options), place).up()

    return made


Begin = Callable[..., Logged]


def created_by(name: str, path: Path, mode: int = 0o640) -> None:
    path.touch()
    path.chmod(mode)
    shutil.chown(path, name)


@pytest.mark.parametrize("user", ["", pytest.param(USER, marks=AS_ROOT)])
def test_after_a_rotation_both_logs_go_on_in_new_files(begin: Begin, user: str) -> None:
    logged = begin(user)
    logged.answered()
    logged.written_to(logged.access, logged.error)
    logged.rotate()
    logged.usr1()
    until(lambda: logged.access.exists() and logged.error.exists(), "new files")
    logged.answered()
    logged.written_to(logged.access, logged.error)
    assert "Traceback" not in logged.error.read_text()
    if user:
        assert {path.stat().st_uid for path in (logged.access, logged.error)} == {NOBODY.pw_uid}
        assert {path.stat().st_mode & 0o777 for path in (logged.access, logged.error)} == {0o640}


@AS_ROOT
@pytest.mark.parametrize("directory_of", ["root", "nobody"])
@pytest.mark.parametrize("files_of", ["root", "nobody"])
def test_rotated_files_are_written_whoever_owns_them(
    begin: Begin, logs: Path, directory_of: str, files_of: str
) -> None:
    shutil.chown(logs, directory_of)
    logged = begin(USER)
    logged.rotate()
    for path in (logged.access, logged.error):
        created_by(files_of, path)
    logged.usr1()
    until(lambda: "Handling signal: usr1" in logged.error.with_suffix(".log.1").read_text(), "the signal")
    logged.answered()
    logged.written_to(logged.access, logged.error)
    assert {path.owner() for path in (logged.access, logged.error)} == {files_of}, "what was there keeps its owner"


@AS_ROOT
def test_a_directory_that_only_root_may_enter_is_no_hindrance(begin: Begin, logs: Path) -> None:
    closed = logs / "closed"
    closed.mkdir(mode=0o700)
    logged = begin(USER, closed)
    logged.answered()
    logged.written_to(logged.access, logged.error)
    logged.rotate()
    logged.usr1()
    until(lambda: logged.access.exists() and logged.error.exists(), "new files")
    logged.answered()
    logged.written_to(logged.access, logged.error)
    booted = logged.error.read_text().count("Booting worker")
    os.kill(children(logged.gateway.process.pid)[0], signal.SIGKILL)
    until(lambda: logged.error.read_text().count("Booting worker") > booted, "another worker")
    until(lambda: logged.status("/live") == 200, "it serves")
    logged.written_to(logged.access, logged.error)


@pytest.mark.parametrize("user", ["", pytest.param(USER, marks=AS_ROOT)])
def test_unopenable_log_stays_while_the_other_is_reopened(begin: Begin, user: str, logs: Path) -> None:
    logged = begin(user)
    for path, other in ((logged.error, logged.access), (logged.access, logged.error)):
        logged.rotate()
        path.mkdir()  # nothing can be written there
        logged.usr1()
        until(other.exists, "the other file")
        before = path.with_suffix(".log.1")
        logged.answered()
        logged.written_to(*((before, other) if path == logged.access else (other, before)))
        told = [line for file in logs.glob("error.log*") if file.is_file() for line in file.read_text().splitlines()]
        assert sum(f"log not reopened: --{path.stem}-log" in line for line in told) == 1
        path.rmdir()
        logged.usr1()
        until(path.exists, "the file")
        logged.written_to(logged.access, logged.error)
        for rotated in logs.glob("*.1"):
            rotated.unlink()


@AS_ROOT
def test_a_reload_opens_both_logs_wherever_they_are(begin: Begin, logs: Path) -> None:
    logged = begin(USER)
    closed = logs / "closed"
    closed.mkdir(mode=0o700)
    logged.gateway.configure(TOML.format(logs=closed, more=USER))
    logged.gateway.signal(signal.SIGHUP)
    until((closed / "error.log").exists, "the new error log")
    until(lambda: "settings reloaded" in (closed / "error.log").read_text(), "the reload")
    logged.answered()
    logged.written_to(closed / "access.log", closed / "error.log")
    logged.usr1()
    logged.answered()
    logged.written_to(closed / "access.log", closed / "error.log")


@pytest.mark.parametrize("which", ["access", "error"])
def test_unopenable_log_stops_start_and_reload_in_one_line(begin: Begin, start: Start, which: str) -> None:
    wrong = f'{which}_log = "/proc/nothing"'
    failing = start(toml=f'bind = "127.0.0.1:0"\nadmin = "off"\nrespond = "x"\n{wrong}\n', program=("-m", "proxy"))
    assert failing.process.wait(PATIENCE) == 1
    assert failing.log == f"aragora-proxy: --{which}-log /proc/nothing: cannot be written: No such file or directory\n"
    logged = begin()
    lines = [line for line in TOML.format(logs=logged.logs, more="").splitlines() if not line.startswith(f"{which}_")]
    logged.gateway.configure("\n".join([wrong, *lines]))
    logged.gateway.signal(signal.SIGHUP)
    logged.gateway.wait_for(f"reload failed: --{which}-log /proc/nothing: cannot be")
    logged.answered()
    logged.written_to(logged.access, logged.error)


SINKS = {
    "logs on a full disk": ("", 'error_log = "/dev/full"\naccess_log = "/dev/full"'),
    "standard output on a full disk": ("2>/dev/full >/dev/full", ""),
    "standard output closed": ("2>&- >&-", ""),
    "a reader that stands still": ("2>{logs}/fifo", 'log_level = "debug"\naccess_log = "off"'),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("sink", SINKS)
def test_a_log_that_takes_nothing_ends_no_request_and_no_process(start: Start, logs: Path, sink: str) -> None:
    redirected, more = SINKS[sink]
    os.mkfifo(logs / "fifo")
    reader = os.open(logs / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    (port,) = ports(1)
    lines = [line for line in TOML.format(logs=logs, more="").splitlines() if "_log" not in line]
    gateway = start(
        toml="\n".join([more, *lines]).replace(":0", f":{port}"),
        program=("-m", "proxy"),
        before=("/bin/sh", "-c", f'exec "$@" {redirected.format(logs=logs)}', "sh"),
    )
    logged = Logged(gateway, logs)
    logged.front = ("127.0.0.1", port)

    def serves() -> bool:
        try:
            return logged.status("/live") == 200
        except OSError:
            return False

    until(serves, "the gateway")
    for _ in range(1200 if "still" in sink else 1):  # a message each: several times what a pipe holds
        assert logged.status("/dead") == 502
    for number in (signal.SIGUSR1, signal.SIGHUP):
        gateway.signal(number)
        logged.answered()
    assert gateway.end() == 0
    os.close(reader)
