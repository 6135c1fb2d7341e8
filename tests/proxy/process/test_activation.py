"""Sockets that systemd holds: which of them speak TLS is told by their names."""

import os
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

from tests.proxy.authority import Authority
from tests.proxy.gateway import ROOT
from tests.proxy.process.test_upgrade import LAUNCHER
from tests.waiting import until

NAME = "activated.test"


def test_sockets_named_plain_redirect_and_the_others_speak_tls(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue(NAME)
    log = tmp_path / "gateway.log"
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as secure, \
            log.open("wb") as sink:  # fmt: skip
        gateway = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, f"{plain.fileno()},{secure.fileno()}", sys.executable, "-m", "proxy",
             "--respond", "hello", "--admin", "off", "--workers", "1", "--tls-cert", str(cert), "--tls-key", str(key)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, pass_fds=[plain.fileno(), secure.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT), "LISTEN_FDNAMES": "plain:https"})  # fmt: skip
        plain_port, secure_port = plain.getsockname()[1], secure.getsockname()[1]
        try:
            until(lambda: "Booting worker" in log.read_text(), "the worker is up")
            asked = HTTPConnection("127.0.0.1", plain_port, timeout=20)
            asked.request("GET", "/a", headers={"Host": NAME})
            answer = asked.getresponse()
            assert (answer.status, answer.getheader("Location")) == (308, f"https://{NAME}/a")
            asked.close()
            raw = socket.create_connection(("127.0.0.1", secure_port), timeout=20)
            with authority.trust().wrap_socket(raw, server_hostname=NAME) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: activated.test\r\nConnection: close\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 200")
        finally:
            gateway.terminate()
            gateway.wait(20)
