"""Guides followed to the letter: load balancing, streaming, single-page applications, Docker, performance."""

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import requests
import yaml

from proxy.cli import main
from tests.conftest import program
from tests.deployment.pages import Block, blocks, moved
from tests.deployment.processes import CHECKOUT, Running, accepts, get
from tests.ports import ports
from tests.proxy.filters.origin import origin
from tests.waiting import until

HOWTO = CHECKOUT / "docs" / "howto"
PROGRAMS = Path(sys.executable).parent


def block(page: str, kind: str, number: int = 0) -> Block:
    return blocks(HOWTO / f"{page}.md", kind)[number]


def lines(found: Block) -> list[list[str]]:
    """The commands of a block, in words."""
    return [shlex.split(line, comments=True) for line in found.text.splitlines()]


@contextmanager
def running(*command: str, cwd: Path, port: int) -> Iterator[Running]:
    """A program of this environment, once it accepts connections."""
    words = (str(PROGRAMS / command[0]), *command[1:])
    with Running(*words, cwd=cwd, log=cwd / f"{port}.log", PYTHONPATH=f"{cwd}:{CHECKOUT}") as started:
        until(lambda: started.process.poll() is not None or accepts(port), f"{command[0]} listens")
        assert started.process.poll() is None, started.output()
        yield started


