"""README, followed to the letter: its commands, every row of its table, its figure and its picture."""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.deployment.pages import Block, blocks, certify
from tests.deployment.processes import CHECKOUT, Running, accepts, get
from tests.ports import ports
from tests.proxy.acme.pebble import NAME, pebble
from tests.proxy.authority import Authority
from tests.proxy.filters.origin import origin
from tests.reach import open_to_all
from tests.waiting import until

README = CHECKOUT / "README.md"
ROWS = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", README.read_text().partition("## What it has")[2], re.MULTILINE)[1:])
"""What each row is for, and what it sets."""
MYAPP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["HTTP_X_FORWARDED_PROTO"].encode()]
"""
ADMIN = ("--admin", "off", "--workers", "1")


def commands(section: str) -> list[str]:
    """The shell commands below a heading, each on one line."""
    found = [block for block in blocks(README, "sh") if block.section == section]
    return [line for block in found for line in lines(block)]


def lines(block: Block) -> list[str]:
    return re.sub(r"\\\n\s*", "", block.text).splitlines()


def flags(row: str) -> list[str]:
    """The flags that a row of the table names."""
    code = re.search(r"`(--[^`]+)`", ROWS[row])
    assert code, ROWS[row]
    return shlex.split(code[1])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with this environment's programs, and `sudo`, which tests need not have."""
    folder = tmp_path_factory.mktemp("bin")
    sudo = folder / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


@contextmanager
def shell(line: str, directory: Path, path: str, port: int, **environ: str) -> Iterator[Running]:
    """A command of the page, as a shell runs it, once something accepts connections on its port."""
    log = directory / f"{port}.log"
    with Running("sh", "-c", f"exec {line}", cwd=directory, log=log, PATH=path, **environ) as running:
        until(lambda: running.process.poll() is not None or accepts(port), f"{line}: it listens")
        assert running.process.poll() is None, running.output()
        yield running
        running.signal(signal.SIGTERM)
        assert running.ended() == 0, running.output()


@contextmanager
def gateway(directory: Path, *arguments: str, port: int) -> Iterator[Running]:
    """The gateway with these flags, once it accepts connections."""
    command = (sys.executable, "-m", "proxy", *arguments)
    with Running(*command, cwd=directory, log=directory / "gateway.log", PYTHONPATH=str(CHECKOUT)) as running:
        until(lambda: running.process.poll() is not None or accepts(port), "the gateway listens")
        assert running.process.poll() is None, running.output()
        yield running


def test_the_first_commands_serve_the_application(tmp_path: Path, programs: str) -> None:
    install, application, proxy = commands("Aragora")
    assert install.split("#")[0].split() == ["pipx", "install", "aragora-gateway"]
    (tmp_path / "myapp.py").write_text(MYAPP)
    behind, front, admin = ports(3)
    application, proxy = (line.split("#")[0].replace("8080", str(behind)) for line in (application, proxy))
    proxy += f" --bind 127.0.0.1:{front} --admin 127.0.0.1:{admin}"
    with shell(application, tmp_path, programs, behind), shell(proxy, tmp_path, programs, front):
        assert get(front, "/").text == "http"
        assert "<title>" in get(admin, "/").text


@pytest.mark.component("pebble")
@pytest.mark.component("curl")
def test_https_takes_one_command(tmp_path: Path, programs: str) -> None:
    (command,) = commands("HTTPS in one command")
    authority = Authority(tmp_path)
    state, root = tmp_path / "state", tmp_path / "root.pem"
    user = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "")
    open_to_all(tmp_path)  # the workers' account must reach the state directory
    with origin() as behind, pebble(authority, tmp_path) as ca:
        for old, new in {
            "8080": str(behind),
            "0.0.0.0:443": f"127.0.0.1:{ca.tls_port}",
            "0.0.0.0:80": f"127.0.0.1:{ca.http_port}",
            "--domain example.com": f"--domain {NAME}",
            "/var/lib/aragora-proxy": str(state),
        }.items():
            assert old in command
            command = command.replace(old, new)
        command += f" --acme-directory {ca.directory} --acme-ca {ca.ca} {shlex.join(ADMIN)}"
        root.write_bytes(ca.issuer())
        ask = ["curl", "--silent", "--cacert", str(root), "--output", "/dev/null", "--write-out", "%{http_code}"]
        ask.append(f"https://{NAME}:{ca.tls_port}/")
        with shell(command, tmp_path, programs, ca.tls_port, USER=user) as running:

            def served() -> bool:
                assert "no certificate for" not in running.output(), running.output()
                return subprocess.run(ask, capture_output=True, text=True).stdout == "200"

            until(served, lambda: f"a certificate: {running.output()}")
            plain = requests.get(f"http://{NAME}:{ca.http_port}/", allow_redirects=False, timeout=30)
            assert plain.status_code == 308, running.output()


