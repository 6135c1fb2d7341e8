"""Which clients reach the application, whose fields it believes, and what the gateway before it reports of its file."""

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aragora.commands.findings import Finding
from aragora.settings import Settings

WAIT = 2.0  # seconds for one connection
GATEWAY_WAIT = 60.0  # seconds for the gateway's own examination of its file
UNROUTED = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # of documentation, RFC 5737 and RFC 3849
PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
                 "::1/128", "fc00::/7", "fe80::/10")
]  # fmt: skip


def gateway(file: Path | None) -> Iterator[Finding]:
    """What the gateway says of its own file: TLS, rate limits and the access log are its part of the rules."""
    if file is None:
        mend = "--gateway FILE names its settings; compare another proxy's with docs/deployment/SECURITY.md"
        yield Finding("gateway file", "warning", "none: TLS, rate limits and access log were not examined", mend)
        return
    command = [sys.executable, "-m", "proxy", "check", str(file.absolute())]
    try:
        # Elsewhere than here: -m would find a directory named proxy first.
        said = subprocess.run(command, capture_output=True, text=True, timeout=GATEWAY_WAIT, check=False, cwd="/")  # noqa: S603 - a fixed program
    except subprocess.TimeoutExpired:
        yield Finding("gateway file", "failure", f"{file}: no answer in {GATEWAY_WAIT:g} s", " ".join(command))
        return
    if said.returncode != 0:
        detail = (said.stderr.strip() or f"exit code {said.returncode}").splitlines()[0]
        yield Finding("gateway file", "failure", detail, f"correct it: {' '.join(command)}")
        return
    risks = [line.removeprefix("risk: ") for line in said.stdout.splitlines() if line.startswith("risk: ")]
    for risk in risks:
        yield Finding("gateway file", "failure", f"{file}: {risk}", "then python -m proxy reload")
    if not risks:
        yield Finding("gateway file", "ok", f"{file}: TLS, rate limits and access log are set")


def way_in(settings: Settings, production: bool) -> Iterator[Finding]:
    """What stands between clients and the application: TLS, and a gateway that is the only one to be believed."""
    if not production:
        return
    strangers = [entry for entry in settings.forwarded_allow_ips.split(",") if _is_wide(entry.strip())]
    if strangers:
        mend = "name the gateway's address in ARAGORA_FORWARDED_ALLOW_IPS"
        yield Finding("gateway", "failure", f"strangers are believed to be the gateway: {', '.join(strangers)}", mend)
    else:
        yield Finding("gateway", "ok", f"believed at {settings.forwarded_allow_ips}")
    target = urlsplit(settings.url)
    if target.scheme == "http" and target.hostname not in ("127.0.0.1", "::1", "localhost"):
        mend = "end TLS at the gateway, and write https:// in ARAGORA_URL"
        yield Finding("tls", "failure", f"tokens travel in the clear to {target.hostname}", mend)


def _is_wide(entry: str) -> bool:
    """Whether addresses of others than our own machines are among these."""
    if entry == "*":
        return True
    try:
        found = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False  # not an address: gunicorn refuses to start
    own = any(found.version == one.version and found.subnet_of(one) for one in PRIVATE)  # type: ignore[arg-type]
    return found.num_addresses > 1 and not own


def ports(settings: Settings, production: bool) -> Iterator[Finding]:
    """Whether the application's addresses are free or served by it, and in production which clients reach them."""
    for name, address in (("ARAGORA_BIND", settings.bind), ("ARAGORA_WS_BIND", settings.ws_bind)):
        if address.startswith("unix:"):
            directory = Path(address.removeprefix("unix:")).absolute().parent
            if os.access(directory, os.W_OK):
                yield Finding("port", "ok", f"{address} can be made")
            else:
                yield Finding(
                    "port", "failure", f"{name}: cannot write {directory}", "name a directory of the service's user"
                )
            continue
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if production:
            yield from _reach(name, address, host)
        yield _port(name, host, int(port), production)


def _reach(name: str, address: str, host: str) -> Iterator[Finding]:
    mend = "bind to loopback or a private address, behind the gateway"
    if host in ("0.0.0.0", "::"):
        if public := _public_address((socket.AF_INET,) if host == "0.0.0.0" else tuple(UNROUTED)):
            yield Finding("port", "failure", f"{name}={address} is open to the internet at {public}", mend)
        else:
            yield Finding("port", "warning", f"{name}={address} is open to every network", mend)
    elif _is_public(host):
        yield Finding("port", "failure", f"{name}={address} is open to the internet", mend)


def _public_address(families: tuple[socket.AddressFamily, ...]) -> str:
    """An address of this machine that the internet can reach, by which its packets would leave; or nothing."""
    for family in families:
        try:
            # A datagram socket: connecting asks the kernel for the way, and sends nothing.
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect((UNROUTED[family], 9))
                own = str(asked.getsockname()[0])
        except OSError:
            continue
        if _is_public(own):
            return own
    return ""


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _port(name: str, host: str, port: int, production: bool) -> Finding:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Finding("port", "ok", f"{host}:{port} is free")
    except PermissionError:
        return Finding("port", "failure", f"{name}: {host}:{port} is not allowed", "name a port from 1024 on")
    except OSError as error:
        answer = _answer(host, port)
        if production and b"\r\nServer: aragora-dev" in answer:
            mend = "end it, and start gunicorn -c conf/gunicorn.conf.py"
            return Finding("port", "failure", f"{host}:{port} is served by the development server", mend)
        if answer:
            return Finding("port", "ok", f"{host}:{port} is served by aragora")
        return Finding("port", "failure", f"{host}:{port}: {error.strerror}", f"stop what uses it, or set {name}")


def _answer(host: str, port: int) -> bytes:
    """What listens there says, if it is this service; else nothing."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((target, port), WAIT) as connection:
            connection.settimeout(WAIT)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < 4096 and (piece := connection.recv(4096)):
                answer += piece
    except OSError:
        return b""
    return answer if answer.startswith(b"HTTP/1.1 200") and b'"ok"' in answer else b""
