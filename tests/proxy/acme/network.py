"""A network of its own, in which ports 80 and 443 are free and names lead where a test wants them.

Clients outside reach the gateway in it through a unix socket.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

AUTHORITY_NAME = "ca.test"
ELSEWHERE = "127.0.0.2"
CADDYFILE = """
{{
  admin off
  storage file_system {folder}/storage
  skip_install_trust
  auto_https disable_redirects
  http_port 9080
  https_port 9443
}}
https://{name}:9443 {{
  tls internal
  acme_server
}}
"""
SITE_ELSEWHERE = """
http://:80 {{
  bind {elsewhere}
  respond "another site"
}}
"""


class Network:
    """A network namespace; ended by close()."""

    def __init__(self, *hosts: str, elsewhere: str) -> None:
        self.name = f"aragora-test-{os.getpid()}"
        self._hosts = Path("/etc/netns") / self.name
        self._hosts.mkdir(parents=True)
        (self._hosts / "hosts").write_text(
            f"127.0.0.1 localhost {AUTHORITY_NAME} {' '.join(hosts)}\n{ELSEWHERE} {elsewhere}\n"
        )
        self._ip("netns", "add", self.name)
        self._ip("-n", self.name, "link", "set", "lo", "up")
        self._running: list[subprocess.Popen[bytes]] = []

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def start(self, command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """A process in this network."""
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(log.parent), **environment}
        with log.open("wb") as sink:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink,
                stderr=sink, env=variables)  # fmt: skip
        self._running.append(process)
        return process

    def asks(self, url: str, ca: Path) -> bool:
        """Whether a client in this network that trusts these authorities gets a good response."""
        command = ["curl", "-sf", "-o", "/dev/null", "--max-time", "5", "--cacert", str(ca), url]
        done = subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, timeout=PATIENCE)
        return done.returncode == 0

    def end(self, process: subprocess.Popen[bytes]) -> None:
        if process not in self._running:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            self._running.remove(process)

    def close(self) -> None:
        for process in list(self._running):
            self.end(process)
        self._ip("netns", "del", self.name)
        shutil.rmtree(self._hosts)


class AcmeServer:
    """Caddy's ACME server, whose validation comes to ports 80 and 443 of the name."""

    def __init__(self, network: Network, folder: Path, *, site_elsewhere: bool = True) -> None:
        """With a `site_elsewhere`, names may lead to another web server of this network."""
        self.directory = f"https://{AUTHORITY_NAME}:9443/acme/local/directory"
        self.log = folder / "caddy.log"
        self.ca = folder / "storage/pki/authorities/local/root.crt"
        config = folder / "Caddyfile"
        text = CADDYFILE + (SITE_ELSEWHERE if site_elsewhere else "")
        config.write_text(text.format(folder=folder, name=AUTHORITY_NAME, elsewhere=ELSEWHERE))
        self._network = network
        self._process = network.start(["caddy", "run", "--config", str(config), "--adapter", "caddyfile"], self.log)
        until(lambda: "certificate obtained successfully" in self.log.read_text(), "Caddy has its certificate")
        until(lambda: network.asks(self.directory, self.ca), "Caddy answers requests")

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


class Obtaining:
    """A gateway in the network that obtains its certificates; ended by close()."""

    def __init__(self, network: Network, server: AcmeServer, folder: Path, *flags: str, workers: int = 2) -> None:
        folder.mkdir(exist_ok=True)
        self.socket = folder / "tls.sock"
        self.state = folder / "state"
        self._log = folder / "gateway.log"
        self._network = network
        self._process = network.start(
            [sys.executable, "-m", "proxy", "--bind", "127.0.0.1:443", "--bind", f"unix:{self.socket}", "--acme",
             "somebody@site.test", "--acme-directory", server.directory, "--acme-ca", str(server.ca), "--state-dir",
             str(self.state), "--admin", "off", "--workers", str(workers), *flags], self._log)  # fmt: skip
        until(lambda: self.log.count("Booting worker") == workers, "the workers are up")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.state.glob(f"acme/*/{pattern}"))

    def connect(self, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(PATIENCE)
        try:
            raw.connect(str(self.socket))
            return context.wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise

    def trusted(self, context: ssl.SSLContext, name: str) -> bool:
        """Whether a client that trusts these authorities is content with the certificate for a name."""
        try:
            self.connect(context, name).close()
        except ssl.SSLCertVerificationError:
            return False
        return True

    def obtained(self) -> list[str]:
        """The names that certificates were obtained for, in order."""
        return re.findall(r"\bobtained a certificate for (\S+)", self.log)

    def close(self) -> None:
        self._network.end(self._process)