def test_self_signed_needs_no_name(tmp_path: Path, programs: str) -> None:
    command = re.search(r"`(aragora-proxy [^`]*self-signed)`", " ".join(README.read_text().split()))
    assert command
    (front,) = ports(1)
    with origin() as behind:
        line = command[1].replace("8080", str(behind)).replace("8443", str(front)) + f" {shlex.join(ADMIN)}"
        with shell(line, tmp_path, programs, front):
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", front, timeout=30, context=context)
            connection.request("GET", "/")
            assert json.loads(connection.getresponse().read())["fields"]["x-forwarded-proto"] == "https"
            connection.close()


# One function for each row of the table: what it is for happens when its flags are set.


def another_port(directory: Path) -> None:
    (front,) = ports(1)
    bind = [flag.replace(":80", f":{front}") for flag in flags("another port, or all interfaces")]
    with origin() as behind, gateway(directory, "--upstream", f"127.0.0.1:{behind}", *bind, *ADMIN, port=front):
        assert requests.get(f"http://127.0.0.2:{front}/", timeout=30).ok


def unix_socket(directory: Path) -> None:
    (front,) = ports(1)
    (directory / "myapp.py").write_text(MYAPP)
    path = directory / "myapp.sock"
    upstream = [flag.replace("/run/myapp.sock", str(path)) for flag in flags("the application on a unix socket")]
    program = (str(Path(sys.executable).with_name("gunicorn")), "myapp:app", "--bind", f"unix:{path}")
    with Running(*program, cwd=directory, log=directory / "application.log"):
        until(path.exists, "the application listens")
        with gateway(directory, *upstream, "--bind", f"127.0.0.1:{front}", *ADMIN, port=front):
            assert get(front, "/").text == "http"


def several_instances(directory: Path) -> None:
    (front,) = ports(1)
    with origin() as first, origin() as second:
        upstreams = " ".join(flags("several instances of the application"))
        upstreams = upstreams.replace("8080", str(first)).replace("8081", str(second))
        with gateway(directory, *upstreams.split(), "--bind", f"127.0.0.1:{front}", *ADMIN, port=front):
            assert {get(front, "/").json()["port"] for _ in range(4)} == {first, second}


def own_certificate(directory: Path) -> None:
    (front,) = ports(1)
    certify("example", directory / "etc/ssl")
    pair = [flag.replace("/etc", f"{directory}/etc") for flag in flags("your own certificate")]
    with origin() as behind:
        bind = ("--upstream", f"127.0.0.1:{behind}", "--bind", f"127.0.0.1:{front}")
        with gateway(directory, *bind, *pair, *ADMIN, port=front):
            trusted = str(directory / "etc/ssl/certs/example.crt")
            assert requests.get(f"https://127.0.0.1:{front}/", verify=trusted, timeout=30).ok


def larger_uploads(directory: Path) -> None:
    with origin() as behind:
        for limit, status in (([], 413), (flags("larger uploads"), 200)):
            (front,) = ports(1)
            where = ("--upstream", f"127.0.0.1:{behind}", "--bind", f"127.0.0.1:{front}")
            with gateway(directory, *where, *limit, *ADMIN, port=front):
                assert get(front, "/", method="POST", data=bytes(51 << 20)).status_code == status


def limit_per_client(directory: Path) -> None:
    (front,) = ports(1)
    with origin() as behind:
        common = ("--upstream", f"127.0.0.1:{behind}", "--bind", f"127.0.0.1:{front}", *ADMIN)
        with gateway(directory, *common, *flags("a limit per client"), port=front), ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", front))) for _ in range(60)]
            for client in clients:  # at once, however slow the machine is
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert {client.recv(12) for client in clients} == {b"HTTP/1.1 200", b"HTTP/1.1 429"}


def settings_in_a_file(directory: Path) -> None:
    (front,) = ports(1)
    with origin() as behind:
        file = directory / "gateway.toml"
        file.write_text(f'upstream = "127.0.0.1:{behind}"\nbnd = "127.0.0.1:{front}"\n')
        check = re.search(r"`aragora-proxy (check [^`]+)`", ROWS["settings in a file"])
        assert check
        program = (str(Path(sys.executable).with_name("aragora-proxy")), *check[1].split())
        checked = subprocess.run(program, cwd=directory, capture_output=True, text=True, timeout=30)
        assert "gateway.toml:2: bnd: unknown setting; did you mean bind?" in checked.stderr
        file.write_text(file.read_text().replace("bnd", "bind"))
        with gateway(directory, *flags("settings in a file"), *ADMIN, port=front):
            assert get(front, "/").ok