def test_instances_share_and_a_browser_stays(tmp_path: Path) -> None:
    front, admin = ports(2)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(origin()) for _ in range(3))
        file = tmp_path / "proxy.toml"
        addresses = {
            "127.0.0.1:8000": f"127.0.0.1:{front}",
            "127.0.0.1:8081": f"127.0.0.1:{first}",
            "127.0.0.1:8082": f"127.0.0.1:{second}",
            "unix:/run/shop/third.sock": f"127.0.0.1:{third}",
        }
        text = moved(block("load-balancing", "toml").text, tmp_path, addresses)
        file.write_text(f'admin = "127.0.0.1:{admin}"\nworkers = 1\n' + text)
        where = ("--config", str(file))
        stack.enter_context(running("aragora-proxy", *where, cwd=tmp_path, port=front))
        assert {get(front, "/").json()["port"] for _ in range(12)} == {first, second, third}
        with requests.Session() as browser:
            seen = {browser.get(f"http://127.0.0.1:{front}/", timeout=30).json()["port"] for _ in range(8)}
        assert len(seen) == 1
        drain, undrain = (words[1] for words in lines(block("load-balancing", "sh", 1)))
        for command, served in ((drain, {second, third}), (undrain, {first, second, third})):
            done = subprocess.run(
                [str(PROGRAMS / "aragora-proxy"), command, f"127.0.0.1:{first}", *where],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            until(lambda served=served: {get(front, "/").json()["port"] for _ in range(12)} == served, command)


@pytest.fixture
def curl() -> str:
    return program("curl") or "curl"


@pytest.mark.component("curl")
def test_events_arrive_one_by_one(tmp_path: Path, curl: str) -> None:
    behind, front = ports(2)
    (tmp_path / "events.py").write_text(block("streaming", "python").text)
    text = block("streaming", "sh").text.replace("8080", str(behind)).replace("8000", str(front))
    application, gateway, ask = (shlex.split(line) for line in text.splitlines())
    gateway += ["--admin", "off", "--workers", "1"]
    with running(*application, cwd=tmp_path, port=behind), running(*gateway, cwd=tmp_path, port=front):
        client = subprocess.Popen([curl, *ask[1:], "--silent"], stdout=subprocess.PIPE, text=True)
        try:
            assert client.stdout is not None
            assert client.stdout.readline().startswith("data: ")  # the stream has no end: it is there before one
        finally:
            client.kill()
            client.communicate()


def test_slow_uploads_reach_the_application_by_lines(tmp_path: Path) -> None:
    (front,) = ports(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        addresses = {"127.0.0.1:8080": f"127.0.0.1:{listener.getsockname()[1]}", "127.0.0.1:8000": f"127.0.0.1:{front}"}
        file = tmp_path / "proxy.toml"
        file.write_text('admin = "off"\nworkers = 1\n' + moved(block("streaming", "toml", 1).text, tmp_path, addresses))
        with (
            running("aragora-proxy", "--config", str(file), cwd=tmp_path, port=front),
            socket.create_connection(("127.0.0.1", front), timeout=30) as client,
        ):
            client.sendall(
                b"PUT /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n"
            )
            listener.settimeout(30)
            application, _ = listener.accept()
            with application:
                application.settimeout(30)
                received = b""
                while b"one\n" not in received:
                    more = application.recv(4096)
                    assert more
                    received += more


def test_the_router_s_addresses_get_the_page(tmp_path: Path) -> None:
    behind, front = ports(2)
    addresses = {"127.0.0.1:8080": f"127.0.0.1:{behind}", "127.0.0.1:8000": f"127.0.0.1:{front}"}
    (tmp_path / "shop.py").write_text(moved(block("single-page-applications", "python").text, tmp_path))
    (tmp_path / "proxy.toml").write_text(
        'admin = "off"\nworkers = 1\n' + moved(block("single-page-applications", "toml").text, tmp_path, addresses)
    )
    dist = tmp_path / "srv/shop/dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<p>the page</p>")
    (dist / "assets" / "app-1a2b.js").write_text("let here = 1\n")
    application = lines(block("single-page-applications", "sh"))[0]
    words = [word.replace("8080", str(behind)) for word in application]
    with (
        running(*words, cwd=tmp_path, port=behind),
        running("aragora-proxy", "--config", "proxy.toml", cwd=tmp_path, port=front),
    ):
        for path in ("/", "/orders/7"):
            page = get(front, path)
            assert (page.text, page.headers["Cache-Control"]) == ("<p>the page</p>", "no-cache")
        file = get(front, "/assets/app-1a2b.js")
        assert (file.text, file.headers["Cache-Control"][-9:]) == ("let here = 1\n", "immutable")
        assert get(front, "/assets/gone.js").status_code == 404
        assert get(front, "/favicon.ico").status_code == 404
        api = get(front, "/api/hello")
        assert (api.json(), api.headers.get("Cache-Control")) == ({"hello": "world"}, None)
        assert get(front, "/api/gone").status_code == 404


def test_the_composition_starts_a_valid_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    services = yaml.safe_load(block("docker", "yaml").text)["services"]
    file = tmp_path / "empty.toml"
    file.write_text("")
    status = main(["check", str(file), *(moved(flag, tmp_path) for flag in services["gateway"]["command"])])
    assert status == 0, capsys.readouterr().err


@pytest.mark.component("docker-compose")
def test_compose_reads_the_composition(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(block("docker", "yaml").text)
    (tmp_path / "gateway").mkdir()
    command = [program("docker-compose") or "", "--file", "compose.yaml", "config"]
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert read.returncode == 0, read.stderr
    assert {"app", "gateway"} == set(yaml.safe_load(read.stdout)["services"])


def test_the_bench_has_the_flag() -> None:
    (command,) = lines(block("performance", "sh"))
    known = subprocess.run([CHECKOUT / command[0], "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert command[1] in known.stdout


@pytest.mark.component("grpc")
def test_a_grpc_service_answers_through_the_gateway(tmp_path: Path) -> None:
    front, behind = ports(2)
    addresses = {"127.0.0.1:8000": f"127.0.0.1:{front}", "127.0.0.1:50051": f"127.0.0.1:{behind}"}
    for name, number in (("server.py", 0), ("call.py", 1)):
        (tmp_path / name).write_text(moved(block("grpc", "python", number).text, tmp_path, addresses))
    _, server, gateway, call = ([word for word in words if word != "&"] for words in lines(block("grpc", "sh")))
    flags = [moved(word, tmp_path, addresses) for word in gateway[1:]]
    bound = ("--bind", f"127.0.0.1:{front}", "--admin", "off", "--workers", "1")
    with ExitStack() as stack:
        stack.enter_context(running(*server, cwd=tmp_path, port=behind))
        log = stack.enter_context(running(gateway[0], *flags, *bound, cwd=tmp_path, port=front))
        command = [PROGRAMS / call[0], *call[1:]]
        called = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert (called.stdout, called.stderr) == ("status: SERVING\n\n", ""), log.output()


def test_guides_say_what_grpc_clients_get(tmp_path: Path) -> None:
    """An application that speaks HTTP/2 only: 502, and the log says why."""
    (front,) = ports(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = f"127.0.0.1:{listener.getsockname()[1]}"
        flags = ("--upstream", upstream, "--bind", f"127.0.0.1:{front}", "--admin", "off", "--workers", "1")
        with running("aragora-proxy", *flags, cwd=tmp_path, port=front) as gateway, ExitStack() as stack:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", front), timeout=30))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            listener.settimeout(30)
            application, _ = listener.accept()
            with application:
                application.recv(4096)
                application.sendall(bytes.fromhex("000000040000000000"))  # SETTINGS, RFC 9113 section 6.5
            response = client.recv(65536)
            assert response.startswith(b"HTTP/1.1 502 ")
            assert b"bad_response" in response
            until(partial(said, gateway, "HTTP/2 only"), "the reason in the log")


def said(gateway: Running, text: str) -> bool:
    return text in gateway.output()
