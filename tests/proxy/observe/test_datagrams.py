"""Access log lines at a syslog server and in a real journal; a server that is lost ends nothing and is found again."""

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.observe.datagrams import Datagrams
from proxy.observe.destination import Destination, log_at
from tests.proxy.gateway import Gateway, serve
from tests.waiting import PATIENCE, until

JOURNALD = Path("/lib/systemd/systemd-journald")


def receiver(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.settimeout(PATIENCE)
    server.bind(str(path))
    return server


def sender(path: Path) -> int:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    client.connect(str(path))
    return client.detach()


def test_a_local_syslog_gets_a_datagram_for_each_line(tmp_path: Path) -> None:
    with receiver(tmp_path / "log") as server:
        log = log_at(sender(tmp_path / "log"))
        assert log.write(b"one\ntwo\n") == 0
        for line in (b"one", b"two"):
            pattern = rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d aragora-proxy\[%d\]: %s" % (os.getpid(), line)
            assert re.fullmatch(pattern, server.recv(1024))
        log.close()


def test_a_syslog_server_of_another_machine_gets_rfc_5424() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(PATIENCE)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(server.getsockname())
        log = log_at(client.detach())
        assert log.write(b"GET / 200\n") == 0
        pattern = rb"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ aragora-proxy %d access - GET / 200" % os.getpid()
        assert re.fullmatch(pattern, server.recv(1024))
        log.close()


def test_a_syslog_that_is_gone_loses_lines_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with receiver(path):
        log = log_at(sender(path))
    assert log.write(b"one\ntwo\n") == 2
    path.unlink()
    assert log.write(b"three\n") == 1
    with receiver(path) as server:
        assert log.write(b"four\nfive\n" + b"x" * (1 << 24) + b"\n") == 1, "what is too long for a datagram is lost"
        assert server.recv(1024).endswith(b": four")
        assert server.recv(1024).endswith(b": five")
    log.close()


def test_other_descriptors_are_files_and_streams(tmp_path: Path) -> None:
    one, two = socket.socketpair()
    with two:
        stream = log_at(one.detach())
        assert isinstance(stream, Destination)
        assert stream.write(b"line\n") == 0
        assert two.recv(1024) == b"line\n"
        stream.close()
    file = log_at(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))
    assert not isinstance(file, Datagrams)
    file.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[str]:
    """A namespace with a journal of its own, for its life."""
    name = f"datagrams{os.getpid()}"
    try:
        # RUNTIME_DIRECTORY means one of its own
        with subprocess.Popen([JOURNALD, name], env={}, stderr=subprocess.DEVNULL) as server:
            try:
                until(Path(f"/run/systemd/journal.{name}/socket").exists, "the journal's socket")
                yield name
            finally:
                server.terminate()
    finally:
        kept = [*Path("/var/log/journal").glob(f"*.{name}"), *Path("/run/log/journal").glob(f"*.{name}")]
        for directory in (*kept, Path(f"/run/systemd/journal.{name}")):
            shutil.rmtree(directory, ignore_errors=True)


def asked(gateway: Gateway) -> None:
    with urllib.request.urlopen(f"{gateway.url}/page", timeout=PATIENCE) as answer:
        assert answer.read() == b"hello"


@pytest.mark.component("systemd")
@pytest.mark.skipif(os.geteuid() != 0 or not JOURNALD.exists(), reason="only root can run a journal of its own")
def test_the_journal_has_the_lines_of_a_gateway(journal: str, tmp_path: Path) -> None:
    gateway = serve(tmp_path, "", "--respond", "hello", "--access-log", f"journald:{journal}", "--log-format", "json")
    try:
        asked(gateway)

        def entries() -> list[dict[str, str]]:
            command = ["journalctl", f"--namespace={journal}", "--identifier=aragora-proxy", "--output=json"]
            found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
            return [json.loads(line) for line in found.splitlines()]

        (entry,) = until(entries, "the line in the journal")
        assert entry["PRIORITY"] == "6"
        assert json.loads(entry["MESSAGE"])["target"] == "/page"
    finally:
        gateway.close()


def test_a_gateway_logs_to_syslog_and_survives_its_end(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    with receiver(path) as server:
        gateway = serve(tmp_path, "", "--respond", "hello", "--access-log", f"syslog:unix:{path}", admin=True)
        asked(gateway)
        assert b'"GET /page HTTP/1.1" 200 ' in server.recv(4096)
    try:
        asked(gateway)
        until(lambda: gateway.metric("access_log_lost_lines_total") >= 1, "the line counts as lost")
        path.unlink()
        with receiver(path) as server:
            asked(gateway)
            until(lambda: b"GET /page" in server.recv(4096), "a line")
    finally:
        gateway.close()