def routes_in_the_file(directory: Path) -> None:
    front, site = ports(1)[0], directory / "site"
    site.mkdir()
    (site / "a.css").write_text("a {}\n" * 1000)
    with origin() as shop, origin() as blog:
        (directory / "gateway.toml").write_text(
            f'bind = "127.0.0.1:{front}"\nupstream = "127.0.0.1:{shop}"\ncompress = true\n'
            f'[[route]]\npath = "/blog"\nupstream = "127.0.0.1:{blog}"\n'
            f'[[route]]\npath = "/static"\nroot = "{site}"\nstrip_prefix = true\n'
            '[[route]]\npath = "/old"\nredirect = "/new"\n'
        )
        with gateway(directory, "--config", "gateway.toml", *ADMIN, port=front):
            assert (get(front, "/").json()["port"], get(front, "/blog").json()["port"]) == (shop, blog)
            file = get(front, "/static/a.css", headers={"Accept-Encoding": "gzip"})
            assert file.headers["Content-Type"].startswith("text/css")
            assert file.headers["Content-Encoding"] == "gzip"
            assert get(front, "/old", allow_redirects=False).headers["Location"] == "/new"


def state_in_a_terminal(directory: Path) -> None:
    front, admin = ports(2)
    with origin() as behind:
        where = ("--admin", f"127.0.0.1:{admin}", "--bind", f"127.0.0.1:{front}")
        with gateway(directory, "--upstream", f"127.0.0.1:{behind}", *where, "--workers", "1", port=front):
            get(front, "/")
            program = (str(Path(sys.executable).with_name("aragora-proxy")), "top", "--count", "1")
            shown = subprocess.run(
                [*program, "--admin", f"127.0.0.1:{admin}"], capture_output=True, text=True, timeout=30
            )
            assert f"127.0.0.1:{behind}" in shown.stdout, shown.stderr
            assert "aragora_proxy_requests_total" in get(admin, "/metrics").text


def new_code_without_downtime(directory: Path) -> None:
    front, admin = ports(2)
    with origin() as old, origin() as new:
        where = ("--admin", f"127.0.0.1:{admin}", "--bind", f"127.0.0.1:{front}")
        with gateway(directory, "--upstream", f"127.0.0.1:{old}", *where, "--workers", "1", port=front):
            program = (str(Path(sys.executable).with_name("aragora-proxy")), "switch")
            peers = (f"127.0.0.1:{old}", f"127.0.0.1:{new}", "--admin", f"127.0.0.1:{admin}")
            subprocess.run([*program, *peers], check=True, capture_output=True, timeout=30)
            assert get(front, "/").json()["port"] == new


def another_proxy_in_front(directory: Path) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.7"}
    trusted = [flag.replace("10.0.0.0/8", "127.0.0.1") for flag in flags("another proxy in front, such as Cloudflare")]
    with origin() as behind:
        for more, client in (([], "127.0.0.1"), (trusted, "198.51.100.7")):
            (front,) = ports(1)
            where = ("--upstream", f"127.0.0.1:{behind}", "--bind", f"127.0.0.1:{front}")
            with gateway(directory, *where, *more, *ADMIN, port=front):
                assert get(front, "/", headers=forwarded).json()["fields"]["x-real-ip"] == client


SHOWN: dict[str, Callable[[Path], None]] = {
    "another port, or all interfaces": another_port,
    "the application on a unix socket": unix_socket,
    "several instances of the application": several_instances,
    "your own certificate": own_certificate,
    "larger uploads": larger_uploads,
    "a limit per client": limit_per_client,
    "settings in a file": settings_in_a_file,
    "several applications, static files, redirects, compression": routes_in_the_file,
    "its state in a terminal": state_in_a_terminal,
    "new code without downtime": new_code_without_downtime,
    "another proxy in front, such as Cloudflare": another_proxy_in_front,
}


@pytest.mark.component("openssl")
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table_does_what_it_says(row: str, tmp_path: Path) -> None:
    SHOWN[row](tmp_path)


def test_the_cost_is_that_of_the_last_benchmark() -> None:
    peers = json.loads((CHECKOUT / "docs/benchmarks/results.json").read_text())["scenarios"]["get-1k"]["peers"]
    text = " ".join(README.read_text().split())
    said = re.search(r"about (\d+) µs .*? (\d+) µs for nginx and (\d+) µs for Caddy", text)
    assert said
    for figure, peer in zip(said.groups(), ("proxy", "nginx", "caddy"), strict=True):
        assert int(figure) == pytest.approx(peers[peer]["median"], rel=0.25), f"README's figure of {peer}"


@pytest.mark.component("chromium")
def test_the_picture_is_taken_of_a_running_gateway(tmp_path: Path) -> None:
    taken = tmp_path / "page.png"
    subprocess.run([CHECKOUT / "scripts/picture", "--seconds", "1", taken], check=True, capture_output=True, timeout=90)
    kept = (CHECKOUT / "docs/status-page.png").read_bytes()
    assert taken.read_bytes()[:24] == kept[:24], (
        "another size; run scripts/picture"
    )  # PNG's signature, width and height
    assert len(kept) < 200_000


def test_the_commands_of_a_clone_are_in_it() -> None:
    clone = [line.split("#")[0].strip() for line in commands("The debate service")]
    assert clone[:2] == ["scripts/up", "scripts/test"]
    for command in clone[:2]:
        assert shutil.which(str(CHECKOUT / command))
