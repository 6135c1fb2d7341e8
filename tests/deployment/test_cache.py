"""The guide to the cache: what its file does, and what its commands print."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT, ports
from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.stored_pages import Application, Page
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "cache.md"


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    running = Application()
    running.pages |= {"/": Page({"Cache-Control": "max-age=60"}, "front"), "/prices/": Page({}, "prices")}
    yield running
    running.close()


@pytest.fixture(scope="module")
def gateway(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The guide's file, before an application of ours."""
    directory = tmp_path_factory.mktemp("guide")
    (port,) = ports(1)
    addresses = {"127.0.0.1:8080": application.address, "127.0.0.1:8000": f"127.0.0.1:{port}"}
    text = moved(blocks(GUIDE, "toml")[0].text, directory, addresses)
    running = Gateway(
        directory / "gateway", ("--workers", "2", "--admin", "127.0.0.1:0", "--access-log", "off"), toml=text
    )
    try:
        running.address, running.admin = running.announced(2)
        yield running
    finally:
        running.close()


@pytest.mark.component("curl")
def test_commands_print_what_the_guide_says(gateway: Gateway) -> None:
    commands = re.findall(r"^(curl .*?) +# (.*)$", blocks(GUIDE, "sh")[0].text, re.MULTILINE)
    assert len(commands) == 2
    for command, printed in commands:
        moved_command = command.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}")
        run = subprocess.run(["bash", "-c", moved_command], capture_output=True, text=True, timeout=20)
        assert re.sub("ttl=[0-9]+", "ttl=", run.stdout.strip()) == re.sub("ttl=[0-9]+", "ttl=", printed), run.stderr


def test_micro_caching_keeps_what_says_nothing(gateway: Gateway, application: Application) -> None:
    with Client(gateway.address) as client:
        for _ in range(3):
            client.send(b"GET /prices/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.final().body == b"prices"
    assert application.count("/prices/") == 1


def test_purges_remove_what_the_guide_says(gateway: Gateway, application: Application) -> None:
    commands = re.findall(r"^aragora-proxy (purge .*?) +# (.*)$", blocks(GUIDE, "sh")[1].text, re.MULTILINE)
    assert len(commands) == 4
    for target in ("/", "/prices/"):
        with Client(gateway.address) as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n\r\n".encode())
            assert client.final().status == 200
    run([*commands[-1:]], gateway, exactly=False)
    before = application.count("/")
    with Client(gateway.address) as client:
        for target in ("/", "/prices/"):
            client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n\r\n".encode())
            assert client.final().status == 200
    assert application.count("/") == before + 1
    run(commands, gateway)


def run(commands: list[tuple[str, str]], gateway: Gateway, *, exactly: bool = True) -> None:
    for command, printed in commands:
        words = command.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}").split()
        line = [sys.executable, "-m", "proxy", *words, "--admin", f"unix:{gateway.control}"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30, cwd=CHECKOUT)
        assert done.returncode == 0, done.stderr
        assert not exactly or done.stdout.strip() == printed, command


def test_metrics_count_what_the_cache_did(gateway: Gateway, application: Application) -> None:
    application.pages["/counted"] = Page({"Cache-Control": "max-age=60"}, "counted")
    before = [gateway.metric(f"cache_{name}_total") for name in ("hits", "misses", "stale", "validated")]
    with Client(gateway.address) as client:
        for _ in range(4):
            client.send(b"GET /counted HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.final().body == b"counted"
    after = [gateway.metric(f"cache_{name}_total") for name in ("hits", "misses", "stale", "validated")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 1, 0, 0]
    until(lambda: gateway.status()["cache"]["entries"] > 0, "a worker has looked at the store")
    assert 0 < gateway.status()["cache"]["hit_rate"] < 1
    assert gateway.metric("cache_bytes") >= len("counted")
